"""What a run left after each of its experiences."""

from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor

from .case import Case


class History:
    """Name -> one value for each experience."""

    def __init__(self) -> None:
        self.values: dict[str, list[Tensor]] = defaultdict(list)

    def note(self, prefix: str, values: Mapping[str, Tensor]) -> None:
        """Add copies."""
        for name, value in values.items():
            self.values[prefix + name].append(value.detach().clone())

    def expect(self, case: Case) -> None:
        """Compare them, ``[T, ...]``."""
        for name, values in self.values.items():
            case.expect(name, torch.stack(values))
