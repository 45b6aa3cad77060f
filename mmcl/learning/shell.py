"""Shell: avalanche's loop over experiences, and all that its plugins find in a learner."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import torch
from avalanche.core import BasePlugin, SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin, LRSchedulerPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor, nn

from mmcl.data.asked import NOTHING
from mmcl.data.label_space import LabelSpace
from mmcl.data.loader import Cycled
from mmcl.data.sample import Batch, Batches, Inputs, SampleDataset
from mmcl.errors import CompositionError
from mmcl.learning.compose import Slot
from mmcl.learning.feed import Feed
from mmcl.learning.optimizer import (
    LearningRate,
    follow,
    idle_optimizer,
    make_optimizer,
    require_constant_rate,
    trainable,
)
from mmcl.learning.scoring import Scoring
from mmcl.learning.timeline import EVALUATION_STEP, STEP
from mmcl.learning.weights import frozen
from mmcl.models.arrival import Arrival
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.objectives.likelihoods import scores_by_id
from mmcl.streams.experience import Experience
from mmcl.streams.rows import RowSamples
from mmcl.training_config import TrainingConfig

_ITERATION_EVENTS = [event for event in (*STEP, *EVALUATION_STEP) if hasattr(SupervisedPlugin, event)]


class Hosted(Protocol):
    """What the loop asks of a strategy beside its hooks; ``StrategyPlugin`` says what each answer means."""

    closed_form: ClassVar[bool]

    def overrides(self, method: str) -> bool:
        """Whether it defines a hook."""

    def training_batches(self, learner: Any) -> Batches:
        """Build the batches of an experience."""

    def rates(self, learner: Any) -> Iterable[tuple[nn.Parameter, float]]:
        """Parameters that have a learning rate of their own."""


class Shell(Feed, Scoring, SupervisedTemplate[Experience, Batch, Output], ABC):
    """A learner as avalanche sees it. What happens in a step is said by whoever derives from it.

    Attributes:
        batch_builder: the occupant of slot BATCHES.
        learning_rate: sets the rates of every step.
        untouched: names of the pre-trained parameters that have never been trained.
    """

    plugins: list[Any]
    strategies: Mapping[str, Hosted]
    batch_builder: Hosted | None
    dataloader: Batches
    learning_rate: LearningRate
    untouched: set[str]

    def __init__(
        self,
        *,
        model: MultimodalModel,
        config: TrainingConfig,
        device: torch.device,
        plugins: Sequence[Any],
        criterion: Callable[[Output, Tensor], Tensor],
        every_class: LabelSpace | None,
    ) -> None:
        evaluator = next((plugin for plugin in plugins if isinstance(plugin, EvaluationPlugin)), _empty_evaluator())
        self._output: Output | None = None
        SupervisedTemplate.__init__(
            self,
            model=model,
            optimizer=idle_optimizer(),  # avalanche wants one; each experience makes its own
            train_mb_size=config.batch_size,
            eval_mb_size=config.eval_batch_size,
            device=device,
            plugins=[*self.strategies.values(), *(plugin for plugin in plugins if plugin is not evaluator)],
            evaluator=evaluator,
            criterion=criterion,
        )
        Feed.__init__(self)
        Scoring.__init__(self, every_class)
        self.plugins = [plugin for plugin in self.plugins if not _is_idle(plugin)]
        self._has_foreign_plugins = any(_is_foreign(plugin) and not self._hosts(plugin) for plugin in self.plugins)
        self._schedulers = [plugin.scheduler for plugin in self.plugins if isinstance(plugin, LRSchedulerPlugin)]
        if self._schedulers:
            require_constant_rate(config)
        self._hooks = {event: self._overridden(event) for event in _ITERATION_EVENTS}

    # What happens.

    @abstractmethod
    def begin(self, experience: Experience) -> None:
        """Settings, classes and teachers of an experience, before its batches are built."""

    @abstractmethod
    def iterations(self, experience: Experience) -> int:
        """Number of training steps an experience gets."""

    @abstractmethod
    def consolidate(self, **kwargs: Any) -> None:
        """Let the strategies end an experience."""

    @abstractmethod
    def meet(self, experience: Experience) -> None:
        """Take note of an experience."""

    def arrival(self, experience: Experience) -> Arrival:
        """What a model is told of an experience."""
        return Arrival(experience.index, experience.label_space, experience.modalities, self.objective.answers)

    @property
    def closed_form(self) -> bool:
        """Whether a strategy learns without a step, and nothing is left to train."""
        declared = any(strategy.closed_form for strategy in self.strategies.values())
        return declared and next(trainable(self.model), None) is None

    # What plugins find and hear.

    @property
    def mb_output(self) -> Tensor | None:
        """The scores as avalanche's plugins compare them with targets: ``[B, K]``, the column is the class id."""
        if self._output is None or self._output.logits is None:
            return None
        return scores_by_id(self._output.logits, self.asked.label_space.ids, self.asked.allowed)

    @mb_output.setter
    def mb_output(self, output: Output | None) -> None:
        self._output = output

    def call(self, event: str) -> None:
        """Call one of the step's hooks on everyone who defines it."""
        for hook in self._hooks[event]:
            hook(self)

    def _overridden(self, event: str) -> list[Callable[..., Any]]:
        """Bound hooks of the plugins that define ``event``; inherited empty ones would only cost time."""
        return [getattr(plugin, event) for plugin in self.plugins if self._defines(plugin, event)]

    def _defines(self, plugin: Any, event: str) -> bool:
        if self._hosts(plugin):
            return bool(plugin.overrides(event))
        empty = getattr(SupervisedPlugin, event)
        return isinstance(plugin, EvaluationPlugin) or getattr(type(plugin), event, empty) is not empty

    def _hosts(self, plugin: Any) -> bool:
        """Whether it is a strategy."""
        return any(plugin is strategy for strategy in self.strategies.values())

    # What avalanche's loop calls.

    def _before_training_exp(self, **kwargs: Any) -> None:
        self.begin(self.current)
        super()._before_training_exp(**kwargs)
        if self._has_foreign_plugins:
            self._check_batches()

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.consolidate(**kwargs)
        for plugin in self.plugins:
            if not self._hosts(plugin) and hasattr(plugin, "after_training_exp"):
                plugin.after_training_exp(self, **kwargs)

    def train_dataset_adaptation(self, **_: Any) -> None:
        """Wrap the data set for avalanche only if one of its plugins is there to read it."""
        self.adapted_dataset = None
        if self._has_foreign_plugins:
            self.current.offer(self._prepared(self.current.samples, augment=True), self._collate)
            self.adapted_dataset = self.current.dataset

    def make_train_dataloader(self, **_: Any) -> None:
        """Batches from the strategy that builds them, or shuffled ones of what a plugin put in place of the data."""
        if self.batch_builder is not None:
            self.dataloader = self.batch_builder.training_batches(self)
        else:
            samples: SampleDataset = self.current.samples
            if self._data_replaced:
                assert self.adapted_dataset is not None
                samples = RowSamples(self.adapted_dataset)
            self.dataloader = self.batches(samples, self.iterations(self.current))
        self._built = self.dataloader

    def eval_dataset_adaptation(self, **_: Any) -> None:
        """As in training, without augmentation."""
        self.adapted_dataset = None
        if self._has_foreign_plugins:
            self.current.offer(self._prepared(self.current.samples, augment=False), self._collate)
            self.adapted_dataset = self.current.dataset

    def make_eval_dataloader(self, **_: Any) -> None:
        """One pass over the samples in their own order."""
        self.dataloader = self._ordered(self.current.samples, self.config.eval_batch_size)

    def check_model_and_optimizer(self, **_: Any) -> None:
        """Every experience gets a fresh optimiser, over the model that a plugin may have put in place."""
        self.model = self.model_adaptation()
        self.make_optimizer()

    def make_optimizer(self, **_: Any) -> None:
        """A fresh optimiser over what is trainable now; avalanche would re-register every parameter."""
        rates = [pair for strategy in self.strategies.values() for pair in strategy.rates(self)]
        self.optimizer = make_optimizer(self.model, self.config, rates, idle=self.closed_form)
        self.untouched = frozen(self.model, self.untouched)
        steps = len(self.dataloader)
        epoch = self.config.epoch(steps, len(self.current.samples))
        self.learning_rate = LearningRate(self.optimizer, self.config, steps, epoch)
        for scheduler in self._schedulers:
            require_constant_rate(self.config)
            follow(scheduler, self.optimizer)

    def model_adaptation(self, model: Any = None) -> Any:
        """The head of a model knows all classes met; a plugin may hold a copy made before, and put it in place."""
        if model is None and not self._has_foreign_plugins:
            return self.model
        model = self.model if model is None else model
        for experience in self.seen:
            model.meet(self.arrival(experience))
        return model.to(self.device)

    def _load_train_state(self, prev_state: Any) -> None:
        """Only what an evaluation has switched is switched back: most evaluations follow each other."""
        self.experience, self.is_training = prev_state["experience"], prev_state["is_training"]
        modes = prev_state["model_training_mode"]
        for name, module in self.model.named_modules():
            if module.training != modes.get(name, True):
                module.train(modes.get(name, True))

    # What plugins may have replaced.

    def _class_chooser(self) -> Callable[[Any, tuple[Inputs, ...]], None]:
        """A hook that lets the right classes compete when a plugin shows the model a batch of its own.

        A function, not a method: copies of the model share it instead of copying the learner.
        """

        def choose(model: Any, arguments: tuple[Inputs, ...]) -> None:
            task_ids = arguments[0].task_ids
            if self.is_training and task_ids is not None:
                arguments[0].asked = self.ask(task_ids.to(self.device))
            elif arguments[0].asked is NOTHING:
                arguments[0].asked = self.asked

        return choose

    @property
    def _data_replaced(self) -> bool:
        return self._has_foreign_plugins and self.adapted_dataset is not self.current.dataset

    def _check_batches(self) -> None:
        """A plugin may put other batches in place; there are as many steps as without it.

        Raises:
            CompositionError: if a strategy builds the batches too.
        """
        replaced = self.dataloader is not self._built
        if self.batch_builder is not None and (replaced or self._data_replaced):
            name = next(name for name, strategy in self.strategies.items() if strategy is self.batch_builder)
            raise CompositionError(
                f"composition of {name} and avalanche's plugins",
                found=f"{name!r} and a plugin both {Slot.BATCHES.value} (slot {Slot.BATCHES.name})",
                allowed="one of them",
                remedy=f"Remove {name!r}, or the plugin that replaces 'dataloader' or 'adapted_dataset'.",
            )
        if replaced:
            self.dataloader = Cycled(self.dataloader, self.iterations(self.current))


def _empty_evaluator() -> EvaluationPlugin:
    """Avalanche insists on an evaluator, and warns when it has nothing to do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return EvaluationPlugin()


def _is_idle(plugin: Any) -> bool:
    """Avalanche adds an evaluator and a periodic evaluation; with nothing to do, both would cost every step."""
    return (isinstance(plugin, PeriodicEval) and plugin.eval_every < 0) or (
        isinstance(plugin, EvaluationPlugin) and not plugin.metrics and not plugin.loggers
    )


def _is_foreign(plugin: Any) -> bool:
    """Whether it was written for avalanche's own templates, and may read what only they need."""
    return isinstance(plugin, (BasePlugin, EvaluationPlugin)) and not isinstance(plugin, Clock)
