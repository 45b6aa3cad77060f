"""Choice: a benchmark, backbone or composition that a suite goes through, and what its cells call it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmcl.config import PluginConfig
from mmcl.errors import ConfigError
from mmcl.options import require_known, wrong_value

_UNSAID = {"embedded", "data_root", "download"}  # options that a label leaves out
_LONGEST = 100  # characters of a label, which is the name of a folder


@dataclass(frozen=True)
class Choice:
    """One of the benchmarks, backbones or compositions that a suite goes through.

    Attributes:
        label: its part of a cell's name; empty where the file leaves the choice to MMCL.
        plugins: one, or those of a composition.
    """

    label: str
    plugins: tuple[PluginConfig, ...]

    @property
    def names(self) -> set[str]:
        """What a table ``[[cell]]`` may call it."""
        return {self.label, *(plugin.name for plugin in self.plugins if len(self.plugins) == 1)} - {""}


def tables(content: Mapping[str, Any], name: str, who: str) -> list[dict[str, Any]]:
    """The tables ``[[name]]``.

    Raises:
        ConfigError: if there is something else under this name.
    """
    rows = content.get(name, [])
    if not isinstance(rows, (list, tuple)) or not all(isinstance(row, Mapping) for row in rows):
        raise wrong_value(f"{who}: {name}", rows, f"tables [[{name}]], with double brackets")
    return [dict(row) for row in rows]


def choice(row: Mapping[str, Any], who: str) -> Choice:
    """A benchmark, backbone or strategy.

    Raises:
        ConfigError: if it has no name, or a label that cannot name a folder.
    """
    plugin = _plugin({key: value for key, value in row.items() if key != "label"}, who)
    return Choice(_label(row.get("label", _said(plugin)), who), (plugin,))


def composition(row: Mapping[str, Any], who: str) -> Choice:
    """A strategy, or several under ``compose``.

    Raises:
        ConfigError: as ``choice``.
    """
    if "compose" not in row:
        return choice(row, who)
    require_known(row, {"compose", "label"}, who)
    plugins = tuple(_plugin(part, f"{who} compose") for part in tables(row, "compose", who))
    said = "+".join(map(_said, plugins)) or "finetune"
    return Choice(_label(row.get("label", said), who), plugins)


def _plugin(row: Mapping[str, Any], who: str) -> PluginConfig:
    if not isinstance(row.get("name"), str):
        raise ConfigError(who, found="no name", allowed="a table with a name", remedy='Add name = "...".')
    return PluginConfig(row["name"], {key: value for key, value in row.items() if key != "name"})


def _said(plugin: PluginConfig) -> str:
    options = ",".join(f"{name}={value}" for name, value in plugin.options.items() if name not in _UNSAID)
    return f"{plugin.name}:{options}" if options else plugin.name


def _label(said: Any, who: str) -> str:
    """As the name of a folder."""
    label = re.sub(r"[^\w.=+,]+", "-", str(said)).strip("-.")
    if not label or len(label) > _LONGEST:
        raise ConfigError(
            f"{who} {str(said)[:_LONGEST]!r}",
            found=f"a label of {len(label)} letters that could name a folder",
            allowed=f"1 to {_LONGEST}",
            remedy='Give it another one: label = "...".',
        )
    return label
