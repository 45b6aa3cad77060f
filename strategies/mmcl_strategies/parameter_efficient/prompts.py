"""Prompts: learned vectors of every experience among the tokens of a tower, those of each row's way."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import AddOn, Here

Tokens = Float[Tensor, "B L W"]
Vectors = Float[Tensor, "B P W"]
Place = Callable[[Tokens, Vectors], Float[Tensor, "B _ W"]]  # puts the second among the first


def behind_class_token(tokens: Tokens, prompts: Vectors) -> Float[Tensor, "B L+P W"]:
    """``[class, prompts, patches]`` of tokens with their positions, the class token first; prompts have none."""
    return torch.cat([tokens[:, :1], prompts, tokens[:, 1:]], dim=1)


def in_place_of_words(embedded: Tokens, prompts: Vectors) -> Tokens:
    """``[start, prompts, rest]``: the prompts stand in the place of as many words, which were put there for them.

    The words come embedded, a start token first, before positions are added.
    """
    return torch.cat([embedded[:, :1], prompts, embedded[:, 1 + prompts.shape[1] :]], dim=1)


def where_taken(
    tokens: Tokens, route: Route | None, change: Callable[[Tokens, Route], Tensor]
) -> Float[Tensor, "B _ W"]:
    """The rows that take a way, changed, and the others as they are.

    Args:
        tokens: of all rows.
        route: their ways, if they have any.
        change: what becomes of some rows with their ways. Where it makes them longer, all rows take a way or none does.
    """
    if route is None or not bool((taken := route.taken).any()):
        return tokens
    if bool(taken.all()):
        return change(tokens, route)
    rows = taken.nonzero().squeeze(1)
    return tokens.index_copy(0, rows, change(tokens[rows], route.select(rows)))


class Prompts(AddOn):
    """Puts the prompts of each row's way among its tokens; rows on the plain way stay as they are.

    A row is prompted or not: a strength between 0 and 1 is as 1.

    Args:
        length: P, vectors of an experience.
        width: W, of the tokens.
        place: where they are put.
        draw: fills new ones in place.
        lengthens: whether tokens are added, not replaced.
        dtype: of the tower.

    Attributes:
        vectors: id of an experience -> ``[P, W]``.
    """

    def __init__(
        self,
        length: int,
        width: int,
        *,
        place: Place,
        draw: Callable[[Tensor], Tensor],
        lengthens: bool,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.vectors = nn.ParameterDict()
        self.lengthens = lengthens
        self._place, self._draw = place, draw
        self._shape, self._dtype = (length, width), dtype

    def meet(self, arrival: Arrival) -> None:
        """Prompts for an experience."""
        self.vectors[str(arrival.index)] = nn.Parameter(self._draw(torch.empty(self._shape, dtype=self._dtype)))

    def train_only(self, experience: int) -> None:
        """Freeze the prompts of all other experiences."""
        for name, vectors in self.vectors.items():
            vectors.requires_grad_(name == str(experience))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, W]`` with the prompts of each row. Where these lengthen a row, all rows take a way or none does."""
        return where_taken(
            here.value, inputs.route, lambda value, route: self._place(value, self._of(route, value.dtype))
        )

    def _of(self, route: Route, dtype: torch.dtype) -> Tensor:
        """``[B, P, W]``, the prompts of each row; calls grow with the ways that occur, not with those there are."""
        ids, which = route.distinct()
        return torch.stack([self.vectors[str(id_)] for id_ in ids]).to(dtype)[which]
