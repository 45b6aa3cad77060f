"""A weight of a term multiplies the term and its gradient, and touches nothing else."""

from dataclasses import fields
from typing import Any

import pytest
import torch
from torch import Tensor

from mmcl.learning.compose import Need
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs

from .script import Moment, scripted
from .variants import SMALL, kinds

ADDED = "added"  # to the gradient, after the backward pass
# strategy, option, its value, the terms it multiplies, other options
CASES: tuple[tuple[str, str, float, tuple[str, ...], dict[str, Any]], ...] = (
    ("coda_prompt", "orthogonality", 0.7, ("orthogonality",), {}),
    ("ctp", "cmc_weight", 0.7, ("cmc",), {"queue": 8}),
    ("ctp", "cross_weight", 0.7, ("cross",), {"queue": 8}),
    ("ctp", "same_weight", 0.7, ("same",), {"queue": 8}),
    ("distill", "strength", 0.7, ("logits",), {}),
    ("distill", "strength", 0.7, ("logits",), {"form": "ce", "squared_temperature": True, "reduction": "sum"}),
    ("distill", "strength", 0.7, ("feature",), {"kind": "feature", "teacher": "initial"}),
    ("distill", "strength", 0.7, ("feature",), {"kind": "feature", "teacher": "stored", "samples": 6}),
    ("distill", "strength", 0.7, ("relation",), {"kind": "relation", "form": "gram", "teacher": "momentum"}),
    ("dualprompt", "pull", 0.7, ("pull",), {}),
    ("ewc", "strength", 30.0, ("penalty", ADDED), {}),
    ("ewc_plus_plus", "strength", 30.0, ("penalty", ADDED), {}),
    ("ewch", "strength", 30.0, ("penalty", ADDED), {"prior": 0.1}),
    ("feature_replay", "strength", 0.7, ("drift",), {}),
    ("fwd_prompt", "pull", 0.7, ("pull",), {}),
    ("hat", "sparsity", 0.7, ("sparsity",), {}),
    ("incclip", "strength", 0.7, ("distillation",), {}),
    ("kdr", "strength", 0.7, ("replay",), {}),
    ("l2p", "pull", 0.7, ("pull",), {}),
    ("lwf", "strength", 0.7, ("logits", "transposed"), {}),
    ("lwf", "strength", 0.7, ("logits", "transposed"), {"texts": "frozen", "prompts": "current", "samples": "second"}),
    ("lwf_vr", "strength", 0.7, ("image", "text"), {}),
    ("moe_adapters", "balance", 0.7, ("balance",), {}),
    ("modx", "strength", 0.7, ("image-to-text", "text-to-image"), {}),
    ("online_ewc", "strength", 30.0, ("penalty", ADDED), {}),
    ("online_ewc", "strength", 30.0, ("penalty", ADDED), {"recursion": "mean"}),
    ("online_ewc", "gamma", 0.4, ("penalty", ADDED), {}),
    ("zscl", "consolidation", 0.7, ("consolidation", ADDED), {}),
    ("zscl", "feature_weight", 0.7, ("feature",), {"image_image_weight": 1.0}),
    ("zscl", "image_image_weight", 0.7, ("image-image",), {"feature_weight": 1.0}),
    ("zscl", "image_weight", 0.7, ("image",), {"image_image_weight": 1.0}),
    ("zscl", "text_weight", 0.7, ("text",), {"feature_weight": 1.0}),
)
# real numbers among the options that do not multiply a term, and the test that holds them
ELSEWHERE: dict[str, dict[str, str]] = {
    "test_definitions": {
        "ctp": "temperature momentum share first_momentum",
        "dgr": "ratio temperature",
        "distill": "temperature rate share",
        "ewch": "prior",
        "hat": "s_max",
        "icarl": "temperature",
        "incclip": "temperature margin band rate",
        "kdr": "margin temperature",
        "lwf": "temperature",
        "lwf_vr": "temperature",
        "rapf": "threshold beta margin jitter",
        "zscl": "temperature teacher_share",
    },
    "test_rates": {
        "coda_prompt": "lr",
        "cpe_clip": "lr",
        "ddas": "lr",
        "dgr": "generator_lr",
        "dualprompt": "lr",
        "diki": "lr",
        "fwd_prompt": "lr",
        "hat": "lr gate_lr",
        "icarl": "head_lr",
        "l2p": "lr",
        "lora": "lr",
        "moe_adapters": "lr",
        "progressive": "lr",
        "rapf": "lr",
        "s_iprompts": "lr",
        "s_liprompts": "lr",
    },
    "the files of the strategies": {
        "ddas": "threshold weight_decay",
        "dgr": "variance",
        "diki": "divisor jitter",
        "gaussian_likelihood": "divisor jitter",
        "ewc": "fisher_clip",
        "ewc_plus_plus": "alpha",
        "ewch": "fisher_clip",
        "feature_replay": "shrinkage",
        "fwd_prompt": "energy pretrained_energy",
        "hat": "dropout embedding_limit cosh_limit",
        "online_ewc": "fisher_clip",
        "lora": "alpha dropout",
        "merge": "scale density",
        "moe_adapters": "scale dropout noise_floor",
        "progressive": "alpha dropout",
        "rail": "ridge dual_ridge gamma adapter_weight",
        "rapf": "mix_bias",
        "triplet": "matching interaction stability lr",
        "wise_ft": "alpha floor",
        "zscl": "alpha",
    },
}


