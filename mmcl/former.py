"""Former: what plugins that were written for an earlier version have to change, as sentences."""

import inspect
from collections.abc import Callable, Mapping

from mmcl.errors import PluginError

# where modules and names of version 0.1 are now
MODULES = {
    "mmcl.learning.likelihoods": "mmcl.objectives.likelihoods",
    "mmcl.learning.objectives": "mmcl.objectives.classification and .contrastive",
    "mmcl.models.addons": "mmcl.models.sites",
    "mmcl.models.by_identity": "mmcl.models.by_value",
    "mmcl.data.rows": "mmcl.streams.rows",
}
NAMES = {
    ("mmcl.learning.compose", name): f"import {name} from mmcl.learning.composition"
    for name in ("check_composition", "consolidation_order", "needs", "occupants")
} | {("mmcl.data.subset", "Union"): "import Joined from mmcl.data.subset"}
ATTRIBUTES = {
    ("Need", "WHOLE_STREAM"): 'declare order = "at once" instead',
    ("Need", "IN_TURN"): 'declare order = "in turn" instead',
    ("Need", "GENERATION"): "it is Need.WRITER",
    ("Slot", "PROMPTS"): "it is Slot.ROUTE",
}


def moved(module: str) -> str | None:
    """What to do about the import of a module that was there in 0.1; ``None`` if there was none."""
    return f"It was written for MMCL 0.1: import from {MODULES[module]} instead." if module in MODULES else None


def remedy_for(error: BaseException) -> str | None:
    """What to do about an error that an earlier version would not have raised; ``None`` for any other error."""
    if isinstance(error, ModuleNotFoundError):
        return moved(error.name or "")
    if isinstance(error, ImportError):
        now = (now for (module, name), now in NAMES.items() if module == error.name and f"'{name}'" in str(error))
        return next((f"It was written for MMCL 0.1: {change} instead." for change in now), None)
    if isinstance(error, AttributeError):
        owner = getattr(error.obj, "__name__", "") if hasattr(error, "obj") else ""
        change = ATTRIBUTES.get((owner, error.name or ""))
        return change and f"It was written for MMCL 0.1: {change}."
    return error.remedy if isinstance(error, PluginError) else None


def refuse_former(kind: type, changes: Mapping[str, str]) -> None:
    """Refuse a class of 0.1 whose methods nobody would call, or would call with something else.

    Args:
        kind: the class that derives from one of ours.
        changes: former member, by name or with its former parameters as ``name(first, second)`` -> what it is now.

    Raises:
        PluginError: if the class defines one of them.
    """
    for former, now in changes.items():
        name, _, parameters = former.partition("(")
        if name in vars(kind) and (not parameters or f"{name}{_parameters(vars(kind)[name])}" == former):
            raise PluginError(
                f"class {kind.__module__}.{kind.__qualname__}",
                found=f"it defines {former!r}, as for MMCL 0.1",
                allowed=now,
                remedy="Change it; docs/changelog.md says what else is new.",
            )


def _parameters(method: Callable[..., object]) -> str:
    return f"({', '.join(list(inspect.signature(method).parameters)[1:])})"
