"""Output: what a forward pass returns."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True)
class Output:
    """Parts that a model does not produce are ``None``.

    Attributes:
        logits: ``[B, C]``, one column per class of the label space considered.
        features: modality -> pooled features ``[B, D]`` as the backbone gives them, not normalised.
        fused: ``[B, D]``, the features the head works on.
        predictions: generated texts.
    """

    logits: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    fused: Tensor | None = None
    predictions: list[str] | None = None
