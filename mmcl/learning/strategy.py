"""StrategyPlugin: avalanche's hooks under their own names, plus declared facts, loss terms and state."""

from abc import ABC
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch
from avalanche.core import SupervisedPlugin
from torch import Tensor, nn

from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Batches
from mmcl.errors import CheckpointError
from mmcl.learning.compose import Need, Slot
from mmcl.learning.teachers import Policy
from mmcl.options import check_options
from mmcl.registry import STRATEGIES, name_of

if TYPE_CHECKING:
    from mmcl.learning.learner import Learner

GradientValues = dict[str, Callable[[], Tensor]]


class Terms(NamedTuple):
    """Names of what a strategy adds to the loss, and to the gradient after the backward pass."""

    loss: tuple[str, ...] = ()
    gradient: tuple[str, ...] = ()


class MemoryBudget(NamedTuple):
    """The most that a strategy keeps; ``None`` is no limit.

    Attributes:
        samples: of the stream, by value.
        nbytes: of all tensors in the state.
        references: to samples of earlier experiences, which are read again and have to stay at hand.
    """

    samples: int | None = 0
    nbytes: int | None = None
    references: int | None = 0


class StrategyPlugin(SupervisedPlugin[Any], ABC):
    """Base of all strategies. A strategy is a final, keyword-only dataclass with ``eq=False``.

    Its fields are the hyper-parameters; what it remembers between experiences is the dataclass ``state``. Besides
    avalanche's hooks (``before_training_exp``, ``after_update``, ``after_training_exp``, ...), each called with the
    learner, it may override the methods below.

    Attributes:
        slots: exclusive places it takes; where options decide it, a property.
        needs: what it cannot work without.
        teachers: frozen copies it reads: ``"initial"``, ``"previous"``, or other policies; where options decide it, a
            property.
        rewrites_weights: whether it changes the weights at the end of an experience; such strategies run first there.
            Where options decide it, a property.
        grows: whether what it keeps, or the work of a step, goes on growing with every experience; where options decide
            it, a property.
    """

    needs: ClassVar[frozenset[Need]] = frozenset()

    state: Any = None

    def __post_init__(self) -> None:
        """Check the numbers among the options; a strategy with checks of its own calls ``check_options`` in them."""
        check_options(self, name_of(STRATEGIES, type(self)))

    @property
    def slots(self) -> frozenset[Slot]:
        """None."""
        return frozenset()

    @property
    def teachers(self) -> frozenset[str | Policy]:
        """None."""
        return frozenset()

    @property
    def rewrites_weights(self) -> bool:
        """No."""
        return False

    @property
    def grows(self) -> bool:
        """No."""
        return False

    def requirements(self) -> frozenset[Need]:
        """What this very strategy needs: all that its class declares, unless an option provides it."""
        return self.needs

    def terms(self) -> Terms:
        """Names of all terms that ``loss_terms`` and ``gradient_terms`` may give with these options."""
        return Terms()

    def reference_data(self) -> ReferenceData | None:
        """Data outside the stream that its options name; they are checked with the stream's and belong to the run."""
        return None

    def memory_budget(self) -> MemoryBudget:
        """The most it keeps with these options; without a memory no sample at all."""
        return MemoryBudget()

    def miniature(self) -> Self:
        """Itself, unless it has a large network or a long loop of its own; else one with small ones, for tests."""
        return self

    def overrides(self, method: str) -> bool:
        """Whether it defines a hook or method of this class anew; inherited ones do nothing."""
        return getattr(type(self), method) is not getattr(StrategyPlugin, method)

    def adapt_model(self, learner: "Learner") -> None:
        """Change the model, once, before there is an optimiser and any data.

        Occupants of slots HEAD and FUSION put their module in the place of ``learner.model.head`` or ``.fusion``;
        ``learner.model.attach`` adds modules to blocks of the backbone. Random numbers are seeded here.
        """

    def rates(self, learner: "Learner") -> Iterable[tuple[nn.Parameter, float]]:
        """Parameters that have a learning rate of their own, such as new ones beside pre-trained ones.

        Asked at the start of every experience, when all its parameters are there. The schedule of the training settings
        applies to every rate.
        """
        return ()

    def training_batches(self, learner: "Learner") -> Batches:
        """Build the batches of the coming experience; asked only of the occupant of slot BATCHES."""
        raise NotImplementedError(f"{type(self).__name__} takes slot BATCHES and must build the training batches")

    def objective(self, learner: "Learner") -> Tensor:
        """The task loss of the current batch, a scalar; asked only of the occupant of slot OBJECTIVE."""
        raise NotImplementedError(f"{type(self).__name__} takes slot OBJECTIVE and must give the task loss")

    def edit_gradient(self, learner: "Learner") -> None:
        """Edit ``.grad`` in place, last of all; asked only of the occupant of slot GRADIENT."""
        raise NotImplementedError(f"{type(self).__name__} takes slot GRADIENT and must edit the gradient")

    def loss_terms(self, learner: "Learner") -> dict[str, Tensor]:
        """Named scalars to add to the loss of the current batch."""
        return {}

    def gradient_terms(self, learner: "Learner") -> GradientValues:
        """Add to ``.grad`` in place, after the backward pass; return named functions that compute the values.

        The functions are called only when the values are logged.
        """
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Everything in ``state`` as tensors, numbers, strings, lists and dictionaries."""
        return {} if self.state is None else {f.name: getattr(self.state, f.name) for f in fields(self.state)}

    def load_state_dict(self, saved: dict[str, Any], device: torch.device | str = "cpu") -> None:
        """Put back what ``state_dict`` returned.

        Raises:
            CheckpointError: if the saved fields are not those of this strategy's state.
        """
        expected = {f.name for f in fields(self.state)} if is_dataclass(self.state) else set()
        if set(saved) != expected:
            raise CheckpointError(
                f"strategy {type(self).__name__}",
                found=f"the saved state has the fields {sorted(saved)}",
                allowed=f"the fields {sorted(expected)}",
                remedy="Continue the run with the version of the strategy that began it.",
            )
        for name, value in saved.items():
            setattr(self.state, name, _moved(value, device))


def _moved(value: Any, device: torch.device | str) -> Any:
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, device) for item in value]
    return value
