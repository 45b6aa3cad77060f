"""CPE-CLIP: one set of deep prompts for both towers of a frozen CLIP; the fewer classes are new, the less it moves.

Paper: D'Alessandro, Alonso, Calabres and Galar, "Multimodal Parameter-Efficient Few-Shot Class Incremental Learning",
ICCV Workshops 2023, arXiv 2303.04751; code neuraptic/cpe-clip.
Idea: prompts of the text tower are the only ones, and those of the image tower are a learned linear image of them, so
that both towers move together. All experiences share them; the more classes there have been, the less a new one moves.
Equations: G has P vectors for each of N layers, ``V_l = A(G_l)``. Texts ``[start, G_0, name, ".", end]`` before
positions are added; before each layer l < N the places of the prompts are overwritten with G_l. Images ``[class,
patches, V_0]`` before the first layer norm; before each layer l < N, V_l is appended to all that is there. Where
``C_t`` are the classes of experience t, ``L = CE(exp(scale) norm(f(x)) norm(g(names))^T, y)`` over C_t alone; from the
second experience on the gradients of G and A are multiplied by ``|C_t| / (|C_1| + ... + |C_t|)``, which weight decay is
not and momentum is after. At test time all classes seen compete.
Kept between experiences: G and A, in the model; they do not grow. CLIP never changes. Before the first experience, and
in rows on the plain way (``Route``), answers are those of plain CLIP and its templates, bit for bit.
Deviations: where the towers have fewer layers than N, or not the same number, the layers that both have get prompts.
Samples of earlier experiences, if a memory brings them, have their own classes. The authors' schedule warms up over 50
epochs, of which at most 6 are trained, so that epoch e = 0, 1, ... has rate ``0.001 + 0.099 e / 50`` with SGD; here G
and A have a rate of their own, chosen for AdamW, and optimiser and schedule are those of the training settings.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor, nn

from mmcl.data.modality import IMAGE, TEXT
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin
from mmcl.models.heads import TextHead
from mmcl.options import Rate, Width
from mmcl_strategies.parameter_efficient.coupled_prompts import CoupledPrompts, LanguagePrompts, VisionPrompts
from mmcl_strategies.parameter_efficient.own_classes import loss_over_own_classes
from mmcl_strategies.parameter_efficient.placeholders import frame, require_room
from mmcl_strategies.parameter_efficient.required_sites import required_sites
from mmcl_strategies.routing.latest import Latest

OWNER = "cpe_clip"


def session_multiplier(classes: list[int]) -> float:
    """The share of new classes that the last session's gradients are multiplied by; 1 in the first session.

    Args:
        classes: number of classes of each session so far, the current one last.
    """
    return 1.0 if len(classes) == 1 else classes[-1] / sum(classes)


@dataclass(kw_only=True, eq=False)
class CPECLIP(StrategyPlugin):
    """Trains one set of deep prompts for both towers, less and less from the second experience on."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.HEAD, Slot.OBJECTIVE, Slot.GRADIENT})
    needs: ClassVar[frozenset[Need]] = frozenset(
        {Need.CLASSES, Need.IMAGE_ENCODER, Need.TEXT_ENCODER, Need.IMAGES_ALONE}
    )
    order: ClassVar[Order] = "in turn"
    adapts: ClassVar[bool] = True

    length: Width = 2  # P, vectors in a layer
    depth: Width = 12  # N, layers of either tower that have prompts, from the first
    scaled: bool = True  # gradients are multiplied by the share of new classes
    lr: Rate | None = 1e-3  # of G and A; None: that of the training settings

    _prompts: list[CoupledPrompts] = field(default_factory=list, init=False, repr=False)
    _factor: float = field(default=1.0, init=False, repr=False)

    def adapt_model(self, learner: Learner) -> None:
        """Freeze the model; put prompts into both towers, and a head with words of its own in place."""
        model, backbone = learner.model, learner.model.backbone
        required_sites(backbone, IMAGE, "outputs", OWNER)  # a tower that pools all its tokens would pool the prompts
        # what layer l reads is what leaves block l - 1
        image, text = (
            [*required_sites(backbone, tower, "tokens", OWNER)[:1], *backbone.sites_of(tower, "block")[:-1]]
            for tower in (IMAGE, TEXT)
        )
        depth = min(self.depth, len(image), len(text))
        for _, parameter in list(model.shared_parameters()):
            parameter.requires_grad_(False)
        dtype = next(backbone.parameters()).dtype
        prompts = CoupledPrompts(depth, self.length, text[0].width, image[0].width, dtype=dtype)
        for layer in range(depth):
            model.attach(OWNER, text[layer], LanguagePrompts(prompts, layer))
            model.attach(OWNER, image[layer], VisionPrompts(prompts, layer))
        model.head = TextHead(backbone, frame(self.length))
        if model.router is None:
            model.router = Latest()
        self._prompts.append(prompts)

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """Texts must have room for the prompts."""
        require_room(learner.model.backbone, learner.current.label_space, self.length, option=f"{OWNER}.length")

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """Prompts begin at random beside a pre-trained model, and have a rate of their own."""
        return () if self.lr is None else [(parameter, self.lr) for parameter in self._trained]

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """How much gradients count. The network is the one that is evaluated: nothing in it drops out."""
        self._factor = session_multiplier([len(experience.label_space) for experience in learner.seen])
        learner.model.backbone.eval()
        if self.scaled and self._factor != 1 and learner.config.optimizer != "sgd":
            learner.remarks.add(
                f"cpe_clip multiplies gradients by the share of new classes, and {learner.config.optimizer} divides "
                "them by their size again: nothing shrinks. Set optimizer=sgd, with a rate for it (cpe_clip:lr)."
            )

    def objective(self, learner: Learner) -> Tensor:
        """Cross-entropy over the classes of each row's own experience."""
        return loss_over_own_classes(learner)

    def edit_gradient(self, learner: Learner) -> None:
        """Gradients shrink with the share of new classes; decay and the rate stay as they are."""
        if self.scaled:
            for parameter in self._trained:
                if parameter.grad is not None:
                    parameter.grad.mul_(self._factor)

    @property
    def _trained(self) -> list[nn.Parameter]:
        return [parameter for prompts in self._prompts for parameter in prompts.parameters()]
