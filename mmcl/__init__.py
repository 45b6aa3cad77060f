"""MMCL: multimodal continual learning with strategies that compose.

The public names below are loaded when they are first used, so that importing ``mmcl`` costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmcl import streams
    from mmcl.build import backbone, benchmark, strategy
    from mmcl.config import PluginConfig, RunConfig, TrainingConfig
    from mmcl.errors import MMCLError
    from mmcl.explanation import Explanation, explain
    from mmcl.learning.avalanche_plugin import AvalanchePlugin
    from mmcl.learning.learner import Learner
    from mmcl.learning.strategy import StrategyPlugin
    from mmcl.models.multimodal import MultimodalModel
    from mmcl.results import RunResult, compare, open
    from mmcl.running import extend, resume, run
    from mmcl.streams.benchmark import Benchmark
    from mmcl.suites.suite import SuiteResult, run_suite
    from mmcl.use import export, predict

__version__ = "0.2.0"

_HOMES = {
    "backbone": "mmcl.build",
    "benchmark": "mmcl.build",
    "strategy": "mmcl.build",
    "PluginConfig": "mmcl.config",
    "RunConfig": "mmcl.config",
    "TrainingConfig": "mmcl.config",
    "MMCLError": "mmcl.errors",
    "Explanation": "mmcl.explanation",
    "explain": "mmcl.explanation",
    "AvalanchePlugin": "mmcl.learning.avalanche_plugin",
    "Learner": "mmcl.learning.learner",
    "StrategyPlugin": "mmcl.learning.strategy",
    "MultimodalModel": "mmcl.models.multimodal",
    "RunResult": "mmcl.results",
    "compare": "mmcl.results",
    "open": "mmcl.results",
    "extend": "mmcl.running",
    "resume": "mmcl.running",
    "run": "mmcl.running",
    "Benchmark": "mmcl.streams.benchmark",
    "SuiteResult": "mmcl.suites.suite",
    "run_suite": "mmcl.suites.suite",
    "streams": "mmcl.streams",
    "export": "mmcl.use",
    "predict": "mmcl.use",
}

__all__ = [
    "AvalanchePlugin",
    "Benchmark",
    "Explanation",
    "Learner",
    "MMCLError",
    "MultimodalModel",
    "PluginConfig",
    "RunConfig",
    "RunResult",
    "StrategyPlugin",
    "SuiteResult",
    "TrainingConfig",
    "backbone",
    "benchmark",
    "compare",
    "explain",
    "export",
    "extend",
    "open",
    "predict",
    "resume",
    "run",
    "run_suite",
    "strategy",
    "streams",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'mmcl' has no attribute {name!r}; it has {', '.join(__all__)}")
    home = import_module(_HOMES[name])
    return home if _HOMES[name] == f"mmcl.{name}" else getattr(home, name)


def __dir__() -> list[str]:
    return sorted(__all__)
