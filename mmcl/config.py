"""Configurations: what a run consists of, as frozen dataclasses mirrored by TOML.

    seed = 0

    [benchmark]
    name = "mtil"
    embedded = true

    [backbone]
    name = "glyph-clip"

    [training]
    iterations = 100

    [[strategy]]
    name = "zscl"
    temperature = 2.0

A table's keys are the fields of the class it names. There is no interpolation and no inheritance.
"""

import json
import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from mmcl.errors import ConfigError, nearest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


_NAMES = tuple[str, ...]


@dataclass(frozen=True)
class PluginConfig:
    """A plugin by name, with the options that differ from its defaults."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """``name`` or ``name:value,...`` for people."""
        return ":".join([self.name, *(str(value) for value in self.options.values())])


@dataclass(frozen=True)
class TrainingConfig:
    """How each experience is trained. A benchmark and its experiences may have defaults of their own."""

    iterations: int | None = None  # steps per experience; None: count epochs
    epochs: int = 1
    batch_size: int = 64
    eval_batch_size: int = 128
    lr: float = 1e-5
    optimizer: Literal["adamw", "sgd"] = "adamw"
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9  # of sgd
    weight_decay: float = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: int = 0  # steps
    label_smoothing: float = 0.0
    max_grad_norm: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    num_workers: int = 0
    freeze: tuple[str, ...] = ("*logit_scale",)  # glob patterns of parameter names
    check_data: bool = True  # read every file once before training

    def __post_init__(self) -> None:
        """Check the ranges."""
        positive = ("epochs", "batch_size", "eval_batch_size", "lr")
        for name in positive + (("iterations",) if self.iterations is not None else ()):
            if not 0 < getattr(self, name) < math.inf:
                raise _wrong(f"training.{name}", getattr(self, name), "a number above 0")
        for name in ("weight_decay", "warmup", "num_workers", "momentum"):
            if not 0 <= getattr(self, name) < math.inf:
                raise _wrong(f"training.{name}", getattr(self, name), "0 or more")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise _wrong("training.betas", self.betas, "two numbers from 0 up to, but not including, 1")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise _wrong("training.max_grad_norm", self.max_grad_norm, "a number above 0, or none")
        if not 0 <= self.label_smoothing < 1:
            raise _wrong("training.label_smoothing", self.label_smoothing, "0 up to, but not including, 1")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run.

    Attributes:
        training: only what the user set; the rest comes from experience, benchmark and library, in this order.
        extensions: image folders that ``mmcl extend`` has added to the stream.
    """

    benchmark: PluginConfig
    backbone: PluginConfig = PluginConfig("glyph-clip")
    strategies: tuple[PluginConfig, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    out: str | None = None
    log: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check types and training settings, so that a wrong value is refused where it is written."""
        for name, kind in (("seed", int), ("out", str | None), ("log", _NAMES), ("extensions", _NAMES)):
            _converted(getattr(self, name), kind, name)
        resolve_training(self.training)

    def to_dict(self) -> dict[str, Any]:
        """The content of the TOML file."""
        content: dict[str, Any] = {"seed": self.seed}
        if self.out is not None:
            content["out"] = self.out
        for name in ("log", "extensions"):
            if getattr(self, name):
                content[name] = list(getattr(self, name))
        content["benchmark"] = _table(self.benchmark)
        content["backbone"] = _table(self.backbone)
        content["training"] = _plain(self.training)
        content["strategy"] = [_table(strategy) for strategy in self.strategies]
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], who: str = "configuration") -> "RunConfig":
        """The inverse of ``to_dict``.

        Raises:
            ConfigError: if a key is unknown, a value has the wrong type or a table has no name.
        """
        keys = {"seed", "out", "log", "extensions", "benchmark", "backbone", "training", "strategy"}
        _require_known(content, keys, who)
        if "benchmark" not in content:
            raise ConfigError(who, found="no [benchmark]", allowed="a table [benchmark] with a name", remedy="Add one.")
        training, strategies = content.get("training", {}), content.get("strategy", [])
        if not isinstance(training, Mapping):
            raise _wrong(f"{who}: training", training, "a table [training]")
        if not isinstance(strategies, list):
            raise _wrong(f"{who}: strategy", strategies, "tables [[strategy]], with double brackets")
        return cls(
            benchmark=_plugin(content["benchmark"], f"{who} [benchmark]"),
            backbone=_plugin(content.get("backbone", {"name": "glyph-clip"}), f"{who} [backbone]"),
            strategies=tuple(_plugin(table, f"{who} [[strategy]]") for table in strategies),
            training=dict(training),
            seed=content.get("seed", 0),
            out=content.get("out"),
            log=_converted(content.get("log", ()), _NAMES, f"{who}: log"),
            extensions=_converted(content.get("extensions", ()), _NAMES, f"{who}: extensions"),
        )


def resolve_training(*layers: Mapping[str, Any]) -> TrainingConfig:
    """Settings from several layers, the later ones winning, on top of the library's defaults.

    Raises:
        ConfigError: if a key is unknown or a value has the wrong type or range.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    training: TrainingConfig = instantiate(TrainingConfig, merged, "training")
    return training


def instantiate(plugin: type, options: Mapping[str, Any], who: str) -> Any:
    """Build a dataclass from options, checking names and types against its fields.

    Raises:
        ConfigError: naming the field, the value, the type or the known names, and what to do.
    """
    if not is_dataclass(plugin):
        raise ConfigError(
            who,
            found=f"{plugin.__module__}:{plugin.__qualname__} has no fields that could be options",
            allowed="a dataclass",
            remedy="Decorate the class with @dataclass(kw_only=True).",
        )
    accepted = [f for f in fields(plugin) if f.init]
    known = [f.name for f in accepted]
    _require_known(options, known, who)
    hints = get_type_hints(plugin)
    for f in accepted:
        if f.default is MISSING and f.default_factory is MISSING and f.name not in options:
            raise ConfigError(
                f"{who}.{f.name}",
                found="no value, and it has no default",
                allowed=_name(hints[f.name]),
                remedy=f"Set {f.name}.",
            )
    values = {name: _converted(value, hints[name], f"{who}.{name}") for name, value in options.items()}
    return plugin(**values)


def read_toml(path: Path) -> RunConfig:
    """Read a run configuration.

    Raises:
        ConfigError: if the file is missing, is not TOML, or has unknown keys.
    """
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"configuration {path}",
            found=f"it cannot be read ({error})",
            allowed="a TOML file as 'mmcl run' writes it",
            remedy="Check the path and the syntax.",
        ) from error
    return RunConfig.from_dict(content, str(path))


