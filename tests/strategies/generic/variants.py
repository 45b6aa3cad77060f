"""Variants: every registered strategy as it is by default, and under options that take other paths."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from mmcl.learning.compose import Need
from mmcl.learning.strategy import StrategyPlugin
from mmcl.registry import STRATEGIES, entries
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, TIL

from .streams import class_stream, pair_stream

SMALL: Mapping[str, dict[str, Any]] = {  # what would take long by default, or would do nothing in a stream so short
    "coda_prompt": {"components": 2, "length": 4},
    "ddas": {"weights": "glyph", "code": 4, "iterations": 3, "reference_iterations": 3},
    "dgr": {"latent": 4, "width": 4, "generator_steps": 2},
    "diki": {"depth": 1, "length": 2},
    "distill": {"first": True},
    "dualprompt": {"general_length": 2, "expert_length": 2},
    "fwd_prompt": {"size": 4, "length": 2, "samples": 6},
    "hat": {"hidden": (6,), "channels": (4, 4)},
    "incclip": {"size": 6, "steps": 5, "length": 3},
    "icarl": {"size": 8},
    "kdr": {"samples": 6, "per_experience": 4},
    "l2p": {"size": 4, "length": 2, "top_k": 2},
    "lwf_vr": {"sentences": 5, "length": 3},
    "lora": {"rank": 2},
    "moe_adapters": {"experts": 4, "bottleneck": 4, "dropout": 0.0},
    "progressive": {"hidden": (6,)},
    "rail": {"expansion": 16},
    "rapf": {"beta": 0.3, "threshold": 2.1},
    "replay": {"size": 8},
    "s_iprompts": {"prompt_length": 2, "clusters": 2, "augmented_keys": False},
    "s_liprompts": {"prompt_length": 2, "context": 2, "clusters": 2, "augmented_keys": False},
    "zscl": {"average_every": 2},
}
ELSEWHERE = {"triplet"}  # no tower of these tests reads image and text; its own file holds what they would see
FURTHER: Mapping[str, tuple[dict[str, Any], ...]] = {
    "coda_prompt": ({"start": "orthogonal"},),
    "dgr": ({"targets": "soft"}, {"ratio": 0.3}),
    "distill": (
        {"kind": "feature"},
        {"kind": "feature", "teacher": "stored", "samples": 6, "per_experience": 3},
        {"kind": "relation", "form": "gram", "teacher": "momentum"},
        {"kind": "relation", "form": "cross", "teacher": "interpolated"},
        {"kind": "logits", "form": "ce", "teacher": "compatible", "classes": "all"},
    ),
    "dualprompt": ({"batchwise": True},),
    "ewc": ({"fisher": "exact"}, {"fisher": "sampled"}, {"fisher": "batched"}, {"samples": 4}),
    "feature_replay": ({"density": "mog"}, {"density": "vae", "latent": 2, "vae_steps": 5}),
    "fwd_prompt": ({"projection": "residual"}, {"projection": "pretrained"}),
    "hat": ({"network": "conv"},),
    "icarl": ({"loss": "ce_kd"}, {"flip": True}, {"exemplar_feature": "image"}, {"decision": "network"}),
    "l2p": ({"batchwise": True},),
    "lwf": ({"samples": "second"}, {"prompts": "current", "texts": "frozen", "samples": "second"}),
    "rail": ({"form": "dual"},),
    "rapf": ({"shrinkage": True},),
    "lora": ({"adapters": "merged"}, {"adapters": "shared"}),
    "merge": ({"method": "ties", "start": "initial"}, {"method": "task_arithmetic", "start": "merged"}),
    "replay": ({"keep": "references"}, {"selection": "class_balanced"}),
    "wise_ft": ({"fisher": True, "samples": 4}, {"when": "evaluation"}, {"start": "initial"}),
    "zscl": (
        {"teacher": "interpolated", "image_image_weight": 1.0, "feature_weight": 1.0},
        {"batch_size": 2, "average_every": 0, "consolidation": 0.0},
    ),
}


@dataclass(frozen=True)
class Variant:
    """A registered strategy with options."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __str__(self) -> str:
        return ",".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])

    def fresh(self, **options: Any) -> Any:
        """A new object, small enough for a test; these options win."""
        return kinds()[self.name](**{**SMALL.get(self.name, {}), **self.options, **options})

    def benchmark(self, experiences: int = 2) -> Benchmark:
        """The stream it asks for."""
        needs = self.fresh().requirements()
        told = Need.TASK_ID in needs
        if Need.PAIRS in needs:
            return pair_stream(TIL, experiences)
        return class_stream(TIL if told else CIL, experiences)


def kinds() -> dict[str, type[StrategyPlugin]]:
    """Every strategy that this distribution registers."""
    return {
        entry.name: getattr(import_module(entry.module), entry.attribute)
        for entry in entries(STRATEGIES)
        if entry.distribution == "mmcl"
    }


def variants() -> Iterator[Variant]:
    """All of them, by name."""
    for name in sorted(kinds().keys() - ELSEWHERE):
        yield Variant(name)
        for options in FURTHER.get(name, ()):
            yield Variant(name, options)
