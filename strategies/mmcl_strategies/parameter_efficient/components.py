"""Components: prefixes put together of parts, as much of each as its key agrees with what a row asks for."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import AddOn, Attention, Here
from mmcl_strategies.parameter_efficient.prefixes import prefixed

Start = Literal["projected", "orthogonal"]


def composed(
    query: Float[Tensor, "B D"],
    keys: Float[Tensor, "M D"],
    attention: Float[Tensor, "M D"],
    components: Float[Tensor, "M P W"],
) -> Float[Tensor, "B P W"]:
    """``sum_m alpha_m P_m`` with ``alpha_m = cos(q * A_m, K_m)``, of either sign, without a softmax.

    Args:
        query: q, of each row.
        keys: K.
        attention: A, what each component looks at in a query.
        components: P.
    """
    asked = functional.normalize(query.unsqueeze(1) * attention, dim=2)
    alpha = (asked * functional.normalize(keys, dim=1)).sum(2)
    return torch.einsum("bm,mpw->bpw", alpha, components)


def halves(vectors: Float[Tensor, "B P W"]) -> tuple[Float[Tensor, "B _ W"], Float[Tensor, "B _ W"]]:
    """Prefix keys and prefix values, half of the vectors each."""
    keys, values = vectors.chunk(2, dim=1)
    return keys, values


def orthogonality(rows: Float[Tensor, " M *axes"]) -> Float[Tensor, ""]:
    """``mean((R R^T - 1)^2)`` over all entries, for M rows with any number of axes."""
    flat = rows.flatten(1)
    return (flat @ flat.T - torch.eye(len(flat), dtype=flat.dtype, device=flat.device)).square().mean()


def fresh_rows(earlier: Float[Tensor, "M N"], count: int, start: Start) -> Float[Tensor, "{count} N"]:
    """New rows of unit length, drawn and then made orthogonal to each other and to earlier ones.

    They are drawn from torch's generator, which is seeded where this is called. Earlier rows need not be orthogonal to
    each other after they have been trained. ``projected`` then takes from each drawn vector its projections on all rows
    before it, as the authors' code does, which leaves something of them; ``orthogonal`` leaves nothing as long as there
    is room.

    Args:
        earlier: all rows there are.
        count: of new ones.
        start: how they are made.
    """
    rows = list(earlier)
    for _ in range(count):
        drawn = torch.randn(earlier.shape[1], dtype=earlier.dtype)
        if rows:
            before = torch.stack(rows)
            if start == "orthogonal" and len(before) < before.shape[1]:
                before = torch.linalg.qr(before.T).Q.T
            drawn = drawn - ((before @ drawn) / before.square().sum(1)) @ before
        rows.append(drawn)
    return functional.normalize(torch.stack(rows[len(earlier) :]), dim=1)


class Components(AddOn):
    """Puts a prefix in front of an attention, composed for each row of the components of all experiences met.

    A row has a prefix or not: a strength between 0 and 1 is as 1.

    Args:
        attention: that of the site.
        count: components of an experience.
        length: P, vectors of a component, half of them keys and half values.
        width: W, of the tokens.
        query: D, width of the queries.
        start: how components of a new experience are made.
        dtype: of the tower.

    Attributes:
        keys: id of an experience -> ``[count, D]``.
        looks: id of an experience -> A, ``[count, D]``.
        parts: id of an experience -> P, ``[count, P, W]``.
    """

    def __init__(
        self,
        attention: Attention,
        *,
        count: int,
        length: int,
        width: int,
        query: int,
        start: Start = "projected",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.keys, self.looks, self.parts = nn.ParameterDict(), nn.ParameterDict(), nn.ParameterDict()
        self._count, self._start, self._dtype = count, start, dtype
        self._shapes = ((query,), (query,), (length, width))

    def meet(self, arrival: Arrival) -> None:
        """Components for an experience."""
        for kind, shape in zip(self._kinds, self._shapes, strict=True):
            width = torch.Size(shape).numel()
            earlier = [rows.detach().flatten(1).cpu() for rows in kind.values()]
            before = torch.cat(earlier) if earlier else torch.empty(0, width, dtype=self._dtype)
            fresh = fresh_rows(before, self._count, self._start)
            kind[str(arrival.index)] = nn.Parameter(fresh.reshape(self._count, *shape))

    def train_only(self, experience: int) -> None:
        """Freeze the components of all other experiences."""
        for kind in self._kinds:
            for name, rows in kind.items():
                rows.requires_grad_(name == str(experience))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, W]``, the attention with the prefix of each row that takes a way."""
        route = inputs.route
        if route is None or not bool((taken := route.taken).any()):
            return here.value
        assert route.query is not None
        return prefixed(here, self.attention, taken, self.prefix(route.query[taken]))

    def prefix(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values ``[B, P / 2, W]`` of rows with these queries, ``[B, D]``."""
        keys, looks, parts = self._rows()
        return halves(composed(query.to(keys.dtype), keys, looks, parts))

    def penalty(self) -> Tensor:
        """How far from orthogonal all rows are together, a scalar: the sum over keys, attention and components."""
        return torch.stack([orthogonality(rows) for rows in self._rows()]).sum()

    @property
    def _kinds(self) -> tuple[nn.ParameterDict, nn.ParameterDict, nn.ParameterDict]:
        return self.keys, self.looks, self.parts

    def _rows(self) -> list[Tensor]:
        """Keys, attention and components of all experiences met."""
        return [torch.cat(list(kind.values())) for kind in self._kinds]
