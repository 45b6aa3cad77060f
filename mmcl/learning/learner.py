"""Learner: one training step and one evaluation pass.

The loop over experiences and the names of the hooks are avalanche's (``mmcl.learning.shell``); batches come from
``mmcl.learning.feed``, and ``mmcl.learning.scoring`` says what competes in them. The two inner loops below stand in the
order in which things happen.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmcl.config import resolve_training
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Batch, Inputs
from mmcl.evaluation.metric import Metric
from mmcl.evaluation.ways import WayTally
from mmcl.learning.compose import Slot
from mmcl.learning.composition import consolidation_order
from mmcl.learning.device import chosen_device as _device
from mmcl.learning.optimizer import freeze, trainable
from mmcl.learning.pulls import Pulls
from mmcl.learning.refusals import not_finite, nothing_trained, out_of_turn
from mmcl.learning.seeding import derive_seed, seeded
from mmcl.learning.shell import Shell
from mmcl.learning.strategy import GradientValues, StrategyPlugin
from mmcl.learning.teachers import Policy, Teacher, Teachers
from mmcl.learning.weights import frozen
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.objectives.classification import Classification
from mmcl.objectives.objective import Objective
from mmcl.remarks import Remarks
from mmcl.signature import checked
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario


class Learner(Shell):
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
        every_class: of the stream, for scenarios in which those to come compete, too.
        seed: every random choice follows from it.

    Attributes:
        batch: the current batch, on the device.
        output: the model's output on it; ``mb_output`` is the same for avalanche's plugins.
        asked: what competes in the batch that was considered last; ``label_space`` and ``allowed`` are its parts.
        loss_terms: name -> scalar, ``"task"`` and ``"strategy/term"``.
        gradient_values: functions that compute the values of terms added on the gradient side.
        step: index of the current training step in its experience, from 0.
        config: the settings of the current experience.
        untouched: names of the pre-trained parameters that have never been trained.
        ways: which ways the samples of the test set evaluated last have taken.
    """

    strategies: Mapping[str, StrategyPlugin]
    batch_builder: StrategyPlugin | None

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
        every_class: LabelSpace | None = None,
        seed: int = 0,
    ) -> None:
        self.scenario = scenario
        self.objective = objective or Classification()
        self.remarks = Remarks() if remarks is None else remarks
        self.strategies = dict(strategies or {})
        self.reference = reference
        self.seed = seed
        self.loss_terms: dict[str, Tensor] = {}
        self.gradient_values: GradientValues = {}
        self._pulls = Pulls()
        self.step = 0
        usual = model.backbone.training_defaults
        self._settings = (usual, dict(defaults or {}), dict(training or {}))
        self.config = resolve_training(*self._settings)
        freeze(model, self.config.freeze, usual.get("freeze", ()))
        device = _device(self.config.device)
        super().__init__(
            model=model,
            config=self.config,
            device=device,
            plugins=plugins,
            criterion=self._criterion_of,
            every_class=every_class,
        )
        self.model: MultimodalModel = model.to(self.device)
        self.model.computing = self._computing
        self._metric: Metric | None = None
        self.ways = WayTally()
        self.batch_builder = self._occupant(Slot.BATCHES)
        self._objective_setter, self._gradient_editor = self._occupant(Slot.OBJECTIVE), self._occupant(Slot.GRADIENT)
        pretrained = {name for name, _ in model.named_parameters()}
        for name, strategy in self.strategies.items():
            with seeded(derive_seed(seed, "adapt", name)):
                strategy.adapt_model(self)
        self.model.to(self.device)
        self.untouched = frozen(self.model, pretrained)
        self._teachers = Teachers(self.model, {name for s in self.strategies.values() for name in s.teachers})
        if self._has_foreign_plugins:
            self.model.register_forward_pre_hook(self._class_chooser())
        self._with_loss = self._named_overrides("loss_terms")
        self._with_gradient = self._named_overrides("gradient_terms")
        self._edits_gradient = bool(self._with_gradient) or self._gradient_editor is not None

    # What strategies and users call.

    def chose(self, setting: str) -> bool:
        """Whether the user or the benchmark has chosen a training setting, instead of leaving it as it is."""
        return any(setting in layer for layer in self._settings[1:])

    @property
    def current(self) -> Experience:
        """The experience being learned or evaluated; ``experience`` is ``None`` in between.

        Raises:
            PluginError: in between.
        """
        experience: Experience | None = self.experience
        if experience is None:
            raise out_of_turn(
                "current experience",
                "any hook from before_train_dataset_adaptation to after_training, and those of evaluation",
            )
        return experience

    @property
    def batch(self) -> Batch:
        """The current batch.

        Raises:
            PluginError: before the first step.
        """
        batch: Batch | None = self.mbatch
        if batch is None:
            raise out_of_turn("current batch", "the hooks of a step, from before_training_iteration on")
        return batch

    @property
    def output(self) -> Output:
        """The model's output on the current batch.

        Raises:
            PluginError: before the first forward pass.
        """
        if self._output is None:
            raise out_of_turn("output", "the hooks of a step, from after_forward on")
        return self._output

    def teacher(self, name: str | Policy) -> Teacher:
        """The frozen copy ``"initial"`` or ``"previous"``, or the one of another policy, if a strategy declared it."""
        return self._teachers[name]

    @property
    def teachers_asked(self) -> frozenset[Policy]:
        """The policies whose teachers somebody has asked for until now."""
        return frozenset(self._teachers.asked)

    def meet(self, experience: Experience) -> None:
        """Take note of an experience: its classes compete from now on where the scenario says so."""
        if self._competition.meet(experience):
            with seeded(derive_seed(self.seed, "grow", experience.index)):
                self.model.meet(self.arrival(experience))
            self.model.to(self.device)

    def iterations(self, experience: Experience) -> int:
        """Number of training steps an experience gets; none where all is learned in closed form."""
        return 0 if self.closed_form else self.config.steps(len(experience.samples))

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
        self.ways.reset()
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
            if not math.isfinite(self.loss.item()):
                self._remark_on_pulls()
                raise not_finite(self.current.name, self.step, self.loss, self.loss_terms)

            self.call("before_backward")
            if self.loss.requires_grad:
                self.loss.backward()
            else:
                self.remarks.add(nothing_trained(self.current.name))
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
        self.asked = Asked(self._competition.at_test(self.current))
        for batch in self.dataloader:
            complete = batch.to(self.device, non_blocking=True)
            complete.inputs.asked = self.asked
            self.mbatch = complete if self.scenario.task_id_known_at_test else _without_task_ids(complete)
            self.call("before_eval_iteration")
            self.call("before_eval_forward")
            self._output = self.predict(self.batch.inputs)
            self.call("after_eval_forward")
            if self._metric is not None:
                self._metric.update(self.output, complete, self.label_space)
                self.ways.update(self.output.route, complete.task_ids)
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
        return self._criterion_of(self.output, self.batch.targets)

    def task_loss(self) -> Tensor:
        """What the current batch is trained for: the benchmark's objective, or what a strategy put in its place."""
        return self.criterion() if self._objective_setter is None else self._objective_setter.objective(self)

    def add_loss_terms(self, task: Tensor) -> Tensor:
        """Ask the strategies for their terms; the sum with the task loss."""
        self.loss_terms = {"task": task}
        for name, strategy in self._with_loss:
            for term, value in strategy.loss_terms(self).items():
                self.loss_terms[f"{name}/{term}"] = value
        others = list(self.loss_terms.values())[1:]
        if others:
            return sum(others, task)
        # avalanche's plugins add to the loss in place, and the term is to stay what it is
        return task.clone() if self._has_foreign_plugins else task

    def finish_gradient(self) -> None:
        """Let the strategies add to the gradient, and the occupant of slot GRADIENT have the last word."""
        look = self._pulls.look(self.model.parameters()) if self._with_gradient else None
        for name, strategy in self._with_gradient:
            if look is not None:
                look.begin()
            for term, function in strategy.gradient_terms(self).items():
                self.gradient_values[f"{name}/{term}"] = function
            if look is not None:
                look.note(name)
        if self._gradient_editor is not None:
            self._gradient_editor.edit_gradient(self)

    # The two ends of an experience.

    def begin(self, experience: Experience) -> None:
        """Settings, classes and teachers of an experience, before its batches are built."""
        *defaults, chosen = self._settings
        self.experience = experience
        self.config = resolve_training(*defaults, experience.training, chosen)
        self.train_mb_size = self.config.batch_size
        self.model.computing = self._computing
        self.meet(experience)
        self.gradient_values, self._pulls = {}, Pulls()
        self.restart_draws()
        self._teachers.begin_experience(self.model, first=len(self.seen) == 1)

    def consolidate(self, **kwargs: Any) -> None:
        """Strategies that rewrite weights end the experience first."""
        self._remark_on_pulls()
        for strategy in consolidation_order(self.strategies.values()):
            strategy.after_training_exp(self, **kwargs)

    # Helpers.

    @property
    def _computing(self) -> Callable[[], AbstractContextManager[object]]:
        """The context of the model's passes, in the precision of the current settings."""
        if self.config.precision == "fp32":
            return nullcontext
        return partial(torch.autocast, self.device.type, torch.bfloat16)

    def _occupant(self, slot: Slot) -> StrategyPlugin | None:
        return next((strategy for strategy in self.strategies.values() if slot in strategy.slots), None)

    def _named_overrides(self, method: str) -> list[tuple[str, StrategyPlugin]]:
        return [(name, strategy) for name, strategy in self.strategies.items() if strategy.overrides(method)]

    def _criterion_of(self, output: Output, targets: Tensor) -> Tensor:
        """The loss of the benchmark's objective; avalanche's plugins know it as ``_criterion``."""
        return self.objective.loss(output, targets, self.asked, self.config.label_smoothing)

    def _remark_on_pulls(self) -> None:
        for sentence in self._pulls.remarks(self.gradient_values):
            self.remarks.add(f"Experience {self.current.name!r}: {sentence}")


def _without_task_ids(batch: Batch) -> Batch:
    return Batch(batch.inputs.with_task_ids(None), batch.targets, torch.full_like(batch.task_ids, -1))
