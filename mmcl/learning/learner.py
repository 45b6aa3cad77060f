"""Learner: one training step and one evaluation pass, on avalanche's supervised template.

avalanche contributes the outer shell: the loop over experiences, the clock, the hook names, so that its plugins run
here. The two inner loops below are MMCL's own and stand in the order in which things happen.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, TypedDict

import torch
from avalanche.core import BasePlugin, SupervisedPlugin
from avalanche.training.plugins import EvaluationPlugin, LRSchedulerPlugin
from avalanche.training.plugins.clock import Clock
from avalanche.training.templates import SupervisedTemplate
from avalanche.training.templates.base_sgd import PeriodicEval
from torch import Tensor

from mmcl.config import resolve_training
from mmcl.data.collate import Collator, TensorSamples
from mmcl.data.draws import Drawn, Draws, Order
from mmcl.data.label_space import LabelSpace
from mmcl.data.loader import (
    Cycled,
    Kept,
    Loader,
    as_batch,
    augmented_batches,
    ordered_batches,
    prepared,
    training_batches,
)
from mmcl.data.memory import Memory
from mmcl.data.reference import ReferenceData
from mmcl.data.rows import RowSamples
from mmcl.data.sample import Batch, Batches, Inputs, SampleDataset
from mmcl.data.subset import Subset
from mmcl.errors import CompositionError, ConfigError, PluginError, TrainingError
from mmcl.evaluation.metric import Metric
from mmcl.learning.competition import Competition
from mmcl.learning.compose import Slot, consolidation_order
from mmcl.learning.likelihoods import scores_by_id
from mmcl.learning.objectives import Classification, Objective
from mmcl.learning.optimizer import LearningRate, follow, freeze, make_optimizer, require_constant_rate, trainable
from mmcl.learning.pulls import Pulls
from mmcl.learning.seeding import derive_seed, seeded
from mmcl.learning.strategy import GradientValues, StrategyPlugin
from mmcl.learning.teachers import Policy, Teacher, Teachers
from mmcl.learning.timeline import EVALUATION_STEP, STEP
from mmcl.learning.weights import frozen
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.remarks import Remarks
from mmcl.signature import checked
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario

# up to these sizes, prepared un-augmented samples stay in memory
_KEPT_BYTES = 2**28  # of one data set
_KEPT_BYTES_IN_ALL = 2**30


class _Loading(TypedDict):
    """How batches come to the device: nothing that changes a number."""

    num_workers: int
    pin: bool


_ITERATION_EVENTS = [event for event in (*STEP, *EVALUATION_STEP) if hasattr(SupervisedPlugin, event)]


class Learner(SupervisedTemplate[Experience, Batch, Output]):
    """Trains a model on one experience after the other and evaluates it.

    Args:
        model: what is trained.
        scenario: what may be known at test time.
        strategies: name -> strategy, in the order of composition.
        plugins: avalanche plugins, called after the strategies; ``docs/avalanche.md`` says which ones work. An
            ``EvaluationPlugin`` among them (the first) becomes ``evaluator``.
        training: settings the user chose.
        defaults: settings of the benchmark; an experience's own settings come between the two.
        reference: images and captions outside the stream.
        objective: what batches are trained for; classification by default.
        remarks: takes what is allowed and probably not meant.
        seed: every random choice follows from it.

    Attributes:
        batch: the current batch, on the device.
        output: the model's output on it; ``mb_output`` is the same for avalanche's plugins.
        label_space: the classes that compete in it.
        allowed: ``bool[B, C]``, which of them compete in each row; ``None`` if all do.
        loss_terms: name -> scalar, ``"task"`` and ``"strategy/term"``.
        gradient_values: functions that compute the values of terms added on the gradient side.
        step: index of the current training step in its experience, from 0.
        config: the settings of the current experience.
        untouched: names of the pre-trained parameters that have never been trained.
        sizes: how many parameters the model has had from each experience on.
    """

    plugins: list[Any]
    dataloader: Batches
    learning_rate: LearningRate

    @checked
    def __init__(
        self,
        *,
        model: MultimodalModel,
        scenario: Scenario,
        strategies: Mapping[str, StrategyPlugin] | None = None,
        plugins: Sequence[Any] = (),
        training: Mapping[str, Any] | None = None,
        defaults: Mapping[str, Any] | None = None,
        reference: ReferenceData | None = None,
        objective: Objective | None = None,
        remarks: Remarks | None = None,
        seed: int = 0,
    ) -> None:
        self.scenario = scenario
        self.objective = objective or Classification()
        self.remarks = Remarks() if remarks is None else remarks
        self.strategies = dict(strategies or {})
        self.reference = reference
        self.seed = seed
        self.label_space = LabelSpace()
        self.allowed: Tensor | None = None
        self.loss_terms: dict[str, Tensor] = {}
        self.gradient_values: GradientValues = {}
        self._pulls = Pulls()
        self.step = 0
        self.sizes: list[int] = []
        self._output: Output | None = None
        self._settings = (dict(defaults or {}), dict(training or {}))
        self.config = resolve_training(*self._settings)
        freeze(model, self.config.freeze)
        evaluator = next((plugin for plugin in plugins if isinstance(plugin, EvaluationPlugin)), _empty_evaluator())
        super().__init__(
            model=model,
            optimizer=torch.optim.SGD(trainable(model), lr=0.0),  # avalanche wants one; each experience makes its own
            train_mb_size=self.config.batch_size,
            eval_mb_size=self.config.eval_batch_size,
            device=_device(self.config.device),
            plugins=[*self.strategies.values(), *(plugin for plugin in plugins if plugin is not evaluator)],
            evaluator=evaluator,
            criterion=self._task_loss,
        )
        self.plugins = [plugin for plugin in self.plugins if not _is_idle(plugin)]
        self._has_foreign_plugins = any(map(_is_foreign, self.plugins))
        self._schedulers = [plugin.scheduler for plugin in self.plugins if isinstance(plugin, LRSchedulerPlugin)]
        if self._schedulers:
            require_constant_rate(self.config)
        self.model: MultimodalModel = model.to(self.device)
        self.model.computing = self._computing
        self._competition = Competition(scenario, self.device)
        self._metric: Metric | None = None
        self._kept: dict[int, tuple[SampleDataset, SampleDataset]] = {}
        self._room = _KEPT_BYTES_IN_ALL
        self._draws: dict[str, Draws] = {}
        self._collator: tuple[Experience | None, Collator] = None, Collator(model.backbone.specs)
        self.batch_builder = self._occupant(Slot.BATCHES)
        self._goal_setter, self._gradient_editor = self._occupant(Slot.OBJECTIVE), self._occupant(Slot.GRADIENT)
        pretrained = {name for name, _ in model.named_parameters()}
        for name, strategy in self.strategies.items():
            with seeded(derive_seed(seed, "adapt", name)):
                strategy.adapt_model(self)
        self.model.to(self.device)
        self.untouched = frozen(self.model, pretrained)
        self._teachers = Teachers(self.model, {name for s in self.strategies.values() for name in s.teachers})
        if self._has_foreign_plugins:
            self.model.register_forward_pre_hook(self._class_chooser())
        self._hooks = {event: self._overridden(event) for event in _ITERATION_EVENTS}
        self._with_loss = self._named_overrides("loss_terms")
        self._with_gradient = self._named_overrides("gradient_terms")
        self._edits_gradient = bool(self._with_gradient) or self._gradient_editor is not None
        self._sums_terms = bool(self._with_loss) or self._has_foreign_plugins

    # What strategies and users call.

    @property
    def current(self) -> Experience:
        """The experience being learned or evaluated; ``experience`` is ``None`` in between.

        Raises:
            PluginError: in between.
        """
        experience: Experience | None = self.experience
        if experience is None:
            raise PluginError(
                "the learner's current experience",
                found="it is asked for while nothing is learned or evaluated",
                allowed="any hook from before_train_dataset_adaptation to after_training, and those of evaluation",
                remedy="Ask for it in one of these, or read learner.seen.",
            )
        return experience

    @property
    def batch(self) -> Batch:
        """The current batch."""
        batch: Batch | None = self.mbatch
        assert batch is not None
        return batch

    @property
    def output(self) -> Output:
        """The model's output on the current batch."""
        assert self._output is not None
        return self._output

    @property
    def mb_output(self) -> Tensor | None:
        """The scores as avalanche's plugins compare them with targets: ``[B, K]``, the column is the class id."""
        if self._output is None or self._output.logits is None:
            return None
        return scores_by_id(self._output.logits, self.label_space.ids, self.allowed)

    @mb_output.setter
    def mb_output(self, output: Output | None) -> None:
        self._output = output

    def teacher(self, name: str | Policy) -> Teacher:
        """The frozen copy ``"initial"`` or ``"previous"``, or the one of another policy, if a strategy declared it."""
        return self._teachers[name]

    def generator(self, *names: object) -> torch.Generator:
        """A fresh generator for one purpose in the current experience; the same after a restart."""
        return torch.Generator().manual_seed(self._seed(*names))

    @property
    def own_classes(self) -> bool:
        """Whether only the classes of a sample's own experience compete in training."""
        return self.scenario.label_space_at_test == "own" or self.config.own_classes

    @property
    def seen(self) -> list[Experience]:
        """The experiences met so far."""
        return self._competition.seen

    def meet(self, experience: Experience) -> None:
        """Take note of an experience: its classes compete from now on where the scenario says so."""
        if self._competition.meet(experience):
            with seeded(derive_seed(self.seed, "grow", experience.index)):
                self.model.grow(experience.index, experience.label_space, experience.modalities)
            self.model.to(self.device)
            self.sizes.append(sum(parameter.numel() for parameter in self.model.parameters()))

    def label_space_of(self, task_id: int) -> LabelSpace:
        """The classes of an experience met before, with their training prompts."""
        return self._competition.label_space_of(task_id)

    def classes_of(self, task_ids: Iterable[int]) -> tuple[LabelSpace, Tensor]:
        """The classes of experiences met before, with their training prompts, and who has which.

        Args:
            task_ids: indices of T experiences.

        Returns:
            the C classes that any of them has, and ``bool[T, C]`` on the device: which belong to which experience.
        """
        return self._competition.classes_of(task_ids)

    def iterations(self, experience: Experience) -> int:
        """Number of training steps an experience gets."""
        return self.config.steps(len(experience.samples))

    def batches(
        self,
        samples: SampleDataset,
        iterations: int,
        *,
        batch_size: int | None = None,
        augment: bool = True,
        name: str = "batches",
    ) -> Loader:
        """``iterations`` shuffled batches, on the CPU; their order and augmentation depend on ``name``."""
        return training_batches(
            self._prepared(samples, augment),
            self._collate,
            batch_size=self.config.batch_size if batch_size is None else batch_size,
            iterations=iterations,
            generator=self.generator(name),
            augmented=augment,
            **self._loading,
        )

    def batches_in(self, samples: SampleDataset, order: Order, *, name: str) -> Loader:
        """One augmented batch per list of indices, on the CPU; the augmentation depends on ``name``."""
        return augmented_batches(
            self._prepared(samples, augment=True), self._collate, order, seed=self._seed(name), **self._loading
        )

    def prepare(self, samples: SampleDataset, indices: Iterable[int], *, name: str = "prepare") -> Batch:
        """The named samples as one batch on the CPU, augmented anew each time in an experience; depends on ``name``."""
        draws = self._draws.setdefault(name, Draws(self._seed("prepare", name)))
        return as_batch(Drawn(self._prepared(samples, augment=True)).__getitems__(draws(indices)), self._collate)

    def one_pass(self, samples: SampleDataset, batch_size: int | None = None) -> Iterator[Batch]:
        """Un-augmented batches in the order of the data set, on the device."""
        for batch in self._ordered(samples, self.config.eval_batch_size if batch_size is None else batch_size):
            yield batch.to(self.device)

    def log_probabilities(self, batch: Batch, own_classes: bool | None = None) -> Tensor:
        """``log p(k | x_n)`` of every answer that competes, ``[B, K]``; free of strategies and label smoothing.

        In full precision whatever that of training is: squares of its gradients would be lost in half of the digits.
        The answers are classes; for pairs without classes they are the other pairs of the batch.

        Args:
            batch: on the device.
            own_classes: as in ``consider``.
        """
        self.consider(batch, own_classes)
        with self.model.in_full_precision():
            output = self.model(batch.inputs)
        return self.objective.log_probabilities(self, output)

    def log_likelihood(self, batch: Batch, own_classes: bool | None = None) -> Tensor:
        """``log p(y_n | x_n)`` of each sample, ``[B]``."""
        table = self.log_probabilities(batch, own_classes)
        return table.gather(1, self.objective.true_columns(self, batch.targets).unsqueeze(1)).squeeze(1)

    def consider(self, batch: Batch, own_classes: bool | None = None) -> None:
        """Let the right classes compete for ``batch``: set ``label_space``, ``allowed`` and the model's label space.

        Args:
            batch: on the device.
            own_classes: whether only those of a sample's own experience do; ``None``: as in training.
        """
        own = self.own_classes if own_classes is None else own_classes
        self.label_space, self.allowed = self._competition.in_batch(batch.task_ids, own)
        self.model.label_space = self.label_space

    def train(self, experience: Experience, eval_streams: Iterable[Any] = (), **_: Any) -> None:
        """Learn one experience. torch's, NumPy's and Python's global generators are as before afterwards.

        Args:
            experience: of the training stream.
            eval_streams: experiences for plugins that evaluate while training goes on (avalanche's ``PeriodicEval``).
        """
        with seeded(derive_seed(self.seed, "experience", experience.index)):
            super().train(experience, list(eval_streams))

    def evaluate(self, experience: Experience, metric: Metric) -> float:
        """Score of the model on an experience of the test stream."""
        self._metric = metric
        metric.begin_set(experience.label_space)
        with seeded(derive_seed(self.seed, "evaluation")):
            self.eval([experience])
        self._metric = None
        return metric.compute()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluations inside the body share what depends on the weights alone, such as class embeddings.

        Where plugins change the weights for every evaluation there is nothing to share.
        """
        if self._overridden("before_eval") or self._overridden("after_eval"):
            yield
            return
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        try:
            yield
        finally:
            for module, training in modes.items():
                module.train(training)

    # The two inner loops.

    def training_epoch(self, **_: Any) -> None:
        """All training steps of an experience."""
        for step, batch in enumerate(self.dataloader):
            if self._stop_training:
                break
            self.step = step
            self.mbatch = batch.to(self.device, non_blocking=True)
            self.call("before_training_iteration")
            self.learning_rate.set(self.step)
            self.optimizer.zero_grad()

            self.call("before_forward")
            self.consider(self.mbatch)
            self.move_teachers()
            self._output = self.forward()
            self.call("after_forward")

            self.loss = self.add_loss_terms(self.task_loss())
            self._check_finite()

            self.call("before_backward")
            self.loss.backward()
            self.call("after_backward")
            if self._edits_gradient:
                self.finish_gradient()
            if self.config.max_grad_norm is not None:
                torch.nn.utils.clip_grad_norm_(trainable(self.model), self.config.max_grad_norm)

            self.call("before_update")
            self.optimizer_step()
            self.call("after_update")
            self.call("after_training_iteration")

    def eval_epoch(self, **_: Any) -> None:
        """One pass over a test set. What the scenario hides is not in the batch that model and plugins see."""
        self.label_space, self.allowed = self._competition.at_test(self.current), None
        self.model.label_space = self.label_space
        for batch in self.dataloader:
            complete = batch.to(self.device, non_blocking=True)
            self.mbatch = complete if self.scenario.task_id_known_at_test else _without_task_ids(complete)
            self.call("before_eval_iteration")
            self.call("before_eval_forward")
            self._output = self.predict(self.batch.inputs)
            self.call("after_eval_forward")
            if self._metric is not None:
                self._metric.update(self.output, complete, self.label_space)
            if self._has_foreign_plugins:
                self.loss = self.criterion()
            self.call("after_eval_iteration")

    def move_teachers(self) -> None:
        """Let the teachers that follow the student follow, if there are any."""
        if self._teachers.following:
            self._teachers.follow(self.model)

    def forward(self) -> Output:
        """The model's output on the current batch, in the chosen precision."""
        output: Output = self.model(self.batch.inputs)
        return output

    def encode(self, inputs: Inputs) -> Output:
        """The model's features of further inputs, in the chosen precision, as ``forward`` gives those of the batch."""
        return self.model.encode(inputs)

    def encode_prompts(self, tokens: Tensor) -> Tensor:
        """Features ``[N, D]`` of class prompts ``int64[N, L]``, which are no samples, in the chosen precision."""
        return self.model.encode_texts(tokens)

    def predict(self, inputs: Inputs) -> Output:
        """What the model answers where task ids may be hidden, in the chosen precision."""
        return self.model.predict(inputs)

    def criterion(self) -> Tensor:
        """The loss of the benchmark's objective on the current batch."""
        return self._task_loss(self.output, self.batch.targets)

    def task_loss(self) -> Tensor:
        """What the current batch is trained for: the benchmark's objective, or what a strategy put in its place."""
        return self.criterion() if self._goal_setter is None else self._goal_setter.objective(self)

    def add_loss_terms(self, task: Tensor) -> Tensor:
        """Ask the strategies for their terms; the sum with the task loss."""
        self.loss_terms = {"task": task}
        for name, strategy in self._with_loss:
            for term, value in strategy.loss_terms(self).items():
                self.loss_terms[f"{name}/{term}"] = value
        # a sum is a tensor of its own: avalanche's plugins add to it in place
        return torch.stack(list(self.loss_terms.values())).sum() if self._sums_terms else task

    def finish_gradient(self) -> None:
        """Let the strategies add to the gradient, and the occupant of slot GRADIENT have the last word."""
        look = self._pulls.look(self.model.parameters()) if self._with_gradient else None
        for name, strategy in self._with_gradient:
            for term, function in strategy.gradient_terms(self).items():
                self.gradient_values[f"{name}/{term}"] = function
            if look is not None:
                look.note(name)
        if self._gradient_editor is not None:
            self._gradient_editor.edit_gradient(self)

    # The two ends of an experience.

    def begin(self, experience: Experience) -> None:
        """Settings, classes and teachers of an experience, before its batches are built."""
        defaults, chosen = self._settings
        self.experience = experience
        self.config = resolve_training(defaults, experience.training, chosen)
        self.train_mb_size = self.config.batch_size
        self.model.computing = self._computing
        self.meet(experience)
        self.gradient_values, self._pulls = {}, Pulls()
        self._draws = {}
        self._teachers.begin_experience(self.model, first=len(self.seen) == 1)

    def consolidate(self, **kwargs: Any) -> None:
        """Strategies that rewrite weights end the experience first."""
        self._remark_on_pulls()
        for strategy in consolidation_order(self.strategies.values()):
            strategy.after_training_exp(self, **kwargs)

    # What avalanche's shell calls.

    def _before_training_exp(self, **kwargs: Any) -> None:
        self.begin(self.current)
        super()._before_training_exp(**kwargs)
        if self._has_foreign_plugins:
            self._check_batches()

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.consolidate(**kwargs)
        for plugin in self.plugins:
            if not isinstance(plugin, StrategyPlugin) and hasattr(plugin, "after_training_exp"):
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
        """One ordered pass."""
        self.dataloader = self._ordered(self.current.samples, self.config.eval_batch_size)

    def check_model_and_optimizer(self, **_: Any) -> None:
        """Every experience gets a fresh optimiser, over the model that a plugin may have put in place."""
        self.model = self.model_adaptation()
        self.make_optimizer()

    def make_optimizer(self, **_: Any) -> None:
        """A fresh optimiser over what is trainable now; avalanche would re-register every parameter."""
        rates = [pair for strategy in self.strategies.values() for pair in strategy.rates(self)]
        self.optimizer = make_optimizer(self.model, self.config, rates)
        self.untouched = frozen(self.model, self.untouched)
        self.learning_rate = LearningRate(self.optimizer, self.config, len(self.dataloader))
        for scheduler in self._schedulers:
            require_constant_rate(self.config)
            follow(scheduler, self.optimizer)

    def model_adaptation(self, model: Any = None) -> Any:
        """The head of a model knows all classes met; a plugin may hold a copy made before."""
        model = self.model if model is None else model
        for experience in self.seen:
            model.grow(experience.index, experience.label_space, experience.modalities)
        return model.to(self.device)

    # Helpers.

    @property
    def _collate(self) -> Collator:
        """Gives every batch all modalities of the current experience's stream."""
        if self._collator[0] is not self.experience and self.experience is not None:
            collator = Collator(self.model.backbone.specs, self.experience.modalities_of_stream)
            self._collator = self.experience, collator
        return self._collator[1]

    def _prepared(self, samples: SampleDataset, augment: bool) -> SampleDataset:
        """Samples as the backbone wants them. Un-augmented ones are kept in memory while they are small."""
        backbone = self.model.backbone
        if isinstance(samples, Subset):
            return Subset(self._prepared(samples.samples, augment), samples.indices)
        if augment or isinstance(samples, (TensorSamples, Memory)):
            return prepared(samples, backbone.preprocess_train if augment else backbone.preprocess_eval, augment)
        if id(samples) not in self._kept:
            ready = prepared(samples, backbone.preprocess_eval)
            size = 4 * len(samples) * sum(math.prod(spec.shape) for spec in backbone.specs.values())
            # worker processes would each keep a copy of their own and lose it at the end of the pass
            small = size <= min(_KEPT_BYTES, self._room) and self.config.num_workers == 0
            self._room -= size if small else 0
            self._kept[id(samples)] = (samples, Kept(ready) if small else ready)
        return self._kept[id(samples)][1]

    def _ordered(self, samples: SampleDataset, batch_size: int) -> Loader:
        ready = self._prepared(samples, augment=False)
        return ordered_batches(ready, self._collate, batch_size=batch_size, **self._loading)

    @property
    def _loading(self) -> _Loading:
        return {"num_workers": self.config.num_workers, "pin": self.device.type == "cuda"}

    def _seed(self, *names: object) -> int:
        """The seed of one purpose in the current experience."""
        index = self.experience.index if self.experience is not None else -1
        return derive_seed(self.seed, index, *names)

    @property
    def _computing(self) -> Callable[[], AbstractContextManager[object]]:
        """The context of the model's passes, in the precision of the current settings."""
        if self.config.precision == "fp32":
            return nullcontext
        return partial(torch.autocast, self.device.type, torch.bfloat16)

    def call(self, event: str) -> None:
        """Call one of the step's hooks on everyone who defines it."""
        for hook in self._hooks[event]:
            hook(self)

    def _overridden(self, event: str) -> list[Callable[..., Any]]:
        """Bound hooks of the plugins that define ``event``; inherited empty ones would only cost time."""
        empty = getattr(SupervisedPlugin, event), getattr(StrategyPlugin, event)
        return [
            getattr(plugin, event)
            for plugin in self.plugins
            if isinstance(plugin, EvaluationPlugin) or getattr(type(plugin), event, empty[0]) not in empty
        ]

    def _occupant(self, slot: Slot) -> StrategyPlugin | None:
        return next((strategy for strategy in self.strategies.values() if slot in strategy.slots), None)

    def _named_overrides(self, method: str) -> list[tuple[str, StrategyPlugin]]:
        return [(name, strategy) for name, strategy in self.strategies.items() if strategy.overrides(method)]

    def _task_loss(self, output: Output, targets: Tensor) -> Tensor:
        """Task loss of an output of the model; avalanche's plugins know it as ``_criterion``."""
        return self.objective.loss(self, output, targets)

    def _class_chooser(self) -> Callable[[Any, tuple[Inputs, ...]], None]:
        """A hook that lets the right classes compete when a plugin shows the model a batch of its own.

        A function, not a method: copies of the model share it instead of copying the learner.
        """

        def choose(model: Any, arguments: tuple[Inputs, ...]) -> None:
            task_ids = arguments[0].task_ids
            if self.is_training and task_ids is not None:
                self.label_space, self.allowed = self._competition.in_batch(task_ids.to(self.device), self.own_classes)
                model.label_space = self.label_space

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

    def _remark_on_pulls(self) -> None:
        for name, ratio in self._pulls.dominant().items():
            terms = ", ".join(term for term in self.gradient_values if term.startswith(f"{name}/"))
            self.remarks.add(
                f"Experience {self.current.name!r}: {terms} pulled at the weights {ratio:.1f} times as hard as the "
                "loss, in the median: little can be learned against it, and steps may overshoot. Lower the strength of "
                f"{name!r}, by a factor of ten to begin with (docs/strengths.md)."
            )

    def _check_finite(self) -> None:
        if math.isfinite(self.loss.item()):
            return
        broken = [name for name, value in self.loss_terms.items() if not bool(value.isfinite())]
        self._remark_on_pulls()
        raise TrainingError(
            f"experience {self.current.name!r}, step {self.step}",
            found=f"the loss is {self.loss.item()}, from the term {', '.join(map(repr, broken)) or 'sum'}",
            allowed="finite losses",
            remedy="Begin another run with a lower learning rate, or a lower strength of the term; "
            "the checkpoint of the experience before is kept.",
        )


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        if torch.empty(0, device=name).is_meta:
            raise RuntimeError("it holds no numbers")
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            "training.device",
            found=f"{name!r} cannot be used ({str(error).splitlines()[0]})",
            allowed="auto, cpu, or a device that torch finds on this machine",
            remedy="Choose 'auto'.",
        ) from error
    return torch.device(name)


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
    return isinstance(plugin, (BasePlugin, EvaluationPlugin)) and not isinstance(plugin, (StrategyPlugin, Clock))


def _without_task_ids(batch: Batch) -> Batch:
    return Batch(batch.inputs.with_task_ids(None), batch.targets, torch.full_like(batch.task_ids, -1))
