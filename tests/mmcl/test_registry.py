"""Entry points: found without importing, broken ones harmless, shared names qualified."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mmcl_strategies.regularization.ewc import EWC
from typer.testing import CliRunner

import mmcl
from mmcl.build import build_plugin
from mmcl.cli import app
from mmcl.config import PluginConfig
from mmcl.errors import ConfigError, PluginError
from mmcl.learning.strategy import StrategyPlugin
from mmcl.registry import (
    BACKBONES,
    BENCHMARKS,
    STRATEGIES,
    card,
    entries,
    find,
    load,
    name_of,
)

POINTS = {
    "stranger": "fancy = stranger_fancy:Fancy\nbroken = stranger_broken:Broken\nmissing = nowhere_at_all:Thing\n"
    "typo = stranger_fancy:Fancier\nsyntax = stranger_syntax:Syntax\nneedy = stranger_needy:Needy\n"
    "plain = stranger_plain:Plain\nfake = stranger_plain:Fake\nfunction = stranger_plain:function\n"
    "elsewhere = stranger_facade:Fancy\ncircle = stranger_circle:Circle\n",
    "rival": "ewc = stranger_fancy:Fancy\nmalformed = no module!\nnothing\nnested = stranger_package.inner:Inner\n",
}
FANCY = """\"\"\"Fancy: a stranger's idea.\"\"\"
from dataclasses import dataclass

from mmcl.learning.strategy import StrategyPlugin


@dataclass(kw_only=True, eq=False)
class Fancy(StrategyPlugin):
    \"\"\"Does nothing.\"\"\"

    strength: float = 2.0  # how much
"""
MODULES = {
    "stranger_fancy": FANCY,
    "stranger_broken": FANCY.replace("Fancy", "Broken") + "\nraise RuntimeError('out of order')\n",
    "stranger_syntax": "class Syntax(:\n",
    "stranger_needy": "import no_such_library\n" + FANCY.replace("Fancy", "Needy"),
    "stranger_plain": "class Plain:\n    pass\n\n\nclass Fake(Plain):\n    pass\n\n\ndef function(): ...\n",
    "stranger_facade": "from stranger_fancy import Fancy\n",
    "stranger_circle": "from stranger_circle import Circle\n",
    "stranger_package/__init__": "raise RuntimeError('must not run for a card')\n",
    "stranger_package/inner": FANCY.replace("Fancy", "Inner"),
}


@pytest.fixture
def strangers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two distributions of other people: one with good and broken plugins, one that claims the name 'ewc'."""
    for name, points in POINTS.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[{STRATEGIES}]\n{points}")
    (tmp_path / "stranger_package").mkdir()
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    entries.cache_clear()
    yield tmp_path
    entries.cache_clear()
    for module in [name for name in sys.modules if name.startswith("stranger_")]:
        sys.modules.pop(module)


def test_own_plugins_come_in_through_entry_points() -> None:
    assert load(STRATEGIES, "ewc") is EWC
    assert find(STRATEGIES, "ewc").distribution == "mmcl"
    assert {entry.name for entry in entries(BACKBONES)} == {"composite", "flava", "glyph-clip", "openclip"}


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
    assert card(find(STRATEGIES, "nested")).title == "Inner: a stranger's idea."
    assert "stranger_package" not in sys.modules
    with pytest.raises(PluginError, match="must not run"):
        load(STRATEGIES, "nested")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("missing", "there is no module nowhere_at_all"),
        ("typo", "module stranger_fancy defines no class Fancier"),
        ("syntax", "SyntaxError"),
        ("needy", "imports no_such_library, which is not installed"),
        ("plain", "class Plain is no StrategyPlugin"),
        ("fake", "class Fake is no StrategyPlugin"),
        ("function", "defines no class function"),
        ("circle", "RecursionError"),
        ("malformed", "there is no module no module!"),
        ("nothing", "the entry point names no module"),
    ],
)
def test_what_the_source_shows_to_be_broken_is_listed_with_the_reason_and_refused(
    name: str, reason: str, strangers: Path
) -> None:
    before = set(sys.modules)
    assert reason in str(card(find(STRATEGIES, name)).broken)
    assert not {module for module in set(sys.modules) - before if module.startswith("stranger_")}
    with pytest.raises(PluginError, match=rf"'{name}' of distribution (stranger|rival): .* Allowed: .*\."):
        load(STRATEGIES, name)
    assert load(STRATEGIES, "fancy").__name__ == "Fancy"
    assert load(STRATEGIES, "mmcl:ewc") is EWC


