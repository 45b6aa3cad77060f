"""Gate: what each experience opens of the units of a layer."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmcl_strategies.architecture.hard_attention import binary, gate
from mmcl_strategies.architecture.ownership import row_of


class Gate(nn.Module):
    """One embedding per experience and unit; the gates are ``sigmoid(s e)`` while it is learned, then they are fixed.

    Args:
        units: N.
        s_max: the sharpness outside training steps.
        idle: the gates of an experience that has not been learned: 0 closes the layer, 1 leaves it as it is.
        open_start: embeddings begin uniform in [0, 2), all gates open, instead of normal.
        exact_slope: the slope of a gate keeps its digits; otherwise it is ``a (1 - a)``, 0 where a gate rounds to 1.

    Attributes:
        tasks: index of each experience, in the order of rows.
        sharpness: s; ``s_max`` except during a training step.
        active: the row that is being learned, if one is.
        gates: ``[T, N]``, those of finished experiences.
        used: ``[N]``, their largest, A.
    """

    gates: Tensor
    used: Tensor

    def __init__(
        self, units: int, *, s_max: float, idle: float, open_start: bool = False, exact_slope: bool = True
    ) -> None:
        super().__init__()
        self.units, self.s_max, self.idle = units, s_max, idle
        self.open_start, self.exact_slope = open_start, exact_slope
        self.tasks: list[int] = []
        self.sharpness = s_max
        self.active: int | None = None
        self.embeddings = nn.ParameterList()
        self.register_buffer("gates", torch.zeros(0, units))
        self.register_buffer("used", torch.zeros(units))

    def add(self, task_id: int) -> None:
        """An embedding for an experience; those of earlier ones are frozen."""
        self.embeddings.requires_grad_(False).zero_grad()
        start = torch.rand_like(self.used) * 2 if self.open_start else torch.randn_like(self.used)
        self.embeddings.append(nn.Parameter(start))
        self.gates = torch.cat([self.gates, torch.full_like(self.used, self.idle).unsqueeze(0)])
        self.tasks.append(task_id)

    def row(self, row: int) -> Float[Tensor, " N"]:
        """The gates of one experience."""
        return self.soft() if row == self.active else self.gates[row]

    def of_samples(self, task_ids: Int[Tensor, " B"]) -> Float[Tensor, "B N"]:
        """The gates of the experience of each sample; idle ones where it has not been met."""
        rows = [self.row(row) for row in range(len(self.tasks))]
        return torch.stack([*rows, torch.full_like(self.used, self.idle)])[row_of(task_ids, self.tasks)]

    def soft(self) -> Float[Tensor, " N"]:
        """``sigmoid(s e)`` of the experience that is being learned."""
        if self.exact_slope:
            return gate(self.embedding, self.sharpness)
        return (self.sharpness * self.embedding).sigmoid()

    @property
    def embedding(self) -> nn.Parameter:
        """That of the experience that is being learned."""
        assert self.active is not None
        embedding: nn.Parameter = self.embeddings[self.active]
        return embedding

    def begin(self, task_id: int) -> None:
        """Learn the gates of an experience from now on."""
        self.active, self.sharpness = self.tasks.index(task_id), self.s_max

    @torch.no_grad()
    def finish(self, as_binary: bool) -> None:
        """Fix the gates of the experience at ``s_max``, as 0 or 1 if that is wanted, and let them join A."""
        assert self.active is not None
        self.sharpness = self.s_max
        final = binary(self.soft()) if as_binary else self.soft()
        self.gates[self.active] = final
        self.used.copy_(torch.maximum(self.used, final))
        self.active = None
