"""Entry points: found without importing, broken ones harmless, shared names qualified."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmcl_strategies.regularization.ewc import EWC

from mmcl.errors import PluginError
from mmcl.registry import BACKBONES, STRATEGIES, card, entries, find, load, name_of


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two distributions of other people: one with a good and a broken plugin, one that claims the name 'ewc'."""
    plugins = {
        "stranger": "fancy = stranger_fancy:Fancy\nbroken = stranger_broken:Broken\nmissing = nowhere_at_all:Thing\n",
        "rival": "ewc = stranger_fancy:Fancy\nmalformed = no module!\nnested = stranger_package.inner:Inner\n",
    }
    for name, points in plugins.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{STRATEGIES}]\n{points}")
    (tmp_path / "stranger_fancy.py").write_text(
        '"""Fancy: a stranger\'s idea."""\nfrom dataclasses import dataclass\n\n\n@dataclass\nclass Fancy:\n'
        '    """Does nothing."""\n\n    strength: float = 2.0  # how much\n'
    )
    (tmp_path / "stranger_broken.py").write_text("raise RuntimeError('out of order')\n")
    (tmp_path / "stranger_package").mkdir()
    (tmp_path / "stranger_package" / "__init__.py").write_text("raise RuntimeError('must not run for a card')\n")
    (tmp_path / "stranger_package" / "inner.py").write_text('"""Inner."""\n\n\nclass Inner:\n    """Inner."""\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    entries.cache_clear()
    yield tmp_path
    entries.cache_clear()
    for module in ("stranger_fancy", "stranger_broken", "stranger_package"):
        sys.modules.pop(module, None)


def test_own_plugins_come_in_through_entry_points() -> None:
    assert load(STRATEGIES, "ewc") is EWC
    assert find(STRATEGIES, "ewc").distribution == "mmcl"
    assert {entry.name for entry in entries(BACKBONES)} == {"glyph-clip", "openclip"}


def test_a_card_is_read_without_importing(strangers: Path) -> None:
    read = card(find(STRATEGIES, "fancy"))
    assert read.title == "Fancy: a stranger's idea."
    assert [(o.name, o.kind, o.default, o.comment) for o in read.options] == [("strength", "float", "2.0", "how much")]
    assert "stranger_fancy" not in sys.modules


def test_a_broken_plugin_is_reported_with_its_distribution_and_disturbs_nobody(strangers: Path) -> None:
    with pytest.raises(PluginError, match=r"'broken' of distribution stranger.*out of order"):
        load(STRATEGIES, "broken")
    assert card(find(STRATEGIES, "missing")).broken is not None
    assert load(STRATEGIES, "fancy").__name__ == "Fancy"


def test_the_card_of_a_module_in_a_package_does_not_run_the_package(strangers: Path) -> None:
    assert card(find(STRATEGIES, "nested")).title == "Inner."
    assert "stranger_package" not in sys.modules
    with pytest.raises(PluginError, match="must not run"):
        load(STRATEGIES, "nested")


def test_a_malformed_entry_point_disturbs_nobody(strangers: Path) -> None:
    assert load(STRATEGIES, "fancy").__name__ == "Fancy"
    assert "there is no module" in str(card(find(STRATEGIES, "malformed")).broken)
    with pytest.raises(PluginError, match=r"'malformed' of distribution rival"):
        load(STRATEGIES, "malformed")


def test_a_name_that_two_distributions_claim_needs_to_be_qualified(strangers: Path) -> None:
    with pytest.raises(PluginError, match=r"mmcl:ewc or rival:ewc"):
        load(STRATEGIES, "ewc")
    assert load(STRATEGIES, "mmcl:ewc") is EWC
    assert load(STRATEGIES, "rival:ewc").__name__ == "Fancy"
    assert name_of(STRATEGIES, EWC) == "mmcl:ewc"


def test_a_class_without_an_entry_point_is_named_by_its_module(strangers: Path) -> None:
    found = load(STRATEGIES, "stranger_fancy:Fancy")
    assert found.__name__ == "Fancy"


def test_an_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(PluginError, match="Did you mean 'replay'"):
        load(STRATEGIES, "repaly")
