"""S-liPrompts: prompts for images and texts of every domain, each learned alone; a sample takes those of the nearest.

Paper: Wang, Huang and Hong, "S-Prompts Learning with Pre-trained Transformers: An Occam's Razor for Domain Incremental
Learning", NeurIPS 2022; code iamwangyabin/S-Prompts.
Idea: CLIP is frozen, and every domain has prompts of its own, which no later one touches. So nothing is forgotten that
was learned, and all rests on finding the domain of a test sample, by K-means centres of frozen features.
Equation: image tokens ``[class + position, P_s, patches + positions]`` before the first layer norm, text tokens
``[start, V_s, name, ".", end]`` before positions are added, both at the input only; in training of domain s
``L = CE(exp(scale) norm(f(x; P_s)) norm(g(V_s))^T, y)`` over P_s and V_s. Afterwards ``M_s``, K centres of the unit
features of plain CLIP; at test time ``s* = argmin_s min_k || norm(f(x)) - M_s,k ||_1`` for each sample.
Kept between experiences: P, V and M of all of them, in the model. ``P_s`` begins uniform in ``+-1/sqrt(width)``,
``V_s`` normal with deviation 0.02, whatever was learned before.
Deviations: as the code has it, and not the paper's prose, the distance is L1. Only the prompts of the current domain go
to the optimiser; the authors give it all of them, and torch before 2.0 shrinks earlier ones by weight decay. K-means
runs ten times, as scikit-learn did by default when the code was written, until no sample changes its centre; its seed
is the run's. Images are normalised with CLIP's statistics, where the authors have ImageNet's. Prompts have a rate of
their own; optimiser, decay and schedule are those of the training settings.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

from torch import nn

from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.models.heads import TextHead
from mmcl.options import Rate, Width
from mmcl_strategies.parameter_efficient.domain_prompts import image_prompts, learn_keys
from mmcl_strategies.parameter_efficient.placeholders import frame, require_room
from mmcl_strategies.parameter_efficient.prompts import Prompts, in_place_of_words
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.routing.centroids import Metric, NearestCentroid
from mmcl_strategies.shared.old_samples import remark_on_old_samples

OWNER = "s_liprompts"
CONTEXT_DEVIATION = 0.02


@dataclass(kw_only=True, eq=False)
class SLiPrompts(StrategyPlugin):
    """Learns prompts of every domain alone, and finds the domain of a sample by the nearest centre."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE, Slot.HEAD})
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.CLASSES, Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.IMAGES_ALONE}
    )
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    grows: ClassVar[bool] = True

    prompt_length: Width = 10  # vectors of an image prompt
    context: Width = 16  # vectors of a text context
    clusters: Width = 5  # K, centres of an experience
    metric: Metric = "l1"  # of the distance to a centre: l1 or euclidean
    restarts: Width = 10  # of K-means
    augmented_keys: bool = True  # centres are those of augmented images, as in training
    lr: Rate | None = 0.01  # learning rate of the prompts; None: that of the training settings

    _prompts: list[Prompts] = field(default_factory=list, init=False, repr=False)

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put prompts, router and a head with words of its own in place."""
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        image, image_vectors = image_prompts(backbone, self.prompt_length, OWNER)
        text = required_sites(backbone, TEXT, "tokens", OWNER)[0]
        dtype = next(backbone.parameters()).dtype
        contexts = Prompts(
            self.context,
            text.width,
            place=in_place_of_words,
            draw=partial(nn.init.normal_, std=CONTEXT_DEVIATION),
            lengthens=False,
            dtype=dtype,
        )
        self._prompts = [image_vectors, contexts]
        for site, prompts in zip((image, text), self._prompts, strict=True):
            model.attach(OWNER, site, prompts)
        width = backbone.towers[IMAGE].width
        model.router = NearestCentroid(width, clusters=self.clusters, metric=self.metric, dtype=dtype)
        model.head = TextHead(backbone, frame(self.context))

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Only the prompts of this experience are trained."""
        require_room(learner.model.backbone, learner.current.label_space, self.context, option=f"{OWNER}.context")
        for prompts in self._prompts:
            prompts.train_only(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """Prompts begin at random beside a pre-trained model, and have a rate of their own."""
        if self.lr is None:
            return []
        return [(prompts.vectors[str(learner.current.index)], self.lr) for prompts in self._prompts]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The network is the one that is evaluated: nothing in it drops out or gathers statistics."""
        learner.model.backbone.eval()
        remark_on_old_samples(learner, OWNER, "prompts")

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """The centres of this experience."""
        learn_keys(learner, restarts=self.restarts, augmented=self.augmented_keys)
