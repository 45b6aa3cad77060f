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

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from mmcl.errors import ConfigError
from mmcl.options import Bounds, Natural, convert, instantiate, require_known, wrong_value
from mmcl.training_config import TrainingConfig, merged, resolve_training

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


__all__ = [
    "IN_MEMORY",
    "PluginConfig",
    "RunConfig",
    "TrainingConfig",
    "load_toml",
    "merged",
    "read_toml",
    "resolve_training",
    "tomllib",
    "write_toml",
]

IN_MEMORY = "in-memory:"  # begins the name of a benchmark that was made in Python

_NAMES = tuple[str, ...]
Seed = Annotated[int, Bounds(-(2**63), 2**63 - 1)]  # what TOML can hold

_MOST_BYTES = 2**20  # of a configuration
_MOST_PARTS = 16  # of a dotted key; the deepest that means anything has two
_LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){{{_MOST_PARTS},}}""")


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
