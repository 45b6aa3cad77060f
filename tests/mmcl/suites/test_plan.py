"""A suite's file becomes the cells it describes, and whatever is wrong in it is refused with a hint."""

from pathlib import Path

import pytest

from mmcl.config import PluginConfig, tomllib
from mmcl.errors import ConfigError
from mmcl.suites.plan import Cell, plan, read_suite

FILE = """
[suite]
out = "runs/night"
seeds = [0, 1]

[training]
iterations = 20

[[benchmark]]
name = "mtil"
embedded = true

[[benchmark]]
name = "mtil"
embedded = true
order = 2

[[strategy]]
name = "finetune"

[[strategy]]
label = "both"
compose = [{ name = "zscl" }, { name = "replay", size = 50 }]
"""


def cells(text: str = "", file: str = FILE) -> dict[str, Cell]:
    return {cell.name: cell for cell in plan(tomllib.loads(file + text), "suite night.toml")}


def refused(text: str, match: str, file: str = FILE) -> None:
    with pytest.raises(ConfigError, match=match):
        cells(text, file)


def test_every_benchmark_meets_every_strategy_on_every_seed() -> None:
    names = [f"{b}/{s}/seed{n}" for b in ("mtil", "mtil-order=2") for s in ("finetune", "both") for n in (0, 1)]
    assert list(cells()) == names
    config = cells()["mtil-order=2/both/seed1"].config
    assert config.benchmark == PluginConfig("mtil", {"embedded": True, "order": 2})
    assert config.strategies == (PluginConfig("zscl"), PluginConfig("replay", {"size": 50}))
    assert (config.training, config.seed, config.out) == (
        {"iterations": 20},
        1,
        str(Path("runs/night/mtil-order=2/both/seed1")),
    )


def test_backbones_have_a_part_of_the_name_only_where_the_file_lists_them() -> None:
    two = cells('[[backbone]]\nname = "glyph-clip"\n[[backbone]]\nname = "openclip"\nweights = "ViT-B-32/random"\n')
    assert "mtil/glyph-clip/both/seed0" in two
    assert (
        two["mtil/openclip-weights=ViT-B-32-random/both/seed0"].config.backbone.options["weights"] == "ViT-B-32/random"
    )
    assert cells()["mtil/both/seed0"].config.backbone.name == "glyph-clip"


def test_a_file_without_strategies_is_plain_fine_tuning() -> None:
    (cell,) = cells(file='[suite]\nout = "x"\n[[benchmark]]\nname = "mtil"\n').values()
    assert (cell.name, cell.config.strategies) == ("mtil/finetune/seed0", ())


def test_a_rule_changes_the_cells_it_names_and_no_others() -> None:
    rule = '[[cell]]\nstrategy = "both"\nseed = 1\nbenchmark = "mtil-order=2"\n'
    changed = cells(rule + "set.zscl.temperature = 1.0\nset.epochs = 3\nset.benchmark.experiences = 2\n")
    for name, cell in changed.items():
        config = cell.config
        if name == "mtil-order=2/both/seed1":
            assert config.strategies[0].options == {"temperature": 1.0}
            assert config.training == {"epochs": 3}  # which replaces the iterations of the suite
            assert config.benchmark.options["experiences"] == 2
        else:
            assert cell == cells()[name]


def test_a_rule_by_the_name_of_a_plugin_is_about_all_its_variants_and_can_leave_them_out() -> None:
    left = cells('[[cell]]\nbenchmark = "mtil"\nstrategy = ["both"]\nleave_out = true\n')
    assert list(left) == [f"{b}/finetune/seed{n}" for b in ("mtil", "mtil-order=2") for n in (0, 1)]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("[suit]\n", "unknown key 'suit'.*Did you mean 'suite'"),
        ("[training.more]\n", "training"),
        ('[[cell]]\nstrategy = "bot"\nleave_out = true\n', r"\[\[cell\]\].strategy: 'bot'.*Did you mean 'both'"),
        ('[[cell]]\nstrategy = "both"\n', "changes nothing"),
        ("[[cell]]\nseed = 7\nleave_out = true\n", "no cell is what one of these tables names .seed = 7"),
        ("[[cell]]\nset.seed = 7\n", "a seed, by which cells are called"),
        ("[[cell]]\nset.ewc.strength = 7\n", r"\[\[cell\]\].set ewc.strength: it names nothing"),
        ("[[cell]]\nset.lrr = 7\n", r"\[\[cell\]\].set lrr: it names nothing.*Did you mean 'lr'"),
        ("[[cell]]\nleave_out = true\n", "every cell is left out"),
        ("[[cell]]\nleave_out = 1\n", r"leave_out: the value 1"),
        ("[cell]\nleave_out = true\n", "with double brackets"),
        ('[[strategy]]\nlabel = "both"\nname = "ewc"\n', "2 cells called mtil/both/seed0"),
        ('[[strategy]]\nlabel = "again"\nname = "finetune"\n', "mtil/finetune/seed0 and mtil/again/seed0 are one run"),
        ("[[strategy]]\nstrength = 3\n", "no name"),
        ('[[strategy]]\nname = "ewc"\nlabel = "../.."\n', "a label of 0 letters"),
        (f'[[strategy]]\nname = "ewc"\nlabel = "{"x" * 200}"\n', "a label of 200 letters"),
        ('[[strategy]]\ncompose = "ewc"\n', "double brackets"),
        ('[[strategy]]\ncompose = [{ name = "ewc" }]\nstrength = 3\n', "unknown key 'strength'"),
        ('[[backbone]]\nname = "glyph-clip"\ncompose = []\n[[cell]]\nbackbone = "x"\nleave_out = true\n', "'x', which"),
    ],
)
def test_what_is_wrong_is_refused_with_a_hint(text: str, match: str) -> None:
    refused(text, match)


@pytest.mark.parametrize(
    ("file", "match"),
    [
        ('[[benchmark]]\nname = "mtil"\n', "suite.*out: no value"),
        ('[suite]\nout = "x"\n', r"no \[\[benchmark\]\]"),
        ('[suite]\nout = "x"\nseeds = []\n[[benchmark]]\nname = "mtil"\n', "no seeds"),
        ('[suite]\nout = "x"\nseeds = 3\n[[benchmark]]\nname = "mtil"\n', "seeds: the value 3"),
        ('[suite]\nout = "x"\nseeds = [1, 1]\n[[benchmark]]\nname = "mtil"\n', "2 cells called mtil/finetune/seed1"),
        ('[suite]\nout = "x"\nseed = [1]\n[[benchmark]]\nname = "mtil"\n', "Did you mean 'seeds'"),
        ('[suite]\nout = "x"\n[training]\nlr = -1\n[[benchmark]]\nname = "mtil"\n', "training.lr"),
        ('suite = 3\n[[benchmark]]\nname = "mtil"\n', "a table"),
    ],
)
def test_a_file_that_lacks_something_is_refused(file: str, match: str) -> None:
    refused("", match, file)


def test_a_file_that_is_not_there_or_no_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_suite(tmp_path / "night.toml")
    (tmp_path / "night.toml").write_text("[suite\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_suite(tmp_path / "night.toml")


def test_a_label_is_the_name_of_one_folder() -> None:
    assert "mtil/x-y-z/seed0" in cells('[[strategy]]\nname = "a:B"\nlabel = "../x/y z"\n')
