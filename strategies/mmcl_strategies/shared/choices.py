"""Checks of strategies' options where they enter."""

from mmcl.errors import ConfigError


def require(holds: bool, who: str, value: object, allowed: str) -> None:
    """Refuse an option.

    Args:
        holds: whether the value is allowed.
        who: ``strategy.option``.
        value: what was chosen.
        allowed: in words.

    Raises:
        ConfigError: unless ``holds``.
    """
    if not holds:
        raise ConfigError(who, found=f"{value!r}", allowed=allowed, remedy="Choose an allowed value.")
