"""StrategyPlugin: what a strategy declares, what it is asked and told in the order of time, and what it keeps."""

from collections.abc import Callable, Iterable
from dataclasses import Field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Batches
from mmcl.errors import CheckpointError
from mmcl.learning.compose import Need, Order, Slot
from mmcl.learning.teachers import Policy
from mmcl.options import check_options
from mmcl.registry import STRATEGIES, name_of

if TYPE_CHECKING:
    from mmcl.learning.learner import Learner as Learner
else:
    Learner = Any  # a name for annotations; its class comes with avalanche, which nobody needs who declares a strategy

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


class StrategyPlugin:
    """Base of all strategies. A strategy is a final, keyword-only dataclass with ``eq=False``.

    Its fields are the hyper-parameters; what it remembers between experiences is the dataclass ``state``. Everything
    else it may override: the facts first, then all that it is asked and told, in the order of time. The names of the
    hooks are avalanche's. None of them does anything here, and what a strategy leaves out is never called.

    Attributes:
        needs: what it cannot work without.
        order: whether it can learn experiences in turn only, all at once only, or in any way.
        closed_form: whether it learns without a step, by passes over the data at the end of an experience. Where
            nothing is left to train, the experience then has no steps.
        fixed_features: whether it learns from what the backbone gives and relies on that staying as it is: it is
            refused beside a strategy that adapts it.
        state: what has to survive the end of an experience.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # what makes a dataclass for a type checker

    needs: ClassVar[frozenset[Need]] = frozenset()
    order: ClassVar[Order] = "any"
    closed_form: ClassVar[bool] = False
    fixed_features: ClassVar[bool] = False

    state: Any = None

    def __post_init__(self) -> None:
        """Check numbers and choices; a strategy with checks of its own calls ``check_options`` in them."""
        check_options(self, name_of(STRATEGIES, type(self)))

    @property
    def slots(self) -> frozenset[Slot]:
        """Exclusive places it takes; two strategies that want the same one are refused."""
        return frozenset()

    @property
    def teachers(self) -> frozenset[str | Policy]:
        """Frozen copies of the model that the learner keeps for it: ``"initial"``, ``"previous"``, other policies."""
        return frozenset()

    @property
    def rewrites_weights(self) -> bool:
        """Whether it changes the weights in ``after_training_exp``; then it runs there before those that store them."""
        return False

    @property
    def adapts(self) -> bool:
        """Whether it adds to the backbone what is trained by steps, such as adapters, prompts or gates."""
        return False

    @property
    def grows(self) -> bool:
        """Whether what it keeps, or the work of a step, goes on growing with every experience; ``explain`` says it."""
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

    def miniature(self) -> "StrategyPlugin":
        """Itself, unless it has a large network or a long loop of its own; else one with small ones, for tests."""
        return self

    def overrides(self, method: str) -> bool:
        """Whether it defines a hook or method of this class anew; inherited ones do nothing."""
        return getattr(type(self), method) is not getattr(StrategyPlugin, method)

    # Once, and at the beginning of an experience.

    def adapt_model(self, learner: Learner) -> None:
        """Change the model, once, before there is an optimiser and any data.

        Occupants of slots HEAD and FUSION put their module in the place of ``learner.model.head`` or ``.fusion``;
        ``learner.model.attach`` adds modules to blocks of the backbone. Random numbers are seeded here.
        """

    def before_training(self, learner: Learner, **_: object) -> None:
        """An experience is about to be learned; ``learner.current`` does not say yet which."""

    def before_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """``learner.current`` and its settings are there, its classes compete and the teachers are made."""

    def after_train_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """The samples are those that will be trained on; there are no batches yet."""

    def training_batches(self, learner: Learner) -> Batches:
        """Build the batches of the coming experience; asked only of the occupant of slot BATCHES."""
        raise NotImplementedError(f"{type(self).__name__} takes slot BATCHES and must build the training batches")

    def rates(self, learner: Learner) -> Iterable[tuple[nn.Parameter, float]]:
        """Parameters that have a learning rate of their own, such as new ones beside pre-trained ones.

        Asked at the start of every experience, when all its parameters are there. The schedule of the training settings
        applies to every rate.
        """
        return ()

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Batches and optimiser are there. What a strategy needs in this experience alone, it sets up here."""

    def before_training_epoch(self, learner: Learner, **_: object) -> None:
        """The first step comes next. Called once for all epochs; inside avalanche's templates, in every epoch."""

    # One step.

    def before_training_iteration(self, learner: Learner, **_: object) -> None:
        """``learner.batch`` is there, on the device; ``learner.step`` is its index."""

    def before_forward(self, learner: Learner, **_: object) -> None:
        """The gradient is zero and the rate is that of this step; the model has not seen the batch."""

    def after_forward(self, learner: Learner, **_: object) -> None:
        """``learner.output`` is there, and ``learner.label_space`` has the classes that compete in it."""

    def objective(self, learner: Learner) -> Tensor:
        """The task loss of the current batch, a scalar; asked only of the occupant of slot OBJECTIVE."""
        raise NotImplementedError(f"{type(self).__name__} takes slot OBJECTIVE and must give the task loss")

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """Named scalars to add to the loss of the current batch."""
        return {}

    def before_backward(self, learner: Learner, **_: object) -> None:
        """``learner.loss`` is the sum of all terms, and finite."""

    def after_backward(self, learner: Learner, **_: object) -> None:
        """Every ``.grad`` is that of the loss."""

    def gradient_terms(self, learner: Learner) -> GradientValues:
        """Add to ``.grad`` in place, after the backward pass; return named functions that compute the values.

        The functions are called only when the values are logged.
        """
        return {}

    def edit_gradient(self, learner: Learner) -> None:
        """Edit ``.grad`` in place, last of all; asked only of the occupant of slot GRADIENT."""
        raise NotImplementedError(f"{type(self).__name__} takes slot GRADIENT and must edit the gradient")

    def before_update(self, learner: Learner, **_: object) -> None:
        """The gradient is complete and clipped."""

    def after_update(self, learner: Learner, **_: object) -> None:
        """The optimiser has moved the weights."""

    def after_training_iteration(self, learner: Learner, **_: object) -> None:
        """The end of a step: values of all terms are there."""

    # The end of an experience.

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        """All steps are done."""

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Consolidate: rewrite the weights, or store what the next experience needs. Those that rewrite come first."""

    def after_training(self, learner: Learner, **_: object) -> None:
        """The weights are those that are handed over and evaluated."""

    # Evaluation, one test set after the other.

    def before_eval(self, learner: Learner, **_: object) -> None:
        """A test set is about to be evaluated."""

    def before_eval_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """``learner.current`` is that of the test set."""

    def after_eval_dataset_adaptation(self, learner: Learner, **_: object) -> None:
        """The samples are those that will be predicted."""

    def before_eval_exp(self, learner: Learner, **_: object) -> None:
        """The batches are there."""

    def before_eval_iteration(self, learner: Learner, **_: object) -> None:
        """``learner.batch`` is there, without task ids where the scenario hides them."""

    def before_eval_forward(self, learner: Learner, **_: object) -> None:
        """The model has not seen the batch."""

    def after_eval_forward(self, learner: Learner, **_: object) -> None:
        """``learner.output`` is there; the metric has not read it."""

    def after_eval_iteration(self, learner: Learner, **_: object) -> None:
        """The metric has counted the batch."""

    def after_eval_exp(self, learner: Learner, **_: object) -> None:
        """All batches are done."""

    def after_eval(self, learner: Learner, **_: object) -> None:
        """The test set is done."""

    # What it keeps.

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
