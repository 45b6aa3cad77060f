"""S-iPrompts: image prompts and a linear head of every domain, each learned alone; a sample takes those of the nearest.

Paper: Wang, Huang and Hong, "S-Prompts Learning with Pre-trained Transformers: An Occam's Razor for Domain Incremental
Learning", NeurIPS 2022; code iamwangyabin/S-Prompts.
Idea: the image encoder is frozen, and every domain has prompts and a head of its own, which no later one touches. So
nothing is forgotten that was learned, and all rests on finding the domain of a test sample, by K-means centres of
frozen features. No text is read: where class names say little, or there is no text tower, this is the form to take.
Equation: image tokens ``[class + position, P_s, patches + positions]`` before the first layer norm, at the input only;
in training of domain s ``L = CE(H_s f(x; P_s) + b_s, y)`` over P_s, H_s and b_s. Afterwards ``M_s``, K centres of the
unit features without prompts; at test time ``s* = argmin_s min_k || norm(f(x)) - M_s,k ||_1`` for each sample.
Kept between experiences: P, H, b and M of all of them, in the model. ``P_s`` begins uniform in ``+-1/sqrt(width)``, a
head as ``nn.Linear`` draws, whatever was learned before.
Rows on the plain way (``Route``) have the features and the scores of the model without the strategy, bit for bit.
Deviations: as for S-liPrompts, the distance is L1, as the code has it; only what is the current domain's goes to the
optimiser, where the authors give it everything; K-means runs ten times, until no sample changes its centre, from the
run's seed. The paper's backbone is a ViT of ImageNet; here it is any that shows its tokens, and with CLIP a head reads
the features behind the projection. The authors number the classes anew in every domain and compare modulo their number;
here they are the stream's. Streams whose experiences differ in their classes are taken only where samples say which
they are of, and refused elsewhere: heads that never saw each other's classes cannot be compared. Optimiser, decay and
schedule are those of the training settings.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import nn

from mmcl.data.asked import AnswerKind
from mmcl.data.modality import IMAGE
from mmcl.learning.compose import Need, Order, Slot, Surroundings
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.options import Rate, Width
from mmcl_strategies.parameter_efficient.domain_heads import DomainHeads
from mmcl_strategies.parameter_efficient.domain_prompts import image_prompts, learn_keys
from mmcl_strategies.parameter_efficient.prompts import Prompts
from mmcl_strategies.routing.centroids import Metric, NearestCentroid
from mmcl_strategies.shared.old_samples import remark_on_old_samples

OWNER = "s_iprompts"


def _comparable(around: Surroundings) -> bool | None:
    """Whether all heads that may be taken for a sample know the classes that compete for it."""
    scenario = around.scenario
    if scenario is None:
        return None
    told = scenario.task_id_known_at_test and scenario.label_space_at_test == "own"
    comparable = told or scenario.label_space_at_test == "shared"
    return around.answered_with(AnswerKind.CLASS) if comparable else False


SHARED_CLASSES = Need(
    "SHARED_CLASSES",
    what="experiences that share their classes, or classes of experiences that are told at test time",
    remedy="Choose a benchmark of scenario DIL or TIL, or s_liprompts, which compares names.",
    met=_comparable,
)


@dataclass(kw_only=True, eq=False)
class SIPrompts(StrategyPlugin):
    """Learns image prompts and a head of every domain alone, and finds the domain of a sample by the nearest centre."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE, Slot.HEAD})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.IMAGES_ALONE, SHARED_CLASSES})
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    grows: ClassVar[bool] = True

    prompt_length: Width = 10  # vectors of an image prompt
    clusters: Width = 5  # K, centres of an experience
    metric: Metric = "l1"  # of the distance to a centre: l1 or euclidean
    restarts: Width = 10  # of K-means
    augmented_keys: bool = True  # centres are those of augmented images, as in training
    lr: Rate | None = 0.01  # learning rate of prompts and heads; None: that of the training settings

    _parts: list[tuple[Prompts, DomainHeads]] = field(default_factory=list, init=False, repr=False)

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put prompts, router and heads in place."""
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        site, prompts = image_prompts(backbone, self.prompt_length, OWNER)
        model.attach(OWNER, site, prompts)
        dtype = next(backbone.parameters()).dtype
        width = backbone.towers[IMAGE].width
        model.router = NearestCentroid(width, clusters=self.clusters, metric=self.metric, dtype=dtype)
        model.head = heads = DomainHeads(model.head, width, dtype)
        self._parts.append((prompts, heads))

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Only what belongs to this experience is trained."""
        for part in self._trained:
            part.train_only(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """Prompts and heads begin at random beside a pre-trained model, and have a rate of their own."""
        if self.lr is None:
            return []
        return [(p, self.lr) for part in self._trained for p in part.parameters() if p.requires_grad]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The network is the one that is evaluated: nothing in it drops out or gathers statistics."""
        learner.model.backbone.eval()
        remark_on_old_samples(learner, OWNER, "prompts")

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """The centres of this experience."""
        learn_keys(learner, restarts=self.restarts, augmented=self.augmented_keys)

    @property
    def _trained(self) -> tuple[Prompts, DomainHeads]:
        (parts,) = self._parts
        return parts
