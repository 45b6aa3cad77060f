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

import math
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from mmcl.errors import ConfigError
from mmcl.options import (
    Bounds,
    Count,
    Natural,
    NonNegative,
    PartialShare,
    Positive,
    Rate,
    Width,
    check_options,
    convert,
    instantiate,
    require_known,
    wrong_value,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


IN_MEMORY = "in-memory:"  # begins the name of a benchmark that was made in Python

_NAMES = tuple[str, ...]
Workers = Annotated[int, Bounds(0, 1024)]
Seed = Annotated[int, Bounds(-(2**63), 2**63 - 1)]  # what TOML can hold

_MOST_BYTES = 2**20  # of a configuration
_MOST_PARTS = 16  # of a dotted key; the deepest that means anything has two
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_MOST_PARTS},}}""")

# training settings that only one optimiser reads
_OF_OPTIMIZER: Mapping[str, frozenset[str]] = {"adamw": frozenset({"betas"}), "sgd": frozenset({"momentum"})}


@dataclass(frozen=True)
class PluginConfig:
    """A plugin by name, with the options that differ from its defaults."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the kinds, so that a wrong value is refused where it is written."""
        convert(self.name, str, "name of a plugin")
        convert(self.options, dict, f"options of {self.name}")

    @property
    def label(self) -> str:
        """``name`` or ``name:value,...`` for people."""
        return ":".join([self.name, *(str(value) for value in self.options.values())])


@dataclass(frozen=True)
class TrainingConfig:
    """How each experience is trained. A benchmark and its experiences may have defaults of their own."""

    iterations: Count | None = None  # steps per experience; None: count epochs
    epochs: Count = 1
    batch_size: Width = 64
    eval_batch_size: Width = 128
    lr: Rate = 1e-5
    optimizer: Literal["adamw", "sgd"] = "adamw"
    betas: tuple[PartialShare, PartialShare] = (0.9, 0.999)
    momentum: PartialShare = 0.9  # of sgd
    weight_decay: NonNegative = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: Natural = 0  # steps
    label_smoothing: PartialShare = 0.0
    own_classes: bool = False  # in training, only the classes of a sample's own experience compete, in CIL too
    max_grad_norm: Positive | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    device: str = "auto"
    num_workers: Workers = 0
    freeze: tuple[str, ...] = ("*logit_scale",)  # glob patterns of parameter names
    check_data: bool = True  # read every file once before training

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_options(self, "training")

    def steps(self, samples: int) -> int:
        """Training steps of an experience with so many samples."""
        return self.epochs * math.ceil(samples / self.batch_size) if self.iterations is None else self.iterations

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run.

    Attributes:
        training: only what the user set; the rest comes from experience, benchmark and library, in this order.
        extensions: image folders that ``mmcl extend`` has added to the stream.
        probe: number of test pairs whose features are kept after every experience (``docs/spatial_disorder.md``).
    """

    benchmark: PluginConfig
    backbone: PluginConfig = PluginConfig("glyph-clip")
    strategies: tuple[PluginConfig, ...] = ()
    training: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    out: str | None = None
    log: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()
    probe: int = 0

    def __post_init__(self) -> None:
        """Check types and training settings, so that a wrong value is refused where it is written."""
        parts = (("benchmark", PluginConfig), ("backbone", PluginConfig), ("strategies", tuple[PluginConfig, ...]))
        plain = (("seed", Seed), ("out", str | None), ("log", _NAMES), ("extensions", _NAMES), ("probe", Natural))
        for name, kind in (*parts, *plain, ("training", dict)):
            convert(getattr(self, name), kind, name)
        instantiate(TrainingConfig, merged(self.training), "training")

    @property
    def folder(self) -> Path:
        """The run folder: ``out``, or else ``runs/BENCHMARK-STRATEGIES-seedN``."""
        names = "+".join(strategy.name for strategy in self.strategies) or "finetune"
        return Path(self.out or f"runs/{self.benchmark.name}-{names}-seed{self.seed}".replace(":", "-"))

    def to_dict(self) -> dict[str, Any]:
        """The content of the TOML file."""
        content: dict[str, Any] = {"seed": self.seed}
        if self.out is not None:
            content["out"] = self.out
        if self.probe:
            content["probe"] = self.probe
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
        keys = {"seed", "out", "log", "extensions", "probe", "benchmark", "backbone", "training", "strategy"}
        require_known(content, keys, who)
        if "benchmark" not in content:
            raise ConfigError(who, found="no [benchmark]", allowed="a table [benchmark] with a name", remedy="Add one.")
        training, strategies = content.get("training", {}), content.get("strategy", [])
        if not isinstance(training, Mapping):
            raise wrong_value(f"{who}: training", training, "a table [training]")
        if not isinstance(strategies, list):
            raise wrong_value(f"{who}: strategy", strategies, "tables [[strategy]], with double brackets")
        return cls(
            benchmark=_plugin(content["benchmark"], f"{who} [benchmark]"),
            backbone=_plugin(content.get("backbone", {"name": "glyph-clip"}), f"{who} [backbone]"),
            strategies=tuple(_plugin(table, f"{who} [[strategy]]") for table in strategies),
            training=dict(training),
            seed=content.get("seed", 0),
            out=content.get("out"),
            log=convert(content.get("log", ()), _NAMES, f"{who}: log"),
            extensions=convert(content.get("extensions", ()), _NAMES, f"{who}: extensions"),
            probe=content.get("probe", 0),
        )


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings of several layers as one; the later layer wins.

    It wins as a whole: a later ``epochs`` also replaces an earlier ``iterations``, and a later ``optimizer`` the
    options of another one.

    Raises:
        ConfigError: if a layer holds settings that exclude each other.
    """
    settings: dict[str, Any] = {}
    for layer in layers:
        _check_layer(layer)
        replaced = set(_of_other_optimizers(layer["optimizer"])) if "optimizer" in layer else set()
        if _counts_iterations(layer):
            replaced.add("epochs")
        elif "epochs" in layer:
            replaced.add("iterations")
        settings = {name: value for name, value in settings.items() if name not in replaced} | dict(layer)
    return settings


