"""Names of plugins as people type them: found, or refused before anything heavy is imported."""

from mmcl.errors import PluginError, nearest
from mmcl.registry import GROUPS, entries, find


def unknown(name: str) -> PluginError:
    """That no installed plugin has this name."""
    known = [entry.name for group in GROUPS for entry in entries(group)]
    return PluginError(
        f"plugin {name!r}",
        found="no installed distribution has a plugin of this name",
        allowed=", ".join(known),
        remedy=nearest(name, known),
    )


def require(group: str, name: str) -> None:
    """Refuse an unknown name before anything heavy is imported."""
    if ":" not in name:
        find(group, name)
