"""Gates inside a backbone, chosen sample by sample: adapters beside its blocks, or its own hidden units."""

from collections.abc import Callable, Sequence

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmcl.data.modality import TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.models.arrival import Arrival
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Here, Site
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

    def opened(self, hidden: Float[Tensor, "B *tokens N"], inputs: Inputs) -> Float[Tensor, "B *tokens N"]:
        """Hidden units times the gates of each row."""
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

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, W]`` -> the same shape."""
        if inputs.task_ids is None:
            return here.value
        adapted: Tensor = self.up(self.opened(functional.relu(self.down(here.value)), inputs))
        return here.value + adapted

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

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, 4 W]`` -> the same shape."""
        return here.value if inputs.task_ids is None else self.opened(here.value, inputs)

    def links(self) -> list[Link]:
        """The residual stream has no gate."""
        ((enter, leave),) = self._around
        return [Link(enter, self.gate, None), Link(leave, None, self.gate)]


def attach_adapters(model: MultimodalModel, make_gate: Callable[[], Gate]) -> None:
    """An adapter behind every block of every tower.

    Raises:
        CompositionError: if a tower has no blocks.
    """
    for tower in model.backbone.towers:
        for site in _sites(model, tower, "block", "adapter"):
            model.attach(OWNER, site, GatedAdapter(site.width, make_gate()))


def attach_to_units(model: MultimodalModel, make_gate: MakeGate) -> None:
    """Gates in the MLP of every block of every tower, but not where class prompts are encoded too.

    Raises:
        CompositionError: if a tower has no blocks with an MLP whose units can be reached.
    """
    prompts = set() if model.head.prompted is None else {TEXT}
    for tower in sorted(model.backbone.towers.keys() - prompts):
        for site in _sites(model, tower, "units", "transformer"):
            assert isinstance(site.before, nn.Linear)
            assert isinstance(site.behind, nn.Linear)
            model.attach(OWNER, site, GatedUnits(site.before, site.behind, make_gate(site.width)))


def _sites(model: MultimodalModel, tower: str, kind: str, network: str) -> Sequence[Site]:
    """One site of a kind for every block."""
    sites, blocks = (model.backbone.sites_of(tower, name) for name in (kind, "block"))
    if not blocks or len(sites) < len(blocks):
        raise CompositionError(
            f"strategy 'hat' with network {network}",
            found=f"the backbone's tower {tower!r} has "
            + (f"blocks without a site {kind!r}" if blocks else "no blocks that it shows"),
            allowed="backbones that show these, such as those of open_clip's transformers",
            remedy="Choose hat:network=mlp, which takes the features of any backbone.",
        )
    return sites
