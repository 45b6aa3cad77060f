"""Standing: what has become of the cells of a suite so far, as their folders say."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmcl.build import located, planned
from mmcl.config import RunConfig
from mmcl.errors import ConfigError, MMCLError
from mmcl.evaluation.report import WITHOUT_EFFECT
from mmcl.run_folder import RunFolder
from mmcl.suites.plan import Cell

_SHOWN = 10


def require_composable(cells: list[Cell], who: str) -> None:
    """Refuse a suite in which something cannot compose, before anything is run.

    Raises:
        ConfigError: naming the cells with the reason.
    """
    alike: dict[str, list[Cell]] = defaultdict(list)  # cells that differ in the seed alone
    for cell in cells:
        alike[repr(replace(cell.config, seed=0, out=None))].append(cell)
    refused = [(group, reason) for group in alike.values() if (reason := _refusal(group[0].config))]
    if refused:
        lines = [f"\n  {group[0].name}: {reason}" for group, reason in refused]
        more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
        count = sum(len(group) for group, _ in refused)
        raise ConfigError(
            who,
            found=f"{count} of {len(cells)} cells cannot be run:{''.join(lines[:_SHOWN])}{more}\n",
            allowed="cells that can; nothing has been run",
            remedy="Leave the others out with [[cell]] and leave_out = true, or change them.",
        )


def finished(cell: Cell) -> bool:
    """Whether a cell has been run to its end.

    Raises:
        ConfigError: if its folder holds another run.
    """
    if not (cell.folder / "config.toml").is_file():
        return False
    folder = RunFolder.open(cell.folder)
    here, there = (_of_numbers(config) for config in (located(cell.config), folder.config))
    different = [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
    if different:
        name = different[0]
        raise ConfigError(
            f"cell {cell.name}",
            found=f"{cell.folder} holds another run: its {name} is {there.get(name)!r} instead of {here.get(name)!r}",
            allowed="a run of the same configuration, or nothing",
            remedy="Choose another out, give the row another label, or remove that folder.",
        )
    progress = folder.progress
    # the last file that a run writes; a kill may come just before it
    complete = (cell.folder / "matrix.png").is_file()
    return complete and progress is not None and progress["experiences_done"] >= progress["experiences"]


def step_of(cell: Cell) -> str:
    """How far a cell that is at work has come: ``3 of 11``, or nothing where it has not begun."""
    try:
        progress = RunFolder(cell.folder).progress
    except MMCLError:
        return ""
    return "" if progress is None else f"{progress['experiences_done']} of {progress['experiences']}"


def _refusal(config: RunConfig) -> str:
    try:
        planned(config)
    except MMCLError as error:
        return str(error)
    return ""


def _of_numbers(config: RunConfig) -> dict[str, Any]:
    """What decides the numbers of a run, in plain values by their paths."""
    content = config.to_dict()
    benchmark = {key: value for key, value in content["benchmark"].items() if key != "data_root"}
    training = {key: value for key, value in content["training"].items() if key not in WITHOUT_EFFECT}
    flat: dict[str, Any] = {name: content.get(name) for name in ("seed", "probe", "extensions", "strategy")}
    for name, table in (("benchmark", benchmark), ("backbone", content["backbone"]), ("training", training)):
        flat |= _prefixed(name, table)
    return flat


def _prefixed(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in table.items()}


def log_of(cell: Cell) -> Path:
    """What a cell has printed."""
    return cell.folder.with_name(f"{cell.folder.name}.log")
