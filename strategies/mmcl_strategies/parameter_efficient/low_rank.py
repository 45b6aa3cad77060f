"""LowRank: peft's LoRA of one linear layer as an add-on, so that no module is replaced and no parameter renamed.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, as peft has it.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import AddOn, Here

ONLY = "only"  # the name of an adapter that serves every experience


@dataclass(frozen=True)
class LowRankShape:
    """How an adapter is made; the fields are those of the strategy.

    Attributes:
        own: whether every experience has one.
        afresh: whether the one that serves all begins as nothing again with every experience.
    """

    rank: int
    alpha: float
    dropout: float
    own: bool
    afresh: bool


class NoLayer(nn.Linear):
    """Stands in peft's layer for the one that is adapted, without its weights: what it returns is 0.

    So peft's layer returns what adapters add, and the weights of the adapted layer stay where they are.
    """

    def __init__(self, layer: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.register_buffer("weight", torch.empty(0), persistent=False)  # peft puts adapters where it is
        self.register_parameter("bias", None)

    def forward(self, input: Tensor) -> Tensor:
        """Zeros ``[..., out]`` for ``[..., in]``."""
        return input.new_zeros(*input.shape[:-1], self.out_features)


class LowRank(AddOn):
    """``scale B dropout(A x)`` beside a linear layer, with A and B of the experience whose way a row takes.

    B begins as 0, so that a fresh adapter adds nothing. Rows on the plain way pass by.

    Args:
        layer: the one that is adapted, which is frozen.
        shape: of the adapters.
    """

    def __init__(self, layer: nn.Linear, shape: LowRankShape) -> None:
        super().__init__()
        self.shape = shape
        self.layer: nn.Module = NoLayer(layer)
        self._names: set[str] = set()

    def meet(self, arrival: Arrival) -> None:
        """An adapter for an experience, unless one serves all."""
        name = self._name_of(arrival.index)
        if name not in self._names:
            self._names.add(name)
            self._add(name)
        elif self.shape.afresh:
            self.layer.reset_lora_parameters(name, True)  # type: ignore[operator]

    def train_only(self, experience: int) -> None:
        """Train the adapter of an experience; the others stay as they are."""
        self.layer.set_adapter(self._name_of(experience))  # type: ignore[operator]

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, ..., out]``: what the layer gave and, for rows off the plain way, what their adapter adds."""
        route = inputs.route
        if route is None:
            return here.value
        taken = route.taken
        if bool(taken.all()):
            return here.value + self._added(here.entered, route.ids, route.strength).to(here.value.dtype)
        rows = taken.nonzero().squeeze(1)
        if not len(rows):
            return here.value
        added = self._added(here.entered[rows], route.ids[rows], route.strength[rows])
        return here.value.index_add(0, rows, added.to(here.value.dtype))

    @torch.no_grad()
    def merge_into(self, layer: nn.Linear) -> None:
        """Add the adapter that serves all to the weights of ``layer``; after that it adds nothing of its own."""
        layer.weight.add_(self.layer.get_delta_weight(ONLY))  # type: ignore[operator]
        nn.init.zeros_(self.layer.lora_B[ONLY].weight)  # type: ignore[index,union-attr]

    def _added(self, entered: Tensor, ids: Tensor, strength: Tensor) -> Tensor:
        names = [self._name_of(id_) for id_ in ids.tolist()]
        added: Tensor = self.layer(entered, adapter_names=names)
        return strength.to(added.dtype).reshape(-1, *[1] * (added.ndim - 1)) * added

    def _add(self, name: str) -> None:
        """Let peft add an adapter to its layer, or put its layer in the place of the stand-in."""
        from peft import LoraConfig, inject_adapter_in_model

        shape = self.shape
        around = nn.ModuleDict({"layer": self.layer})
        around.register_parameter("place", nn.Parameter(torch.empty(0)))  # peft asks some parameter for its device
        config = LoraConfig(r=shape.rank, lora_alpha=shape.alpha, lora_dropout=shape.dropout, target_modules=["layer"])  # type: ignore[arg-type]
        inject_adapter_in_model(config, around, adapter_name=name)
        self.layer = around["layer"]

    def _name_of(self, experience: int) -> str:
        return str(experience) if self.shape.own else ONLY
