"""Keys: which prompts a frozen feature asks for, and what draws keys towards the features that have asked for them."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

_SHORTEST = 1e-6  # the least length that a vector is divided by


def similarities(queries: Float[Tensor, "B D"], keys: Float[Tensor, "M D"]) -> Float[Tensor, "B M"]:
    """Cosines of queries and keys; vectors shorter than 1e-6 are taken as if they had that length."""
    unit_queries, unit_keys = (functional.normalize(rows, dim=1, eps=_SHORTEST) for rows in (queries, keys))
    return unit_queries @ unit_keys.T


def best(cosines: Float[Tensor, "B M"], k: int) -> Int[Tensor, "B k"]:
    """The k keys of each row with the largest cosines, the best first."""
    return cosines.topk(k, dim=1).indices


def most_frequent(chosen: Int[Tensor, "B k"], keys: int) -> Int[Tensor, "B k"]:
    """For every row the same k keys: those that most rows have chosen, the most frequent first; ties go to smaller ids.

    Args:
        chosen: keys of each row.
        keys: how many there are.
    """
    votes = torch.bincount(chosen.flatten(), minlength=keys)
    return votes.argsort(descending=True, stable=True)[: chosen.shape[1]].expand_as(chosen)


def pull(cosines: Float[Tensor, "B M"], chosen: Int[Tensor, "B k"]) -> Float[Tensor, ""]:
    """The sum of a row's cosines with the keys that were chosen for it, not their mean, averaged over the rows."""
    return cosines.gather(1, chosen).sum(1).mean()
