"""What ``explain`` says before anything is loaded is what happens."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from mmcl_benchmarks.mtil.benchmark import MTIL

import mmcl
from mmcl.arguments import parse_plugin
from mmcl.backbones.openclip import GlyphCLIP
from mmcl.cli import main
from mmcl.errors import CompositionError, ConfigError, PluginError
from mmcl.evaluation.metric import Accuracy
from mmcl.explanation import Explanation
from mmcl.learning.compose import Slot
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.timeline import (
    AFTER_EVALUATION,
    AFTER_EXPERIENCE,
    BEFORE_EVALUATION,
    BEFORE_EXPERIENCE,
    EVALUATION_STEP,
    ONCE,
    STEP,
    TIMELINE,
)
from mmcl.streams.scenario import GDIL
from mmcl.testing.toy import toy_benchmark, toy_learner

Calls = list[tuple[str, str]]
ITERATIONS = 2


@dataclass(kw_only=True, eq=False)
class Every(StrategyPlugin):
    """Defines every method of the timeline."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.BATCHES})

    def adapt_model(self, learner: Learner) -> None: ...

    def training_batches(self, learner: Learner) -> Any:
        return learner.batches(learner.current.samples, ITERATIONS)

    def loss_terms(self, learner: Learner) -> dict[str, Any]:
        return {}

    def gradient_terms(self, learner: Learner) -> dict[str, Any]:
        return {}


for _hook in TIMELINE:
    if _hook not in vars(Every):
        setattr(Every, _hook, lambda self, learner, **_: None)


class TermNames(StrategyPlugin):
    """Notes the terms of every step."""

    def __init__(self) -> None:
        self.loss: set[str] = set()
        self.gradient: set[str] = set()

    def after_update(self, learner: Learner, **_: object) -> None:
        self.loss |= set(learner.loss_terms) - {"task"}
        self.gradient |= set(learner.gradient_values)


