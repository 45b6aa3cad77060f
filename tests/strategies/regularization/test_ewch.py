"""EWCH: one centre, the latest; the Fisher information of all experiences, summed."""

import pytest
import torch
from mmcl_strategies.maths.fisher.fisher_pass import FisherPass
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.regularization.ewch import EWCH

from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

ALL = FisherPass("empirical", 500, 32, None, "none")


def test_in_the_second_experience_it_is_ewc_and_later_it_is_not() -> None:
    benchmark, trained = toy_benchmark(TIL), []
    for strategy in (EWC(strength=500.0), EWCH(strength=500.0)):
        learner, stages = toy_learner(benchmark, {"s": strategy}, optimizer="sgd", lr=1e-3), []
        for experience in benchmark.train:
            learner.train(experience)
            value = learner.gradient_values.get("s/penalty", lambda: torch.zeros(()))
            stages.append((weights(learner), float(value().detach())))
        trained.append(stages)
    for name, value in trained[0][1][0].items():
        torch.testing.assert_close(trained[1][1][0][name], value, rtol=1e-4, atol=1e-6)
    assert trained[1][1][1] == pytest.approx(trained[0][1][1], rel=1e-3)
    assert any(
        not torch.allclose(trained[1][2][0][name], value, rtol=1e-4, atol=1e-6)
        for name, value in trained[0][2][0].items()
    )


def test_the_centre_is_the_latest_solution_and_the_fisher_is_the_sum() -> None:
    benchmark, strategy, expected = toy_benchmark(TIL), EWCH(strength=10.0), {}
    learner = toy_learner(benchmark, {"s": strategy}, lr=1e-2)
    for experience in benchmark.train:
        learner.train(experience)
        learner.experience = experience
        information = ALL(learner, dict(learner.model.shared_parameters()))
        expected = {name: expected.get(name, 0.0) + value for name, value in information.items()}
        for name, value in strategy.state.centre.items():
            assert torch.equal(value, learner.model.get_parameter(name).detach())
        for name, value in strategy.state.fisher.items():
            torch.testing.assert_close(value, expected[name])


def test_the_centre_does_not_move_with_the_weights() -> None:
    benchmark, strategy = toy_benchmark(TIL), EWCH()
    learner = toy_learner(benchmark, {"s": strategy}, lr=1e-2)
    learner.train(benchmark.train[0])
    before = {name: value.clone() for name, value in strategy.state.centre.items()}
    with torch.no_grad():
        for parameter in learner.model.parameters():
            parameter.add_(1.0)
    assert all(torch.equal(before[name], value) for name, value in strategy.state.centre.items())


def test_a_prior_pulls_weights_without_a_fisher() -> None:
    """Rows of unused words have no Fisher; with a prior alone every weight is pulled alike."""
    benchmark = toy_benchmark(TIL)
    pulls = []
    for prior in (0.0, 2.0):
        strategy = EWCH(strength=3.0, prior=prior)
        learner = toy_learner(benchmark, {"s": strategy})
        learner.train(benchmark.train[0])
        strategy.before_training_exp(learner)
        table = learner.model.get_parameter("backbone.clip.token_embedding.weight")
        unused = int(strategy.state.fisher["backbone.clip.token_embedding.weight"].sum(1).argmin())
        with torch.no_grad():
            table[unused] += 0.5
        table.grad = torch.zeros_like(table)
        value = strategy.gradient_terms(learner)["penalty"]()
        pulls.append((table.grad[unused], float(value.detach())))
    assert float(pulls[0][0].abs().max()) == 0.0
    torch.testing.assert_close(pulls[1][0], torch.full_like(pulls[1][0], 3.0 * 2.0 * 0.5))
    assert pulls[1][1] > 0
