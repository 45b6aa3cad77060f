"""gaussian_likelihood: how likely plain features are under each experience says whose additions a sample takes, and how
much of them.

Paper: Tang, Tian, Li, He, Zhou, Zhao, Li and Jia, "Mind the Interference: Retaining Pre-trained Knowledge in Parameter
Efficient Continual Learning of Vision-Language Models", ECCV 2024; code lloongx/DIKI, whose calibration it is, without
the attention.
Idea: a sample that is likely to be of an experience takes what was added for it; one that is unlikely to be of any
takes little, and is seen by nearly the pre-trained model.
Equation: before experience t mu_t and S_t, mean and unbiased covariance plus ``jitter I`` of the unit features f; at
test time ``l_t = log N(f; mu_t, S_t)``, ``t* = argmax l_t``, strength ``sigmoid(l_t* / D - 1)``.
Kept between experiences: mu and the Cholesky factor of S of all of them, in the model's router.
It chooses ways and adds nothing to the model: compose it with a strategy whose additions take ways, such as
``moe_adapters``. Where the task id is known nobody asks it.
Deviations: those of ``diki``, which has this router of its own.
"""

from dataclasses import dataclass
from typing import ClassVar

from mmcl.data.modality import IMAGE
from mmcl.learning.compose import Need, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.options import Positive
from mmcl_strategies.routing.gaussian import GaussianLikelihood
from mmcl_strategies.routing.votes import Granularity
from mmcl_strategies.shared.plain_features import plain_features


@dataclass(kw_only=True, eq=False)
class LikelihoodRouting(StrategyPlugin):
    """Keeps a Gaussian of each experience and lets the likeliest choose the way of test samples, and its strength."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER})
    grows: ClassVar[bool] = True

    granularity: Granularity = "sample"  # decide for each image, or for a batch as DIKI's runs do
    divisor: Positive | None = None  # of a log-density; None: the width of the features
    jitter: Positive = 1e-7  # added to the variances of features

    def adapt_model(self, learner: Learner) -> None:
        """Put the router into the model."""
        learner.model.router = GaussianLikelihood(
            learner.model.backbone.towers[IMAGE].width,
            granularity=self.granularity,
            divisor=self.divisor,
            jitter=self.jitter,
        )

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Where the features of this experience lie."""
        router = learner.model.router
        assert isinstance(router, GaussianLikelihood)
        features, _labels = plain_features(learner, learner.one_pass(learner.current.samples))
        router.learn(learner.current.index, features)
