"""GatedHead: a network behind gates with one output layer per experience, as in the paper."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError
from mmcl.models.arrival import Arrival
from mmcl.models.heads import Head
from mmcl.models.output import Output
from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.guard import Link
from mmcl_strategies.architecture.ownership import Ownership

MakeGate = Callable[[int], Gate]
Vectors = Float[Tensor, "B _"]
Maps = Float[Tensor, "B _ _ _"]


class GatedLayer(nn.Module):
    """``a * dropout(relu(W h + b))``; convolutions are pooled by two before the gate."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, gate: Gate, dropout: float) -> None:
        super().__init__()
        self.layer, self.gate, self.dropout = layer, gate, nn.Dropout(dropout)

    def forward(self, value: Vectors | Maps, row: int) -> Vectors | Maps:
        """Units or a map of channels, gated as experience ``row`` wants it."""
        hidden: Tensor = self.dropout(functional.relu(self.layer(value)))
        gates = self.gate.row(row)
        if isinstance(self.layer, nn.Conv2d):
            return functional.max_pool2d(hidden, 2) * gates.reshape(-1, 1, 1)
        return hidden * gates


class GatedStack(nn.Module):
    """Gated layers one behind the other; a map is flattened where a linear layer follows. The input has no gate.

    Attributes:
        width: of what it returns.
    """

    def __init__(self, layers: Sequence[GatedLayer], width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.width = width

    def forward(self, value: Float[Tensor, "B ..."], row: int) -> Float[Tensor, "B width"]:
        """What comes through the gates of experience ``row``."""
        for layer in self.gated:
            flat = isinstance(layer.layer, nn.Linear) and value.ndim > 2
            value = layer(value.flatten(1) if flat else value, row)
        return value.flatten(1)

    def links(self) -> list[Link]:
        """Each layer between the gate of the one before and its own."""
        before = [None, *(layer.gate for layer in self.gated)]
        return [Link(layer.layer, layer.gate, gate) for layer, gate in zip(self.gated, before, strict=False)]

    @property
    def gated(self) -> list[GatedLayer]:
        """Its layers, the first one first."""
        return [layer for layer in self.layers if isinstance(layer, GatedLayer)]


class GatedHead(Head):
    """A gated stack with one un-gated output layer per experience.

    Args:
        stack: reads the fused features or an input.
        reads: the modality whose prepared values the stack reads; ``None``: the fused features.
    """

    def __init__(self, stack: GatedStack, reads: str | None = None) -> None:
        super().__init__()
        self.stack, self.reads = stack, reads
        self.outputs = nn.ModuleList()
        self.ownership = Ownership()

    def meet(self, arrival: Arrival) -> None:
        """Gates and an output layer for an experience; earlier output layers are frozen."""
        self.outputs.requires_grad_(False).zero_grad()
        self.outputs.append(nn.Linear(self.stack.width, len(arrival.label_space)))
        self.ownership.add(arrival.index, arrival.label_space)
        for module in self.stack.modules():
            if isinstance(module, Gate):
                module.add(arrival.index)

    def knows(self, label_space: LabelSpace) -> bool:
        """Whether an output layer has each of the classes."""
        return self.ownership.knows(label_space)

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """Each class is scored through the gates and by the output layer of the experience it belongs to."""
        value = output.fused if self.reads is None else _present(inputs, self.reads)
        assert value is not None
        return self.ownership.gather(label_space, inputs.task_ids, lambda row: self.logits(value, row))

    def logits(self, value: Float[Tensor, "B ..."], row: int) -> Float[Tensor, "B classes"]:
        """The scores of the classes of one experience."""
        scores: Tensor = self.outputs[row](self.stack(value, row))
        return scores


def _present(inputs: Inputs, modality: str) -> Tensor:
    """The values of a modality; those that are missing are 0, whatever stands in for them."""
    value, present = inputs[modality], inputs.present[modality]
    return value * present.reshape(-1, *[1] * (value.ndim - 1))


def linear_stack(width: int, hidden: Sequence[int], dropout: float, make_gate: MakeGate) -> GatedStack:
    """Linear layers from ``width`` through the widths ``hidden``."""
    pairs = zip([width, *hidden], hidden, strict=False)
    layers = [GatedLayer(nn.Linear(before, after), make_gate(after), dropout) for before, after in pairs]
    return GatedStack(layers, hidden[-1])


def convolutional_stack(
    shape: tuple[int, ...], channels: Sequence[int], hidden: Sequence[int], dropout: float, make_gate: MakeGate
) -> GatedStack:
    """The paper's network for images ``[C, S, S]``: convolutions with pooling, then linear layers.

    The kernels are an eighth and a tenth of the side, then 2.

    Raises:
        ConfigError: if nothing is left of an image.
    """
    depth, side, layers = shape[0], shape[-1], []
    for number, after in enumerate(channels):
        kernel = max(1, (shape[-1] // 8, shape[-1] // 10, 2)[min(number, 2)])
        side = (side - kernel + 1) // 2
        if side < 1:
            raise ConfigError(
                "hat.channels",
                found=f"nothing is left of an image of {shape[-1]} pixels after {number + 1} convolutions",
                allowed="fewer convolutions",
                remedy="Shorten 'channels'.",
            )
        layers.append(GatedLayer(nn.Conv2d(depth, after, kernel), make_gate(after), dropout))
        depth = after
    flat = linear_stack(depth * side * side, hidden, dropout, make_gate)
    return GatedStack([*layers, *flat.gated], flat.width)
