"""Online EWC: the old Fisher decays, the new one does not, and the decay counts again in the loss."""

from dataclasses import replace

import pytest
import torch
from mmcl_strategies.maths.fisher.fisher_pass import FisherPass
from mmcl_strategies.regularization.ewch import EWCH
from mmcl_strategies.regularization.online_ewc import OnlineEWC
from torch import Tensor

from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.models import ImageTower

ALL = FisherPass("empirical", 500, 32, None, "none")
Named = dict[str, Tensor]


def trained(strategy: StrategyPlugin | None, benchmark: Benchmark | None = None) -> Named:
    benchmark = benchmark or toy_benchmark(TIL)
    learner = toy_learner(benchmark, {} if strategy is None else {"s": strategy})
    for experience in benchmark.train:
        learner.train(experience)
    return weights(learner)


def equal(first: Named, second: Named) -> bool:
    return all(torch.equal(first[name], value) for name, value in second.items())


def states(strategy: OnlineEWC, benchmark: Benchmark) -> list[tuple[Named, Named]]:
    """After each experience: what the strategy remembers, and the Fisher of that experience alone."""
    learner, found = toy_learner(benchmark, {"s": strategy}, lr=1e-2), []
    for experience in benchmark.train:
        learner.train(experience)
        learner.experience = experience
        found.append((dict(strategy.state.fisher), ALL(learner, dict(learner.model.shared_parameters()))))
    return found


def test_without_decay_it_is_ewch() -> None:
    assert equal(trained(OnlineEWC(strength=500.0, gamma=1.0)), trained(EWCH(strength=500.0)))


def test_with_full_decay_the_papers_form_has_no_penalty() -> None:
    assert equal(trained(OnlineEWC(strength=1e6, gamma=0.0)), trained(None))


def test_with_full_decay_the_plain_form_penalises_by_the_last_fisher_only() -> None:
    strategy = OnlineEWC(strength=500.0, gamma=0.0, decay_in_loss=False)
    for remembered, own in states(strategy, toy_benchmark(TIL)):
        for name, value in remembered.items():
            torch.testing.assert_close(value, own[name])
    assert not equal(trained(OnlineEWC(strength=500.0, gamma=0.0, decay_in_loss=False)), trained(None))


def test_the_plain_form_is_the_papers_with_a_strength_divided_by_gamma() -> None:
    paper = trained(OnlineEWC(strength=500.0 / 0.5, gamma=0.5))
    assert equal(trained(OnlineEWC(strength=500.0, gamma=0.5, decay_in_loss=False)), paper)
    assert not equal(trained(OnlineEWC(strength=500.0, gamma=0.5)), paper)


def test_the_old_fisher_decays_and_the_new_one_does_not() -> None:
    expected: Named = {}
    for remembered, own in states(OnlineEWC(gamma=0.6, strength=10.0), toy_benchmark(TIL)):
        expected = {name: value + 0.6 * expected.get(name, 0.0) for name, value in own.items()}
        for name, value in remembered.items():
            torch.testing.assert_close(value, expected[name])


def test_the_centre_moves_to_the_latest_solution() -> None:
    benchmark, strategy = toy_benchmark(TIL), OnlineEWC()
    learner = toy_learner(benchmark, {"s": strategy}, lr=1e-2)
    for experience in benchmark.train:
        learner.train(experience)
        assert equal(weights(learner), strategy.state.centre)


def test_the_mean_gives_every_experience_the_same_weight() -> None:
    found = states(OnlineEWC(recursion="mean", strength=10.0), toy_benchmark(TIL))
    for count, (remembered, _) in enumerate(found, start=1):
        for name, value in remembered.items():
            torch.testing.assert_close(value, sum(own[name] for _, own in found[:count]) / count)


def test_class_weighting_follows_the_share_of_old_classes() -> None:
    expected: Named = {}
    for step, (remembered, own) in enumerate(states(OnlineEWC(recursion="class_weighted"), toy_benchmark(CIL))):
        share = 2 * step / (2 * step + 2)
        expected = {name: share * expected.get(name, 0.0) + (1 - share) * value for name, value in own.items()}
        for name, value in remembered.items():
            torch.testing.assert_close(value, expected[name])


def test_a_head_that_grew_keeps_the_new_fisher_of_its_new_rows() -> None:
    benchmark, strategy = toy_benchmark(CIL), OnlineEWC(recursion="class_weighted", fisher_clip=1e-4)
    learner = toy_learner(benchmark, {"s": strategy}, backbone=ImageTower())
    for step, experience in enumerate(benchmark.train):
        old = strategy.state.fisher.get("head.weight", torch.zeros(0, learner.model.backbone.width))
        learner.train(experience)
        learner.experience = experience
        own = replace(ALL, clip=1e-4)(learner, dict(learner.model.named_parameters()))["head.weight"]
        remembered, share = strategy.state.fisher["head.weight"], step / (step + 1)
        assert own.any()
        torch.testing.assert_close(remembered[len(old) :], own[len(old) :])
        torch.testing.assert_close(remembered[: len(old)], share * old + (1 - share) * own[: len(old)])


def test_the_fisher_may_run_over_all_classes_seen_where_training_has_its_own_alone() -> None:
    """As PyCIL trains on the columns of the new classes and takes the Fisher over all of them."""
    fishers = {}
    for over_seen, own_classes in ((False, True), (True, True), (False, False)):
        benchmark, strategy = toy_benchmark(CIL, 2), OnlineEWC(fisher_over_seen=over_seen, gamma=0.0)
        learner = toy_learner(benchmark, {"s": strategy}, backbone=ImageTower(), own_classes=own_classes, lr=1e-12)
        for experience in benchmark.train:
            learner.train(experience)
        fishers[over_seen, own_classes] = strategy.state.fisher["head.weight"]
    assert not fishers[False, True][:2].any()
    torch.testing.assert_close(fishers[True, True], fishers[False, False])
    assert fishers[True, True][:2].any()


@pytest.mark.parametrize("recursion", ["mean", "class_weighted"])
def test_recursions_that_average_know_no_decay_in_the_loss(recursion: str) -> None:
    first, second = (OnlineEWC(strength=500.0, recursion=recursion, gamma=gamma) for gamma in (0.2, 0.9))
    assert equal(trained(first), trained(second))


def test_every_experience_counts_alike_when_normalised() -> None:
    benchmark, strategy = toy_benchmark(TIL), OnlineEWC(normalise="l2", gamma=1.0)
    learner, sums = toy_learner(benchmark, {"s": strategy}), []
    for experience in benchmark.train:
        before = {name: value.clone() for name, value in strategy.state.fisher.items()}
        learner.train(experience)
        added = [value - before.get(name, 0.0) for name, value in strategy.state.fisher.items()]
        sums.append(float(torch.stack([value.square().sum() for value in added]).sum().sqrt()))
    assert sums == pytest.approx([1.0] * 3, rel=1e-3)
