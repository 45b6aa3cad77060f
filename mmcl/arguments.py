"""What people type on a command line: strategies with options, backbones, values and overrides."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from mmcl.config import PluginConfig, RunConfig, TrainingConfig, merged
from mmcl.errors import ConfigError, nearest
from mmcl.registry import BACKBONES, BENCHMARKS, GROUPS, base_of, entries, is_registered, load

_TRAINING = frozenset(f.name for f in fields(TrainingConfig))


def parse_plugin(text: str) -> PluginConfig:
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
    """``name[:WEIGHTS]``, as in ``openclip:ViT-B-16/openai``.

    The name may itself be ``distribution:name`` or ``package.module:Class``.
    """
    name, _, weights = text.partition(":")
    if name not in {entry.name for entry in entries(BACKBONES)}:
        second, _, rest = weights.partition(":")
        qualified = f"{name}:{second}" in {entry.qualified for entry in entries(BACKBONES)}
        if qualified or all(part.isidentifier() for part in second.split(".")):
            name, weights = f"{name}:{second}", rest
    return PluginConfig(name, {"weights": weights} if weights else {})


def parse_tower(text: str) -> PluginConfig:
    """A backbone that is an option of another: ``name``, ``name:WEIGHTS`` or ``name:option=value,option=value``."""
    return parse_plugin(text) if "=" in text else parse_backbone(text)


def parse_of(group: str, text: str) -> PluginConfig:
    """A plugin of an entry-point group, as it is typed."""
    return parse_backbone(text) if group == BACKBONES else parse_plugin(text)


def registered_groups(text: str) -> list[str]:
    """The entry-point groups with a registered plugin of the name in ``text``, which may have options."""
    found = []
    for group in GROUPS:
        name = parse_of(group, text).name
        if any(name in (entry.name, entry.qualified) for entry in entries(group)):
            found.append(group)
    return found


def default_backbone(benchmark: PluginConfig) -> PluginConfig:
    """The model that the benchmark names for data of a disk; the one that ships with MMCL for everything else.

    What nobody has registered is not imported to be asked, and has the one of benchmarks that name none.
    """
    if "data_root" not in benchmark.options and not benchmark.options.get("download"):
        return RunConfig(benchmark).backbone
    registered = is_registered(BENCHMARKS, benchmark.name)
    kind = load(BENCHMARKS, benchmark.name) if registered else base_of(BENCHMARKS)
    return parse_backbone(kind.usual_backbone)


def benchmark_config(
    text: str | None,
    begun: PluginConfig | None,
    *,
    embedded: bool = False,
    data_root: str | None = None,
    download: bool = False,
    overrides: Sequence[str] = (),
) -> PluginConfig:
    """A benchmark as options of the command line name it.

    Args:
        text: ``name[:key=value,...]``.
        begun: what a configuration file says, which the rest changes.
        embedded: as an option of its own, like the following ones.
        data_root: where the data are.
        download: whether to fetch them.
        overrides: ``benchmark.key=value``.

    Raises:
        ConfigError: if none is named, or an override is about something else.
    """
    chosen = parse_plugin(text) if text is not None else begun
    if chosen is None:
        raise ConfigError(
            "benchmark",
            found="none is named",
            allowed="a name, or a configuration that has one",
            remedy="Name a benchmark or give --config FILE; 'mmcl list benchmarks' shows which there are.",
        )
    options = dict(chosen.options)
    options |= {"embedded": True} if embedded else {}
    options |= {"data_root": data_root} if data_root is not None else {}
    options |= {"download": True} if download else {}
    chosen = PluginConfig(chosen.name, options)
    for override in overrides:
        if not override.startswith("benchmark."):
            raise ConfigError(
                f"--set {override}",
                found="it is about no option of the benchmark",
                allowed="benchmark.key=value",
                remedy="Leave it out: nothing is trained here.",
            )
    return apply_overrides(RunConfig(benchmark=chosen), overrides).benchmark


def parse_value(text: str) -> Any:
    """A number, boolean, list or string as typed on a command line; ``none`` is None. Quotes make a string of it."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1]
    if text.lower() in ("none", "true", "false"):
        return {"none": None, "true": True, "false": False}[text.lower()]
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError):
        return text
    return value if not isinstance(value, dict) else text


def apply_overrides(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Apply ``key=value`` settings: ``seed``, ``training.lr`` or ``lr``, ``benchmark.order``, ``ewc.strength``, ...

    Raises:
        ConfigError: if a key names nothing, or training settings exclude each other.
    """
    settings = {}
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(
                f"--set {text}", found="no '='", allowed="key=value", remedy="For example --set training.lr=1e-4."
            )
        settings[path.strip()] = parse_value(value)
    return override(config, settings)


def override(config: RunConfig, settings: Mapping[str, Any], who: str = "--set") -> RunConfig:
    """``apply_overrides`` with values that have been read.

    Args:
        config: what is changed.
        settings: path -> value.
        who: where they stand, for sentences.

    Raises:
        ConfigError: as ``apply_overrides``.
    """
    training: dict[str, Any] = {}
    for path, value in settings.items():
        table, _, key = path.rpartition(".")
        if table == "training" or (not table and key in _TRAINING):
            training[key] = value
        else:
            config = _set(config, path, value, who)
    return replace(config, training=merged(config.training, training))


def _finite(text: str) -> float:
    """A number that is larger than any is none, like infinity."""
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text)


def _refuse_constant(name: str) -> Any:
    """NaN and infinity are no JSON and cannot be written to ``results.json``."""
    raise ValueError(name)


def _set(config: RunConfig, path: str, value: Any, who: str) -> RunConfig:
    table, _, key = path.rpartition(".")
    if not table and key == "seed":
        return replace(config, seed=value)
    if not table and key == "probe":
        return replace(config, probe=value)
    owner, _, option = path.partition(".")
    if owner == "benchmark" and option:
        return replace(config, benchmark=_with(config.benchmark, option, value))
    if owner == "backbone" and option:
        return replace(config, backbone=_with(config.backbone, option, value))
    names = [strategy.name for strategy in config.strategies]
    if table in names:
        changed = [_with(s, key, value) if s.name == table else s for s in config.strategies]
        return replace(config, strategies=tuple(changed))
    known = sorted({"seed", "probe", "benchmark", "backbone", "training", *names, *_TRAINING})
    raise ConfigError(
        f"{who} {path}",
        found="it names nothing in this configuration",
        allowed=f"seed, probe, a training setting, or a field of {', '.join(['benchmark', 'backbone', *names])}",
        remedy=nearest(table or key, known),
    )


def _with(plugin: PluginConfig, key: str, value: Any) -> PluginConfig:
    """The plugin with an option set, or with an entry of an option that is a table: ``columns.img``."""
    option, dot, entry = key.partition(".")
    if dot:
        table = plugin.options.get(option)
        value = {**(table if isinstance(table, dict) else {}), entry: value}
    return PluginConfig(plugin.name, {**plugin.options, option: value})


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
