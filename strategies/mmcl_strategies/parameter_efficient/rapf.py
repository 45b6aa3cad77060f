"""RAPF: a linear layer behind a frozen image tower, Gaussian replay of features, and fusion along old directions.

Paper: Huang, Cao, Lu and Liu, "Class-Incremental Learning with CLIP: Adaptive Representation Adjustment and Parameter
Fusion", ECCV 2024, arXiv 2407.14143; code linlany/RAPF.
Idea: one layer adapts the image features of CLIP to all classes. Old classes are replayed as Gaussian samples of frozen
features; those whose names are close to a new class's are pushed away from it; and after an experience the old and the
new layer are fused, so that what hardly changed along an old direction changes less.
Equations: image path ``z(W f(x))`` with f of any length, texts frozen. For every batch, ``int(10 beta)`` samples of
each of a few old classes, in turn from a list that is shuffled every epoch; the cross-entropy is one mean over real and
drawn rows, over all classes seen. For every pair of an old class i and a new class j, ``||t_i - t_j|| < threshold``,
``int(20 beta)`` samples x of i, and ``hinge = mean relu(margin - <z(Wx), t_i> + <z(Wx), t_j>)``, one mean over all.
After training ``mu, S`` of each class: mean and unbiased covariance + jitter I of ``f(x)`` without W. ``shrinkage``:
samples have ``S + mean(diag) I + mean(off-diag) (1 - I)``. From the second experience on, with ``W_old = U S V^T`` from
its start and ``D = U^T (W - W_old)``: ``W <- W_old + U (min(|D| / max|D| + b, 1) * D)``.
Kept between experiences: W in the model; mu and S of every class, in double precision.
Rows on the plain way (``Route``) are the pre-trained model's bit for bit, and so are all before the first experience.
Deviations: training images are augmented as the backbone does it, where the authors show each image as it is; the
encoder is not in half precision. Where nothing has changed (``max|D| = 0``), W stays. Ours: a class that returns, as
all do in DIL, has a Gaussian for each experience and is not new; where only the classes of a sample's own experience
compete (TIL), those of the drawn class do, and there are no pairs. Optimiser, epochs and schedule are the training
settings'.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.modality import IMAGE
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.heads import TextHead
from mmcl.objectives.likelihoods import full_precision
from mmcl.options import NonNegative, Positive, Rate, Share, Width, check_options
from mmcl_strategies.maths.gaussian import samples, statistics, widened_by_means
from mmcl_strategies.parameter_efficient.confusable import hard_pairs, hinge, text_distances
from mmcl_strategies.parameter_efficient.linear_adapter import LinearAdapter
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.parameter_efficient.singular_fusion import singularly_fused
from mmcl_strategies.routing.latest import Latest
from mmcl_strategies.shared.choices import require
from mmcl_strategies.shared.drawn_features import Drawn, loss_of_drawn
from mmcl_strategies.shared.fixed_features import require_fixed_features
from mmcl_strategies.shared.plain_features import plain_features

OWNER = "rapf"
ROWS, PAIR_ROWS = 10, 20  # samples of a class and of a pair, in units of beta

Shuffled = Callable[[Learner, int, int], Sequence[int]]
Noise = Callable[[Learner, str, int, int], Float[Tensor, "rows width"]]


def shuffled(learner: Learner, epoch: int, count: int) -> Sequence[int]:
    """The Gaussians in the order in which an epoch replays them."""
    return torch.randperm(count, generator=learner.generator(OWNER, "order", epoch)).tolist()


def noise(learner: Learner, purpose: str, rows: int, width: int) -> Float[Tensor, "{rows} {width}"]:
    """Standard normal rows of the current step, on the CPU, so that they are the same on every device."""
    return torch.randn(rows, width, generator=learner.generator(OWNER, purpose, learner.step))


@dataclass
class RAPFState:
    """A Gaussian for each class of each experience, in the order of arrival."""

    task_ids: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)  # class ids
    means: list[Tensor] = field(default_factory=list)  # float64[D]
    covariances: list[Tensor] = field(default_factory=list)  # float64[D, D]


@dataclass(kw_only=True, eq=False)
class RAPF(StrategyPlugin):
    """Trains a linear layer on frozen image features, with old classes as Gaussians, and fuses it with the old one."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEAD, Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.CLASSES, Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.IMAGES_ALONE}
    )
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    fixed_features: ClassVar[bool] = True
    rewrites_weights: ClassVar[bool] = True
    grows: ClassVar[bool] = True  # a Gaussian for each class

    threshold: NonNegative = 0.55  # of the distance of two names; below it an old and a new class are a pair
    mix_bias: Share = 0.6  # b, the least share of a change that is taken over
    beta: Positive = 2.0  # 10 beta samples of an old class, 20 beta of a pair
    old_classes: Width = 2  # that a batch replays
    shrinkage: bool = False  # sample from covariances that are widened by their means
    margin: NonNegative = 0.1  # of the hinge, between cosines
    jitter: Positive = 1e-4  # added to the variances of features
    lr: Rate | None = 1e-3  # learning rate of W; None: that of the training settings

    state: RAPFState = field(default_factory=RAPFState, init=False, repr=False)
    _adapters: list[LinearAdapter] = field(default_factory=list, init=False, repr=False)
    _shuffled: Shuffled = field(default_factory=lambda: shuffled, init=False, repr=False)
    _noise: Noise = field(default_factory=lambda: noise, init=False, repr=False)
    _means: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _factors: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _pairs: list[tuple[int, int]] = field(default_factory=list, init=False, repr=False)
    _names: tuple[Tensor, Tensor] | None = field(default=None, init=False, repr=False)
    _before: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options, and that a class is replayed by something."""
        check_options(self, OWNER)
        require(ROWS * self.beta >= 1, f"{OWNER}.beta", self.beta, "0.1 or more: 10 beta samples of a class are drawn")

    def terms(self) -> Terms:
        """The hinge, where there are pairs."""
        return Terms(loss=("hinge",) if self.threshold else ())

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put the layer behind the image tower, and a head that compares with names in place."""
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        (site,) = required_sites(backbone, IMAGE, "pooled", OWNER)
        adapter = LinearAdapter(site.width, next(backbone.parameters()).dtype)
        model.attach(OWNER, site, adapter)
        model.head = TextHead(backbone)
        if model.router is None:
            model.router = Latest()
        self._adapters.append(adapter)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for the layer."""
        return [] if self.lr is None else [(self._weight, self.lr)]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The layer as it was, factors of the old Gaussians, and the pairs. What is frozen is in evaluation mode."""
        require_fixed_features(learner, OWNER, own=[self._weight])
        learner.model.backbone.eval()
        self._before = self._weight.detach().clone() if len(learner.seen) > 1 else None
        self._means = [mean.to(self._weight) for mean in self.state.means]
        self._factors = [self._factor(covariance.cpu()).to(self._weight) for covariance in self.state.covariances]
        self._find_pairs(learner)

    def objective(self, learner: Learner) -> Tensor:
        """One mean over the rows of the batch and those drawn from old classes."""
        real = learner.criterion()
        if not self._means:
            return real
        replayed = self._turn(learner)
        features = self._drawn(learner, "replay", replayed, int(ROWS * self.beta))
        present = torch.ones(len(features), dtype=torch.bool, device=learner.device)
        targets, task_ids = (
            torch.tensor([ids[k] for k in replayed], device=learner.device).repeat_interleave(int(ROWS * self.beta))
            for ids in (self.state.targets, self.state.task_ids)
        )
        drawn = Drawn({IMAGE: features}, {IMAGE: present}, targets, task_ids)
        of_drawn = loss_of_drawn(learner, drawn, sorted(set(self.state.task_ids)))
        rows = len(learner.batch.targets)
        return (rows * real + len(features) * of_drawn) / (rows + len(features))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The hinge of all pairs, if there are any."""
        if self._names is None:
            return {}
        rows = int(PAIR_ROWS * self.beta)
        adapted = full_precision(self._drawn(learner, "hinge", [k for k, _ in self._pairs], rows))
        own, other = (text.repeat_interleave(rows, dim=0) for text in self._names)
        return {"hinge": hinge(functional.normalize(adapted, dim=1), own, other, self.margin)}

    @torch.no_grad()
    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Gaussians of what the layer was given, and from the second experience on its fusion with the old one."""
        state, experience = self.state, learner.current
        features, labels = plain_features(learner, learner.one_pass(experience.samples))
        features, labels = full_precision(features).cpu().double(), labels.cpu()
        for id_ in labels.unique().tolist():
            mean, covariance = statistics(features[labels == id_], self.jitter)
            state.task_ids.append(experience.index)
            state.targets.append(id_)
            state.means.append(mean)
            state.covariances.append(covariance)
        if self._before is not None:
            self._weight.copy_(singularly_fused(self._before, self._weight, self.mix_bias))

    @property
    def _adapter(self) -> LinearAdapter:
        (adapter,) = self._adapters
        return adapter

    @property
    def _weight(self) -> nn.Parameter:
        return self._adapter.layer.weight  # type: ignore[return-value]

    def _factor(self, covariance: Tensor) -> Tensor:
        factor: Tensor = torch.linalg.cholesky(widened_by_means(covariance) if self.shrinkage else covariance)
        return factor

    @torch.no_grad()
    def _find_pairs(self, learner: Learner) -> None:
        """Old Gaussians and new classes whose names are close, and the text features of both sides."""
        self._pairs, self._names, old = [], None, self.state.targets
        new = [id_ for id_ in learner.current.label_space.ids if id_ not in set(old)]
        if learner.own_classes or not old or not new:
            return
        space, _ = learner.classes_of(met.index for met in learner.seen)
        head = learner.model.head
        assert isinstance(head, TextHead)
        with learner.model.computing():
            text = full_precision(head.text_features(space))
        names_old, names_new = (text[space.columns(torch.tensor(ids)).to(text.device)] for ids in (old, new))
        found = hard_pairs(text_distances(names_old, names_new), self.threshold)
        if len(found):
            self._pairs = [(k, new[j]) for k, j in found.tolist()]
            self._names = names_old[found[:, 0]], names_new[found[:, 1]]

    def _turn(self, learner: Learner) -> list[int]:
        """The Gaussians whose turn it is in this batch."""
        count = len(self._means)
        epoch, batch = divmod(learner.step, learner.learning_rate.epoch)
        order = self._shuffled(learner, epoch, count)
        return [order[(self.old_classes * batch + k) % count] for k in range(self.old_classes)]

    def _drawn(self, learner: Learner, purpose: str, which: Sequence[int], rows: int) -> Tensor:
        """Adapted samples ``[n * rows, D]`` of n Gaussians, one after the other."""
        like = self._means[0]
        normal = self._noise(learner, purpose, len(which) * rows, len(like)).to(like)
        drawn = [samples(self._means[k], self._factors[k], z) for k, z in zip(which, normal.split(rows), strict=True)]
        with learner.model.computing():
            adapted: Tensor = self._adapter.adapted(torch.cat(drawn))
        return adapted
