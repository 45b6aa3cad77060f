"""Completion: names of plugins, as a shell offers them. They come from the registry, which imports no plugin."""

from mmcl.registry import BACKBONES, BENCHMARKS, GROUPS, STRATEGIES, entries


def strategy_name(incomplete: str) -> list[str]:
    """Strategies whose names begin like that."""
    return _beginning(incomplete, STRATEGIES)


def benchmark_name(incomplete: str) -> list[str]:
    """Names of benchmarks that begin with what has been typed."""
    return _beginning(incomplete, BENCHMARKS)


def backbone_name(incomplete: str) -> list[str]:
    """Names of backbones that begin with what has been typed."""
    return _beginning(incomplete, BACKBONES)


def any_name(incomplete: str) -> list[str]:
    """Plugins of all kinds."""
    return _beginning(incomplete, *GROUPS)


def _beginning(incomplete: str, *groups: str) -> list[str]:
    names = (entry.qualified if entry.shared else entry.name for group in groups for entry in entries(group))
    return [name for name in names if name.startswith(incomplete)]
