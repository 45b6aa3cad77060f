"""Rows of the tables in ``results.md``, from run folders called STRATEGY-SEED.

    python docs/results.py runs/mtil --score Transfer --score Avg --score Last
    python docs/results.py runs/p9d --further "pool r_mean:just learned" --further "pool r_mean:end"

One row a strategy: the score of every seed, and their mean. ``--score`` takes a word of the run's scenario;
``--further`` a further score and what to read off its matrix.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from mmcl.evaluation.report import headlines, markdown_table
from mmcl.evaluation.result_matrix import ResultMatrix

Results = Mapping[str, Any]

OF_MATRIX: Mapping[str, Callable[[Mapping[str, float]], float]] = {
    "just learned": lambda summary: summary["learning_acc"],
    "end": lambda summary: summary["acc"],
    "lost": lambda summary: -summary["bwt"],
    "transfer": lambda summary: summary["transfer"],
}


def runs_in(folder: Path) -> dict[str, dict[int, Results]]:
    """Strategy -> seed -> results."""
    found: dict[str, dict[int, Results]] = defaultdict(dict)
    for file in sorted(folder.glob("*-*/results.json")):
        name, _, seed = file.parent.name.rpartition("-")
        found[name][int(seed)] = json.loads(file.read_text("utf-8"))
    return found


def headline(results: Results, word: str) -> float | None:
    """The score that the run's scenario knows by a word; ``None`` where it is undefined."""
    name = next(name for name, known in headlines(results).items() if known == word)
    value: float | None = results["summary"][name]
    return value


def of_matrix(results: Results, score: str, what: str) -> float | None:
    """What is read off the matrix of a further score, or of the main one under its own name."""
    stored = results if results["metric"] == score else results["further"][score]
    value = OF_MATRIX[what](ResultMatrix.from_dict(stored).summary())
    return None if value != value else value


def table(folder: Path, readers: Mapping[str, Callable[[Results], float | None]]) -> list[str]:
    """Lines of Markdown: a row for every strategy, two columns for every score."""
    found = runs_in(folder)
    seeds = sorted({seed for by_seed in found.values() for seed in by_seed})
    header = ["strategy"]
    for title in readers:
        header += [f"{title}, seeds {' / '.join(map(str, seeds))}", "mean"]
    rows = []
    for name, by_seed in found.items():
        row = [f"`{name}`"]
        for read in readers.values():
            row += _cells([read(by_seed[seed]) if seed in by_seed else None for seed in seeds])
        rows.append(row)
    return markdown_table(header, rows)


def _cells(values: Sequence[float | None]) -> list[str]:
    known = [value for value in values if value is not None]
    if not known:
        return ["-", "-"]
    return [" / ".join("-" if value is None else f"{value:.1f}" for value in values), f"{mean(known):.1f}"]


def main(arguments: Sequence[str]) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Rows of the tables in results.md.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--score", action="append", default=[], help="a word of the scenario, such as Last")
    parser.add_argument("--further", action="append", default=[], help=f"SCORE:WHAT, one of {', '.join(OF_MATRIX)}")
    said = parser.parse_args(arguments)
    readers: dict[str, Callable[[Results], float | None]] = {}
    for word in said.score:
        readers[word] = lambda results, word=word: headline(results, word)
    for further in said.further:
        score, _, what = further.partition(":")
        readers[f"`{score}`, {what}"] = lambda results, score=score, what=what: of_matrix(results, score, what)
    print("\n".join(table(said.folder, readers)))


if __name__ == "__main__":
    main(sys.argv[1:])
