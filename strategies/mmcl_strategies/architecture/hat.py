"""HAT: hard attention to the task. Each experience opens some units and closes the others; what it needs is protected.

Paper: Serra et al., "Overcoming catastrophic forgetting with hard attention to the task", ICML 2018; code joansj/hat.
Idea: every gated unit i of layer l has an embedding e for each experience; its gate is ``a = sigmoid(s e)``, and s
grows within every epoch until gates are almost 0 or 1. The cumulative gate A, the largest of earlier experiences,
scales the gradient of the weights between units that are needed: a weight moves as far as one of its ends is free.
Equation: ``h_l = a_l * dropout(relu(W_l h_(l-1) + b_l))``; in batch b of B ``s = 1/s_max + (s_max - 1/s_max) r`` with
``r = (b-1)/(B-1)``; ``L = CE + c sum a (1-A) / sum (1-A)`` (both sums over all layers; 0 if no unit is free),
``dL/dW[i,j] *= 1 - min(A_l[i], A_(l-1)[j])``, ``dL/de *= s_max/s (cosh(s e)+1)/(cosh(e)+1)`` with ``|s e| <= 50``.
After the step e is clamped to [-6, 6]. At the end ``a = sigmoid(s_max e)`` is fixed and joins A.
Kept between experiences: all gates and A, in the model; one output layer per experience. The classes of an experience
are always scored through its own gates, so the task id must be known at test time.
Networks: ``mlp`` is the paper's, on the features of the frozen backbone; ``conv`` is its convolutional one, on images
(the frozen backbone encodes them too, and is not asked). Ours: ``adapter`` gates bottlenecks beside the blocks of the
frozen backbone, ``transformer`` the hidden units of its own MLPs, but not in a tower that encodes class prompts. There
gates follow the experience of each sample, the head stays (rows of a linear one are kept for earlier classes), and what
has no gate learns in the first experience only. A sample of an experience that has not been learned passes by the
adapters, and finds all units of a transformer open.
Deviations: the optimiser is that of the training settings; ``optimizer=sgd momentum=0`` is the paper's. Any other moves
weights whose gradient is small or 0 (Adam's step does not depend on the size of the gradient, decay needs none).
There gates become 0 or 1 at the end of an experience, old experiences are evaluated with these, tensors without a free
entry get no gradient, and protected entries are put back after the step. There is no validation set: the last weights
count, and the rate follows the schedule. Training that does not end with an epoch is divided into equal stretches.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmcl.config import TrainingConfig
from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.models.heads import LinearHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.options import Bounds, NonNegative, PartialShare, Positive, Rate, Width, check_options
from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.gated_addons import GatedAddOn, attach_adapters, attach_to_units
from mmcl_strategies.architecture.gated_head import GatedHead, GatedStack, convolutional_stack, linear_stack
from mmcl_strategies.architecture.guard import Guard, Link, guards
from mmcl_strategies.architecture.hard_attention import annealed, annealed_by_offset, compensation, sparsity, stretch
from mmcl_strategies.shared.choices import require

Part = TypeVar("Part", bound=nn.Module)
HEADS = ("mlp", "conv")  # the others are add-ons
Sharpness = Annotated[float, Bounds(1, 1e12)]


@dataclass(kw_only=True, eq=False)
class HAT(StrategyPlugin):
    """Opens some units for each experience and protects what earlier ones need."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.TASK_ID, Need.CLASSES})
    order: ClassVar[Order] = "in turn"
    rewrites_weights: ClassVar[bool] = True
    grows: ClassVar[bool] = True

    network: Literal["mlp", "conv", "adapter", "transformer"] = "mlp"  # what is gated
    hidden: tuple[Width, ...] = (512, 512)  # units of the linear layers of mlp and conv
    channels: tuple[Width, ...] = (64, 128, 256)  # of the convolutions of conv
    bottleneck: Width = 64  # r, units of an adapter
    dropout: PartialShare = 0.0  # of mlp and conv
    lr: Rate | None = 0.01  # learning rate of new layers; None: that of the training settings
    gate_lr: Rate | None = 0.1  # of the embeddings, likewise
    s_max: Sharpness = 400.0  # the largest sharpness, 1 or more
    sparsity: NonNegative = 0.75  # c
    open_start: bool = False  # embeddings begin in U(0, 2), all gates open, instead of N(0, 1)
    embedding_limit: Positive = 6.0  # embeddings stay between -6 and 6
    cosh_limit: Positive = 50.0  # largest |s e| in the compensation
    annealing: Literal["paper", "released"] = "paper"  # released: by samples, to below s_max, open gates without slope
    binary: bool | None = None  # fixed gates are 0 or 1; None: unless the optimiser is plain SGD

    _gates: list[Gate] = field(default_factory=list, init=False, repr=False)
    _guards: list[Guard] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Refuse networks without a layer."""
        check_options(self, "hat")
        for name in ("hidden", "channels"):
            require(bool(getattr(self, name)), f"hat.{name}", getattr(self, name), "one width or more")

    @property
    def slots(self) -> frozenset[Slot]:
        """Networks inside the backbone leave the head as it is."""
        return frozenset({Slot.GRADIENT} | ({Slot.HEAD} if self.network in HEADS else set()))

    @property
    def adapts(self) -> bool:
        """Networks inside the backbone do."""
        return self.network not in HEADS

    def requirements(self) -> frozenset[Need]:
        """Convolutions need an image encoder, the other networks none."""
        return self.needs | ({Need.IMAGE_ENCODER} if self.network == "conv" else set())

    def terms(self) -> Terms:
        """The pressure to leave units free."""
        return Terms(loss=("sparsity",))

    def adapt_model(self, learner: Learner) -> None:
        """Put the gates in; the backbone is frozen unless its own units are gated."""
        model = learner.model
        if self.network != "transformer":
            for _, parameter in list(model.shared_parameters()):
                parameter.requires_grad_(False)
        builders: dict[str, Callable[[MultimodalModel], None]] = {
            "mlp": self._put_linear_head,
            "conv": self._put_convolutional_head,
            "adapter": lambda model: attach_adapters(model, lambda: self._gate(self.bottleneck, idle=0.0)),
            "transformer": lambda model: attach_to_units(model, self._gate),
        }
        builders[self.network](model)

    def rates(self, learner: Learner) -> Iterator[tuple[nn.Parameter, float]]:
        """Gates and new layers have their own; pre-trained ones have that of the training settings."""
        for kinds, rate in (((GatedHead, GatedAddOn), self.lr), ((Gate,), self.gate_lr)):
            if rate is not None:
                for module in _parts(learner.model, kinds):
                    yield from ((parameter, rate) for parameter in module.parameters())

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Learn the gates of this experience; guard what earlier ones need."""
        model, experience = learner.model, learner.current
        earlier = [other for other in learner.seen if other is not experience]
        for module in model.backbone.modules():  # what is frozen keeps its statistics too
            if self.network != "transformer" or (earlier and isinstance(module, _BatchNorm)):
                module.eval()
        towers = [tower for _, tower in sorted(model.backbone.towers.items()) if tower.reads & experience.modalities]
        parts = [model.head, *(tower.module for tower in towers)]
        self._gates = [gate for part in parts for gate in _parts(part, (Gate,))]
        for gate in self._gates:
            gate.begin(experience.index)
        links = _links(model)
        _require_protection(self._as_binary(learner.config), learner.config, links)
        self._guards = []
        if earlier:
            gated = {id(parameter) for link in links for parameter in link.layer.parameters()}
            ungated = [parameter for _, parameter in model.shared_parameters() if id(parameter) not in gated]
            self._guards = guards(links, ungated)
        if earlier and isinstance(model.head, LinearHead):
            known = len({id_ for other in earlier for id_ in other.label_space.ids})
            self._guards += [Guard.of_rows(parameter, known) for parameter in model.head.parameters()]

    def before_forward(self, learner: Learner, **_: object) -> None:
        """Sharpen the gates for this step."""
        s = self._sharpness(learner)
        for gate in self._gates:
            gate.sharpness = s

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """``c sum a (1-A) / sum (1-A)``; nothing for an experience whose modalities meet no gate."""
        if not self._gates:
            return {}
        soft, used = [gate.soft() for gate in self._gates], [gate.used for gate in self._gates]
        return {"sparsity": self.sparsity * sparsity(soft, used)}

    def edit_gradient(self, learner: Learner) -> None:
        """Scale what earlier experiences need, compensate the embeddings."""
        for guard in self._guards:
            guard.scale_gradient()
        for gate in self._gates:
            if gate.embedding.grad is not None:
                factor = compensation(gate.embedding.detach(), gate.sharpness, self.s_max, self.cosh_limit)
                gate.embedding.grad.mul_(factor)

    @torch.no_grad()
    def after_update(self, learner: Learner, **_: object) -> None:
        """Clamp the embeddings, undo what the optimiser did to protected entries; outside steps gates are sharp."""
        for gate in self._gates:
            gate.embedding.clamp_(-self.embedding_limit, self.embedding_limit)
            gate.sharpness = self.s_max
        for guard in self._guards:
            if not guard.frozen:
                guard.put_back()

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Fix the gates of the experience for good."""
        for gate in self._gates:
            gate.finish(self._as_binary(learner.config))
        self._gates = []

    def after_training(self, learner: Learner, **_: object) -> None:
        """Whoever has rewritten weights at the end has not rewritten these."""
        for guard in self._guards:
            guard.put_back()
        self._guards = []

    def _put_linear_head(self, model: MultimodalModel) -> None:
        model.head = GatedHead(linear_stack(model.backbone.width, self.hidden, self.dropout, self._gate))

    def _put_convolutional_head(self, model: MultimodalModel) -> None:
        shape = model.backbone.specs[IMAGE].shape
        stack = convolutional_stack(shape, self.channels, self.hidden, self.dropout, self._gate)
        model.head = GatedHead(stack, reads=IMAGE)

    def _gate(self, units: int, idle: float = 1.0) -> Gate:
        exact_slope = self.annealing == "paper"
        return Gate(units, s_max=self.s_max, idle=idle, open_start=self.open_start, exact_slope=exact_slope)

    def _sharpness(self, learner: Learner) -> float:
        samples, size = len(learner.current.samples), learner.config.batch_size
        epoch = -(-samples // size)
        batch, batches = stretch(learner.step, len(learner.dataloader), epoch)
        if self.annealing == "paper":
            return annealed(batch, batches, self.s_max)
        return annealed_by_offset(min(batch * size, samples), samples, self.s_max)

    def _as_binary(self, training: TrainingConfig) -> bool:
        return not _is_plain(training) if self.binary is None else self.binary


def _is_plain(training: TrainingConfig) -> bool:
    """Whether a step is the gradient times the rate, so that a small gradient is a small step."""
    return training.optimizer == "sgd" and training.momentum == 0 and training.weight_decay == 0


def _parts(model: nn.Module, kinds: tuple[type[Part], ...]) -> list[Part]:
    return [module for module in model.modules() if isinstance(module, kinds)]


def _links(model: nn.Module) -> list[Link]:
    parts: list[GatedStack | GatedAddOn] = [*_parts(model, (GatedStack,)), *_parts(model, (GatedAddOn,))]
    return [link for part in parts for link in part.links()]


def _require_protection(as_binary: bool, training: TrainingConfig, links: list[Link]) -> None:
    used = [gate.used for link in links for gate in (link.after, link.before) if gate is not None]
    soft = not as_binary or any(bool(((gates > 0) & (gates < 1)).any()) for gates in used)
    if soft and not _is_plain(training):
        raise ConfigError(
            "hat.binary",
            found=f"gates between 0 and 1, which protect nothing from {training.optimizer} with these settings",
            allowed="gates of 0 or 1, or optimizer=sgd with momentum 0 and without weight decay",
            remedy="Set hat:binary=true from the first experience on.",
        )