def stream(strategy: StrategyPlugin) -> Benchmark:
    """Two experiences as the strategy asks for them."""
    needs = strategy.requirements()
    if Need.PAIRS in needs:
        return toy_pairs(TIL)
    return toy_benchmark(TIL if needs & {Need.TASK_ID, Need.WAY} else CIL, 2)


def moments(name: str, options: dict[str, Any]) -> list[Moment]:
    strategy: Any = kinds()[name](**{**SMALL.get(name, {}), **options})
    return scripted(strategy, stream(strategy))


def assert_multiple(found: Tensor, once: Tensor, factor: float) -> None:
    torch.testing.assert_close(found, factor * once, rtol=2e-3, atol=2e-3 * float(once.abs().max()) + 1e-30)


@pytest.mark.parametrize(("name", "option", "value", "terms", "others"), CASES)
def test_twice_the_weight_is_twice_the_term_and_twice_its_gradient(
    name: str, option: str, value: float, terms: tuple[str, ...], others: dict[str, Any]
) -> None:
    once, twice = (moments(name, {**others, option: factor * value}) for factor in (1, 2))
    seen: set[str] = set()
    for first, second in zip(once, twice, strict=True):
        assert first.terms.keys() == second.terms.keys()
        for term, expected in first.terms.items():
            assert_multiple(second.terms[term], expected, 2 if term in terms else 1)
            seen |= {term} if bool(expected) else set()
        assert first.gradients.keys() == second.gradients.keys()
        for term, gradients in first.gradients.items():
            for parameter, expected in gradients.items():
                assert_multiple(second.gradients[term][parameter], expected, 2 if term in terms else 1)
                seen |= {ADDED} if term == ADDED and bool(expected.any()) else set()
    assert seen >= set(terms)


def test_every_real_number_among_the_options_is_held_by_a_test() -> None:
    held = {(name, option) for name, option, *_ in CASES}
    held |= {(n, option) for table in ELSEWHERE.values() for n, options in table.items() for option in options.split()}
    real = {(n, f.name) for n, kind in kinds().items() for f in fields(kind) if "float" in str(f.type) and f.init}  # type: ignore[arg-type]
    assert real == held


@pytest.mark.parametrize(
    ("name", "option", "part"),
    [
        ("diki", "lr", "addons.diki.prefixes.0"),
        ("hat", "lr", "head.stack.layers.0.layer"),
        ("hat", "gate_lr", "embeddings"),
        ("icarl", "head_lr", "head.linear"),
        ("progressive", "lr", "head.columns"),
        ("coda_prompt", "lr", "addons.coda_prompt"),
        ("cpe_clip", "lr", "addons.cpe_clip"),
        ("dualprompt", "lr", "addons.dualprompt"),
        ("fwd_prompt", "lr", "addons.fwd_prompt"),
        ("l2p", "lr", "addons.l2p"),
        ("lora", "lr", "addons.lora.layer.lora_A.0"),
        ("rapf", "lr", "addons.rapf.layer"),
        ("moe_adapters", "lr", "addons.moe_adapters.gates.0"),
        ("s_iprompts", "lr", "addons.s_iprompts.vectors.0"),
        ("s_liprompts", "lr", "addons.s_liprompts.vectors.0"),
    ],
)
def test_rates_of_new_parameters_are_those_of_the_options(name: str, option: str, part: str) -> None:
    for rate in (0.03, 0.06):
        strategy: Any = kinds()[name](**{**SMALL.get(name, {}), option: rate})
        benchmark = stream(strategy)
        learner = toy_learner(benchmark, {name: strategy}, schedule="constant", warmup=0, iterations=1)
        learner.train(benchmark.train[0])
        of = {id(p): group["lr"] for group in learner.optimizer.param_groups for p in group["params"]}
        new = [p for n, p in learner.model.named_parameters() if part in n and p.requires_grad]
        assert new
        assert {of[id(parameter)] for parameter in new} == {rate}
