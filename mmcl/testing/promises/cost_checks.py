"""What a strategy costs: nothing piles up from step to step or from experience to experience."""

import sys
from itertools import pairwise
from types import FrameType
from typing import Any

from mmcl.data.nested import nbytes
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.testing.check import BrokenPromiseError, Check, Subject, promise
from mmcl.testing.laboratory.audit import audited
from mmcl.testing.laboratory.setting import Setting
from mmcl.testing.laboratory.trial import NAME, learn, learned
from mmcl.testing.laboratory.witness import observed
from mmcl.testing.promises.state_checks import with_memory_of

_EXPERIENCES = 7
_SETTLED = 3  # experiences after which caches and memories have had the time to fill
_SMALL = 4  # samples of a memory that fills early


@promise
def growth(strategy: Subject) -> None:
    """It declares whether what it keeps, or the work of a step, grows with every experience."""
    settings = [trial.setting for trial in learned(strategy, image_tower=False) if not trial.setting.raw]
    # modalities that take turns hide growth
    settings = [setting for setting in settings if not setting.scenario.modalities_change] or settings
    found = next(filter(None, (_growing(strategy, setting) for setting in settings)), "")
    declared = strategy.plugin.grows
    if found and not declared:
        raise BrokenPromiseError(found, "Declare grows = True, or keep sums instead of lists.")
    if declared and not found:
        raise BrokenPromiseError("it declares grows, and neither bytes nor calls grow", "Remove the declaration.")


@promise
def held_batches(strategy: Subject) -> None:
    """It lets go of the batches it has seen, and of their graphs."""
    for setting, record in observed(strategy):
        if record.graphs:
            raise BrokenPromiseError(
                f"in {setting} {min(record.graphs)!r} holds a graph from one step to the next",
                "Keep values with .detach() or float().",
            )
        if record.held:
            raise BrokenPromiseError(
                f"in {setting} {record.held} past batches are still in memory at the end",
                "Keep copies of what is needed: a view keeps the whole batch.",
            )


@promise
def written_files(strategy: Subject) -> None:
    """It writes no file and calls no network: what it keeps is in the run folder's checkpoint."""
    trial = next(learned(strategy))
    with audited() as audit:
        learn(trial.setting, strategy.fresh(), experiences=2)
    if audit.written:
        raise BrokenPromiseError(f"it writes {audit.written[0]}", "Keep it in 'state', which the checkpoint saves.")
    if audit.called:
        raise BrokenPromiseError(f"it calls {audit.called[0]}", "Load nothing from the network in a run.")


COST_CHECKS: tuple[Check, ...] = (growth, held_batches, written_files)


class _First(StrategyPlugin):
    """Begins to count calls in each step."""

    def __init__(self) -> None:
        self.count, self.profile = 0, sys.getprofile()

    def before_training_iteration(self, learner: Learner, **_: object) -> None:
        """The first strategy of all."""
        self.count, self.profile = 0, sys.getprofile()
        sys.setprofile(self._called)

    def _called(self, frame: FrameType, event: str, argument: Any) -> None:
        self.count += event in ("call", "c_call")


class _Last(StrategyPlugin):
    """Ends it, and keeps the least of each experience."""

    def __init__(self, first: _First) -> None:
        self.first = first
        self.calls: dict[int, int] = {}

    def after_training_iteration(self, learner: Learner, **_: object) -> None:
        """The last strategy of all."""
        sys.setprofile(self.first.profile)
        index = learner.current.index
        if learner.step:  # the first step fills caches
            self.calls[index] = min(self.calls.get(index, sys.maxsize), self.first.count)


def _growing(strategy: Subject, setting: Setting) -> str:
    """What grows with every experience once everything has settled, in words; empty if nothing does."""
    learned_by, benchmark = with_memory_of(strategy, _SMALL), setting.benchmark(_EXPERIENCES, per_class=3)
    first = _First()
    last = _Last(first)
    learner = setting.learner(benchmark, {"first": first, NAME: learned_by, "last": last}, iterations=5)
    kept = []
    for experience in benchmark.train:
        learner.train(experience)
        own = [value for name, value in vars(learned_by).items() if name != "state"]
        kept.append(nbytes([learned_by.state_dict(), own, dict(learner.model.state_dict())]))
    calls = [last.calls.get(index, 0) for index in range(_EXPERIENCES)]
    for what, counts in (("bytes kept", kept), ("calls in a step", calls)):
        settled = counts[_SETTLED:]
        if all(later > earlier for earlier, later in pairwise(settled)):
            return f"in {setting} the {what} after {_SETTLED + 1} to {_EXPERIENCES} experiences are {settled}"
    return ""
