"""Configurations: written and read back, overridden, and checked where a value enters."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.regularization.ewc import EWC

from mmcl.arguments import apply_overrides, default_backbone, parse_backbone, parse_plugin
from mmcl.config import PluginConfig, RunConfig, TrainingConfig, read_toml, resolve_training, write_toml
from mmcl.errors import ConfigError
from mmcl.options import instantiate
from mmcl.registry import BENCHMARKS, load

names = st.text("abcdefgh-", min_size=1, max_size=8)
values = st.one_of(
    st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text(max_size=20)
)
plugins = st.builds(PluginConfig, names, st.dictionaries(names.filter(lambda n: n != "name"), values, max_size=3))
configs = st.builds(
    RunConfig,
    benchmark=plugins,
    backbone=plugins,
    strategies=st.lists(plugins, max_size=3).map(tuple),
    training=st.fixed_dictionaries({}, optional={"lr": st.floats(1e-6, 1.0), "iterations": st.integers(1, 9)}),
    seed=st.integers(0, 2**31),
    out=st.none() | names,
    log=st.lists(names, max_size=2).map(tuple),
    probe=st.integers(0, 9),
)


@given(config=configs)
def test_a_configuration_is_read_back_as_it_was_written(config: RunConfig, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "config.toml"
    write_toml(config, path)
    assert read_toml(path) == config


def test_later_layers_win() -> None:
    resolved = resolve_training({"lr": 1e-5, "warmup": 10}, {"lr": 5e-5}, {"warmup": 3})
    assert (resolved.lr, resolved.warmup, resolved.batch_size) == (5e-5, 3, TrainingConfig().batch_size)


def test_a_later_layer_wins_as_a_whole() -> None:
    counted, passes = {"iterations": 100}, {"epochs": 3}
    assert (resolve_training(counted, passes).iterations, resolve_training(counted, passes).epochs) == (None, 3)
    assert resolve_training(passes, counted).iterations == 100
    assert resolve_training(counted, {"iterations": None}).iterations is None
    assert resolve_training(counted, {"iterations": "none", "epochs": 3}).epochs == 3
    with_betas = {"optimizer": "adamw", "betas": (0.9, 0.98)}
    assert resolve_training(with_betas, {"optimizer": "sgd", "momentum": 0.5}).momentum == 0.5
    assert resolve_training(with_betas, {"optimizer": "sgd"}).optimizer == "sgd"
    assert resolve_training({"optimizer": "sgd"}, {"momentum": 0.5}).momentum == 0.5


def test_an_epoch_has_a_step_for_every_batch_the_last_one_included() -> None:
    assert TrainingConfig(epochs=3, batch_size=4).steps(10) == 9
    assert TrainingConfig(iterations=5, batch_size=4).steps(10) == 5


@pytest.mark.parametrize("option", [{"momentum": 0.5}, {"optimizer": "sgd", "betas": (0.9, 0.98)}])
def test_an_option_of_an_optimizer_that_was_not_chosen_is_refused_beside_a_default(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="it has no effect"):
        resolve_training({"optimizer": "adamw"}, option)


def test_an_end_of_a_cosine_is_refused_where_the_rate_is_constant() -> None:
    assert resolve_training({"lr_end": 0.1}).lr_end == 0.1
    with pytest.raises(ConfigError, match=r"training\.lr_end.*no effect: the schedule is 'constant'"):
        resolve_training({"lr_end": 0.1}, {"schedule": "constant"})


def test_milestones_are_refused_where_the_rate_falls_by_itself() -> None:
    assert resolve_training({"milestones": [4, 10]}, {"schedule": "constant"}).milestones == (4, 10)
    with pytest.raises(ConfigError, match=r"training\.milestones.*\[4, 10\] beside the schedule 'cosine'"):
        resolve_training({"milestones": [4, 10]})


def test_an_option_may_fit_an_optimizer_that_only_the_benchmark_names() -> None:
    assert RunConfig(PluginConfig("mtil"), training={"momentum": 0.5}).training == {"momentum": 0.5}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"batchsize": 3}, "Did you mean 'batch_size'"),
        ({"lr": "fast"}, r"training\.lr.*'fast'.*float"),
        ({"lr": -1.0}, r"training\.lr.*above 0"),
        ({"iterations": 2.5}, r"training\.iterations"),
        ({"optimizer": "adam"}, r"'adamw' or 'sgd'"),
        ({"betas": [0.9]}, r"training\.betas"),
        ({"label_smoothing": 1.0}, "not including, 1"),
        ({"batch_size": True}, r"training\.batch_size"),
        ({"lr": float("nan")}, r"training\.lr"),
        ({"weight_decay": float("inf")}, r"training\.weight_decay"),
        ({"betas": [0.9, 1.0]}, r"training\.betas"),
        ({"max_grad_norm": 0.0}, r"training\.max_grad_norm"),
        ({"iterations": 3, "epochs": 1}, "both iterations=3 and epochs=1"),
        ({"iterations": 9, "warmup": 10}, r"training\.warmup: 10 steps in a training of 9.*0 to 9"),
        ({"momentum": 0.9}, r"training\.momentum: it has no effect.*'adamw'.*optimizer=sgd"),
        ({"optimizer": "sgd", "betas": [0.9, 0.99]}, r"training\.betas: it has no effect.*'sgd'"),
    ],
)
def test_wrong_settings_are_refused_with_key_value_and_way_out(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        resolve_training(settings)


def test_strategies_are_parsed_with_typed_options() -> None:
    parsed = parse_plugin('ewc:strength=1e3,samples=none,include=["*visual*","*text*"],fisher=exact')
    expected = {"strength": 1000.0, "samples": None, "include": ["*visual*", "*text*"], "fisher": "exact"}
    assert parsed == PluginConfig("ewc", expected)
    assert parse_plugin("package.module:Class") == PluginConfig("package.module:Class")
    assert parse_plugin("package.module:Class:a=1") == PluginConfig("package.module:Class", {"a": 1})
    strategy = instantiate(EWC, parsed.options, "ewc")
    assert strategy.include == ("*visual*", "*text*")
    assert strategy.samples is None


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("x:path=C:/data,k=1", {"path": "C:/data", "k": 1}),
        ("x:note='a, b',k=1", {"note": "a, b", "k": 1}),
        ('x:note="a, b",k=1', {"note": "a, b", "k": 1}),
        ("x:note=it's,k='1'", {"note": "it's", "k": "1"}),
        ("x:f=[1, 2],g=['a]', 'b']", {"f": [1, 2], "g": "['a]', 'b']"}),
        ("x:f=NaN", {"f": "NaN"}),
    ],
)
def test_values_may_hold_colons_and_quoted_commas(text: str, options: dict[str, Any]) -> None:
    assert parse_plugin(text) == PluginConfig("x", options)


@dataclass
class Plugin:
    size: int
    names: list[str] | None = None


@pytest.mark.parametrize(
    ("options", "sentence"),
    [({}, r"plugin\.size: no value.*Allowed: int"), ({"size": 1, "names": [2]}, r"plugin\.names: the value \[2\]")],
)
def test_missing_options_and_wrong_items_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        instantiate(Plugin, options, "plugin")


def test_a_class_without_fields_is_no_plugin() -> None:
    with pytest.raises(ConfigError, match="builtins:dict has no fields"):
        instantiate(dict, {}, "plugin")


def test_none_survives_the_file(tmp_path: Path) -> None:
    config = RunConfig(PluginConfig("mtil"), strategies=(PluginConfig("ewc", {"samples": None}),))
    write_toml(config, tmp_path / "config.toml")
    (read,) = read_toml(tmp_path / "config.toml").strategies
    assert instantiate(EWC, read.options, "ewc").samples is None


def test_a_backbone_is_a_name_and_its_weights() -> None:
    assert parse_backbone("glyph-clip") == PluginConfig("glyph-clip")
    assert parse_backbone("openclip:ViT-B-16/openai") == PluginConfig("openclip", {"weights": "ViT-B-16/openai"})
    assert parse_backbone("mmcl:openclip:RN50/yfcc") == PluginConfig("mmcl:openclip", {"weights": "RN50/yfcc"})
    assert parse_backbone("mine.towers:Small") == PluginConfig("mine.towers:Small")
    assert parse_backbone("mine.towers:Small:a.pt") == PluginConfig("mine.towers:Small", {"weights": "a.pt"})
    assert parse_backbone("opneclip:RN50/yfcc") == PluginConfig("opneclip", {"weights": "RN50/yfcc"})


def test_data_of_a_disk_are_encoded_as_their_benchmark_says_and_all_else_by_what_ships(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    published = PluginConfig("openclip", {"weights": "ViT-B-16/openai"})
    for name in ("mtil", "own", "nobody.registered:This"):
        assert default_backbone(PluginConfig(name, {"data_root": "photos"})) == published
        assert default_backbone(PluginConfig(name, {"embedded": True})) == PluginConfig("glyph-clip")
    monkeypatch.setattr(load(BENCHMARKS, "p9d"), "usual_backbone", "openclip:RN50/yfcc15m")
    chosen = PluginConfig("openclip", {"weights": "RN50/yfcc15m"})
    assert default_backbone(PluginConfig("p9d", {"data_root": "products"})) == chosen
    assert default_backbone(PluginConfig("mtil", {"download": True})) == published


def test_overrides_reach_every_table() -> None:
    config = RunConfig(PluginConfig("mtil"), strategies=(PluginConfig("ewc"),))
    changed = apply_overrides(config, ["seed=3", "lr=0.1", "training.warmup=2", "benchmark.order=2", "ewc.strength=5"])
    assert changed.seed == 3
    assert changed.training == {"lr": 0.1, "warmup": 2}
    assert changed.benchmark.options == {"order": 2}
    assert changed.strategies[0].options == {"strength": 5}


def test_an_override_replaces_what_the_file_says_about_the_length_of_training() -> None:
    config = RunConfig(PluginConfig("mtil"), training={"iterations": 100, "lr": 0.1})
    assert apply_overrides(config, ["epochs=3"]).training == {"epochs": 3, "lr": 0.1}
    with pytest.raises(ConfigError, match="both iterations=5 and epochs=3"):
        apply_overrides(config, ["epochs=3", "training.iterations=5"])


@pytest.mark.parametrize("override", ["nothing=1", "zscl.temperature=2", "lr", "seed=abc", "seed=1.5", "seed=true"])
def test_an_override_of_nothing_or_with_a_wrong_value_is_refused(override: str) -> None:
    with pytest.raises(ConfigError):
        apply_overrides(RunConfig(PluginConfig("mtil"), strategies=(PluginConfig("ewc"),)), [override])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('seed = "0"', "seed: the value '0'"),
        ('log = "wandb"', "log: the value 'wandb'"),
        ("out = 3", "out: the value 3"),
        ("training = 3", r"\[training\]"),
        ('strategy = "ewc"', r"\[\[strategy\]\]"),
        ("seed = ", "cannot be read"),
    ],
)
def test_a_wrong_kind_of_value_in_a_file_is_refused(line: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(f'{line}\n[benchmark]\nname = "mtil"\n')
    with pytest.raises(ConfigError, match=sentence):
        read_toml(tmp_path / "config.toml")


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_toml(tmp_path / "config.toml")


def test_an_unknown_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[benchmark]\nname = "mtil"\n[trainning]\nlr = 1.0\n')
    with pytest.raises(ConfigError, match="Did you mean 'training'"):
        read_toml(tmp_path / "config.toml")
