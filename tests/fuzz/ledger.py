"""What a campaign has tried and what has come of it."""

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from mmcl.errors import MMCLError


@dataclass
class Ledger:
    """A part of the campaign: every attempt is taken, refused in a sentence, or a fault.

    Attributes:
        part: what was tried.
        tried: attempts so far.
        refused: of them, those that ended in a sentence of MMCL's own.
        faults: of the others what is wrong: a traceback, or a value that changed without a word.
    """

    part: str
    tried: int = 0
    refused: int = 0
    faults: list[str] = field(default_factory=list)

    def attempt(self, what: str, act: Callable[[], str | None]) -> None:
        """Try something. ``act`` returns what is wrong with the outcome, if anything."""
        self.tried += 1
        try:
            wrong = act()
        except MMCLError:
            self.refused += 1
        except (Exception, SystemExit) as error:  # noqa: BLE001  that is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            self.faults.append(f"{what}: {type(error).__name__}: {error} ({place.filename}:{place.lineno})")
        else:
            if wrong:
                self.faults.append(f"{what}: {wrong}")
