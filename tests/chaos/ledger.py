"""What has been done to runs and what has come of it."""

from collections import Counter
from dataclasses import dataclass, field

from .trial import BROKEN, REFUSED, Ending

SAME, SENTENCE = "same numbers", "refused in a sentence"


@dataclass
class Ledger:
    """A part of the campaign.

    Attributes:
        part: what was done.
        outcomes: how often each kind of good end came about.
        faults: what was wrong with the other ends.
        skipped: why nothing was tried, if that is so.
    """

    part: str
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    skipped: str = ""

    @property
    def tried(self) -> int:
        """Attempts so far."""
        return self.outcomes.total() + len(self.faults)

    def note(self, what: str, ending: Ending, difference: str = "", may_refuse: bool = True) -> None:
        """Take an end down: the numbers of an undisturbed run, a sentence where that is right, or a fault."""
        if ending.code == REFUSED and may_refuse:
            self.outcomes[SENTENCE] += 1
        elif ending.code or difference:
            last = ending.said.strip().splitlines()[-1:] if ending.code == BROKEN else [ending.said]
            self.faults.append(f"{what}: code {ending.code}: {difference or ' '.join(last)}")
        else:
            self.outcomes[SAME] += 1
