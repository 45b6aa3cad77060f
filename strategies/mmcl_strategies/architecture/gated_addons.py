"""Gates inside a backbone, chosen sample by sample: adapters beside its blocks, or its own hidden units."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.modality import TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.models.addons import AddOn
from mmcl.models.arrival import Arrival
from mmcl.models.heads import TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.guard import Link

MakeGate = Callable[[int], Gate]
OWNER = "hat"


class GatedAddOn(AddOn):
    """An add-on with one gate, which follows the experience of each sample."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.gate = gate

    def meet(self, arrival: Arrival) -> None:
        """An embedding for an experience."""
        self.gate.add(arrival.index)

    def links(self) -> list[Link]:
        """The layers before and behind the gate."""
        raise NotImplementedError

    def opened(self, hidden: Tensor, inputs: Inputs) -> Tensor:
        """``[B, ..., N]`` times the gates ``[B, N]`` of each row."""
        assert inputs.task_ids is not None
        gates = self.gate.of_samples(inputs.task_ids)
        return hidden * gates.reshape(len(gates), *[1] * (hidden.ndim - 2), -1)


class GatedAdapter(GatedAddOn):
    """``x + U (a * relu(D x + d))``; U begins as 0 and has no bias, which no gate could protect.

    Class prompts, and samples of an experience that has not been learned, pass by.
    """

    def __init__(self, width: int, gate: Gate) -> None:
        super().__init__(gate)
        self.down = nn.Linear(width, gate.units)
        self.up = nn.Linear(gate.units, width, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, value: Tensor, inputs: Inputs | None) -> Tensor:
        """``[B, L, W]`` -> the same shape."""
        if inputs is None:
            return value
        adapted: Tensor = self.up(self.opened(functional.relu(self.down(value)), inputs))
        return value + adapted

    def links(self) -> list[Link]:
        """The residual stream has no gate."""
        return [Link(self.down, self.gate, None), Link(self.up, None, self.gate)]


class GatedUnits(GatedAddOn):
    """Gates on the hidden units of a transformer's own MLP, behind its activation.

    Samples of an experience that has not been learned find all gates open.
    """

    def __init__(self, enter: nn.Linear, leave: nn.Linear, gate: Gate) -> None:
        super().__init__(gate)
        self._around = [(enter, leave)]  # in a list: they are children of the block, not of its add-on

    def forward(self, value: Tensor, inputs: Inputs | None) -> Tensor:
        """``[B, L, 4 W]`` -> the same shape."""
        return value if inputs is None else self.opened(value, inputs)

    def links(self) -> list[Link]:
        """The residual stream has no gate."""
        ((enter, leave),) = self._around
        return [Link(enter, self.gate, None), Link(leave, None, self.gate)]


def attach_adapters(model: MultimodalModel, make_gate: Callable[[], Gate]) -> None:
    """An adapter behind every block of every tower.

    Raises:
        CompositionError: if a tower has no blocks, or blocks without layer norm.
    """
    for modality in model.backbone.specs:
        for block in _blocks(model, modality):
            norm = next((module for module in block.modules() if isinstance(module, nn.LayerNorm)), None)
            if norm is None:
                raise _refusal("adapter", modality, "has blocks without layer norm")
            model.attach(OWNER, block, GatedAdapter(norm.normalized_shape[-1], make_gate()))


def attach_to_units(model: MultimodalModel, make_gate: MakeGate) -> None:
    """Gates in the MLP of every block of every tower, but not where class prompts are encoded too.

    Raises:
        CompositionError: if a tower has no blocks, or blocks without ``mlp.c_fc``, ``mlp.gelu`` and ``mlp.c_proj``.
    """
    prompts = {TEXT} if isinstance(model.head, TextHead) else set()
    for modality in sorted(model.backbone.specs.keys() - prompts):
        for block in _blocks(model, modality):
            mlp = getattr(block, "mlp", None)
            enter, activation, leave = (getattr(mlp, name, None) for name in ("c_fc", "gelu", "c_proj"))
            if not isinstance(enter, nn.Linear) or not isinstance(leave, nn.Linear) or activation is None:
                raise _refusal("transformer", modality, "has blocks without an MLP of c_fc, gelu and c_proj")
            model.attach(OWNER, activation, GatedUnits(enter, leave, make_gate(enter.out_features)))


def _blocks(model: MultimodalModel, modality: str) -> Sequence[nn.Module]:
    blocks = model.backbone.blocks(modality)
    if not blocks:
        raise _refusal("adapter or transformer", modality, "has no blocks")
    return blocks


def _refusal(network: str, modality: str, found: str) -> CompositionError:
    return CompositionError(
        f"strategy 'hat' with network {network}",
        found=f"the backbone's tower for {modality!r} {found}",
        allowed="open_clip's transformers",
        remedy="Choose hat:network=mlp, which takes the features of any backbone.",
    )
