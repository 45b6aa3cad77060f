"""Pulls: whether what a strategy adds to the gradient is stronger than the loss."""

from collections.abc import Iterable, Iterator
from statistics import median

import torch
from torch import Tensor, nn

EVERY = 10  # steps from one look to the next: a look costs about as much as an optimiser's step
LIMIT = 2.0  # times the length of the loss's gradient; a penalty that holds well is about as long


class Pulls:
    """Compares, now and then in an experience, the lengths of gradients: what each strategy adds, and the loss's own.

    Where a penalty holds and the loss wants to go on, the two are equal in the end, but for noise. A penalty that is
    far longer most of the time throws weights from one side of its centre to the other, or hides the loss from an
    optimiser that divides by the size of the gradient.
    """

    def __init__(self) -> None:
        self._calls = 0
        self._ratios: dict[str, list[float]] = {}

    def look(self, parameters: Iterable[nn.Parameter]) -> "Look | None":
        """Once in a step, when the gradients are those of the loss; ``None`` in the steps that are passed over."""
        self._calls += 1
        return Look(list(parameters), self._ratios) if self._calls % EVERY == 0 else None

    def dominant(self) -> dict[str, float]:
        """Strategies with a median ratio above ``LIMIT``, and that median."""
        medians = {name: median(ratios) for name, ratios in self._ratios.items()}
        return {name: ratio for name, ratio in medians.items() if ratio > LIMIT}

    def remarks(self, terms: Iterable[str]) -> Iterator[str]:
        """A sentence about each of them.

        Args:
            terms: names of what strategies have added, ``"strategy/term"``.
        """
        for name, ratio in self.dominant().items():
            added = ", ".join(term for term in terms if term.startswith(f"{name}/"))
            yield (
                f"{added} pulled at the weights {ratio:.1f} times as hard as the loss, in the median: little can be "
                f"learned against it, and steps may overshoot. Lower the strength of {name!r}, by a factor of ten to "
                "begin with (docs/strengths.md)."
            )


class Look:
    """The gradients of one step, before and after each strategy adds to them."""

    def __init__(self, parameters: list[nn.Parameter], ratios: dict[str, list[float]]) -> None:
        self._parameters, self._ratios = parameters, ratios
        self._before: dict[int, Tensor] = {}
        self._loss = _length(list(self._gradients().values()))

    def begin(self) -> None:
        """A strategy is about to add."""
        self._before = {number: gradient.clone() for number, gradient in self._gradients().items()}

    def note(self, name: str) -> None:
        """What the strategy of this name has added since it began."""
        now = self._gradients()
        known = [number for number in now if number in self._before]
        pull = [now[number] for number in now if number not in self._before]
        pull += torch._foreach_sub([now[number] for number in known], [self._before[number] for number in known])
        self._ratios.setdefault(name, []).append(float(_length(pull) / self._loss))

    def _gradients(self) -> dict[int, Tensor]:
        return {n: p.grad for n, p in enumerate(self._parameters) if p.grad is not None}


def _length(tensors: list[Tensor]) -> Tensor:
    """Of all entries together; the smallest positive number if there are none."""
    tiny = torch.finfo(torch.float32).tiny
    return torch.stack(torch._foreach_norm(tensors)).norm().clamp(min=tiny) if tensors else torch.tensor(tiny)
