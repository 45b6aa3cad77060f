"""Noisy top-k gating of a mixture of experts, and what is counted of it.

Source: Yu et al., "Boosting Continual Learning of Vision-Language Models via Mixture-of-Experts Adapters", CVPR 2024;
the gating is that of Shazeer et al., "Outrageously Large Neural Networks", ICLR 2017, with the softmax after the top k.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Gates(NamedTuple):
    """The experts of each row and their shares.

    Attributes:
        positions: ``int64[N, k]``, the experts.
        shares: ``float[N, k]``, which sum to 1 in each row.
    """

    positions: Tensor
    shares: Tensor

    def dense(self, experts: int) -> Tensor:
        """``float[N, E]`` with zeros for all other experts."""
        return self.shares.new_zeros(len(self.shares), experts).scatter(1, self.positions, self.shares)


def top_k_gates(logits: Tensor, k: int) -> Gates:
    """The k largest of the logits ``[N, E]`` in each row, and their softmax among themselves."""
    largest, positions = logits.topk(k, dim=1)
    return Gates(positions, largest.softmax(dim=1))


class Choice(NamedTuple):
    """How the experts of each row were chosen.

    Attributes:
        gates: the outcome.
        clean: logits without noise, ``[N, E]``.
        noisy: those that were compared.
        scale: standard deviation of the noise of each; ``None`` without noise.
    """

    gates: Gates
    clean: Tensor
    noisy: Tensor
    scale: Tensor | None


def choose(
    token: Tensor, weight: Tensor, noise: Tensor, k: int, floor: float, normal: Callable[[Tensor], Tensor] | None
) -> Choice:
    """Logits ``r G``, in training with noise of the standard deviation ``softplus(r N) + floor``, and their top k.

    Args:
        token: r of each row, ``[N, D]``.
        weight: G, ``[D, E]`` for all rows or ``[N, D, E]``, one for each.
        noise: N, of the same shape.
        k: experts of a row.
        floor: of the standard deviation.
        normal: draws a standard normal value for every logit; ``None``: there is no noise.
    """
    rows, experts = token.unsqueeze(1), weight.shape[-1]
    clean = (rows @ weight).reshape(-1, experts)
    if normal is None:
        return Choice(top_k_gates(clean, k), clean, clean, None)
    scale = functional.softplus((rows @ noise).reshape(-1, experts)) + floor
    noisy = clean + normal(clean) * scale
    return Choice(top_k_gates(noisy, k), clean, noisy, scale)


def expected_load(choice: Choice) -> Tensor:
    """Expected number of rows in which each expert is chosen, over other draws of its noise, ``float[E]``.

    Without noise, or where all experts are chosen, it is the number itself.
    """
    (_, experts), k = choice.clean.shape, choice.gates.positions.shape[1]
    if choice.scale is None or k == experts:
        return activations(choice.gates.dense(experts)).to(choice.clean.dtype)
    strongest = choice.noisy.topk(k + 1, dim=1).values
    inside, outside = strongest[:, k - 1 : k], strongest[:, k:]
    # to stay inside an expert has to beat the first one outside; to come in, the last one inside
    rival = torch.where(choice.noisy > outside, outside, inside)
    within: Tensor = torch.special.ndtr((choice.clean - rival) / choice.scale)
    return within.sum(0)


def activations(gates: Tensor) -> Tensor:
    """How many rows of the gates ``[N, E]`` each expert takes part in, ``int64[E]``."""
    return (gates > 0).sum(0)


def squared_variation(values: Tensor) -> Tensor:
    """``var / mean^2`` of ``[E]`` values with the unbiased variance; 0 for one value alone."""
    if len(values) == 1:
        return values.new_zeros(())
    return values.var() / (values.mean().square() + 1e-10)


def balance(choice: Choice) -> Tensor:
    """``0.01 (cv^2(importance) + cv^2(load))``: 0 where all experts have the same share and the same load."""
    importance = choice.gates.dense(choice.clean.shape[1]).sum(0)
    return 0.01 * (squared_variation(importance) + squared_variation(expected_load(choice)))


def most_active(counts: Tensor, number: int) -> Tensor:
    """The experts with the largest counts ``int64[E]``, ``int64[number]``; of equal ones the first."""
    return counts.argsort(descending=True, stable=True)[:number]
