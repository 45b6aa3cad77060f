"""Column: the network of one experience, which also reads the hidden activations of all earlier columns."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

Hidden = Float[Tensor, "B _"]  # of one layer, or one modality's features: widths differ, rows are the same
Activations = list[Hidden]


class AdapterLateral(nn.Module):
    """``U relu(V [alpha_1 h^1; ...; alpha_k h^k])``, with biases (Eq. 2).

    Args:
        earlier: widths of what it reads of each earlier column.
        width: of the bottleneck.
        out: width of what it adds to.
        alpha: the scalars begin uniform in [0, alpha).
    """

    def __init__(self, earlier: Sequence[int], width: int, out: int, alpha: float) -> None:
        super().__init__()
        self.alpha = nn.Parameter(alpha * torch.rand(len(earlier)))
        self.V = nn.Linear(sum(earlier), width)
        self.U = nn.Linear(width, out)

    def forward(self, earlier: Sequence[Hidden]) -> Float[Tensor, "B out"]:
        """What the hidden activations of the earlier columns, in their order, add."""
        scaled = torch.cat([alpha * hidden for alpha, hidden in zip(self.alpha, earlier, strict=True)], dim=1)
        added: Tensor = self.U(functional.relu(self.V(scaled)))
        return added


class LinearLateral(nn.Module):
    """``sum_j U_j h^j``, with biases (Eq. 1)."""

    def __init__(self, earlier: Sequence[int], out: int) -> None:
        super().__init__()
        self.U = nn.ModuleList(nn.Linear(width, out) for width in earlier)

    def forward(self, earlier: Sequence[Hidden]) -> Float[Tensor, "B out"]:
        """What the hidden activations of the earlier columns, in their order, add."""
        return torch.stack([layer(hidden) for layer, hidden in zip(self.U, earlier, strict=True)]).sum(0)


class Column(nn.Module):
    """One projection for each modality of the experience, summed; then hidden layers and an output layer.

    Every layer but the first has a lateral from the layers before it in the earlier columns. A sample that has none of
    the column's modalities has no activations there: they are zero.

    Args:
        inputs: modality -> width of its features.
        hidden: widths of the hidden layers.
        classes: width of the output layer.
        laterals: one for each layer but the first, the output layer included; ``None`` in the first column.
        dropout: behind each hidden layer, while the column is trained.

    Attributes:
        widths: of the hidden layers.
    """

    def __init__(
        self,
        inputs: Mapping[str, int],
        hidden: Sequence[int],
        classes: int,
        laterals: Sequence[nn.Module] | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.widths = tuple(hidden)
        self.projections = nn.ModuleDict({name: nn.Linear(inputs[name], hidden[0]) for name in sorted(inputs)})
        outs = [*hidden[1:], classes]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in zip(hidden, outs, strict=True))
        self.laterals = nn.ModuleList(laterals or ())
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        features: Mapping[str, Hidden],
        present: Mapping[str, Bool[Tensor, " B"]],
        earlier: Sequence[Activations],
    ) -> tuple[Activations, Float[Tensor, "B classes"]]:
        """Activations of the hidden layers and scores of the classes; the arguments are those of ``hidden``."""
        activations = self.hidden(features, present, earlier)
        return activations, self.scores(activations, earlier)

    def hidden(
        self,
        features: Mapping[str, Hidden],
        present: Mapping[str, Bool[Tensor, " B"]],
        earlier: Sequence[Activations],
    ) -> Activations:
        """Activations of the hidden layers, which later columns read.

        Args:
            features: by modality.
            present: by modality, which rows have it.
            earlier: the hidden activations of each earlier column for the same rows.
        """
        rows = next(iter(present.values()))
        value = torch.zeros(len(rows), self.widths[0], device=rows.device)
        there = torch.zeros_like(rows).unsqueeze(1)
        for name, projection in self.projections.items():
            if name in features:
                has = present[name].unsqueeze(1)
                value, there = value + has * projection(features[name]), there | has
        activations = [self.dropout(functional.relu(value)) * there]
        for number in range(len(self.layers) - 1):
            value = self._layer(number, activations[-1], earlier)
            activations.append(self.dropout(functional.relu(value)) * there)
        return activations

    def scores(self, activations: Activations, earlier: Sequence[Activations]) -> Float[Tensor, "B classes"]:
        """Scores of the classes, which nobody reads but who asks for this experience.

        Args:
            activations: of the hidden layers.
            earlier: those of each earlier column for the same rows.
        """
        return self._layer(len(self.layers) - 1, activations[-1], earlier)

    def _layer(self, number: int, below: Tensor, earlier: Sequence[Activations]) -> Tensor:
        value: Tensor = self.layers[number](below)
        if not len(self.laterals):
            return value
        lateral: Tensor = self.laterals[number]([column[number] for column in earlier])
        return value + lateral
