"""WayTally: which ways through the model the samples of a test set have taken."""

from torch import Tensor

from mmcl.data.route import PLAIN, Route
from mmcl.models.routing import Router

OWN_WAY, PLAIN_WAY = "on the way of their own experience", "on the plain way"


def how_found(router: Router | None, task_ids_known: bool) -> str | None:
    """How ways are found at test time: ``given``, ``per sample``, ``per batch`` or ``per stream``; ``None`` if never.

    Args:
        router: of the model.
        task_ids_known: whether the scenario reveals them at test time.
    """
    if router is None:
        return None
    return "given" if task_ids_known else f"per {router.granularity}"


class WayTally:
    """Counts over batches; where no ways are taken there is nothing to tell."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from zero again, before the next test set."""
        self._own = self._plain = self._rows = 0

    def update(self, route: Route | None, task_ids: Tensor) -> None:
        """Count a batch, whose true experiences are ``int64[B]``."""
        if route is None:
            return
        self._own += int((route.ids == task_ids).sum())
        self._plain += int((route.ids == PLAIN).sum())
        self._rows += len(task_ids)

    def shares(self) -> dict[str, float]:
        """Percent of the samples on the way of their own experience, and on the plain one."""
        if not self._rows:
            return {}
        counts = {OWN_WAY: self._own, PLAIN_WAY: self._plain}
        return {name: 100.0 * count / self._rows for name, count in counts.items()}