def write_toml(config: RunConfig, path: Path) -> None:
    """Write a run configuration; ``read_toml`` gives it back.

    Raises:
        ConfigError: if an option cannot be written to TOML.
    """
    import tomli_w

    try:
        text = tomli_w.dumps(config.to_dict())
    except TypeError as error:
        raise ConfigError(
            "configuration",
            found=f"an option cannot be written to a file ({error})",
            allowed="numbers, strings, booleans and lists of them",
            remedy="Pass such objects through the Python API of the learner instead of a run.",
        ) from error
    path.write_text(text, encoding="utf-8")


def parse_strategy(text: str) -> PluginConfig:
    """``name[:key=value,...]``; the name may itself be ``distribution:name`` or ``package.module:Class``.

    Values may hold colons, and commas inside brackets or quotes.

    Raises:
        ConfigError: if an option is not of the form ``key=value``.
    """
    before, equals, _ = text.partition("=")
    name, colon, _ = before.rpartition(":")
    if not equals or not colon:
        return PluginConfig(text)
    options = text[len(name) + 1 :]
    parsed = {}
    for option in _split(options):
        key, equals, value = option.partition("=")
        if not equals or not key.strip():
            raise ConfigError(
                f"option {option!r} of {name!r}",
                found="it is not of the form key=value",
                allowed="name:key=value,key=value",
                remedy="Write for example ewc:strength=100,samples=64.",
            )
        parsed[key.strip()] = parse_value(value)
    return PluginConfig(name, parsed)


def parse_backbone(text: str) -> PluginConfig:
    """``name`` or ``name:WEIGHTS``, as in ``openclip:ViT-B-16/openai``."""
    name, separator, weights = text.partition(":")
    return PluginConfig(name, {"weights": weights} if separator else {})


def default_backbone(benchmark: PluginConfig) -> PluginConfig:
    """The model of the papers for official data; the one that ships with MMCL for everything else."""
    if "data_root" in benchmark.options or benchmark.options.get("download"):
        return PluginConfig("openclip", {"weights": "ViT-B-16/openai"})
    return PluginConfig("glyph-clip")


def parse_value(text: str) -> Any:
    """A number, boolean, list or string as typed on a command line; ``none`` is None. Quotes make a string of it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if text.lower() in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[text.lower()]
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError:
        return text
    return value if not isinstance(value, dict) else text


def apply_overrides(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Apply ``key=value`` settings: ``seed``, ``training.lr`` or ``lr``, ``benchmark.order``, ``ewc.strength``, ...

    Raises:
        ConfigError: if a key names nothing.
    """
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {override}", found="no '='", allowed="key=value", remedy="For example --set training.lr=1e-4."
            )
        config = _set(config, path.strip(), parse_value(text))
    return config


