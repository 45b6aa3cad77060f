"""Output: what a forward pass returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from mmcl.data.route import Route


def probabilities(logits: Tensor) -> Tensor:
    """Of the classes of each row, ``[B, C]``: the softmax."""
    return logits.softmax(dim=1)


@dataclass(slots=True)
class Output:
    """What a model makes of a batch.

    Attributes:
        fused: ``[B, D]``, the features the head works on.
        features: tower -> pooled features ``[B, D]``, not normalised: the backbone's, zeros in rows that lack what the
            tower reads, or what the head makes of them. Towers of one modality have its name.
        present: tower -> ``bool[B]``, which rows have something that it reads.
        tokens: tower -> ``[B, L, W]``, features token by token, of towers that give them.
        logits: ``[B, C]``, one column per class of the label space considered; ``None`` where nothing has been scored.
        confidence: makes of ``logits`` the probabilities ``[B, C]`` of the classes: the head's own, after ``predict``.
        route: which way each row took; ``None`` where there is one for all.
        logit_scale: of cosine similarities, a scalar; 1 unless a backbone says otherwise.
    """

    fused: Tensor
    features: dict[str, Tensor] = field(default_factory=dict)
    present: dict[str, Tensor] = field(default_factory=dict)
    tokens: dict[str, Tensor] = field(default_factory=dict)
    logits: Tensor | None = None
    confidence: Callable[[Tensor], Tensor] = probabilities
    route: Route | None = None
    logit_scale: Tensor = field(default_factory=partial(torch.ones, ()))

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
