"""A learner with a miniature model that trains in a fraction of a second, and what its weights are."""

from typing import Any

from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import Backbone
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.benchmark import Benchmark


def toy_learner(
    benchmark: Benchmark,
    strategies: dict[str, StrategyPlugin] | None = None,
    seed: int = 0,
    backbone: Backbone | None = None,
    **training: Any,
) -> Learner:
    """A learner with a random miniature CLIP or another backbone."""
    return Learner(
        model=MultimodalModel(tiny_clip(seed) if backbone is None else backbone),
        scenario=benchmark.scenario,
        strategies=strategies,
        training=training,
        defaults=benchmark.training,
        reference=benchmark.reference,
        objective=benchmark.objective,
        seed=seed,
    )


def weights(learner: Learner) -> dict[str, Tensor]:
    """Copies of all parameters."""
    return {name: parameter.detach().clone() for name, parameter in learner.model.named_parameters()}
