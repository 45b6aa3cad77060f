"""BimodalPool: prompts with a key for images and one for texts, of which every row takes those that both ask for."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.sites import AddOn, Here
from mmcl_strategies.parameter_efficient.prompts import Place, where_taken
from mmcl_strategies.routing.keys import best, pull, similarities

_DEVIATION = 0.02  # of new prompts


def joint_similarities(
    image: Float[Tensor, "B D"],
    text: Float[Tensor, "B E"],
    image_keys: Float[Tensor, "M D"],
    text_keys: Float[Tensor, "M E"],
) -> Float[Tensor, "B M"]:
    """``cos(image, image key) + cos(text, text key)``; a query of zeros counts for nothing."""
    return similarities(image, image_keys) + similarities(text, text_keys)


class BimodalPool(AddOn):
    """Puts the K prompts that a row's queries ask for among its tokens, the best first; plain rows stay as they are.

    A row is prompted or not: a strength between 0 and 1 is as 1.

    Args:
        size: M, entries.
        length: P, vectors of a prompt.
        width: W, of the tokens.
        image: D, width of image queries, which come first in the query of a route.
        text: E, width of text queries, which follow.
        top_k: K, prompts of a row.
        place: where they are put.
        dtype: of the tower.

    Attributes:
        image_keys: ``[M, D]``, uniform between -1 and 1 to begin with, as those of texts.
        text_keys: ``[M, E]``.
        prompts: ``[M, P, W]``, normal with deviation 0.02 to begin with.
    """

    lengthens = True

    def __init__(
        self,
        size: int,
        length: int,
        width: int,
        *,
        image: int,
        text: int,
        top_k: int,
        place: Place,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.top_k, self._place = top_k, place
        self.image_keys = nn.Parameter(torch.empty(size, image, dtype=dtype).uniform_(-1, 1))
        self.text_keys = nn.Parameter(torch.empty(size, text, dtype=dtype).uniform_(-1, 1))
        self.prompts = nn.Parameter(torch.empty(size, length, width, dtype=dtype).normal_(0, _DEVIATION))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L + K P, W]``; all rows take a way or none does."""
        return where_taken(here.value, inputs.route, self._prompted)

    def similarities(self, query: Float[Tensor, "B D+E"]) -> Float[Tensor, "B M"]:
        """Of rows with these queries and every entry."""
        image, text = query.to(self.image_keys.dtype).split([self.image_keys.shape[1], self.text_keys.shape[1]], dim=1)
        return joint_similarities(image, text, self.image_keys, self.text_keys)

    def of(self, query: Float[Tensor, "B D+E"]) -> Float[Tensor, "B _ W"]:
        """``[B, K P, W]``, the prompts that rows with these queries ask for, one after the other."""
        return self.prompts[best(self.similarities(query), self.top_k)].flatten(1, 2)

    def pull(self, query: Float[Tensor, "B D+E"]) -> Float[Tensor, ""]:
        """What draws both keys to the queries that have chosen them, a scalar."""
        found = self.similarities(query)
        return pull(found, best(found, self.top_k))

    def _prompted(self, tokens: Tensor, route: Route) -> Tensor:
        assert route.query is not None
        return self._place(tokens, self.of(route.query).to(tokens.dtype))
