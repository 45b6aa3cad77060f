"""Record: what was seen of a strategy while it learned a stream and answered."""

from dataclasses import dataclass, field

from mmcl.learning.compose import Slot
from mmcl.testing.laboratory.trial import Snapshot


@dataclass(frozen=True, order=True)
class Read:
    """A sample has been read that is not one of the experience at hand.

    Attributes:
        side: ``"train"`` or ``"test"``.
        experience: it belongs to.
        doing: what was done meanwhile: ``"before"``, ``"train"`` or ``"test"``.
        current: the experience that was learned or answered.
    """

    side: str
    experience: int
    doing: str
    current: int

    @property
    def is_earlier(self) -> bool:
        """Whether an earlier training sample was read while learning."""
        return self.doing == self.side == "train" and self.experience < self.current

    def __str__(self) -> str:
        words = {"before": "before anything is learned", "train": "while it learns", "test": "while it is tested on"}
        rest = "" if self.doing == "before" else f" experience {self.current}"
        return f"{self.side} data of experience {self.experience} {words[self.doing]}{rest}"


@dataclass
class Record:
    """What was seen.

    Attributes:
        edits: slot -> when something that belongs to its occupant was changed.
        other_objective: whether the task loss ever was another one than the classification loss.
        loss_terms: name -> whether it ever had a gradient.
        gradient_terms: names that were given.
        odd_terms: what is wrong with values of terms.
        teachers: those that were read.
        adapted: whether steps trained something that was added to the backbone.
        rewrote: whether the weights changed between the last step and the end of an experience.
        rewrote_buffers: whether buffers did.
        traces: what the strategy left behind in the model besides weights.
        draws: libraries whose global generator was used in training.
        foreign: data that were read and are not those of the experience that was learned or evaluated.
        held: number of past batches that were still alive at the end.
        graphs: attributes of the strategy that held a graph from one step to the next.
        options: those whose value changed.
        end: after the last experience.
        error: what was raised, if something was.
    """

    edits: dict[Slot, str] = field(default_factory=dict)
    other_objective: bool = False
    loss_terms: dict[str, bool] = field(default_factory=dict)
    gradient_terms: set[str] = field(default_factory=set)
    odd_terms: list[str] = field(default_factory=list)
    teachers: set[str] = field(default_factory=set)
    adapted: bool = False
    rewrote: bool = False
    rewrote_buffers: bool = False
    traces: list[str] = field(default_factory=list)
    draws: set[str] = field(default_factory=set)
    foreign: set[Read] = field(default_factory=set)
    held: int = 0
    graphs: set[str] = field(default_factory=set)
    options: list[str] = field(default_factory=list)
    end: Snapshot | None = None
    error: Exception | None = None
