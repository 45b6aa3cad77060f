"""What tests of strategies, benchmarks and backbones have in common; also for packages of other people.

The public names below are loaded when they are first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcl.testing.check import Check, ConformanceError
    from mmcl.testing.kit import check_backbone, check_benchmark, check_strategy, parametrize_checks
    from mmcl.testing.promises.backbone_checks import BACKBONE_CHECKS
    from mmcl.testing.promises.benchmark_checks import BENCHMARK_CHECKS
    from mmcl.testing.promises.strategy_checks import STRATEGY_CHECKS

_HOMES = {
    "BACKBONE_CHECKS": "mmcl.testing.promises.backbone_checks",
    "BENCHMARK_CHECKS": "mmcl.testing.promises.benchmark_checks",
    "STRATEGY_CHECKS": "mmcl.testing.promises.strategy_checks",
    "Check": "mmcl.testing.check",
    "ConformanceError": "mmcl.testing.check",
    "check_backbone": "mmcl.testing.kit",
    "check_benchmark": "mmcl.testing.kit",
    "check_strategy": "mmcl.testing.kit",
    "parametrize_checks": "mmcl.testing.kit",
}

__all__ = [
    "BACKBONE_CHECKS",
    "BENCHMARK_CHECKS",
    "STRATEGY_CHECKS",
    "Check",
    "ConformanceError",
    "check_backbone",
    "check_benchmark",
    "check_strategy",
    "parametrize_checks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmcl.testing' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
