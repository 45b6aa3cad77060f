"""DIKI: keys and values of every experience beside the attention of a frozen CLIP, taken as far as a sample is likely.

Paper: Tang, Tian, Li, He, Zhou, Zhao, Li and Jia, "Mind the Interference: Retaining Pre-trained Knowledge in Parameter
Efficient Continual Learning of Vision-Language Models", ECCV 2024, arXiv 2407.05342; code lloongx/DIKI.
Idea: what an experience learns is a branch of attention of its own, which begins as exactly nothing and leaves the
weights that attention gives to tokens alone. At test time the branch counts as much as the image is likely under the
experience, so that images of foreign domains see nearly the CLIP that was pre-trained.
Equations: in the first blocks of both towers, q, k, v being what the frozen projections give and the prefix K_t, V_t
being learned, ``o = softmax(q k^T / sqrt(d) + mask) v + w softmax(q K_t^T / sqrt(d)) V_t`` in every head, then the
frozen output projection. Before experience t: mu_t and S_t, mean and unbiased covariance plus 1e-7 I of the unit
features f of plain CLIP. In training ``w = 1`` and ``L = CE(exp(scale) norm(f(x)) norm(g(names))^T, y)`` over K_t and
V_t. At test time ``l_t = log N(f; mu_t, S_t)``, ``t* = argmax l_t``, ``w = sigmoid(l_t* / 512 - 1)``.
Kept between experiences: K, V, mu and the Cholesky factor of S of all of them, in the model. K begins uniform in +-1,
V as 0.
Deviations: each sample is decided alone by default (``granularity="sample"``, ours), and the class names it is compared
with have its way and its strength; the released branch for that works for one image at a time. The authors' runs decide
once for a batch: the way of most of its images, each image with its own strength, class names with the mean of these
(``granularity="batch"``). Statistics and log-densities are in double precision; of several majorities the smallest id
counts. The weights of the last step are kept, not those of the best epoch on a validation split. Prefixes have a rate
of their own, chosen for AdamW; the authors have 5.0 with SGD. Optimiser and schedule are the training settings'.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import ClassVar

from torch import nn

from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.options import Positive, Rate, Width
from mmcl_strategies.parameter_efficient.required_sites import required_attentions
from mmcl_strategies.parameter_efficient.residual_attention import ResidualAttention
from mmcl_strategies.routing.gaussian import GaussianLikelihood
from mmcl_strategies.routing.votes import Granularity
from mmcl_strategies.shared.old_samples import remark_on_old_samples
from mmcl_strategies.shared.plain_features import plain_features

OWNER = "diki"


@dataclass(kw_only=True, eq=False)
class DIKI(StrategyPlugin):
    """Learns a branch of attention for every experience, and takes it as far as an image is likely to be of it."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES, Need.IMAGE_ENCODER, Need.TEXT_ENCODER})
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    grows: ClassVar[bool] = True

    depth: Width = 8  # blocks of a tower that have prefixes, from the first
    length: Width = 8  # P, keys and values of an experience in a block
    granularity: Granularity = "sample"  # decide for each image, or for a batch as the authors' runs do
    divisor: Positive | None = None  # of a log-density; None: the width of the features, which is the authors' 512
    jitter: Positive = 1e-7  # added to the variances of features
    lr: Rate | None = 0.01  # learning rate of the prefixes; None: that of the training settings

    _branches: list[ResidualAttention] = field(default_factory=list, init=False, repr=False)

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put branches beside attention, and the router, in place."""
        model, backbone = learner.model, learner.model.backbone
        towers = [required_attentions(backbone, tower, OWNER)[: self.depth] for tower in (IMAGE, TEXT)]
        dtype = next(backbone.parameters()).dtype
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        self._branches = []
        for site, attention in chain(*towers):
            self._branches.append(ResidualAttention(self.length, site.width, attention, dtype=dtype))
            model.attach(OWNER, site, self._branches[-1])
        model.router = GaussianLikelihood(
            backbone.towers[IMAGE].width, granularity=self.granularity, divisor=self.divisor, jitter=self.jitter
        )

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Only the prefixes of this experience are trained."""
        for branch in self._branches:
            branch.train_only(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """Prefixes begin at random beside a pre-trained model, and have a rate of their own."""
        if self.lr is None:
            return []
        return [(branch.prefixes[str(learner.current.index)], self.lr) for branch in self._branches]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Where the features of this experience lie. The network is the one that is evaluated: nothing drops out."""
        router = learner.model.router
        assert isinstance(router, GaussianLikelihood)
        features, _labels = plain_features(learner, learner.one_pass(learner.current.samples))
        router.learn(learner.current.index, features)
        learner.model.backbone.eval()
        remark_on_old_samples(learner, OWNER, "prefixes")
