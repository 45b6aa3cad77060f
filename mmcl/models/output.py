"""Output: what a forward pass returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(slots=True)
class Output:
    """What a model makes of a batch.

    Attributes:
        fused: ``[B, D]``, the features the head works on.
        features: modality -> pooled features ``[B, D]``, not normalised: the backbone's or what the head makes of them.
        logits: ``[B, C]``, one column per class of the label space considered; ``None`` where nothing has been scored.
        predictions: generated texts.
    """

    fused: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None
    predictions: list[str] | None = None

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: object,
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Functions of torch take an output for its logits, as avalanche's plugins expect of what a model returns."""
        return function(*(a.logits if isinstance(a, cls) else a for a in arguments), **(options or {}))
