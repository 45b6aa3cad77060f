"""Embeddings of pairs from a part that all experiences share and a private gate of each (KDR)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Backbone
from mmcl.models.heads import Head
from mmcl.models.output import Output


class SharedPath(nn.Module):
    """E and S: what all experiences share.

    Args:
        image_width: of the image tower's features.
        width: of the text tower's features and of all that follows.
    """

    def __init__(self, image_width: int, width: int) -> None:
        super().__init__()
        self.image = nn.Linear(image_width, width)  # E
        self.common = nn.Linear(width, width)  # S

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """Shared features ``[B, width]`` by modality, from features of the trained towers."""
        return {name: self.common(self.image(rows) if name == IMAGE else rows) for name, rows in features.items()}


class PrivatePart(nn.Module):
    """A, B, P, Q and H: the gates and the common head of one experience; widths as in ``SharedPath``."""

    def __init__(self, image_width: int, width: int) -> None:
        super().__init__()
        self.image_first = nn.Linear(image_width, width)  # A
        self.image_second = nn.Linear(width, width)  # B
        self.image_gate = nn.Linear(width, width)  # P
        self.text_gate = nn.Linear(width, width)  # Q
        self.head = nn.Linear(width, width)  # H

    def gates(self, frozen: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gates in (0, 1), ``[B, width]`` by modality, from features of the frozen towers."""
        found = {}
        if IMAGE in frozen:
            hidden = functional.leaky_relu(self.image_second(functional.leaky_relu(self.image_first(frozen[IMAGE]))))
            found[IMAGE] = self.image_gate(hidden).sigmoid()
        if TEXT in frozen:
            found[TEXT] = self.text_gate(frozen[TEXT]).sigmoid()
        return found

    def forward(self, shared: dict[str, Tensor], frozen: dict[str, Tensor]) -> dict[str, Tensor]:
        """Embeddings ``[B, width]`` by modality."""
        return {name: self.head(shared[name] * gate) for name, gate in self.gates(frozen).items()}


class DecomposedHead(Head):
    """Embeds each sample with the shared path and the private part of its experience.

    Args:
        width: of the features of both towers.
        first: the backbone as it was before training, frozen; no part of the head.
    """

    def __init__(self, width: int, first: Callable[[], Backbone]) -> None:
        super().__init__()
        self.first = first
        self.shared = SharedPath(width, width)
        self.private = nn.ModuleDict()

    def meet(self, arrival: Arrival) -> None:
        """A private part for an experience; those of earlier ones are trained no more."""
        self.private.requires_grad_(False)
        width = self.shared.common.out_features
        self.private[str(arrival.index)] = PrivatePart(width, width)

    def embed(self, features: dict[str, Tensor], inputs: Inputs) -> dict[str, Tensor]:
        """Embeddings by modality; rows without a private part keep the backbone's features.

        Raises:
            PluginError: if nobody says which experience a sample belongs to.
        """
        if inputs.task_ids is None:
            raise PluginError(
                "kdr", found="samples without a task id", allowed="samples with one", remedy="Choose scenario TIL."
            )
        shared = self.shared(features)
        with torch.no_grad():
            frozen = {name: found.pooled for name, found in self.first().encode(inputs).features.items()}
        embedded = dict(features)
        for task in inputs.task_ids.unique().tolist():
            if str(task) not in self.private:
                continue
            there = (inputs.task_ids == task).unsqueeze(1)
            part: dict[str, Tensor] = self.private[str(task)](shared, frozen)
            embedded = {name: torch.where(there, part[name], rows) for name, rows in embedded.items()}
        return embedded

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """Classes are not scored.

        Raises:
            PluginError: always.
        """
        raise PluginError(
            "kdr", found="classes to score", allowed="pairs to compare", remedy="Choose a benchmark of pairs."
        )
