"""Relocation: data that lie elsewhere than when a run was begun."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmcl.build import located
from mmcl.config import PluginConfig, RunConfig
from mmcl.errors import CheckpointError
from mmcl.run_folder import RunFolder


def relocated(folder: RunFolder, data_root: str | Path | None = None, data: Sequence[str | Path] = ()) -> RunConfig:
    """The configuration of a run with its data where they are now.

    Raises:
        CheckpointError: if they are not there, or the run has none in such a place.
    """
    config = folder.config
    if data_root is not None:
        options = {**config.benchmark.options, "data_root": str(data_root)}
        if "data_root" not in config.benchmark.options:
            raise _no_such_place(folder, "its benchmark has no data root", "--data-root")
        config = replace(config, benchmark=PluginConfig(config.benchmark.name, options))
    if data:
        if len(data) != len(config.extensions):
            raise _no_such_place(folder, f"{len(config.extensions)} data sets have extended it", "--data once for each")
        config = replace(config, extensions=tuple(map(str, data)))
    config = located(config)
    root = config.benchmark.options.get("data_root")
    if root is not None and not Path(root).exists():
        raise _moved(folder, root, "--data-root PLACE")
    for place in config.extensions:
        if not Path(place).exists():
            raise _moved(folder, place, " ".join(["--data PLACE"] * len(config.extensions)))
    return config


def _no_such_place(folder: RunFolder, found: str, option: str) -> CheckpointError:
    return CheckpointError(
        f"run folder {folder.path}", found=found, allowed=f"{option} for runs with such data", remedy="Leave it out."
    )


def _moved(folder: RunFolder, place: str, option: str) -> CheckpointError:
    return CheckpointError(
        f"run folder {folder.path}",
        found=f"its data are no longer in {place}",
        allowed="the data that the run was begun with, wherever they lie",
        remedy=f"Say where they are now: 'mmcl resume {folder.path} {option}'.",
    )
