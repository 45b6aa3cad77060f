"""Frames: scores of runs, a row for every cell of a result matrix; and what a model said, a row for every question."""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from mmcl.errors import ConfigError
from mmcl.evaluation.report import Results, strategies_label

COLUMNS = (
    "benchmark",
    "edition",
    "backbone",
    "strategies",
    "seed",
    "metric",
    "experience",
    "trained_until",
    "tested_on",
    "score",
)


def long_rows(results: Results) -> Iterator[dict[str, Any]]:
    """A row for every cell that was evaluated, those of further scores included.

    ``experience`` counts the experiences learned, 0 being the row before training, which ``trained_until`` names.
    """
    run = {name: results[name] for name in ("benchmark", "edition", "backbone")}
    run |= {"strategies": strategies_label(results), "seed": results["seed"]}
    for matrix in (results, *results.get("further", {}).values()):
        for learned, (row, scores) in enumerate(zip(matrix["rows"], matrix["matrix"], strict=True)):
            for column, score in zip(matrix["columns"], scores, strict=True):
                if score is not None:
                    cell = {"experience": learned, "trained_until": row, "tested_on": column, "score": score}
                    yield {**run, "metric": matrix["metric"], **cell}


def frame(runs: Iterable[Results]) -> Any:
    """The rows of all runs as a ``pandas.DataFrame``.

    Raises:
        ConfigError: if pandas is not installed.
    """
    pandas = _pandas("frame", "take the rows from mmcl.evaluation.frame.long_rows")
    return pandas.DataFrame([row for results in runs for row in long_rows(results)], columns=list(COLUMNS))


def answers_frame(file: Path) -> Any:
    """The rows of a file of answers as a ``pandas.DataFrame``; names stay text, whatever they look like.

    Raises:
        ConfigError: if pandas is not installed.
    """
    pandas = _pandas("predictions", f"read {file}, a compressed table of commas")
    names = dict.fromkeys(("test set", "id", "target", "prediction"), str)
    return pandas.read_csv(file, dtype=names, keep_default_na=False)


def _pandas(who: str, otherwise: str) -> Any:
    try:
        return import_module("pandas")
    except ImportError as error:
        raise ConfigError(
            who,
            found=f"pandas cannot be imported ({error})",
            allowed="an environment with pandas, which MMCL itself does not need",
            remedy=f"Install it with 'pip install pandas', or {otherwise}.",
        ) from error
