"""Add-ons: modules that strategies attach to blocks of a backbone, without renaming any of its parameters."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival

ADDONS = "addons"  # name of the child module that holds them


class AddOn(nn.Module, ABC):
    """Changes what a block returns: an adapter, a mask, a mixture of experts."""

    @abstractmethod
    def forward(self, value: Tensor, inputs: Inputs | None) -> Tensor:
        """The new output of the block.

        Args:
            value: its old output, ``[B, L, W]`` for a transformer's block.
            inputs: the batch that is encoded, so that an add-on can act by sample (``inputs.task_ids``); ``None``
                while class prompts are encoded, whose rows are no samples.
        """

    def meet(self, arrival: Arrival) -> None:
        """Make room for an experience; called once for each, before there is an optimiser for it."""


class AddOns(nn.ModuleDict):
    """The add-ons of one block by owner, and the batch that is encoded.

    They are found through the block that is called, not through a closure: a copy of the model has its own.
    """

    inputs: Inputs | None = None

    @classmethod
    def at(cls, block: nn.Module) -> "AddOns":
        """The holder of a block that has none yet."""
        addons = cls()
        block.add_module(ADDONS, addons)
        block.register_forward_hook(_apply)
        return addons

    def meet(self, arrival: Arrival) -> None:
        """Let every add-on make room for an experience."""
        for addon in self.values():
            assert isinstance(addon, AddOn)
            addon.meet(arrival)


def _apply(block: nn.Module, arguments: tuple[object, ...], value: Tensor) -> Tensor:
    addons = block.get_submodule(ADDONS)
    assert isinstance(addons, AddOns)
    for addon in addons.values():
        value = addon(value, addons.inputs)
    return value