def resolve_training(*layers: Mapping[str, Any]) -> TrainingConfig:
    """Settings from several layers, merged, on top of the library's defaults.

    Raises:
        ConfigError: if a key is unknown, a value has the wrong type or range, or a setting would have no effect.
    """
    settings = merged(*layers)
    training: TrainingConfig = instantiate(TrainingConfig, settings, "training")
    for name in _of_other_optimizers(training.optimizer):
        if name in settings:
            raise _without_effect(name, training.optimizer)
    return training


def read_toml(path: Path) -> RunConfig:
    """Read a run configuration.

    Raises:
        ConfigError: if the file is missing, is not TOML, or has unknown keys.
    """
    content = load_toml(path, f"configuration {path}", "a TOML file as 'mmcl run' writes it")
    return RunConfig.from_dict(content, str(path))


def load_toml(path: Path, who: str, allowed: str) -> dict[str, Any]:
    """The content of a TOML file that a person may have written.

    Args:
        path: the file.
        who: what users call it.
        allowed: what it ought to be.

    Raises:
        ConfigError: if it is missing, larger than any configuration, nested deeper than any, or no TOML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
        if len(raw) > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
        text = raw.decode("utf-8").replace("\r\n", "\n")
        if _LONG_KEY.search(text):  # the time to read one grows with the square of its length
            raise ValueError(f"a dotted key of more than {_MOST_PARTS} parts")
        return tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(
            who,
            found=f"it cannot be read ({error})",
            allowed=allowed,
            remedy="Check the path and the syntax.",
        ) from error


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


def _check_layer(layer: Mapping[str, Any]) -> None:
    """Refuse settings of one layer that exclude each other."""
    if _counts_iterations(layer) and "epochs" in layer:
        raise ConfigError(
            "training",
            found=f"both iterations={layer['iterations']} and epochs={layer['epochs']}",
            allowed="one of them: they are two ways to say how long an experience is trained",
            remedy="Leave one out.",
        )
    iterations, warmup = layer.get("iterations"), layer.get("warmup")
    if isinstance(iterations, int) and isinstance(warmup, int) and warmup > iterations > 0:
        raise ConfigError(
            "training.warmup",
            found=f"{warmup} steps in a training of {iterations}, so that the rate never reaches lr",
            allowed=f"0 to {iterations}",
            remedy="Choose a shorter warm-up or more iterations.",
        )
    if "optimizer" in layer:
        for name in _of_other_optimizers(layer["optimizer"]):
            if name in layer:
                raise _without_effect(name, layer["optimizer"])


def _counts_iterations(layer: Mapping[str, Any]) -> bool:
    return layer.get("iterations") not in (None, "none")


def _of_other_optimizers(chosen: Any) -> list[str]:
    return sorted(option for owner, options in _OF_OPTIMIZER.items() if owner != chosen for option in options)


def _without_effect(option: str, optimizer: Any) -> ConfigError:
    owner = next(name for name, options in _OF_OPTIMIZER.items() if option in options)
    return ConfigError(
        f"training.{option}",
        found=f"it has no effect: the optimiser is {optimizer!r}",
        allowed=f"{option} with optimizer={owner}",
        remedy=f"Leave it out, or set optimizer={owner}.",
    )


def _plugin(table: Any, who: str) -> PluginConfig:
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ConfigError(who, found="no name", allowed="a table with a name", remedy='Add name = "...".')
    return PluginConfig(table["name"], {key: value for key, value in table.items() if key != "name"})


def _table(plugin: PluginConfig) -> dict[str, Any]:
    return {"name": plugin.name, **_plain(plugin.options)}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """TOML knows neither tuples nor None: they become lists and the string "none"."""
    return {key: _plain_value(value) for key, value in options.items()}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Mapping):
        return _plain(value)
    return list(value) if isinstance(value, tuple) else "none" if value is None else value