def test_the_card_of_a_class_that_its_module_takes_from_another_is_found_there(strangers: Path) -> None:
    assert card(find(STRATEGIES, "elsewhere")).title == "Fancy: a stranger's idea."
    assert load(STRATEGIES, "elsewhere").__module__ == "stranger_fancy"


@pytest.mark.parametrize(
    ("group", "path", "sentence"),
    [
        (STRATEGIES, "stranger_plain:Plain", "Plain is no StrategyPlugin"),
        (BENCHMARKS, "stranger_fancy:Fancy", "Fancy is no BenchmarkPlugin"),
        (BACKBONES, "mmcl.models.backbone:BackbonePlugin", "BackbonePlugin lacks build, modalities"),
        (BENCHMARKS, "stranger_plain:function", "is not a class"),
        (STRATEGIES, "no_such_module:Mine", "No module named 'no_such_module'"),
        (STRATEGIES, "stranger_fancy:Outer.Inner", "has no attribute 'Outer'"),
    ],
)
def test_a_class_of_another_kind_is_refused_when_it_is_built(
    group: str, path: str, sentence: str, strangers: Path
) -> None:
    with pytest.raises(PluginError, match=sentence) as refusal:
        build_plugin(group, PluginConfig(path))
    assert refusal.value.allowed
    assert refusal.value.remedy


def test_an_object_that_no_configuration_can_describe_is_refused() -> None:
    class Mine(StrategyPlugin):
        pass

    with pytest.raises(ConfigError, match="Decorate the class"):
        mmcl.run(benchmark="mtil", strategies=[Mine()])


def test_a_name_that_two_distributions_claim_needs_to_be_qualified(strangers: Path) -> None:
    with pytest.raises(PluginError, match=r"mmcl:ewc or rival:ewc"):
        load(STRATEGIES, "ewc")
    assert load(STRATEGIES, "mmcl:ewc") is EWC
    assert load(STRATEGIES, "rival:ewc").__name__ == "Fancy"
    assert name_of(STRATEGIES, EWC) == "mmcl:ewc"


def test_remains_of_an_installation_and_unreadable_lists_disturb_nobody(strangers: Path) -> None:
    for number, content in enumerate((b"", f"[{STRATEGIES}]\nremains = nowhere:Thing\n".encode(), b"\xff\xfe[")):
        folder = strangers / f"~tranger{number}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("")
        (folder / "entry_points.txt").write_bytes(content)
    entries.cache_clear()
    assert find(STRATEGIES, "remains").distribution == "unknown"
    assert load(STRATEGIES, "fancy").__name__ == "Fancy"


def test_both_claims_to_a_name_are_there(strangers: Path) -> None:
    claims = [entry for entry in entries(STRATEGIES) if entry.name == "ewc"]
    assert [entry.qualified for entry in claims] == ["mmcl:ewc", "rival:ewc"]
    assert all(entry.shared for entry in claims)


def test_a_class_without_an_entry_point_is_named_by_its_module(strangers: Path) -> None:
    found = load(STRATEGIES, "stranger_fancy:Fancy")
    assert found.__name__ == "Fancy"


def test_an_unknown_name_answers_with_the_nearest() -> None:
    with pytest.raises(PluginError, match="Did you mean 'replay'"):
        load(STRATEGIES, "repaly")


@pytest.mark.parametrize("place", ["shop", "./absent", "absent.csv"])
def test_a_place_where_a_benchmark_is_expected_answers_with_the_benchmark_of_own_data(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PluginError, match=rf"'mmcl run own --data {place}'.*benchmark\('own', data_root='{place}'\)"):
        load(BENCHMARKS, place)
    result = CliRunner().invoke(app, ["run", f"{place}:by=domain"])
    assert f"mmcl run own --data {place}" in str(result.exception)
