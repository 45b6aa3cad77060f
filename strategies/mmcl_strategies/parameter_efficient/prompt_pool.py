"""PromptPool: prompts that all experiences share, of which every row takes those that its query asks for."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmcl.data.sample import Inputs
from mmcl.models.sites import AddOn, Here
from mmcl_strategies.parameter_efficient.prompts import behind_class_token
from mmcl_strategies.routing.keys import best, most_frequent, pull, similarities


def mean_of_prompts(outputs: Float[Tensor, "B L W"], count: int) -> Float[Tensor, "B L W"]:
    """The same with the mean of the prompts' outputs in the place of the class token's.

    Args:
        outputs: of class token, prompts and patches.
        count: number of prompts.
    """
    return torch.cat([outputs[:, 1 : 1 + count].mean(1, keepdim=True), outputs[:, 1:]], dim=1)


class PromptPool(AddOn):
    """Puts the prompts whose keys are nearest to a row's query behind its class token; plain rows stay as they are.

    A row is prompted or not: a strength between 0 and 1 is as 1.

    Args:
        size: M, prompts in the pool, each with a key.
        length: P, vectors of a prompt.
        width: W, of the tokens.
        query: Q, width of the queries.
        top_k: K, prompts of a row.
        batchwise: whether all rows of a pass take the prompts that most of them ask for.
        dtype: of the tower.

    Attributes:
        keys: ``[M, Q]``.
        prompts: ``[M, P, W]``.
    """

    lengthens = True

    def __init__(
        self,
        size: int,
        length: int,
        width: int,
        query: int,
        *,
        top_k: int,
        batchwise: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.top_k, self.batchwise = top_k, batchwise
        self.keys = nn.Parameter(torch.empty(size, query, dtype=dtype).uniform_(-1, 1))
        self.prompts = nn.Parameter(torch.empty(size, length, width, dtype=dtype).uniform_(-1, 1))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, 1 + K P + L, W]`` of ``[B, 1 + L, W]``; all rows take a way or none does."""
        if inputs.route is None or not bool(inputs.route.taken.any()):
            return here.value
        assert inputs.route.query is not None
        return behind_class_token(here.value, self.of(self.chosen(inputs.route.query)).to(here.value.dtype))

    def chosen(self, query: Tensor) -> Tensor:
        """``int64[B, K]``, the prompts of rows with these queries, ``[B, Q]``."""
        return self._chosen(similarities(query.to(self.keys.dtype), self.keys))

    def of(self, chosen: Tensor) -> Tensor:
        """``[B, K P, W]``, prompts ``int64[B, K]`` one after the other."""
        return self.prompts[chosen].flatten(1, 2)

    def pull(self, query: Tensor) -> Tensor:
        """What draws keys to the queries, ``[B, Q]``, that have chosen them, a scalar; no gradient goes to these."""
        cosines = similarities(query.to(self.keys.dtype), self.keys)
        return pull(cosines, self._chosen(cosines))

    def _chosen(self, cosines: Tensor) -> Tensor:
        chosen = best(cosines, self.top_k)
        return most_frequent(chosen, len(self.keys)) if self.batchwise else chosen


class PromptOutputs(AddOn):
    """Lets a tower pool the mean of the prompts' outputs, in rows that have prompts.

    Args:
        count: prompts of a row.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, W]``; all rows take a way or none does, for prompts lengthen them."""
        if inputs.route is None or not bool(inputs.route.taken.any()):
            return here.value
        return mean_of_prompts(here.value, self.count)
