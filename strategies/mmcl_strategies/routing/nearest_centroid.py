"""nearest_centroid: the nearest K-means centre of plain features says which experience's additions a sample takes.

Paper: Wang, Huang and Hong, "S-Prompts Learning with Pre-trained Transformers: An Occam's Razor for Domain Incremental
Learning", NeurIPS 2022; code iamwangyabin/S-Prompts, whose way to find domains it is, without the prompts.
Idea: images of one experience lie together in the features of the pre-trained model, whatever was added to it.
Equation: after experience s ``M_s``, K centres of the unit features; at test time
``s* = argmin_s min_k || norm(f(x)) - M_s,k ||_1``.
Kept between experiences: M of all of them, in the model's router.
It chooses ways and adds nothing to the model: compose it with a strategy whose additions take ways, such as
``moe_adapters``. Where the task id is known nobody asks it.
Deviations: centres are those of images as they are, where the authors augment them. A batch as a whole goes where most
of its rows would go with ``granularity="batch"``, which is ours.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from mmcl.data.modality import IMAGE
from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.options import Width
from mmcl_strategies.routing.centroids import Metric, NearestCentroid
from mmcl_strategies.routing.votes import Granularity
from mmcl_strategies.shared.plain_features import plain_features


@dataclass(kw_only=True, eq=False)
class CentroidRouting(StrategyPlugin):
    """Finds centres after each experience and lets the nearest choose the way of test samples."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER})
    grows: ClassVar[bool] = True

    clusters: Width = 5  # K, centres of an experience
    metric: Metric = "l1"  # of the distance to a centre: l1 or euclidean
    restarts: Width = 10  # of K-means
    granularity: Granularity = "sample"  # decide for each image, or for a batch as a whole

    def adapt_model(self, learner: Learner) -> None:
        """Put the router into the model."""
        backbone = learner.model.backbone
        learner.model.router = NearestCentroid(
            backbone.towers[IMAGE].width,
            clusters=self.clusters,
            metric=self.metric,
            granularity=self.granularity,
            dtype=next(backbone.parameters()).dtype,
        )

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """The centres of this experience."""
        router = learner.model.router
        assert isinstance(router, NearestCentroid)
        features, _labels = plain_features(learner, learner.one_pass(learner.current.samples))
        seed = int(torch.randint(2**31, (), generator=learner.generator("nearest_centroid")))
        router.learn(learner.current.index, features, seed=seed, restarts=self.restarts)
