"""DGR: deep generative replay.

Paper: Shin, Lee, Kim and Kim, "Continual Learning with Deep Generative Replay", NeurIPS 2017.
Idea: a scholar is a generator and a solver. The scholar that the last experience handed over draws inputs and answers
them; the new one learns from real samples and from these.
Equation: ``L = r L_new + (1 - r) L_replay`` with ``r = 1/T``, T experiences seen including the current one, and
``r = 1`` in the first. L_replay is the loss of the solver on samples x' of the previous generator, whose targets the
previous solver gives: its best class (``hard``), or ``-sum_c q_c log softmax(s(x')/temperature)_c`` with
``q = softmax(s_previous(x')/temperature)`` over the classes it knew, zero for newer ones, without factor
``temperature^2`` (``soft``). The generator learns in the same loop, with the same r, from the real batch and from
samples of the previous generator. Every step draws as many new samples as the real batch has.
Which classes compete: all that do for real samples. Where only those of a sample's own experience do (TIL), each step
takes an old experience in turn, and previous and new solver answer among its classes; over the steps this is the mean
over all old experiences that van de Ven's code computes in each, at constant cost.
Kept between experiences: the weights of the generator. The previous solver is the model that was handed over.
Deviations: the generator is a small convolutional VAE, where the paper has a WGAN-GP; any class derived from
``ImageGenerator`` can take its place. It is told the class, the old ones being drawn uniformly; even then the previous
solver labels (``conditional = False``: it is not told, as in the paper). It makes ten steps in one of the solver, which
starts from a pre-trained model. Images alone are generated: streams with anything else are refused.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Inputs
from mmcl.learning.compose import Need, Slot
from mmcl.learning.seeding import derive_seed, seeded
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.objectives.likelihoods import cross_entropy, full_precision
from mmcl.options import ClassName, Count, Positive, ProperShare, Rate, Width, check_options
from mmcl_strategies.pseudo_replay.generator import ImageGenerator, named_generator
from mmcl_strategies.pseudo_replay.vae import VAE
from mmcl_strategies.pseudo_replay.weights import NOTHING_REPLAYED, Weights, by_experiences, by_ratio
from mmcl_strategies.shared.choices import require

_CODE = 64  # width of the code that tells a conditional generator the class


def hard_replay_loss(
    student: Float[Tensor, "B C"],
    teacher: Float[Tensor, "B known"],
    columns: Int[Tensor, " known"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean cross-entropy to the best class of the previous solver; 0 if there is nothing to replay.

    Args:
        student: logits.
        teacher: logits of the classes that the previous solver knew.
        columns: where in ``student`` these classes are.
        smoothing: of the labels, as for real samples.
    """
    if teacher.numel() == 0:
        return student[:, :0].sum()
    return cross_entropy(student, hard_targets(teacher, columns), smoothing=smoothing)


def hard_targets(teacher: Float[Tensor, "B known"], columns: Int[Tensor, " known"]) -> Int[Tensor, " B"]:
    """Columns of the classes that the previous solver finds best."""
    return columns[teacher.argmax(dim=1)]


def soft_replay_loss(
    student: Float[Tensor, "B C"],
    teacher: Float[Tensor, "B known"],
    columns: Int[Tensor, " known"],
    temperature: float = 2.0,
) -> Float[Tensor, ""]:
    """Mean over rows of ``-sum_c q_c log p_c``, with q zero for the classes that the previous solver did not know.

    ``p = softmax(student/temperature)`` runs over all classes. 0 if there is nothing to replay.

    Args:
        student, teacher, columns: as in ``hard_replay_loss``.
        temperature: of both softmaxes.
    """
    if teacher.numel() == 0:
        return student[:, :0].sum()
    log_p = functional.log_softmax(student / temperature, dim=1)[:, columns]
    return -(functional.softmax(teacher / temperature, dim=1) * log_p).sum(dim=1).mean()


class Turn(NamedTuple):
    """Among which classes the samples of a step are answered, and the experience where these are its own."""

    classes: LabelSpace
    task_id: int | None = None


@dataclass
class DGRState:
    """What is left of the generator."""

    generator: dict[str, Tensor] = field(default_factory=dict)  # its state_dict; empty before the first experience ends


