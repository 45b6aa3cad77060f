"""CODA-Prompt: prefixes composed of components, of which every experience adds some and freezes those before.

Paper: Smith, Karlinsky, Gutta, Cascante-Bonilla, Kim, Arbelle, Panda, Feris and Kira, "CODA-Prompt: COntinual
Decomposed Attention-based Prompting for Rehearsal-Free Continual Learning", CVPR 2023; computed as in the toolbox
LAMDA-PILOT.
Idea: choosing prompts from a pool cannot be learned, weighing them can. So an image's prompt is a sum of components,
weighed by what each looks at in a frozen feature of the image, and all is trained by the loss of the task.
Equations, in each of the first five layers, with ``q = f(x)`` of the frozen model: ``alpha_m = cos(q * A_m, K_m)``,
``p = sum_m alpha_m P_m`` over the components of all experiences so far; the first half of p stands in front of the
keys of the attention, the second in front of its values, behind the projections.
``L = CE(units of the experience's own classes) + mu sum over layers and R in K, A, P of mean((R R^T - 1)^2)``.
Kept between experiences: P, K, A and the units, in the model. The backbone never changes, nor do P, K and A of earlier
experiences, which still take part in every prompt. New ones begin as unit vectors, drawn and freed of their
projections on all before them. Rows on the plain way (``Route``) are the pre-trained model's bit for bit.
Deviations: components are made as experiences come, 10 each, where the authors divide 100 by the number of experiences;
so the stream may go on. Query and features go through the projection of CLIP's image tower. The penalty has the weight
of the paper; the toolbox's configurations have none. A tower with fewer layers has prompts in those it has.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.heads import LinearHead
from mmcl.options import NonNegative, Rate, Width, check_options
from mmcl_strategies.parameter_efficient.components import Components, Start
from mmcl_strategies.parameter_efficient.own_classes import loss_over_own_classes
from mmcl_strategies.parameter_efficient.required_sites import required_attentions
from mmcl_strategies.routing.queries import Queries

OWNER = "coda_prompt"


@dataclass(kw_only=True, eq=False)
class CODAPrompt(StrategyPlugin):
    """Trains components of prefixes in a frozen backbone, and linear units behind it."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.ROUTE, Slot.HEAD, Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES, Need.IMAGE_ENCODER, Need.IMAGES_ALONE})
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True
    grows: ClassVar[bool] = True

    components: Width = 10  # of an experience, in every layer with prompts: M / T
    length: Width = 8  # vectors of a component, half of them keys and half values
    layers: Width = 5  # the first ones, which have prompts
    orthogonality: NonNegative = 0.1  # mu, of the penalty
    start: Start = "projected"  # new components: the authors' projections, or orthogonal to all earlier ones
    lr: Rate | None = 1e-3  # of components and units; None: that of the training settings

    _components: list[Components] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the options, and that a component has two halves."""
        check_options(self, OWNER)
        if self.length % 2:
            raise ConfigError(
                f"{OWNER}.length",
                found=f"{self.length}, which has no halves",
                allowed="even numbers: half of a component are keys, half values",
                remedy=f"Choose {self.length + 1}.",
            )

    def terms(self) -> Terms:
        """The penalty, if it has a weight."""
        return Terms(loss=("orthogonality",) if self.orthogonality else ())

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put components, queries and linear units in place."""
        model, backbone = learner.model, learner.model.backbone
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        for site, attention in required_attentions(backbone, IMAGE, OWNER)[: self.layers]:
            components = Components(
                attention,
                count=self.components,
                length=self.length,
                width=site.width,
                query=backbone.towers[IMAGE].width,
                start=self.start,
                dtype=next(backbone.parameters()).dtype,
            )
            model.attach(OWNER, site, components)
            self._components.append(components)
        model.router = Queries()
        model.head = LinearHead(backbone.width)

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Of the components only those of this experience are trained."""
        for components in self._components:
            components.train_only(learner.current.index)

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """That of ``lr`` for all that is trained."""
        if self.lr is None:
            return ()
        parts = (*self._components, learner.model.head)
        return [(parameter, self.lr) for part in parts for parameter in part.parameters()]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """The network is the one that is evaluated: nothing in it drops out or gathers statistics."""
        learner.model.backbone.eval()

    def objective(self, learner: Learner) -> Tensor:
        """Cross-entropy over the classes of each row's own experience."""
        return loss_over_own_classes(learner)

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """The penalty, over all layers."""
        if not self.orthogonality:
            return {}
        penalties = torch.stack([components.penalty() for components in self._components])
        return {"orthogonality": self.orthogonality * penalties.sum()}
