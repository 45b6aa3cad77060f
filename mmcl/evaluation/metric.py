"""Metric: what is counted over a test set; accuracy is the first."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

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
        """Forget what has been counted, before the next test set."""

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

    def answers(self) -> list[dict[str, Any]]:
        """What was answered on the test set just counted, a row for every question; for metrics that know it."""
        return []


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
        """Count from zero again, before the next test set."""
        self.correct = self.correct_among_own = self.total = self.competing = 0
        self._answers: list[_Answers] = []

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        """Compare the best column of each row with the true class."""
        assert output.logits is not None
        best = output.logits.argmax(dim=1)
        self.correct += _hits(best, batch.targets, label_space)
        if self.among_own:
            columns = label_space.columns(batch.targets.new_tensor(self.own.ids))
            self.correct_among_own += _hits(output.logits[:, columns].argmax(dim=1), batch.targets, self.own)
        shares = output.confidence(output.logits.float()).gather(1, best.unsqueeze(1)).squeeze(1)
        ids = batch.inputs.sample_ids or ("",) * len(best)
        self._answers.append(_Answers(ids, batch.targets, best, shares, label_space.names))
        self.total += len(batch.targets)
        self.competing = len(label_space)

    def compute(self) -> float:
        """Correct answers of all, in percent."""
        return self._percent(self.correct)

    def chance(self) -> float:
        """Every class that competes is as likely as any other."""
        return 100.0 / self.competing if self.competing else float("nan")

    def further(self) -> dict[str, float]:
        """The accuracy among the test set's own classes, if it is asked for."""
        return {AMONG_OWN: self._percent(self.correct_among_own)} if self.among_own else {}

    def answers(self) -> list[dict[str, Any]]:
        """For every sample its class, the one that was chosen, and the probability of that."""
        names = dict(zip(self.own.ids, self.own.names, strict=True))
        return [
            {"row": row, "id": id_, "target": names.get(target, target), "prediction": said, "score": f"{share:.6g}"}
            for row, (id_, target, said, share) in enumerate(chain.from_iterable(map(_Answers.rows, self._answers)))
        ]

    def _percent(self, correct: int) -> float:
        return 100.0 * correct / self.total if self.total else float("nan")


class _Answers(NamedTuple):
    """Of a batch; they become numbers and names when somebody asks for them."""

    ids: tuple[str, ...]
    targets: Tensor
    columns: Tensor
    shares: Tensor
    names: tuple[str, ...]

    def rows(self) -> Iterator[tuple[str, int, str, float]]:
        """Of every sample its id, its class, what was said and the probability of that."""
        said = [self.names[column] for column in self.columns.tolist()]
        return zip(self.ids, self.targets.tolist(), said, self.shares.tolist(), strict=True)


def _hits(columns: Tensor, targets: Tensor, label_space: LabelSpace) -> int:
    return int((columns == label_space.columns(targets)).sum())
