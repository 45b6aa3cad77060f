"""The command line. Importing it loads neither torch nor avalanche: heavy work is imported where it is done."""

from mmcl.cli import data, models, plugins, results, runs, suite
from mmcl.cli.entry import main
from mmcl.cli.terminal import app

__all__ = ["app", "data", "main", "models", "plugins", "results", "runs", "suite"]
