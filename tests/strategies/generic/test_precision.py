"""Every pass through the towers is made in the chosen precision: of student, teacher, memory and test."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from mmcl.learning.strategy import StrategyPlugin
from mmcl.testing.laboratory.trial import Answers
from mmcl.testing.toy import toy_learner

from .variants import Variant, variants

FISHER = {"ewc", "ewch", "online_ewc", "ewc_plus_plus", "wise_ft"}  # squares of gradients, in full precision
OF_WEIGHTS = {"merge"}  # reads the weights of its teacher, and shows it no batch
HALF = [variant for variant in variants() if variant.name not in FISHER]


@contextmanager
def passes() -> Iterator[list[tuple[bool, bool]]]:
    """Of every layer norm that is used: whether autocast is on; whether it is trained."""
    seen: list[tuple[bool, bool]] = []

    def note(module: nn.Module, _: object) -> None:
        if isinstance(module, nn.LayerNorm):
            seen.append((torch.is_autocast_enabled("cpu"), module.weight.requires_grad))

    handle = register_module_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


@pytest.mark.parametrize("variant", HALF, ids=str)
def test_every_pass_of_training_and_evaluation_is_made_in_half_precision(variant: Variant) -> None:
    benchmark = variant.benchmark()
    strategy: StrategyPlugin = variant.fresh()
    settings = {"iterations": 2, "batch_size": 4, "lr": 1e-4, "precision": "bf16", "device": "cpu"}
    learner = toy_learner(benchmark, {"it": strategy}, **settings)
    with passes() as seen:
        for experience in benchmark.train:
            learner.train(experience)
            learner.evaluate(experience, Answers())
    assert {half for half, _ in seen} == ({True} if seen else set())
    if strategy.teachers and seen and variant.name not in OF_WEIGHTS:
        assert {trained for _, trained in seen} == {True, False}
    assert all(value.isfinite() for value in learner.loss_terms.values())


def test_likelihoods_are_those_of_full_precision() -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        variant = Variant("finetune")
        benchmark = variant.benchmark()
        learner = toy_learner(benchmark, precision=precision, device="cpu")
        learner.begin(benchmark.train[0])
        learner.model.eval()
        with torch.no_grad():
            batch = next(iter(learner.one_pass(benchmark.train[0].samples, 4)))
            learner.consider(batch)
            scores = learner.model(batch.inputs).logits
            found[precision] = (scores, learner.log_likelihood(batch), learner.model(batch.inputs).logits)
    for full, half in zip(found["fp32"], found["bf16"], strict=True):
        assert half is not None
        assert full is not None
    (scores, likelihoods, _), (rough, same, rough_again) = found["fp32"], found["bf16"]
    assert torch.equal(likelihoods, same)
    assert rough.dtype == torch.bfloat16
    assert torch.equal(rough, rough_again)
    torch.testing.assert_close(rough.float(), scores, rtol=0.05, atol=0.05)
