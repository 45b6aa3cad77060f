"""Whole runs: the stream of a case, a learner that takes its batches in the recorded order, and notes of its steps."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch, Batches, SampleDataset
from mmcl.evaluation.metric import Metric
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import Scenario

from .case import Case


def recorded_stream(
    case: Case, scenario: Scenario, settings: Mapping[str, str], tests: Sequence[Tensor] = ()
) -> Benchmark:
    """The experiences that lie one after the other in ``in_images``, ``in_labels`` and ``in_tokens``.

    Each trains for as many steps as ``in_order`` has.

    Args:
        settings: training setting -> array that holds it, once or for each experience.
        tests: test images of each experience, whose labels nobody reads; by default what is trained on.
    """
    sizes = case.arrays["in_sizes"].tolist()
    columns = {IMAGE: "in_images", TEXT: "in_tokens"}
    values = {name: case.tensor(key).split(sizes) for name, key in columns.items() if key in case.arrays}
    targets = case.tensor("in_labels") if "in_labels" in case.arrays else torch.arange(sum(sizes))
    experiences = []
    for t, labels in enumerate(targets.split(sizes)):
        samples = TensorSamples({name: column[t] for name, column in values.items()}, labels, t)
        test = TensorSamples({IMAGE: tests[t]}, torch.zeros(len(tests[t]), dtype=torch.long), t) if tests else samples
        steps = int((case.tensor("in_order")[t] >= 0).any(1).sum())
        training = {"iterations": steps, **{name: case.setting(key, t) for name, key in settings.items()}}
        space = label_space(case, t)
        experiences.append(ExperienceData(f"part {t}", samples, test, space, frozenset(values), training=training))
    return Benchmark(name="recorded", edition="recorded", scenario=scenario, experiences=experiences)


def label_space(case: Case, t: int) -> LabelSpace:
    """The classes of an experience, each called by its number; those of pairs are none."""
    if "in_classes" not in case.arrays:
        return LabelSpace()
    counts = case.arrays["in_classes"].tolist()
    first = case.setting("in_first_class", t) if "in_first_class" in case.arrays else sum(counts[:t])
    return LabelSpace.of([str(first + c) for c in range(counts[t])], first_id=first, templates=["{}"])


class RecordedLearner(Learner):
    """Trains on the samples that somebody else's program trained on, step by step.

    Args:
        orders: name of the batches -> ``int64[T, S, B]``, positions in the data set they are made of; -1 fills up.
    """

    def __init__(self, *, orders: Mapping[str, Tensor], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.orders = orders

    def batches(
        self,
        samples: SampleDataset,
        iterations: int,
        *,
        batch_size: int | None = None,
        augment: bool = True,
        name: str = "batches",
    ) -> Batches:
        assert self.experience is not None
        steps = [row[row >= 0].tolist() for row in self.orders[name][self.experience.index]]
        order = [rows for rows in steps if rows]
        assert len(order) == iterations, f"{iterations} steps of {name!r}, recorded are {len(order)}"
        return self.batches_in(samples, order, name=name)


class Notes(StrategyPlugin):
    """Notes rate, terms and total of the loss at every step, and the weights after it.

    Args:
        weights: the model's weights in one vector.

    Attributes:
        values: name -> one entry per step.
    """

    def __init__(self, weights: Callable[[MultimodalModel], Tensor]) -> None:
        self.weights = weights
        self.values: dict[str, list[Tensor]] = defaultdict(list)

    def before_update(self, learner: Learner, **_: Any) -> None:
        terms = learner.loss_terms | {name: value() for name, value in learner.gradient_values.items()}
        rate = torch.tensor(learner.optimizer.param_groups[0]["lr"], dtype=torch.float64)
        total = torch.stack([value.detach() for value in terms.values()]).sum()
        for name, value in {**terms, "lr": rate, "total": total}.items():
            self.values[name].append(value.detach().clone())

    def after_update(self, learner: Learner, **_: Any) -> None:
        self.values["theta"].append(self.weights(learner.model))

    def curve(self, name: str) -> Tensor:
        """Every step of a run."""
        return torch.stack(self.values[name])


def all_weights(model: MultimodalModel) -> Tensor:
    """Every parameter in one vector."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


class Run:
    """One strategy, and the experiences of a case that it learns.

    Args:
        strategy: its name, and itself.
        model: at the initial weights.
        stream: what is learned.
        weights: the model's weights in one vector, for the notes.
        orders: name of further batches -> array with their order; that of the training batches is ``in_order``.
        arguments: of the learner.

    Attributes:
        learner: as the last experience has left it.
        notes: of all steps so far.
    """

    def __init__(
        self,
        case: Case,
        strategy: tuple[str, StrategyPlugin],
        *,
        model: MultimodalModel,
        stream: Benchmark,
        weights: Callable[[MultimodalModel], Tensor] = all_weights,
        orders: Mapping[str, str] | None = None,
        **arguments: Any,
    ) -> None:
        self.stream, self.notes = stream, Notes(weights)
        self.learner = RecordedLearner(
            orders={name: case.tensor(key) for name, key in {"batches": "in_order", **(orders or {})}.items()},
            model=model,
            scenario=stream.scenario,
            strategies={strategy[0]: strategy[1], "notes": self.notes},
            **arguments,
        )

    def experiences(self) -> Iterator[Experience]:
        """Train on one after the other; each is handed out when it has been learned."""
        for experience in self.stream.train:
            self.learner.train(experience)
            yield experience


class Answers(Metric):
    """Keeps the scores and the answers of a test set."""

    name = "answers"

    def reset(self) -> None:
        self.scores: list[Tensor] = []
        self.classes: list[Tensor] = []

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        assert output.logits is not None
        self.scores.append(output.logits.detach())
        self.classes.append(torch.tensor(label_space.ids)[output.logits.argmax(1)])

    def compute(self) -> float:
        return float("nan")
