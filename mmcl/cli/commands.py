"""All commands, each of which adds itself to the application when it is imported."""

from mmcl.cli import data, models, plugins, results, runs, suite
from mmcl.cli.application import app

__all__ = ["app", "data", "models", "plugins", "results", "runs", "suite"]
