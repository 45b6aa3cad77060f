"""Slots, needs and surroundings: the words in which strategies declare what they take and cannot do without."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, Literal

from mmcl.data.asked import AnswerKind
from mmcl.data.modality import IMAGE, TEXT
from mmcl.streams.scenario import Scenario

Order = Literal["any", "in turn", "at once"]  # in which a strategy can learn experiences


class Slot(Enum):
    """A place only one strategy can take. The value completes the sentence "'a' and 'b' both ..."."""

    BATCHES = "build the training batches"
    ROUTE = "choose the way through the model"
    FUSION = "fuse the modalities"
    HEAD = "decide the prediction"
    OBJECTIVE = "replace the task loss"
    GRADIENT = "edit the gradient last"


@dataclass(frozen=True)
class Surroundings:
    """What a composition runs in, as far as it is known; ``None`` is what nobody has said yet.

    Attributes:
        scenario: of the benchmark.
        towers: which modalities each tower of the backbone reads.
        reference_data: whether the benchmark has any; known once its data have been read.
        modalities: what the samples of the benchmark may have.
        answers: what its samples are answered with.
        writes: whether the backbone writes text.
        taken: the slots that the strategies take.
    """

    scenario: Scenario | None = None
    towers: frozenset[frozenset[str]] | None = None
    reference_data: bool | None = None
    modalities: frozenset[str] | None = None
    answers: AnswerKind | None = None
    writes: bool | None = None
    taken: frozenset[Slot] | None = None

    @property
    def encodes(self) -> frozenset[str] | None:
        """All modalities that a tower reads."""
        return None if self.towers is None else frozenset().union(*self.towers)

    @property
    def reveals_tasks(self) -> bool | None:
        """Whether samples come with their task id at test time."""
        return None if self.scenario is None else self.scenario.task_id_known_at_test

    def takes(self, slot: Slot) -> bool | None:
        """Whether a strategy takes a slot."""
        return None if self.taken is None else slot in self.taken

    def has_tower(self, *reads: str) -> bool | None:
        """Whether a tower reads these modalities and no other."""
        return None if self.towers is None else frozenset(reads) in self.towers

    def answered_with(self, kind: AnswerKind) -> bool | None:
        """Whether the samples are answered with this."""
        return None if self.answers is None else self.answers is kind

    def shows(self, *modalities: str) -> bool | None:
        """Whether these are the modalities of the samples, all of them and no other."""
        return None if self.modalities is None else self.modalities == frozenset(modalities)


@dataclass(frozen=True)
class Need:
    """Something a strategy or a scenario cannot do without. Whoever needs something else makes another one.

    Attributes:
        name: what declarations call it.
        what: completes the sentence "'a' needs ...".
        remedy: what to do where it is not met.
        met: whether it is, in given surroundings; ``None`` while that is not known.
    """

    name: str
    what: str
    remedy: str
    met: Callable[[Surroundings], bool | None] = field(compare=False, repr=False)

    IMAGE_ENCODER: ClassVar["Need"]
    TEXT_ENCODER: ClassVar["Need"]
    WRITER: ClassVar["Need"]
    REFERENCE_DATA: ClassVar["Need"]
    CLASSES: ClassVar["Need"]
    PAIRS: ClassVar["Need"]
    IMAGES_ALONE: ClassVar["Need"]
    TASK_ID: ClassVar["Need"]
    WAY: ClassVar["Need"]


Need.IMAGE_ENCODER = Need(
    "IMAGE_ENCODER",
    what="a backbone with an image encoder",
    remedy="Choose a CLIP-like backbone, such as glyph-clip.",
    met=lambda around: around.has_tower(IMAGE),
)
Need.TEXT_ENCODER = Need(
    "TEXT_ENCODER",
    what="a backbone with a text encoder",
    remedy="Choose a CLIP-like backbone, such as glyph-clip.",
    met=lambda around: around.has_tower(TEXT),
)
Need.WRITER = Need(
    "WRITER",
    what="a backbone that writes text",
    remedy="Choose a backbone that writes, or a scenario with class labels.",
    met=lambda around: around.writes,
)
Need.REFERENCE_DATA = Need(
    "REFERENCE_DATA",
    what="reference images and captions outside the stream",
    remedy="Name a folder with images/ and captions.txt: to the strategy, as in zscl:reference=DIR, or to a stream of "
    "your own data with reference=DIR; official data have it in DATA_ROOT/reference.",
    met=lambda around: around.reference_data,
)
Need.CLASSES = Need(
    "CLASSES",
    what="experiences with classes",
    remedy="Choose a benchmark of classes, or a strategy for pairs.",
    met=lambda around: around.answered_with(AnswerKind.CLASS),
)
Need.PAIRS = Need(
    "PAIRS",
    what="pairs of images and texts without classes",
    remedy="Choose a benchmark of pairs, or a strategy for classes.",
    met=lambda around: _all(around.answered_with(AnswerKind.PARTNER), around.shows(IMAGE, TEXT)),
)
Need.IMAGES_ALONE = Need(
    "IMAGES_ALONE",
    what="a stream of images alone",
    remedy="Choose a benchmark of images, or a strategy that replays features.",
    met=lambda around: around.shows(IMAGE),
)
Need.TASK_ID = Need(
    "TASK_ID",
    what="the task id at test time",
    remedy="Choose a benchmark of scenario TIL or MDTIL, or a strategy that does not ask for it.",
    met=lambda around: around.reveals_tasks,
)
Need.WAY = Need(
    "WAY",
    what="the task id at test time, or a strategy that chooses the way through the model",
    remedy="Add a strategy that takes slot ROUTE, such as ddas, or choose a benchmark of scenario TIL or MDTIL.",
    met=lambda around: _any(around.reveals_tasks, around.takes(Slot.ROUTE)),
)


def _any(*facts: bool | None) -> bool | None:
    return True if True in facts else None if None in facts else False


def _all(*facts: bool | None) -> bool | None:
    return False if False in facts else None if None in facts else True
