"""Arrival: an experience that a model makes room for."""

from dataclasses import dataclass

from mmcl.data.asked import AnswerKind
from mmcl.data.label_space import LabelSpace


@dataclass(frozen=True)
class Arrival:
    """What heads and add-ons are told of an experience before there is an optimiser for it.

    Attributes:
        index: of the experience, its task id.
        label_space: its classes; none where its samples are answered with something else.
        modalities: those that its samples may have.
        answers: what its samples are answered with.
    """

    index: int
    label_space: LabelSpace
    modalities: frozenset[str]
    answers: AnswerKind = AnswerKind.CLASS
