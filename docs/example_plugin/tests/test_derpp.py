"""What dark experience replay claims, on streams and models that train in a fraction of a second."""

import io
from typing import Any

import mmcl
import pytest
import torch
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

from mmcl_der.derpp import DERPP


class Terms(StrategyPlugin):
    """Notes the loss terms of every step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        self.steps.append({name: float(value.detach()) for name, value in learner.loss_terms.items()})


def train(strategy: DERPP, scenario: Scenario = CIL, experiences: int = 2, **training: Any) -> tuple[Learner, Terms]:
    benchmark, terms = toy_benchmark(scenario), Terms()
    learner = toy_learner(benchmark, {"derpp": strategy, "terms": terms}, **training)
    for experience in benchmark.train[:experiences]:
        learner.train(experience)
    return learner, terms


def test_the_first_step_has_no_memory_and_all_later_ones_have_both_terms() -> None:
    _, terms = train(DERPP(size=8), experiences=1)
    assert set(terms.steps[0]) == {"task"}
    assert all(set(step) == {"task", "derpp/logits", "derpp/labels"} for step in terms.steps[1:])


def test_without_beta_it_is_der() -> None:
    _, terms = train(DERPP(beta=0.0))
    assert set(terms.steps[-1]) == {"task", "derpp/logits"}


def test_a_memory_that_is_not_used_or_has_no_slots_changes_nothing() -> None:
    unused, terms = train(DERPP(size=8, alpha=0.0, beta=0.0))
    assert all(set(step) == {"task"} for step in terms.steps)
    none, _ = train(DERPP(size=0))
    for name, value in weights(unused).items():
        assert torch.equal(weights(none)[name], value)


@pytest.mark.parametrize("scenario", [CIL, TIL])
def test_a_model_that_stays_as_it_is_pays_nothing_for_its_logits_although_classes_arrive(scenario: Scenario) -> None:
    strategy = DERPP(size=100)
    _, terms = train(strategy, scenario, experiences=3, lr=1e-30)
    assert max(step.get("derpp/logits", 0.0) for step in terms.steps) < 1e-8
    assert min(step["derpp/labels"] for step in terms.steps[1:]) > 0.01


def test_logits_are_stored_with_the_classes_that_competed() -> None:
    strategy = DERPP(size=100)
    train(strategy, CIL)
    state = strategy.state
    assert len(state.records) == len(state.logits) == len(state.classes)
    for record, logits, classes in zip(state.records, state.logits, state.classes, strict=True):
        assert classes.tolist() == ([0, 1] if record["task_id"] == 0 else [0, 1, 2, 3])
        assert logits.shape == classes.shape
        assert int(record["target"]) in classes.tolist()
        assert logits.untyped_storage().nbytes() == logits.nbytes


def test_the_reservoir_is_offered_every_sample_of_every_step_and_never_grows_beyond_its_size() -> None:
    strategy = DERPP(size=5)
    train(strategy, experiences=3)
    assert len(strategy.state.records) == len(strategy.state.logits) == 5
    assert strategy.state.offered == 3 * 4 * 4


def test_the_new_batch_keeps_its_own_classes() -> None:
    learner, _ = train(DERPP(), TIL)
    assert learner.label_space.ids == (2, 3)


def test_its_state_is_saved_without_running_code() -> None:
    strategy, buffer = DERPP(size=6), io.BytesIO()
    train(strategy)
    torch.save(strategy.state_dict(), buffer)
    buffer.seek(0)
    restored = DERPP(size=6)
    restored.load_state_dict(torch.load(buffer, weights_only=True))
    assert restored.state.offered == strategy.state.offered
    for mine, other in zip(restored.state.logits, strategy.state.logits, strict=True):
        assert torch.equal(mine, other)


def test_two_strategies_that_build_the_batches_are_refused() -> None:
    with pytest.raises(CompositionError, match="'derpp' and 'replay' both build the training batches"):
        check_composition([DERPP(), mmcl.strategy("replay")], ["derpp", "replay"], Surroundings())


@pytest.mark.parametrize("options", [{"size": -1}, {"alpha": -0.1}, {"beta": -1.0}, {"batch_size": 0}])
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        DERPP(**options)
