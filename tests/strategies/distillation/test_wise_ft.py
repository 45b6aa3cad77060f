"""WiSE-FT's card: what is merged with what, when, and in which proportion."""

import pytest
import torch
from mmcl_strategies.distillation.wise_ft import WiSEFT
from torch import Tensor

from mmcl.errors import ConfigError
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights


class LastWeights(StrategyPlugin):
    """Notes the weights after the last step of an experience."""

    def __init__(self) -> None:
        self.last: list[dict[str, Tensor]] = []

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        self.last.append(weights(learner))


def trained(strategy: WiSEFT, experiences: int = 2) -> tuple[Learner, list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """The learner, the weights at the end of each training, and those handed over, the initial ones first."""
    recorder, benchmark = LastWeights(), toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"wise_ft": strategy, "last": recorder}, lr=1e-2)
    handed_over = [weights(learner)]
    for experience in benchmark.train[:experiences]:
        learner.train(experience)
        handed_over.append(weights(learner))
    return learner, recorder.last, handed_over


@pytest.mark.parametrize("start", ["previous", "initial"])
def test_alpha_weighs_the_fine_tuned_side_of_a_merge_after_the_last_step(start: str) -> None:
    _, last, handed_over = trained(WiSEFT(alpha=0.75, start=start))  # type: ignore[arg-type]
    for index in (0, 1):
        base = handed_over[index if start == "previous" else 0]
        for name, value in handed_over[index + 1].items():
            torch.testing.assert_close(value, 0.25 * base[name] + 0.75 * last[index][name])
    assert any(not torch.equal(last[1][name], handed_over[2][name]) for name in last[1])


def test_merged_weights_start_the_next_experience() -> None:
    begun: list[dict[str, Tensor]] = []

    class Start(StrategyPlugin):
        def before_training_epoch(self, learner: Learner, **_: object) -> None:
            begun.append(weights(learner))

    benchmark = toy_benchmark(TIL)
    learner = toy_learner(benchmark, {"wise_ft": WiSEFT(), "start": Start()}, lr=1e-2)
    learner.train(benchmark.train[0])
    merged = weights(learner)
    learner.train(benchmark.train[1])
    assert all(torch.equal(begun[1][name], merged[name]) for name in merged)


@pytest.mark.parametrize(("alpha", "which"), [(0.0, 0), (1.0, 1)])
def test_the_ends_of_the_line_are_the_two_models(alpha: float, which: int) -> None:
    _, last, handed_over = trained(WiSEFT(alpha=alpha), experiences=1)
    expected = (handed_over[0], last[0])[which]
    assert all(torch.equal(value, expected[name]) for name, value in handed_over[1].items())


def test_an_evaluation_merge_leaves_the_trained_weights_bit_by_bit() -> None:
    benchmark, strategy = toy_benchmark(TIL), WiSEFT(alpha=0.5, when="evaluation")
    seen: list[dict[str, Tensor]] = []

    class Peek(StrategyPlugin):
        def before_eval_iteration(self, learner: Learner, **_: object) -> None:
            seen.append(weights(learner))

    learner = toy_learner(benchmark, {"wise_ft": strategy, "peek": Peek()}, lr=1e-2)
    initial = weights(learner)
    learner.evaluate(benchmark.test[0], Accuracy())
    assert all(torch.equal(seen[0][name], initial[name]) for name in initial)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    before = weights(learner)
    learner.evaluate(benchmark.test[0], Accuracy())
    for name, value in seen[-1].items():
        torch.testing.assert_close(value, (initial[name] + before[name]) / 2)
    assert all(torch.equal(value, before[name]) for name, value in weights(learner).items())
    assert any(not torch.equal(seen[-1][name], before[name]) for name in before)


def test_fisher_information_pulls_each_entry_to_the_side_that_needs_it() -> None:
    strategy = WiSEFT(alpha=0.5, fisher=True, samples=8)
    _, last, handed_over = trained(strategy, experiences=1)
    lower = upper = 0
    for name, merged in handed_over[1].items():
        start, end = handed_over[0][name], last[0][name]
        moved = (end - start).abs() > 1e-5
        share = ((merged - start) / (end - start))[moved]
        assert bool(((share > -1e-2) & (share < 1 + 1e-2)).all())
        lower, upper = lower + int((share < 0.4).sum()), upper + int((share > 0.6).sum())
    assert min(lower, upper) > 100
    assert set(strategy.state.fisher) == {name for name in handed_over[1] if "logit_scale" not in name}


def test_fisher_information_needs_a_model_that_it_belongs_to() -> None:
    with pytest.raises(ConfigError, match=r"wise_ft.fisher.*start = 'previous'"):
        WiSEFT(fisher=True, start="initial")


def test_a_share_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"wise_ft.alpha.*0 to 1"):
        WiSEFT(alpha=1.2)
