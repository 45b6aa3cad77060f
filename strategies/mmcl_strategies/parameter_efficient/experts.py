"""Experts: small bottleneck networks in parallel with the MLP of a block, a few of which act on each row.

Source: Yu et al., CVPR 2024, section 3.2 and released code (``mtil`` tree).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import AddOn, Here
from mmcl_strategies.parameter_efficient.draws import Draws
from mmcl_strategies.parameter_efficient.gating import Choice, Gates, activations, balance, choose, most_active

SHARED = "shared"  # the name of a gate that serves every experience


def expert_sum(
    x: Float[Tensor, "N L D"],
    gates: Gates,
    down: tuple[Float[Tensor, "E r D"], Float[Tensor, "E r"]],
    up: tuple[Float[Tensor, "E D r"], Float[Tensor, "E D"]],
    scale: float,
    drop: Callable[[Tensor], Tensor] = lambda hidden: hidden,
) -> Float[Tensor, "N L D"]:
    """``sum_e g_e scale (U_e relu(D_e x + d_e) + u_e)`` over the experts of a row, for all its tokens.

    Only the experts that a row has are computed. The gradient of all others is zero, not absent.

    Args:
        x: tokens.
        gates: the experts of each row.
        down: all ``D_e`` and all ``d_e``.
        up: all ``U_e`` and all ``u_e``.
        scale: of what experts give.
        drop: dropout of the hidden units.
    """
    rows, k = gates.positions.shape
    chosen = gates.positions.flatten()
    down_weight, down_bias, up_weight, up_bias = (part.index_select(0, chosen) for part in (*down, *up))
    width = down_weight.shape[1]
    # the experts of a row side by side make one wider bottleneck
    hidden = x @ down_weight.reshape(rows, k * width, -1).mT + down_bias.reshape(rows, 1, k * width)
    hidden = drop(functional.relu(hidden)) * gates.shares.repeat_interleave(width, 1).unsqueeze(1)
    lifted = up_weight.reshape(rows, k, -1, width).transpose(1, 2).reshape(rows, -1, k * width)
    bias = (gates.shares.unsqueeze(2) * up_bias.reshape(rows, k, -1)).sum(1, keepdim=True)
    return scale * (hidden @ lifted.mT + bias)


class Expert(nn.Module):
    """A bottleneck with biases; ``up`` begins as 0, so that a fresh expert adds nothing."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)
        self.up = nn.Linear(bottleneck, width)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        for part in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(part)


class Gate(nn.Module):
    """The logits of an experience, and how much noise explores around them; both begin as 0."""

    def __init__(self, width: int, experts: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width, experts))
        self.noise = nn.Parameter(torch.zeros(width, experts))


@dataclass(frozen=True)
class MixtureShape:
    """How a mixture is made; the fields are those of the strategy."""

    experts: int
    top_k: int
    bottleneck: int
    scale: float
    dropout: float
    noise_floor: float
    shared_gate: bool


class Mixture(AddOn):
    """The experts of one block, a gate for each experience, and what is known of their use.

    A row's gate reads what enters the MLP's layer norm at the row's first token: the class token of an image. All texts
    begin with the same token, which attends to nothing behind it: at evaluation they have the same experts. Rows on the
    plain way pass by.

    Args:
        width: D of the residual stream.
        shape: of the mixture.

    Attributes:
        frozen: ``bool[E]``, the experts that will not change any more.
        counts: ``int64[E]``, how many rows each was used by since the experience began.
        draws: gives the noise of the logits and of dropout; without it there is none, as at evaluation.
        balancing: the balance terms of passes since they were taken out, kept only if ``keeps_balance``.
    """

    frozen: Tensor
    counts: Tensor

    def __init__(self, width: int, shape: MixtureShape, keeps_balance: bool = False) -> None:
        super().__init__()
        self.width, self.shape, self.keeps_balance = width, shape, keeps_balance
        self.experts = nn.ModuleList(Expert(width, shape.bottleneck) for _ in range(shape.experts))
        self.gates = nn.ModuleDict()
        self.draws: Draws | None = None
        self.balancing: list[Tensor] = []
        self.register_buffer("frozen", torch.zeros(shape.experts, dtype=torch.bool))
        self.register_buffer("counts", torch.zeros(shape.experts, dtype=torch.long), persistent=False)

    def meet(self, arrival: Arrival) -> None:
        """A gate for an experience, unless one serves all."""
        name = self._gate_of(arrival.index)
        if name not in self.gates:
            like = next(self.experts.parameters())
            self.gates[name] = Gate(self.width, self.shape.experts).to(like.device, like.dtype)

    def begin(self, experience: int) -> None:
        """Count from zero; only its gate and the experts that are not frozen are trained."""
        self.counts.zero_()
        for expert, frozen in zip(self.experts, self.frozen.tolist(), strict=True):
            expert.requires_grad_(not frozen)
        for name, gate in self.gates.items():
            gate.requires_grad_(name == self._gate_of(experience))

    def end(self, number: int) -> None:
        """Freeze the experts that were used most, among them such as are frozen already."""
        self.frozen[most_active(self.counts, number)] = True

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, D]``: the output of the MLP and, for rows that do not take the plain way, that of their experts."""
        route = inputs.route
        if route is None:
            return here.value
        taken = route.taken
        if bool(taken.all()):
            return here.value + self._added(here.entered, route)
        rows = taken.nonzero().squeeze(1)
        if not len(rows):
            return here.value
        return here.value.index_add(0, rows, self._added(here.entered[rows], route.select(rows)).to(here.value.dtype))

    def _added(self, entered: Tensor, route: Route) -> Tensor:
        """What the experts of each row give, as much as its way says, ``[N, L, D]``."""
        choice, draws = self.choice(entered[:, 0], route), self._drawing
        if self.training:
            self.counts += activations(choice.gates.dense(self.shape.experts))
            if self.keeps_balance:
                self.balancing.append(balance(choice))
        given = expert_sum(
            entered,
            choice.gates,
            self._stacked("down"),
            self._stacked("up"),
            self.shape.scale,
            lambda hidden: hidden if draws is None else draws.dropped(hidden, self.shape.dropout),
        )
        return route.strength.to(given.dtype).reshape(-1, 1, 1) * given

    def choice(self, token: Float[Tensor, "N D"], route: Route) -> Choice:
        """The experts of rows with these first tokens and ways; in training they explore."""
        ids, which = route.distinct()
        gates = [self.gates[self._gate_of(id_)] for id_ in ids]
        weight, noise = (torch.stack([getattr(gate, part) for gate in gates]) for part in ("weight", "noise"))
        if len(gates) > 1:
            weight, noise = weight[which], noise[which]
        normal = None if self._drawing is None else self._drawing.normal
        return choose(token, weight, noise, self.shape.top_k, self.shape.noise_floor, normal)

    @property
    def _drawing(self) -> Draws | None:
        return self.draws if self.training else None

    def _stacked(self, part: str) -> tuple[Tensor, Tensor]:
        """Weights and biases of one layer of all experts."""
        layers = [getattr(expert, part) for expert in self.experts]
        return torch.stack([layer.weight for layer in layers]), torch.stack([layer.bias for layer in layers])

    def _gate_of(self, experience: int) -> str:
        return SHARED if self.shape.shared_gate else str(experience)
