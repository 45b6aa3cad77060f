"""One file of golden vectors, opened for a check in one precision."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    """Allowed ``max|a - b|``: ``absolute + relative * max|expected|``, the maximum being at least ``floor``."""

    absolute: float
    relative: float
    floor: float = 0.0


@dataclass
class Case:
    """The arrays of a file; floats are handed out in the precision under test.

    Attributes:
        arrays: everything the file holds.
        precision: ``torch.float64`` or ``torch.float32``.
        tolerance: of this method in this precision.
        worst: name -> largest deviation found so far.
    """

    arrays: dict[str, np.ndarray]
    precision: torch.dtype
    tolerance: Tolerance
    worst: dict[str, float] = field(default_factory=dict)

    def tensor(self, name: str) -> Tensor:
        """An input as a tensor: floats in the precision under test, integers as int64."""
        values = torch.from_numpy(np.array(self.arrays[name]))
        return values.to(self.precision) if values.is_floating_point() else values.long()

    def leaf(self, name: str) -> Tensor:
        """An input tensor that collects gradient."""
        return self.tensor(name).requires_grad_()

    def number(self, name: str) -> float:
        """A 0-d float array."""
        return float(self.arrays[name])

    def integer(self, name: str) -> int:
        """A 0-d integer array."""
        return int(self.arrays[name])

    def setting(self, name: str, experience: int) -> Any:
        """A number that holds for all experiences (0-d), or the one of this experience."""
        values = self.arrays[name]
        return (values[experience] if values.ndim else values).item()

    def names(self, prefix: str) -> list[str]:
        """The arrays whose names start like this."""
        return sorted(name for name in self.arrays if name.startswith(prefix))

    def expect(self, name: str, actual: Any) -> None:
        """Compare a result with the array of this name: shape, place of NaN, values within the tolerance."""
        expected = np.asarray(self.arrays[name])
        found = actual.detach().numpy() if isinstance(actual, Tensor) else np.asarray(actual)
        assert found.shape == expected.shape, f"{name}: shape {found.shape}, expected {expected.shape}"
        if not np.issubdtype(expected.dtype, np.floating) and not np.issubdtype(found.dtype, np.floating):
            assert np.array_equal(found, expected), f"{name}: {found.tolist()}, expected {expected.tolist()}"
            self.worst[name] = 0.0
            return
        expected = expected.astype(np.float64)
        undefined = np.isnan(expected)
        assert np.array_equal(np.isnan(found), undefined), f"{name}: NaN in other places than expected"
        error = float(np.abs(found.astype(np.float64) - expected)[~undefined].max(initial=0.0))
        size = float(np.abs(expected)[~undefined].max(initial=0.0))
        allowed = self.tolerance.absolute + self.tolerance.relative * max(size, self.tolerance.floor)
        self.worst[name] = max(self.worst.get(name, 0.0), error)
        assert error <= allowed, f"{name}: deviates by {error:.3g}, allowed {allowed:.3g} ({self.precision})"

    def require_all(self, names: Iterable[str]) -> None:
        """Fail if one of these expected arrays was never compared."""
        forgotten = sorted(set(names) - set(self.worst))
        assert not forgotten, f"never compared: {', '.join(forgotten)}"


@dataclass(frozen=True)
class Parity:
    """How the golden vectors of one method are checked.

    Attributes:
        check: calls the library's own functions and compares, through ``Case.expect``.
        tolerances: precision -> tolerance; the check runs once for each.
    """

    check: Callable[[Case], None]
    tolerances: Mapping[torch.dtype, Tolerance]


DEFAULT_TOLERANCES = {torch.float64: Tolerance(1e-9, 1e-7), torch.float32: Tolerance(1e-6, 1e-4)}
STRICT = {torch.float64: DEFAULT_TOLERANCES[torch.float64]}
