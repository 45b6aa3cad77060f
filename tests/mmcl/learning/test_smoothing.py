"""Label smoothing: spread over the classes that compete in a row, in training and nowhere else."""

import pytest
import torch

from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.objectives.likelihoods import cross_entropy, full_precision
from mmcl.streams.scenario import CIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner


def test_each_row_is_smoothed_over_its_own_classes() -> None:
    logits = torch.randn(2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    allowed = torch.tensor([[True, True, False, False], [False, True, True, True]])
    found = cross_entropy(logits, torch.tensor([1, 3]), allowed, 0.3)
    rows = []
    for row, columns, right in ((0, [0, 1], 1), (1, [1, 2, 3], 2)):
        log_p = logits[row, columns].log_softmax(0)
        rows.append(-0.7 * log_p[right] - 0.3 * log_p.mean())
    torch.testing.assert_close(found, torch.stack(rows).mean())
    everywhere = torch.ones_like(allowed)
    torch.testing.assert_close(
        cross_entropy(logits, torch.tensor([1, 3]), everywhere, 0.3),
        cross_entropy(logits, torch.tensor([1, 3]), None, 0.3),
    )


@pytest.mark.parametrize("scenario", [CIL, TIL], ids=lambda scenario: scenario.name)
def test_the_setting_reaches_the_task_loss_and_not_the_likelihood(scenario: Scenario) -> None:
    compared = []

    class Compare(StrategyPlugin):
        @torch.no_grad()
        def before_backward(self, learner: Learner, **_: object) -> None:
            logits = learner.output.logits
            assert logits is not None
            log_p = logits.log_softmax(1)
            right = log_p[torch.arange(len(log_p)), learner.label_space.columns(learner.batch.targets)]
            expected = (-0.7 * right - 0.3 * log_p.mean(1)).mean()
            torch.testing.assert_close(learner.loss_terms["task"], expected, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(learner.log_likelihood(learner.batch), right, rtol=1e-4, atol=1e-5)
            compared.append(learner.step)

    benchmark = toy_benchmark(scenario, 2)
    learner = toy_learner(benchmark, {"compare": Compare()}, label_smoothing=0.3)
    for experience in benchmark.train:
        learner.train(experience)
    assert len(compared) == 8


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_losses_have_single_precision_at_least(given: torch.dtype, expected: torch.dtype) -> None:
    assert full_precision(torch.ones(2, dtype=given)).dtype == expected
