"""Sites: the places in a backbone where strategies add modules of their own, without renaming any of its parameters."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn

from mmcl.data.sample import Inputs
from mmcl.former import refuse_former
from mmcl.models.arrival import Arrival

ADDONS = "addons"  # name of the child module that holds them
_EXITS = "_exits"  # of an entry: whose add-ons want to know what has entered


class Attention(NamedTuple):
    """How an attention is computed, as functions of its module, for add-ons with keys and values of their own.

    Attributes:
        query: (the exit, what has entered, ``[B, L, W]``) -> queries, ``[B, H, L, W / H]``.
        project: the same -> queries, keys and values, each ``[B, H, L, W / H]``.
        merge: (the exit, what the H heads have found, ``[B, H, L, W / H]``) -> ``[B, L, W]``, what leaves the exit; an
            affine function of what was found.
    """

    query: Callable[[nn.Module, Tensor], Tensor]
    project: Callable[[nn.Module, Tensor], tuple[Tensor, Tensor, Tensor]]
    merge: Callable[[nn.Module, Tensor], Tensor]


class Site(NamedTuple):
    """A place between two modules of a tower, which may be one and the same.

    Attributes:
        kind: ``tokens`` (the embedded sequence), ``attention``, ``mlp``, ``units`` (the hidden ones of an MLP, behind
            the activation), ``linear`` (a layer of an MLP), ``block``, ``outputs`` (the sequence behind the last norm,
            whose first token is pooled) or ``pooled`` (the features of the tower).
        layer: the number of the block, from 0; 0 where there are no layers.
        entry: what enters it, an add-on can see.
        exit: what leaves it, an add-on can change.
        width: of what leaves, its last axis.
        before: the layer that the value at ``units`` comes from.
        behind: the layer that reads it next.
        attention: how the one at ``attention`` is computed, where the backbone shows it.
    """

    kind: str
    layer: int
    entry: nn.Module
    exit: nn.Module
    width: int
    before: nn.Module | None = None
    behind: nn.Module | None = None
    attention: Attention | None = None


class Here(NamedTuple):
    """What an add-on finds at its site.

    Attributes:
        value: what the exit returned, as earlier add-ons have changed it; ``[B, L, W]`` inside a transformer.
        entered: the first argument of the entry.
        module: the exit.
        mask: of the attention that has been entered, ``[L, L]``, which is added to its scores; ``None`` without one.
    """

    value: Tensor
    entered: Any
    module: nn.Module
    mask: Tensor | None = None


class AddOn(nn.Module, ABC):
    """Changes what leaves a site: an adapter, a mask, prompts, a mixture of experts.

    Attributes:
        lengthens: whether rows that pass it have more tokens than plain ones; these then pass through the tower apart.
    """

    lengthens: bool = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        changes = {
            "grow": "meet(arrival), which is told more than the task id",
            "forward(value, inputs)": "forward(here, inputs), where the value is here.value",
        }
        refuse_former(cls, changes)

    @abstractmethod
    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """What is to leave the site instead of ``here.value``.

        Args:
            here: what is there.
            inputs: the batch that is encoded, so that an add-on can act row by row. Class prompts are a batch of texts
                without task ids.
        """

    def meet(self, arrival: Arrival) -> None:
        """Make room for an experience; called once for each, before there is an optimiser for it."""


class AddOns(nn.ModuleDict):
    """The add-ons of one site by owner, and what they are told while a batch is encoded.

    They are found through the modules that are called, not through a closure: a copy of the model has its own.
    """

    inputs: Inputs | None = None
    entered: Any = None
    mask: Tensor | None = None

    @classmethod
    def at(cls, site: Site) -> "AddOns":
        """The holder of a site, a new one if it has none yet."""
        holder = getattr(site.exit, ADDONS, None)
        if holder is None:
            holder = cls()
            site.exit.add_module(ADDONS, holder)
            site.exit.register_forward_hook(_leave)
        exits: list[AddOns] = vars(site.entry).setdefault(_EXITS, [])
        if not exits:
            site.entry.register_forward_pre_hook(_enter, with_kwargs=True)
        if not any(other is holder for other in exits):
            exits.append(holder)
        assert isinstance(holder, AddOns)
        return holder

    def meet(self, arrival: Arrival) -> None:
        """Let every add-on make room for an experience."""
        for addon in self.values():
            assert isinstance(addon, AddOn)
            addon.meet(arrival)

    def take(self) -> tuple[Any, Tensor | None]:
        """What has entered, and its mask. They are let go: a model that holds a tensor of a graph cannot be copied."""
        found = self.entered, self.mask
        self.entered = self.mask = None
        return found


def _enter(entry: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
    for holder in vars(entry)[_EXITS]:
        holder.entered, holder.mask = arguments[0], named.get("attn_mask")


def _leave(module: nn.Module, arguments: tuple[object, ...], returned: Any) -> Any:
    """Hand what a module returns to its add-ons; attention returns its weights beside it."""
    holder = module.get_submodule(ADDONS)
    assert isinstance(holder, AddOns)
    entered, mask = holder.take()
    if holder.inputs is None:
        return returned
    value = returned[0] if isinstance(returned, tuple) else returned
    for addon in holder.values():
        value = addon(Here(value, entered, module, mask), holder.inputs)
    return (value, *returned[1:]) if isinstance(returned, tuple) else value
