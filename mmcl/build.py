"""From names and options to plugin objects."""

from typing import Any

from mmcl.config import PluginConfig, instantiate
from mmcl.registry import BACKBONES, BENCHMARKS, STRATEGIES, load


def build_plugin(group: str, config: PluginConfig) -> Any:
    """Load the class a configuration names and give it its options.

    Raises:
        PluginError: if there is no such plugin or it is broken.
        ConfigError: if an option is unknown or has a wrong value.
    """
    return instantiate(load(group, config.name), config.options, config.name)


def benchmark(name: str, **options: Any) -> Any:
    """A benchmark plugin with its options; its data are read when it is run, or by ``build()``."""
    return build_plugin(BENCHMARKS, PluginConfig(name, options))


def strategy(name: str, **options: Any) -> Any:
    """A strategy with its hyper-parameters."""
    return build_plugin(STRATEGIES, PluginConfig(name, options))


def backbone(name: str, **options: Any) -> Any:
    """A backbone plugin with its options; its weights are loaded when it is run, or by ``build()``."""
    return build_plugin(BACKBONES, PluginConfig(name, options))
