"""LayerPrompts: prompts that stand in slots behind the first token of an encoder and are other ones in every layer."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import AddOn, Here

Tokens = Float[Tensor, "B L W"]
Slots = Float[Tensor, "B _ W"]


def in_slots(
    tokens: Tokens, general: Slots | None, expert: Slots | None, standing: tuple[int, int]
) -> Float[Tensor, "B _ W"]:
    """``[first, general, expert, rest]``: prompts of this layer in place of what stands in their slots, or new there.

    Args:
        tokens: of a sequence in which slots may stand already.
        general: prompts that all experiences share; without them what stands there is kept.
        expert: those of an experience, likewise.
        standing: how many slots of each kind stand in the sequence.
    """
    first, shared, own, rest = tokens.split([1, *standing, tokens.shape[1] - 1 - sum(standing)], dim=1)
    shared, own = shared if general is None else general, own if expert is None else expert
    return torch.cat([first, shared, own, rest], dim=1)


class LayerPrompts(AddOn):
    """Puts the prompts of one layer into the slots of each row, those of its way; plain rows stay as they are.

    A row is prompted or not: a strength between 0 and 1 is as 1.

    Args:
        width: W, of the tokens.
        part: whose ways they take, where parts of the model choose for themselves.
        general: length of the prompts that all experiences share; 0 for none.
        expert: P, length of those of each experience; 0 for none.
        standing: how many slots of both kinds earlier layers have brought.
        dtype: of the tower.

    Attributes:
        general: ``[general, W]``.
        experts: id of an experience -> ``[P, W]``.
    """

    lengthens = True

    def __init__(
        self,
        width: int,
        part: int,
        *,
        general: int,
        expert: int,
        standing: tuple[int, int],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.general = nn.Parameter(torch.empty(general, width, dtype=dtype).normal_(std=0.02))
        self.experts = nn.ParameterDict()
        self.part, self.standing = part, standing
        self._shape = (expert, width)

    def meet(self, arrival: Arrival) -> None:
        """Prompts for an experience, which begin as those of the one before it."""
        if not self._shape[0]:
            return
        earlier = list(self.experts.values())
        start = earlier[-1].detach().cpu().clone() if earlier else self.general.new_empty(self._shape).normal_(std=0.02)
        self.experts[str(arrival.index)] = nn.Parameter(start.cpu())

    def train_only(self, experience: int) -> None:
        """Freeze the prompts of all other experiences; the general ones learn in each of them."""
        for name, prompts in self.experts.items():
            prompts.requires_grad_(name == str(experience))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, _, W]`` with the prompts of this layer; all rows take a way or none does, for prompts lengthen them."""
        if inputs.route is None or not bool(inputs.route.taken.any()):
            return here.value
        rows, dtype = len(here.value), here.value.dtype
        general = self.general.to(dtype).expand(rows, -1, -1) if len(self.general) else None
        expert = self._experts_of(inputs.route.through(self.part)).to(dtype) if self.experts else None
        return in_slots(here.value, general, expert, self.standing)

    def of(self, experience: int) -> Float[Tensor, "_ W"]:
        """All prompts of this layer for an experience, the general ones first."""
        return torch.cat([self.general, self.experts[str(experience)]]) if self.experts else self.general

    def _experts_of(self, route: Route) -> Float[Tensor, "B P W"]:
        ids, which = route.distinct()
        return torch.stack([self.experts[str(id_)] for id_ in ids])[which]
