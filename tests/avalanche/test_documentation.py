"""docs/avalanche.md: its tables leave nothing out. Its examples are run with those of all pages."""

from pathlib import Path

from avalanche.core import BasePlugin
from avalanche.training import plugins

from mmcl.registry import STRATEGIES, entries

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "avalanche.md").read_text("utf-8")


def test_every_plugin_of_avalanche_is_in_the_table() -> None:
    known = {
        name
        for name, value in vars(plugins).items()
        if isinstance(value, type) and issubclass(value, BasePlugin) and value.__module__.startswith(plugins.__name__)
    }
    assert len(known) > 20
    missing = {name for name in known if f"`{name}`" not in PAGE}
    assert not missing


def test_every_strategy_of_mmcl_is_in_the_table() -> None:
    ours = {entry.name for entry in entries(STRATEGIES) if entry.module.startswith("mmcl_strategies.")}
    assert not {name for name in ours if f"| `{name}` |" not in PAGE}
