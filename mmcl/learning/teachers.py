"""Teachers: copies of the model that strategies compare it with, held once per learner however many read them.

A policy says which weights a copy has: those of the start, those handed over last, a mixture, or a moving average of
the student. Strategies that name equal policies share one copy.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from mmcl.data.sample import Batch
from mmcl.errors import ConfigError, PluginError
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output


class Teacher:
    """A frozen copy in evaluation mode whose output on the current batch is computed once, in the student's precision.

    Attributes:
        model: the copy; its parameters need no gradient and share no storage with the student's.
        anchor: the weights that the last experience handed over, for policies that mix them in at every step.
    """

    def __init__(self, model: MultimodalModel) -> None:
        self.model = deepcopy(model).eval().requires_grad_(False)
        self.anchor: dict[str, Tensor] = {}
        self._batch: Batch | None = None
        self._output: Output | None = None

    def output(self, batch: Batch) -> Output:
        """Features of ``batch`` as the teacher sees them (no scores)."""
        if self._batch is not batch:
            with torch.no_grad():
                self._batch, self._output = batch, self.model.encode(batch.inputs)
        assert self._output is not None
        return self._output

    def weights(self) -> dict[str, Tensor]:
        """Its parameters, by name."""
        return dict(self.model.named_parameters())

    def take(self, weights: Mapping[str, Tensor]) -> None:
        """Continue with other weights."""
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(weights[name])


class Start(NamedTuple):
    """What a teacher can be made of when an experience begins.

    Attributes:
        model: as the last experience handed it over.
        first: whether it is the first experience.
        initial: as the learner was built with; for policies that read it.
    """

    model: MultimodalModel
    first: bool
    initial: Teacher | None


class Policy(ABC):
    """Which weights a teacher has in an experience.

    Attributes:
        reads_initial: whether it wants the initial weights, which are kept only then.
    """

    reads_initial: ClassVar[bool] = False

    @abstractmethod
    def begin(self, start: Start) -> Teacher:
        """The teacher of the coming experience."""


class FollowingPolicy(Policy):
    """A policy whose teacher follows the student step by step."""

    @abstractmethod
    def follow(self, teacher: Teacher, model: MultimodalModel) -> None:
        """Move the teacher, before the forward pass of a step."""


@dataclass(frozen=True)
class Initial(Policy):
    """The weights that the learner was built with, ``theta_0``, for ever."""

    reads_initial: ClassVar[bool] = True

    def begin(self, start: Start) -> Teacher:
        """The same object in all experiences."""
        assert start.initial is not None
        return start.initial

    def __str__(self) -> str:
        return "initial"


@dataclass(frozen=True)
class Previous(Policy):
    """``theta_{t-1}``, copied at the start of every experience."""

    def begin(self, start: Start) -> Teacher:
        """A copy of the model."""
        return Teacher(start.model)

    def __str__(self) -> str:
        return "previous"


@dataclass(frozen=True)
class Interpolated(Policy):
    """``(1 - share) theta_0 + share theta_{t-1}``, an option of the ZSCL code."""

    reads_initial: ClassVar[bool] = True

    share: float = 0.8  # a

    def __post_init__(self) -> None:
        """Refuse a share below 0 or above 1."""
        _require_share("interpolated.share", self.share)

    def begin(self, start: Start) -> Teacher:
        """A copy of the model, drawn to the initial weights."""
        assert start.initial is not None
        teacher = Teacher(start.model)
        teacher.take(mixed(start.initial.weights(), teacher.weights(), self.share))
        return teacher

    def __str__(self) -> str:
        return f"interpolated ({self.share})"


@dataclass(frozen=True)
class Momentum(FollowingPolicy):
    """A moving average of the student, begun anew at every experience (CTP's first task)."""

    rate: float = 0.995

    def __post_init__(self) -> None:
        """Refuse a rate below 0 or above 1."""
        _require_share("momentum.rate", self.rate)

    def begin(self, start: Start) -> Teacher:
        """A copy of the model."""
        return Teacher(start.model)

    def follow(self, teacher: Teacher, model: MultimodalModel) -> None:
        """``theta_m <- rate theta_m + (1 - rate) theta``."""
        teacher.take(momentum_update(teacher.weights(), dict(model.named_parameters()), self.rate))

    def __str__(self) -> str:
        return f"momentum ({self.rate})"


@dataclass(frozen=True)
class CompatibleMomentum(FollowingPolicy):
    """A moving average of the student *and* of what the last experience handed over (CTP)."""

    rate: float = 0.9  # m
    share: float = 0.5  # a, of the handed-over weights in what joins the average
    first_rate: float = 0.995  # plain momentum while there is nothing to be compatible with

    def __post_init__(self) -> None:
        """Check rates and share."""
        for name in ("rate", "share", "first_rate"):
            _require_share(f"compatible.{name}", getattr(self, name))

    def begin(self, start: Start) -> Teacher:
        """A copy of the model; from the second experience on the same weights stay as ``anchor``."""
        teacher = Teacher(start.model)
        if not start.first:
            teacher.anchor = {name: value.clone() for name, value in teacher.weights().items()}
        return teacher

    def follow(self, teacher: Teacher, model: MultimodalModel) -> None:
        """``theta_m <- m theta_m + (1 - m)(a theta_{t-1} + (1 - a) theta)``."""
        student = dict(model.named_parameters())
        if not teacher.anchor:
            teacher.take(momentum_update(teacher.weights(), student, self.first_rate))
        else:
            teacher.take(compatible_update(teacher.weights(), student, teacher.anchor, self.rate, self.share))

    def __str__(self) -> str:
        return f"compatible momentum ({self.rate}, {self.share}, {self.first_rate})"


POLICIES: Mapping[str, Policy] = {"initial": Initial(), "previous": Previous()}


class Teachers:
    """The copies that strategies asked for.

    Copies are taken when the learner is built (the initial one) and at the start of every experience, when the weights
    still are those handed over by the last one.

    Attributes:
        following: the policies whose teachers move with every step.
        asked: the policies whose teachers somebody has asked for, so that what is declared can be compared with it.
    """

    def __init__(self, model: MultimodalModel, named: Iterable["str | Policy"]) -> None:
        self._policies = {policy_of(name) for name in named}
        self.asked: set[Policy] = set()
        self.following = [policy for policy in self._policies if isinstance(policy, FollowingPolicy)]
        self._initial = Teacher(model) if any(policy.reads_initial for policy in self._policies) else None
        self._teachers: dict[Policy, Teacher] = {}
        if self._initial is not None and Initial() in self._policies:
            self._teachers[Initial()] = self._initial

    def begin_experience(self, model: MultimodalModel, first: bool) -> None:
        """Copy the model that the last experience handed over, if there was one."""
        start = Start(model, first, self._initial)
        self._teachers = {policy: policy.begin(start) for policy in self._policies}
        for teacher in self._teachers.values():  # the initial one was copied when other settings may have held
            teacher.model.computing = model.computing

    def follow(self, model: MultimodalModel) -> None:
        """Move those teachers that follow the student, before the forward pass of a step."""
        for policy in self.following:
            policy.follow(self._teachers[policy], model)

    def __getitem__(self, name: str | Policy) -> Teacher:
        policy = policy_of(name)
        self.asked.add(policy)
        if policy not in self._teachers:
            raise PluginError(
                f"teacher '{name}'",
                found="no strategy declared it, or no experience has begun",
                allowed=", ".join(sorted(map(str, self._policies))) or "none",
                remedy="Add it to the 'teachers' of the strategy.",
            )
        return self._teachers[policy]


def policy_of(name: str | Policy) -> Policy:
    """The policy that a name stands for.

    Raises:
        PluginError: if there is none of this name.
    """
    if not isinstance(name, str):
        return name
    if name not in POLICIES:
        raise PluginError(
            f"teacher {name!r}",
            found="there is no such policy",
            allowed=" or ".join(map(repr, sorted(POLICIES))) + ", or an object of class Policy",
            remedy="Correct the 'teachers' of the strategy.",
        )
    return POLICIES[name]


def mixed(first: Mapping[str, Tensor], second: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """``(1 - share) first + share second``, tensor by tensor."""
    return {name: (1 - share) * value.detach() + share * second[name].detach() for name, value in first.items()}


def momentum_update(average: Mapping[str, Tensor], student: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """``rate average + (1 - rate) student`` (CTP, first task), tensor by tensor."""
    return {name: rate * value.detach() + (1 - rate) * student[name].detach() for name, value in average.items()}


def compatible_update(
    average: Mapping[str, Tensor],
    student: Mapping[str, Tensor],
    previous: Mapping[str, Tensor],
    rate: float,
    share: float,
) -> dict[str, Tensor]:
    """``rate average + (1 - rate) (share previous + (1 - share) student)`` (CTP, later tasks), tensor by tensor."""
    return momentum_update(average, mixed(student, previous, share), rate)


def _require_share(who: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ConfigError(f"teacher {who}", found=f"{value}", allowed="0 to 1", remedy="Choose a share.")
