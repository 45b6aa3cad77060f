"""DomainHeads: linear units of every experience, of which a row is scored by those of its way."""

import torch
from torch import Tensor, nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.route import PLAIN
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.heads import Head
from mmcl.models.output import Output


class DomainHeads(Head):
    """Linear units with biases, drawn as ``nn.Linear`` draws. Classes that an experience does not have come last in it.

    Args:
        plain: scores the rows on the plain way; it is frozen.
        width: D, of the features.
        dtype: of the units.

    Attributes:
        units: id of an experience -> its units.
    """

    def __init__(self, plain: Head, width: int, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.plain, self.units = plain, nn.ModuleDict()
        self._width, self._dtype = width, dtype
        self._spaces: dict[int, LabelSpace] = {}

    def meet(self, arrival: Arrival) -> None:
        """Units for an experience, whatever earlier ones have learned."""
        self.plain.meet(arrival)
        self.plain.requires_grad_(False)
        self._spaces[arrival.index] = arrival.label_space
        self.units[str(arrival.index)] = nn.Linear(self._width, len(arrival.label_space), dtype=self._dtype)

    def train_only(self, experience: int) -> None:
        """Freeze the units of all other experiences."""
        for name, units in self.units.items():
            units.requires_grad_(name == str(experience))

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether every class has units in some experience; before the first one, what the plain head knows."""
        if not self._spaces:
            return self.plain.knows(label_space)
        return set(label_space.ids) <= {id_ for space in self._spaces.values() for id_ in space.ids}

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The logits ``[B, C]`` of each row under its way."""
        route = output.route
        if route is None or not bool(route.taken.any()):
            return self.plain.score(output, inputs, label_space)
        ways = torch.where(route.taken, route.ids, PLAIN)
        scores: Tensor | None = None
        for way in ways.unique().tolist():
            # of all rows: the product of some of them may differ in the last digit from that of the whole batch
            if way == PLAIN:
                found = self.plain.score(output, inputs, label_space)
            else:
                found = self._under(way, output.fused, label_space)
            scores = found if scores is None else torch.where((ways == way).unsqueeze(1), found, scores)
        assert scores is not None
        return scores

    def _under(self, way: int, fused: Tensor, label_space: LabelSpace) -> Tensor:
        """Scores of all rows under one way."""
        ids = self._spaces[way].ids
        logits: Tensor = self.units[str(way)](fused.to(self._dtype))
        if ids == label_space.ids:
            return logits
        columns = label_space.columns(torch.tensor(ids, device=logits.device))
        asked = columns >= 0
        lowest = logits.new_full((len(logits), len(label_space)), torch.finfo(logits.dtype).min)
        return lowest.index_copy(1, columns[asked], logits[:, asked])
