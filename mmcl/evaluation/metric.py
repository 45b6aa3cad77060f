"""Metric: what is counted over a test set; accuracy is the first."""

from abc import ABC, abstractmethod

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch
from mmcl.models.output import Output


class Metric(ABC):
    """Accumulates over batches. Larger values are better; losses are stored negated."""

    name: str
    unit: str = "%"

    def begin_round(self) -> None:  # noqa: B027  most metrics need not know
        """The model is about to meet all test sets anew; for metrics that compare across test sets."""

    @abstractmethod
    def reset(self) -> None:
        """The next test set begins: count from zero."""

    @abstractmethod
    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        """Count one batch. ``batch`` is complete, task ids included, whatever the model was shown."""

    @abstractmethod
    def compute(self) -> float:
        """The score; NaN if nothing was counted."""

    def further(self) -> dict[str, float]:
        """Further scores of the same pass by name; they get result matrices of their own."""
        return {}


class Accuracy(Metric):
    """Top-1 accuracy in percent. A sample whose class does not compete counts as wrong."""

    name = "accuracy"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.correct = self.total = 0

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        """Compare the best column of each row with the true class."""
        assert output.logits is not None
        hits = output.logits.argmax(dim=1) == label_space.columns(batch.targets)
        self.correct += int(hits.sum())
        self.total += len(hits)

    def compute(self) -> float:
        """Percent correct."""
        return 100.0 * self.correct / self.total if self.total else float("nan")
