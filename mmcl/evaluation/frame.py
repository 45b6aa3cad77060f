"""Frames: the scores of runs in long format, a row for every cell of a result matrix."""

from collections.abc import Iterable, Iterator
from importlib import import_module
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
    try:
        pandas = import_module("pandas")
    except ImportError as error:
        raise ConfigError(
            "frame",
            found=f"pandas cannot be imported ({error})",
            allowed="an environment with pandas, which MMCL itself does not need",
            remedy="Install it with 'pip install pandas', or take the rows from mmcl.evaluation.frame.long_rows.",
        ) from error
    return pandas.DataFrame([row for results in runs for row in long_rows(results)], columns=list(COLUMNS))
