"""Metric: what is counted over a test set; accuracy is the first."""

from abc import ABC, abstractmethod

from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch
from mmcl.models.output import Output

AMONG_OWN = "accuracy among own classes"


class Metric(ABC):
    """Accumulates over batches. Larger values are better; losses are stored negated."""

    name: str
    unit: str = "%"

    def begin_round(self) -> None:  # noqa: B027  most metrics need not know
        """The model is about to meet all test sets anew; for metrics that compare across test sets."""

    def begin_set(self, own: LabelSpace) -> None:
        """The next test set begins; ``own`` are its classes, of which others may compete with them."""
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Count from zero."""

    @abstractmethod
    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        """Count one batch. ``batch`` is complete, task ids included, whatever the model was shown."""

    @abstractmethod
    def compute(self) -> float:
        """The score; NaN if nothing was counted."""

    def chance(self) -> float:
        """What guessing scores on average on the test set just counted; NaN where nobody can say."""
        return float("nan")

    def further(self) -> dict[str, float]:
        """Further scores of the same pass by name; they get result matrices of their own."""
        return {}


class Accuracy(Metric):
    """Top-1 accuracy in percent. A sample whose class does not compete counts as wrong.

    Args:
        among_own: count, from the same scores, also who is right among the classes of the test set alone. Where ever
            more classes compete, as in CIL, this tells skill that is lost from competition that has grown.
    """

    name = "accuracy"

    def __init__(self, among_own: bool = False) -> None:
        self.among_own = among_own
        self.own = LabelSpace()
        self.reset()

    def begin_set(self, own: LabelSpace) -> None:
        """Count from zero, and know the classes of the test set."""
        self.own = own
        self.reset()

    def reset(self) -> None:
        """Count from zero."""
        self.correct = self.correct_among_own = self.total = self.competing = 0

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        """Compare the best column of each row with the true class."""
        assert output.logits is not None
        self.correct += _hits(output.logits, batch.targets, label_space)
        if self.among_own:
            columns = label_space.columns(batch.targets.new_tensor(self.own.ids))
            self.correct_among_own += _hits(output.logits[:, columns], batch.targets, self.own)
        self.total += len(batch.targets)
        self.competing = len(label_space)

    def compute(self) -> float:
        """Percent correct."""
        return self._percent(self.correct)

    def chance(self) -> float:
        """Every class that competes is as likely as any other."""
        return 100.0 / self.competing if self.competing else float("nan")

    def further(self) -> dict[str, float]:
        """The accuracy among the test set's own classes, if it is asked for."""
        return {AMONG_OWN: self._percent(self.correct_among_own)} if self.among_own else {}

    def _percent(self, correct: int) -> float:
        return 100.0 * correct / self.total if self.total else float("nan")


def _hits(logits: Tensor, targets: Tensor, label_space: LabelSpace) -> int:
    return int((logits.argmax(dim=1) == label_space.columns(targets)).sum())