@dataclass(kw_only=True, eq=False)
class DGR(StrategyPlugin):
    """Replays generated images, labelled by the previous model."""

    slots: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})
    needs: ClassVar[frozenset[Need]] = frozenset({Need.IMAGE_ENCODER, Need.IMAGES_ALONE, Need.CLASSES})
    teachers: ClassVar[frozenset[str]] = frozenset({"previous"})

    ratio: ProperShare | None = None  # r, the share of new data; None: 1/T
    targets: Literal["hard", "soft"] = "hard"  # of generated samples: the previous model's best class, or its answer
    temperature: Positive = 2.0  # of soft targets
    conditional: bool = True  # whether the generator is told the class
    latent: Width = 100  # width of z
    width: Width = 32  # channels of the generator's outermost layer; they double inwards
    variance: Positive = 4.0  # of the generator's pixel noise
    generator_lr: Rate = 1e-3  # of Adam
    generator_steps: Count = 10  # updates of the generator in a step of the solver, all on its batch
    generator: ClassName | None = None  # package.module:Class of your own generator, in place of the VAE

    state: DGRState = field(default_factory=DGRState, init=False, repr=False)
    _make: Callable[[tuple[int, ...]], ImageGenerator] = field(init=False, repr=False)
    _current: ImageGenerator | None = field(default=None, init=False, repr=False)
    _previous: ImageGenerator | None = field(default=None, init=False, repr=False)
    _optimizer: torch.optim.Optimizer | None = field(default=None, init=False, repr=False)
    _chance: dict[str, torch.Generator] = field(default_factory=dict, init=False, repr=False)
    _weights: Weights = field(default=NOTHING_REPLAYED, init=False, repr=False)
    _turns: list[Turn] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        """Check the width and find the generator."""
        check_options(self, "dgr")
        require(self.width % 4 == 0, "dgr.width", self.width, "a multiple of 4")
        self._make = self._vae if self.generator is None else named_generator(self.generator)

    def miniature(self) -> "DGR":
        """A narrow generator that makes two steps in one of the solver."""
        return replace(self, width=4, latent=8, generator_steps=min(2, self.generator_steps))

    def terms(self) -> Terms:
        """One, from the second experience on."""
        return Terms(loss=("replay",))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Both generators start as the one handed over; the previous one stays so."""
        with seeded(derive_seed(learner.seed, "dgr")):
            self._current = self._make(learner.model.backbone.specs[IMAGE].shape)
        self._previous, self._weights = None, NOTHING_REPLAYED
        if self.state.generator:
            self._current.load_state_dict(self.state.generator)
            self._previous = deepcopy(self._current).to(learner.device).eval().requires_grad_(False)
            self._weights = by_experiences(len(learner.seen)) if self.ratio is None else by_ratio(self.ratio)
        self._current.to(learner.device).train()
        self._optimizer = torch.optim.Adam(self._current.parameters(), lr=self.generator_lr)
        self._chance = {purpose: learner.generator("dgr", purpose) for purpose in ("solver", "generator")}
        self._turns = turns(learner)

    def objective(self, learner: Learner) -> Tensor:
        """The loss of new samples with their share, ``r L_new``."""
        return self._weights.new * learner.criterion()

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """``(1 - r) L_replay``, from the second experience on."""
        if self._previous is None:
            return {}
        known, task_id = self._turn(learner)
        images, _ = self._samples(learner, "solver")
        present = torch.ones(len(images), dtype=torch.bool, device=images.device)
        task_ids = None if task_id is None else torch.full((len(images),), task_id, device=images.device)
        inputs = Inputs({IMAGE: images.to(learner.batch.inputs[IMAGE].dtype)}, {IMAGE: present}, task_ids=task_ids)
        teacher = learner.teacher("previous").model
        with torch.no_grad():
            answers = full_precision(teacher.score(teacher.encode(inputs), inputs, known))
        competing = learner.label_space if task_id is None else known
        logits = full_precision(learner.model.score(learner.encode(inputs), inputs, competing))
        columns = competing.columns(torch.tensor(known.ids, device=logits.device))
        if self.targets == "hard":
            loss = hard_replay_loss(logits, answers, columns, learner.config.label_smoothing)
        else:
            loss = soft_replay_loss(logits, answers, columns, self.temperature)
        return {"replay": self._weights.replayed * loss}

    def after_update(self, learner: Learner, **_: object) -> None:
        """The generator's steps: ``r`` times its loss on the real batch, ``1 - r`` times that on fresh samples."""
        assert self._current is not None
        assert self._optimizer is not None
        # a generator is a network of its own, in single precision whatever the model is
        real, chance = learner.batch.inputs[IMAGE].float(), self._chance["generator"]
        for _step in range(self.generator_steps):
            loss = self._weights.new * self._current.loss(real, learner.batch.labels, chance)
            if self._previous is not None:
                replayed = self._current.loss(*self._samples(learner, "generator"), chance)
                loss = loss + self._weights.replayed * replayed
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Hand the generator over."""
        assert self._current is not None
        self.state.generator = {name: value.detach().clone() for name, value in self._current.state_dict().items()}
        self._current = self._previous = self._optimizer = None

    def _turn(self, learner: Learner) -> Turn:
        return self._turns[learner.step % len(self._turns)]

    @torch.no_grad()
    def _samples(self, learner: Learner, purpose: str) -> tuple[Tensor, Tensor]:
        """As many images of the previous generator as the batch has, and the classes it was told."""
        assert self._previous is not None
        ids, chance = torch.tensor(self._turn(learner).classes.ids), self._chance[purpose]
        drawn = ids[torch.randint(len(ids), (len(learner.batch.targets),), generator=chance)].to(learner.device)
        return self._previous.sample(drawn, chance), drawn

    def _vae(self, shape: tuple[int, ...]) -> ImageGenerator:
        return VAE(shape, self.latent, self.width, self.variance, _CODE if self.conditional else 0)


def turns(learner: Learner) -> list[Turn]:
    """The old experiences where the classes of a sample's own one compete; elsewhere all old classes at every step."""
    old = [experience.index for experience in learner.seen if experience.index != learner.current.index]
    if learner.own_classes:
        return [Turn(learner.label_space_of(task_id), task_id) for task_id in old]
    return [Turn(learner.classes_of(old)[0])]
