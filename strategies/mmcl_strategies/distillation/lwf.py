"""Learning without forgetting.

Paper: Li and Hoiem, ECCV 2016 / TPAMI 2018.
Idea: before learning new data, note what the old outputs say about the new inputs, and keep these answers.
Equation: ``L = L_task + strength * sum over old experiences k of -(1/B) sum_b sum_{c in O_k} q_c log p_c`` with
``q = softmax(teacher[O_k] / T)``, ``p = softmax(student[O_k] / T)`` on the same inputs. One softmax per old experience
where the experience is known at test time (TIL), one over all old classes otherwise.
Kept between experiences: nothing but the weights; the teacher is the model that the last experience handed over.
For CLIP the old outputs are the similarities to the prompts of the old classes. Defaults that are ours, true to the
idea: ``prompts = "old"``, ``texts = "own"`` (the student's own text tower is distilled too). The rows called LwF in the
ZSCL paper use ``prompts = "current"``, ``texts = "frozen"`` and ``samples = "second"``: prompts of the current
experience, the teacher's text features on both sides, un-augmented samples of the experience in an order of their own
instead of the batch of the task loss, distillation active from the first experience on.
With text classifiers the transposed direction (softmax over the images of the batch) is added and both terms carry
``T^2``, as in the ZSCL code; linear heads use the authors' form: one direction, no ``T^2``.
Warm-up: from the second experience on the new units of a linear head learn alone first, so that distillation does not
fight a random head.
Deviations: the responses are recomputed on each augmented batch, as most public code does, instead of recorded once.
The warm-up ends after a number of epochs, not when it has converged.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch, Inputs
from mmcl.learning.compose import Need
from mmcl.learning.strategy import Learner, StrategyPlugin, Terms
from mmcl.learning.teachers import Teacher
from mmcl.models.output import Output
from mmcl.objectives.likelihoods import full_precision
from mmcl.options import Natural, NonNegative, Positive
from mmcl_strategies.distillation.warm_up import train_new_units
from mmcl_strategies.maths.distillation import Columns, contrast_logits, head_distillation, text_term, together


@dataclass(kw_only=True, eq=False)
class LwF(StrategyPlugin):
    """Distils the previous model's answers on the current inputs."""

    needs: ClassVar[frozenset[Need]] = frozenset({Need.CLASSES})
    teachers: ClassVar[frozenset[str]] = frozenset({"previous"})

    strength: NonNegative = 1.0  # lambda_o
    temperature: Positive = 2.0  # T
    prompts: Literal["old", "current"] = "old"  # whose classes are distilled
    texts: Literal["own", "frozen"] = "own"  # student side of text classifiers: "frozen" are the teacher's features
    samples: Literal["batch", "second"] = "batch"  # distilled on; second: un-augmented, in another order
    warmup_epochs: Natural = 1  # in which the new units of a linear head learn alone, from the second experience on

    _space: LabelSpace = field(default_factory=LabelSpace, init=False, repr=False)
    _heads: list[Columns] = field(default_factory=list, init=False, repr=False)
    _second: Iterator[Batch] = field(default_factory=lambda: iter(()), init=False, repr=False)

    @property
    def grows(self) -> bool:
        """With the old classes, if these are distilled."""
        return self.prompts == "old"

    def terms(self) -> Terms:
        """``transposed`` for text classifiers only; from the second experience on if old classes are distilled."""
        return Terms(loss=("logits", "transposed"))

    def before_training_exp(self, learner: Learner, **_: object) -> None:
        """Warm up; choose what is distilled; begin a second order of the samples."""
        train_new_units(learner, self.warmup_epochs)
        self._space, self._heads = self._distilled(learner)
        if self.samples == "second":
            samples, steps = learner.current.samples, len(learner.dataloader)
            self._second = iter(learner.batches(samples, steps, augment=False, name="lwf"))

    def loss_terms(self, learner: Learner) -> dict[str, Tensor]:
        """``logits`` and, for text classifiers, ``transposed``; nothing while there are no classes to distil."""
        space, heads = self._space, self._heads
        if not heads:
            return {}
        teacher = learner.teacher("previous")
        inputs, output, answer = self._distilled_on(learner, teacher)
        with torch.no_grad():
            answers = full_precision(teacher.model.score(answer, inputs, space))
        if learner.model.head.prompted is None:
            student = full_precision(learner.model.score(output, inputs, space))
            return {"logits": self.strength * head_distillation(student, answers, heads, self.temperature)}
        if self.texts == "frozen":
            embedding = teacher.model.head.prompted
            assert embedding is not None
            with torch.no_grad(), teacher.model.computing():
                keys = embedding.text_features(space)
            student = contrast_logits(output.fused, keys, learner.model.backbone.logit_scale)
        else:
            student = full_precision(learner.model.score(output, inputs, space))
        shown = [slice(None) if own is None else own for own in heads]
        transposed = torch.stack([text_term(student[:, c], answers[:, c], self.temperature) for c in shown]).sum()
        return {
            "logits": self.strength
            * head_distillation(student, answers, heads, self.temperature, squared_temperature=True),
            "transposed": self.strength * transposed,
        }

    def after_training_exp(self, learner: Learner, **_: object) -> None:
        """Let go of the loader."""
        self._second = iter(())

    def _distilled_on(self, learner: Learner, teacher: Teacher) -> tuple[Inputs, Output, Output]:
        """Inputs, and what student and teacher make of them."""
        if self.samples == "batch":
            return learner.batch.inputs, learner.output, teacher.output(learner.batch)
        inputs = next(self._second).to(learner.device).inputs
        with torch.no_grad():
            answer = teacher.model.encode(inputs)
        return inputs, learner.encode(inputs), answer

    def _distilled(self, learner: Learner) -> tuple[LabelSpace, list[Columns]]:
        """The classes to distil and the columns of each softmax over them."""
        tasks = [e.index for e in learner.seen if (e.index == learner.current.index) == (self.prompts == "current")]
        space, _ = learner.classes_of(tasks)
        parts = [learner.label_space_of(task) for task in tasks]
        if learner.scenario.label_space_at_test != "own" and parts:
            parts = [space]
        columns = [space.columns(torch.tensor(part.ids)).to(learner.device) for part in parts]
        return space, [together(own, len(space)) for own in columns]