def watched(strategies: dict[str, StrategyPlugin], monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of all methods that the strategies define, as they come."""
    calls: Calls = []
    names = {id(strategy): name for name, strategy in strategies.items()}

    def noting(method: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: StrategyPlugin, *arguments: Any, **options: Any) -> Any:
            calls.append((method, names[id(self)]))
            return original(self, *arguments, **options)

        return call

    for strategy in strategies.values():
        for method in filter(strategy.overrides, TIMELINE):
            monkeypatch.setattr(type(strategy), method, noting(method, getattr(type(strategy), method)))
    return calls


def foretold(explanation: Explanation, experiences: int, evaluation_batches: int) -> Calls:
    """The calls that follow from an explanation."""

    def during(*methods: str) -> Calls:
        return [(method, name) for method in methods for name in explanation.hooks.get(method, ())]

    training = during(*BEFORE_EXPERIENCE) + during(*STEP) * ITERATIONS + during(*AFTER_EXPERIENCE)
    evaluation = during(*EVALUATION_STEP) * evaluation_batches
    return during(*ONCE) + training * experiences + during(*BEFORE_EVALUATION) + evaluation + during(*AFTER_EVALUATION)


@pytest.mark.parametrize(
    "names", [("replay", "lwf", "ewc", "zscl"), ("zscl", "ewc", "lwf"), ("finetune",)], ids="+".join
)
@pytest.mark.parametrize("every", [False, True])
def test_hooks_are_called_in_the_order_that_explain_says(
    names: tuple[str, ...], every: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategies: dict[str, StrategyPlugin] = {
        name: mmcl.strategy(name) for name in names if name != "replay" or not every
    }
    if every:
        strategies = {f"{Every.__module__}:Every": Every(), **strategies}
    benchmark = toy_benchmark(experiences=2, classes=2, per_class=4)
    explanation = mmcl.explain(list(strategies.values()), benchmark=benchmark)
    calls = watched(strategies, monkeypatch)
    learner = toy_learner(benchmark, strategies, iterations=ITERATIONS, eval_batch_size=4)
    for experience in benchmark.train:
        learner.train(experience)
    learner.evaluate(benchmark.test[0], Accuracy())
    assert calls == foretold(explanation, experiences=2, evaluation_batches=2)


@pytest.mark.parametrize(
    "text",
    ["finetune", "joint", "ewc", "lwf", "replay", "zscl", "zscl:feature_weight=1,image_image_weight=1,consolidation=0"],
)
def test_terms_have_the_names_that_explain_says(text: str) -> None:
    explanation, seen = mmcl.explain([text]), TermNames()
    (name,) = explanation.strategies
    built = mmcl.strategy(name, **parse_plugin(text).options)
    benchmark = toy_benchmark(experiences=2, per_class=4)
    learner = toy_learner(benchmark, {name: built, "seen": seen}, iterations=ITERATIONS)
    for experience in benchmark.train:
        learner.train(experience)
    loss, gradient = explanation.terms.get(name, ((), ()))
    assert seen.loss == {f"{name}/{term}" for term in loss}
    assert seen.gradient == {f"{name}/{term}" for term in gradient}


def test_undeclared_terms_are_said_to_be_undeclared() -> None:
    explanation = mmcl.explain([Every()])
    assert not explanation.terms
    cells = [str(cell) for cell in explanation.table().columns[1].cells]
    assert sum("names not declared" in cell for cell in cells) == 2


def test_teachers_are_counted_once_however_many_read_them() -> None:
    strategies = [mmcl.strategy("lwf"), mmcl.strategy("zscl"), Every()]
    explanation = mmcl.explain(strategies)
    assert explanation.teachers == {"initial": ("zscl",), "previous": ("lwf",)}


def test_slots_state_and_the_order_at_the_end_of_an_experience_are_said() -> None:
    explanation = mmcl.explain(["ewc", "replay", "zscl"])
    assert explanation.slots == {"BATCHES": "replay"}
    assert explanation.hooks["after_training_exp"] == ("zscl", "ewc")
    assert set(explanation.state) == {"ewc", "replay"}
    assert all(comment for kept in explanation.state.values() for comment in kept.values())


def test_a_need_is_met_or_not_or_not_known_yet() -> None:
    met = {need.what: need.met for need in mmcl.explain(["zscl"], benchmark="mtil", backbone="glyph-clip").needs}
    assert set(met.values()) == {True, None}
    assert {need.met for need in mmcl.explain(["zscl"], benchmark=toy_benchmark(), backbone="glyph-clip").needs} == {
        True
    }
    assert {need.met for need in mmcl.explain(["zscl"]).needs} == {None}


def test_a_refusal_is_the_sentence_of_run(tmp_path: Path) -> None:
    for benchmark, strategies in ((toy_benchmark(), ["replay", "joint"]), (toy_benchmark(GDIL), ["ewc"])):
        explanation = mmcl.explain(strategies, benchmark=benchmark, backbone="glyph-clip")
        with pytest.raises(CompositionError) as refusal:
            mmcl.run(benchmark=benchmark, strategies=strategies, out=tmp_path / "run", quiet=True)
        assert str(explanation.refusal) == str(refusal.value)


def test_unknown_names_and_contradictions_are_refused() -> None:
    with pytest.raises(PluginError, match="Did you mean 'ewc'"):
        mmcl.explain(["ewv"])
    with pytest.raises(ConfigError, match="there is no scenario of this name"):
        mmcl.explain(["ewc"], scenario="XIL")
    with pytest.raises(ConfigError, match="the benchmark has another one"):
        mmcl.explain(["ewc"], benchmark="mtil", scenario="CIL")


def test_the_command_prints_it_and_loads_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(GlyphCLIP, "build", None)
    monkeypatch.setattr(MTIL, "build", None)
    monkeypatch.setattr("mmcl.cli.terminal.output.width", 120)
    monkeypatch.setattr(
        sys, "argv", ["mmcl", "explain", "ewc:samples=4", "zscl", "--benchmark", "mtil", "--backbone", "glyph-clip"]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (0, None)
    printed = capsys.readouterr().out
    for fact in ("gradient_terms: ewc, zscl", "zscl/image", "initial: read by zscl", "zscl, ewc", "F_sum"):
        assert fact in printed


def test_the_command_refuses_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["mmcl", "explain", "ewc", "--scenario", "GDIL", "--backbone", "openclip"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: scenario 'GDIL': it needs a backbone that writes text")
