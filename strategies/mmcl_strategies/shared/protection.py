"""Which parameters a penalty on weights concerns."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from torch import Tensor, nn

from mmcl.errors import ConfigError, nearest
from mmcl.learning.compose import Slot
from mmcl.learning.strategy import Learner
from mmcl_strategies.maths.growth import corner, require_names

_LOG = logging.getLogger(__name__)


def protected(learner: Learner, include: Iterable[str], exclude: Iterable[str]) -> dict[str, nn.Parameter]:
    """The trainable parameters to protect: those that serve every experience, chosen by name.

    They are those of backbone and fusion and, unless another strategy took its place, of the head. Frozen ones have no
    Fisher information and stay unprotected should they be unfrozen later; their names are logged.

    Args:
        learner: owns the model.
        include: glob patterns, one of which a name must match.
        exclude: glob patterns, none of which it may match; for parameters that belong to one task.
    """
    chosen = {
        name: parameter
        for name, parameter in _serving_every_experience(learner)
        if any(fnmatchcase(name, pattern) for pattern in include)
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    frozen = [name for name, parameter in learner.model.named_parameters() if not parameter.requires_grad]
    if frozen:
        _LOG.info("%d frozen parameter(s) get no protection: %s", len(frozen), ", ".join(frozen))
    return chosen


def require_matches(model: nn.Module, owner: str, include: Iterable[str]) -> None:
    """Refuse a pattern that matches nothing: it would protect nothing.

    Raises:
        ConfigError: naming the first such pattern.
    """
    names = [name for name, _ in model.named_parameters()]
    for pattern in include:
        if pattern != "*" and not any(fnmatchcase(name, pattern) for name in names):
            raise ConfigError(
                f"{owner}.include",
                found=f"{pattern!r} matches no parameter of the model",
                allowed=f"glob patterns of names such as {names[0]}",
                remedy=nearest(pattern.strip("*"), names),
            )


def remembered(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, nn.Parameter]:
    """The parameters of which something is remembered, frozen now or not.

    Raises:
        PluginError: if one was removed, renamed or has become smaller.
    """
    present = dict(model.named_parameters())
    require_names(state, present)
    for name, tensor in state.items():
        corner(present[name], tensor.shape, name)
    return {name: present[name] for name in state}


def _serving_every_experience(learner: Learner) -> Iterator[tuple[str, nn.Parameter]]:
    yield from learner.model.shared_parameters()
    if not any(Slot.HEAD in strategy.slots for strategy in learner.strategies.values()):
        for name, parameter in learner.model.head.named_parameters(prefix="head"):
            if parameter.requires_grad:
                yield name, parameter