def _refuse_constant(name: str) -> Any:
    """NaN and infinity are no JSON and cannot be written to ``results.json``."""
    raise ValueError(name)


def _set(config: RunConfig, path: str, value: Any) -> RunConfig:
    table, _, key = path.rpartition(".")
    training = {f.name for f in fields(TrainingConfig)}
    if not table and key == "seed":
        return replace(config, seed=value)
    if table == "training" or (not table and key in training):
        return replace(config, training={**config.training, key: value})
    if table == "benchmark":
        return replace(config, benchmark=_with(config.benchmark, key, value))
    if table == "backbone":
        return replace(config, backbone=_with(config.backbone, key, value))
    names = [strategy.name for strategy in config.strategies]
    if table in names:
        changed = [_with(s, key, value) if s.name == table else s for s in config.strategies]
        return replace(config, strategies=tuple(changed))
    known = sorted({"seed", "benchmark", "backbone", "training", *names, *training})
    raise ConfigError(
        f"--set {path}",
        found="it names nothing in this configuration",
        allowed=f"seed, a training setting, or one of {', '.join(['benchmark', 'backbone', *names])} with a field",
        remedy=nearest(table or key, known),
    )


def _with(plugin: PluginConfig, key: str, value: Any) -> PluginConfig:
    return PluginConfig(plugin.name, {**plugin.options, key: value})


def _split(options: str) -> list[str]:
    """Split at commas that are not inside brackets or quotes; a quote opens only where a value may begin."""
    parts, depth, quote, previous = [""], 0, "", ""
    for character in options:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"" and previous in ("=", "[", ","):
            quote = character
        else:
            depth += (character == "[") - (character == "]")
        if character == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += character
        previous = previous if character == " " else character
    return parts


def _converted(value: Any, hint: Any, who: str) -> Any:
    """``value`` as ``hint`` wants it: integers may stand for floats and lists for tuples, nothing else changes."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        if type(None) in arguments and value in (None, "none"):
            return None
        for option in arguments:
            try:
                return _converted(value, option, who)
            except ConfigError:
                continue
        raise _wrong(who, value, " or ".join(_name(option) for option in arguments))
    if origin is Literal:
        if value not in arguments:
            raise _wrong(who, value, " or ".join(map(repr, arguments)))
        return value
    if hint is type(None):
        if value is None:
            return None
        raise _wrong(who, value, "none")
    if origin is tuple:
        if isinstance(value, (list, tuple)):
            kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
            if len(kinds) == len(value):
                return tuple(_converted(item, kind, who) for item, kind in zip(value, kinds, strict=True))
        raise _wrong(who, value, f"a list: {_name(hint)}")
    if origin is list:
        if isinstance(value, (list, tuple)):
            return [_converted(item, arguments[0], who) for item in value]
        raise _wrong(who, value, f"a list: {_name(hint)}")
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    plain = origin or hint
    if not isinstance(value, plain) or (isinstance(value, bool) and plain is not bool):
        raise _wrong(who, value, _name(hint))
    return value


def _name(hint: Any) -> str:
    return "none" if hint is type(None) else getattr(hint, "__name__", str(hint)) if not get_args(hint) else str(hint)


def _wrong(who: str, value: Any, allowed: str) -> ConfigError:
    return ConfigError(who, found=f"the value {value!r}", allowed=allowed, remedy="Choose another value.")


def _require_known(given: Mapping[str, Any], known: Sequence[str] | set[str], who: str) -> None:
    for key in given:
        if key not in known:
            raise ConfigError(
                f"{who}",
                found=f"the unknown key {key!r}",
                allowed=", ".join(sorted(known)) or "no options",
                remedy=nearest(key, known),
            )


def _plugin(table: Any, who: str) -> PluginConfig:
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ConfigError(who, found="no name", allowed="a table with a name", remedy='Add name = "...".')
    return PluginConfig(table["name"], {key: value for key, value in table.items() if key != "name"})


def _table(plugin: PluginConfig) -> dict[str, Any]:
    return {"name": plugin.name, **_plain(plugin.options)}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """TOML knows neither tuples nor None: they become lists and the string "none"."""
    return {
        key: list(value) if isinstance(value, tuple) else "none" if value is None else value
        for key, value in options.items()
    }
