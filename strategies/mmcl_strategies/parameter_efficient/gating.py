"""Noisy top-k gating of a mixture of experts, and what is counted of it.

Source: Yu et al., "Boosting Continual Learning of Vision-Language Models via Mixture-of-Experts Adapters", CVPR 2024;
the gating is that of Shazeer et al., "Outrageously Large Neural Networks", ICLR 2017, with the softmax after the top k.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

# G of a gate that serves all rows, or one for each
Weight = Float[Tensor, "D E"] | Float[Tensor, "#N D E"]


class Gates(NamedTuple):
    """The experts of each row and their shares.

    Attributes:
        positions: the experts.
        shares: theirs, which sum to 1 in each row.
    """

    positions: Int[Tensor, "N k"]
    shares: Float[Tensor, "N k"]

    def dense(self, experts: int) -> Float[Tensor, "N {experts}"]:
        """The shares of all experts, with zeros for all others."""
        return self.shares.new_zeros(len(self.shares), experts).scatter(1, self.positions, self.shares)


def top_k_gates(logits: Float[Tensor, "N E"], k: int) -> Gates:
    """The k largest of the logits in each row, and their softmax among themselves."""
    largest, positions = logits.topk(k, dim=1)
    return Gates(positions, largest.softmax(dim=1))


class Choice(NamedTuple):
    """How the experts of each row were chosen.

    Attributes:
        gates: the outcome.
        clean: logits without noise.
        noisy: those that were compared.
        scale: standard deviation of the noise of each; ``None`` without noise.
    """

    gates: Gates
    clean: Float[Tensor, "N E"]
    noisy: Float[Tensor, "N E"]
    scale: Float[Tensor, "N E"] | None


def choose(
    token: Float[Tensor, "N D"],
    weight: Weight,
    noise: Weight,
    k: int,
    floor: float,
    normal: Callable[[Float[Tensor, "N E"]], Float[Tensor, "N E"]] | None,
) -> Choice:
    """Logits ``r G``, in training with noise of the standard deviation ``softplus(r N) + floor``, and their top k.

    Args:
        token: r of each row.
        weight: G, one for all rows or one for each.
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


def expected_load(choice: Choice) -> Float[Tensor, " E"]:
    """Expected number of rows in which each expert is chosen, over other draws of its noise.

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


def activations(gates: Float[Tensor, "N E"]) -> Int[Tensor, " E"]:
    """How many rows each expert takes part in."""
    return (gates > 0).sum(0)


def squared_variation(values: Float[Tensor, " E"]) -> Float[Tensor, ""]:
    """``var / mean^2`` with the unbiased variance; 0 for one value alone."""
    if len(values) == 1:
        return values.new_zeros(())
    return values.var() / (values.mean().square() + 1e-10)


def balance(choice: Choice) -> Float[Tensor, ""]:
    """``0.01 (cv^2(importance) + cv^2(load))``: 0 where all experts have the same share and the same load."""
    importance = choice.gates.dense(choice.clean.shape[1]).sum(0)
    return 0.01 * (squared_variation(importance) + squared_variation(expected_load(choice)))


def most_active(counts: Int[Tensor, " E"], number: int) -> Int[Tensor, " {number}"]:
    """The experts with the largest counts; of equal ones the first."""
    return counts.argsort(descending=True, stable=True)[:number]
