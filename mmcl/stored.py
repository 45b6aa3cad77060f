"""Stored results: those of run folders, and of folders with runs somewhere below them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mmcl.run_folder import RunFolder


def stored_results(places: Iterable[str | Path]) -> list[dict[str, Any]]:
    """The content of every ``results.json``; a folder that is no run stands for the runs below it, in order of names.

    Raises:
        CheckpointError: if a folder is no run and has none below it, or a run has no results yet.
    """
    return [RunFolder.open(folder).results for place in places for folder in _runs(Path(place))]


def _runs(place: Path) -> list[Path]:
    below = [] if (place / "config.toml").is_file() else sorted(file.parent for file in place.rglob("results.json"))
    return below or [place]
