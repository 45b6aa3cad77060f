"""Objective: how an output is read, what is minimised, and the likelihood of an answer."""

from abc import ABC, abstractmethod
from dataclasses import fields, is_dataclass
from typing import ClassVar

from jaxtyping import Float, Shaped
from torch import Tensor

from mmcl.data.asked import AnswerKind, Asked
from mmcl.models.output import Output


class Objective(ABC):
    """What the samples of a benchmark are trained for. It remembers nothing; its options are fields of a dataclass.

    Attributes:
        answers: what kind of answer its samples have.
        unread: training settings that have no effect on it.
    """

    answers: ClassVar[AnswerKind]
    unread: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def loss(
        self, output: Output, targets: Shaped[Tensor, "B ..."], asked: Asked, smoothing: float
    ) -> Float[Tensor, ""]:
        """What is minimised.

        Args:
            output: of the model.
            targets: of its rows.
            asked: what competes.
            smoothing: the label smoothing of the training settings.
        """

    @abstractmethod
    def log_probabilities(self, output: Output, asked: Asked) -> Float[Tensor, "B K"]:
        """Log-probability of every answer that competes in each row; free of label smoothing."""

    @abstractmethod
    def log_likelihood(self, output: Output, targets: Shaped[Tensor, "B ..."], asked: Asked) -> Float[Tensor, " B"]:
        """Log-probability of the right answer of each row; free of label smoothing."""

    def __str__(self) -> str:
        """The name, with the options that it has: what a run records of it."""
        names: list[str] = [option.name for option in fields(self)] if is_dataclass(self) else []
        said = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return type(self).__name__.lower() + (f"({said})" if said else "")
