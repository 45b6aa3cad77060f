"""The tables of results.md and of the pages of strategies, from the results that docs/results keeps.

    mmcl suite docs/suites/mtil.toml          # hours; it can be stopped and goes on
    python docs/results.py --keep runs/results
    python docs/results.py                    # writes the tables
    python docs/results.py --check            # says what it would write

A table is written when every run of it is kept; until then it stays as it is, and the page says that it is older. A
test holds the pages to this, and the kept results to the suites.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import chain
from pathlib import Path
from statistics import mean
from typing import Any

from mmcl.evaluation.comparison import headline
from mmcl.evaluation.markdown_table import table_of_markdown
from mmcl.evaluation.result_matrix import ResultMatrix
from mmcl.suites.plan import Cell, plan, read_suite

Results = Mapping[str, Any]
Reader = Callable[[Results], "float | None"]

HERE = Path(__file__).parent
SEEDS = (0, 1, 2)
FIELDS = "benchmark edition scenario backbone strategies seed metric paired rows columns matrix summary data versions"
FURTHER = ("pool r_mean", "mAP@1", "pool mAP@1")  # scores beside the main one that a table reads

OF_MATRIX: Mapping[str, Callable[[Mapping[str, float]], float]] = {
    "so far": lambda summary: summary["learning_acc"],
    "end": lambda summary: summary["acc"],
    "lost": lambda summary: -summary["bwt"],
    "transfer": lambda summary: summary["transfer"],
}


def word(name: str) -> Reader:
    """The score that the run's scenario knows by a word."""
    return lambda results: headline(results, name)


def of_matrix(score: str, what: str) -> Reader:
    """What is read off the matrix of a further score, or of the main one under its own name."""

    def read(results: Results) -> float | None:
        stored = results if results["metric"] == score else results["further"][score]
        value = OF_MATRIX[what](ResultMatrix.from_dict(stored).summary())
        return None if value != value else value

    return read


@dataclass(frozen=True)
class Table:
    """A table of results.md, a row for every strategy of a suite.

    Attributes:
        suite: of its runs.
        scores: title -> how it is read.
        of: what the table is about, for the sentence on older tables.
        zero_shot: whether the model before training has a row.
    """

    suite: str
    scores: Mapping[str, Reader]
    of: str
    zero_shot: bool = False


MTIL = {name: word(name) for name in ("Transfer", "Avg", "Last")}
CIL = {name: word(name) for name in ("Avg", "Last", "Forgetting")}
SESSIONS = {"Avg": word("Avg"), "Last": word("Last"), "PD": lambda results: results["summary"]["acc_drop"]}
TABLES = {
    "mtil": Table("mtil", MTIL, "MTIL", zero_shot=True),
    "mtil-others": Table("mtil_others", MTIL, "the other strategies on MTIL"),
    "mtil-hidden": Table("mtil_hidden", MTIL, "MTIL with a hidden task"),
    "xtail": Table("xtail", MTIL, "X-TAIL", zero_shot=True),
    "cifar100": Table("cifar100", CIL, "CIFAR-100"),
    "cifar100-adapted": Table("cifar100_adapted", CIL, "additions to a frozen model on CIFAR-100"),
    "few-shot-cifar100": Table("few_shot_cifar100", SESSIONS, "few-shot sessions of CIFAR-100"),
    "few-shot-miniimagenet": Table("few_shot_miniimagenet", SESSIONS, "few-shot sessions of miniImageNet"),
    "domainnet": Table(
        "domainnet", {name: word(name) for name in ("ACC", "AIA", "Forgetting")}, "DomainNet", zero_shot=True
    ),
    "p9d": Table(
        "p9d",
        {
            "`r_mean` at the end": of_matrix("r_mean", "end"),
            "lost since learned": of_matrix("r_mean", "lost"),
            "Transfer": of_matrix("r_mean", "transfer"),
        },
        "P9D",
    ),
    "p9d-pool": Table(
        "p9d",
        {
            "so far": of_matrix("pool r_mean", "so far"),
            "last": of_matrix("pool r_mean", "end"),
            "forgetting": of_matrix("pool r_mean", "lost"),
        },
        "P9D",
    ),
    "p9d-map": Table(
        "p9d",
        {"`pool mAP@1`, last": of_matrix("pool mAP@1", "end"), "`mAP@1` at the end": of_matrix("mAP@1", "end")},
        "P9D",
    ),
}
SUITES = tuple(dict.fromkeys(table.suite for table in TABLES.values()))

# what pages of strategies call a benchmark, and the scores they have of it
PAGES: Mapping[str, tuple[str, Mapping[str, Reader]]] = {
    "embedded MTIL, order 1": ("mtil", {**MTIL, "Forgetting": word("Forgetting")}),
    "embedded MTIL, hidden task": ("mtil_hidden", MTIL),
    "embedded X-TAIL": ("xtail", MTIL),
    "embedded CIFAR-100, 10 steps": ("cifar100", {name: word(name) for name in ("Avg", "Last")}),
    "embedded CIFAR-100, few-shot sessions": ("cifar100_few_shot", {name: word(name) for name in ("Avg", "Last")}),
    "embedded miniImageNet, few-shot sessions": ("miniimagenet", {name: word(name) for name in ("Avg", "Last")}),
    "embedded DomainNet": ("domainnet", {"ACC": word("ACC")}),
    "embedded P9D": (
        "p9d",
        {
            "`r_mean` at the end": of_matrix("r_mean", "end"),
            "`pool r_mean`, last": of_matrix("pool r_mean", "end"),
        },
    ),
}
COMPANY = {"moe_adapters": "moe_adapters+ddas", "lora": "lora_merged"}  # pages whose runs are called otherwise
VARIANTS = {"logits": "distill", "features": "distill-features", "relations": "distill-relations"}


@cache
def kept(cell: str) -> Results | None:
    """The results of a cell; ``None`` where none are kept."""
    file = HERE / "results" / f"{cell}.json"
    return json.loads(file.read_text("utf-8")) if file.is_file() else None


def cells_of(suite: str, out: Path | None = None) -> list[Cell]:
    """The cells of a suite, with their folders below ``out``."""
    file = HERE / "suites" / f"{suite}.toml"
    return plan(read_suite(file), str(file), None if out is None else str(out))


def config_of(cell: Cell) -> dict[str, Any]:
    """The configuration of a cell without the place of its folder."""
    return replace(cell.config, out=None).to_dict()


def compact(results: Results, cell: Cell) -> dict[str, Any]:
    """What tables and provenance need of ``results.json``."""
    found = {name: results[name] for name in FIELDS.split()}
    found["further"] = {name: results["further"][name] for name in FURTHER if name in results["further"]}
    return found | {"weights": results["model"]["digest"], "config": config_of(cell)}


def keep(runs: Path) -> Iterator[str]:
    """Copy what has been run to its end below a folder; the names of its cells."""
    from mmcl.run_folder import RunFolder
    from mmcl.suites.standing import finished

    for suite in SUITES:
        for cell in cells_of(suite, runs):
            if finished(cell):
                file = HERE / "results" / f"{cell.name}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                content = compact(RunFolder.open(cell.folder).results, cell)
                file.write_text(json.dumps(content, separators=(",", ":"), allow_nan=False) + "\n", "utf-8")
                yield cell.name


def seeds_of(row: str, read: Reader) -> list[float | None] | None:
    """The score of every seed of a row such as ``mtil/zscl``; ``None`` if a run is not kept."""
    runs = [kept(f"{row}/seed{seed}") for seed in SEEDS]
    return None if any(run is None for run in runs) else [read(run) for run in runs if run is not None]


def untrained(results: Results) -> dict[str, Any]:
    """The results of a model that never learns: every row is the one before training."""
    stored = {**results, "matrix": [results["matrix"][0]] * len(results["matrix"])}
    return {**stored, "summary": ResultMatrix.from_dict(stored).summary()}


def lines_of(table: Table) -> list[str] | None:
    """A row for every strategy, two columns for every score; ``None`` if a run is not kept."""
    cells = [cell.name for cell in cells_of(table.suite)]
    if any(kept(name) is None for name in cells):
        return None
    header = ["strategy"]
    for title in table.scores:
        header += [f"{title}, seeds {' / '.join(map(str, SEEDS))}", "mean"]
    rows = []
    if table.zero_shot:  # seeds have no say in it
        first = untrained(kept(cells[0]) or {})
        rows.append(["zero-shot", *chain.from_iterable(two_cells([read(first)]) for read in table.scores.values())])
    for row in dict.fromkeys(name.rpartition("/")[0] for name in cells):
        scores = (seeds_of(row, read) or [] for read in table.scores.values())
        rows.append([shown(row.rpartition("/")[2]), *chain.from_iterable(map(two_cells, scores))])
    return table_of_markdown(header, rows)


def shown(label: str) -> str:
    """How a table calls a strategy."""
    for variant, of in VARIANTS.items():
        if label == of:
            return f"`distill`, {variant}"
    return f"`{label}`"


def seeds_cell(values: Sequence[float | None]) -> str:
    """Every seed's score."""
    if all(value is None for value in values):
        return "-"
    return " / ".join("-" if value is None else f"{round(value, 1) + 0.0:.1f}" for value in values)


def two_cells(values: Sequence[float | None]) -> list[str]:
    """Every seed's score, and the mean over those that have one."""
    known = [value for value in values if value is not None]
    return [seeds_cell(values), f"{round(mean(known), 1) + 0.0:.1f}" if known else "-"]


def results_page(text: str) -> str:
    """results.md with the tables whose runs are kept, and the sentence on those that are older."""

    def table(match: re.Match[str]) -> str:
        lines = lines_of(TABLES[match[1]])
        return match[0] if lines is None else "\n".join([f"<!-- table {match[1]} -->", *lines, "<!-- end -->"])

    text = re.sub(r"<!-- table (\S+) -->\n.*?<!-- end -->", table, text, flags=re.DOTALL)
    older = list(dict.fromkeys(table.of for table in TABLES.values() if lines_of(table) is None))
    sentence = (
        f"**Older than this version, and to be measured again: {', '.join(older)}.** Runs of this version give other\n"
        "digits there.\n"
        if older
        else ""
    )
    return re.sub(r"<!-- older -->\n.*?<!-- end -->", f"<!-- older -->\n{sentence}<!-- end -->", text, flags=re.DOTALL)


def strategy_page(name: str, text: str) -> str:
    """The page of a strategy with the rows whose runs are kept, beside fine-tuning."""

    def row(match: re.Match[str]) -> str:
        benchmark, score = match[1], match[2]
        title, _, variant = benchmark.rpartition(", ")
        label = VARIANTS.get(variant, COMPANY.get(name, name))
        suite, scores = PAGES[title if variant in VARIANTS else benchmark]
        found = [seeds_of(f"{suite}/{each}", scores[score]) for each in (label, "finetune")]
        if any(values is None for values in found):
            return match[0]
        cells = [benchmark, score, *(seeds_cell(values) for values in found if values is not None)]
        return f"| {' | '.join(cells[: match[0].count('|') - 1])} |"

    return re.sub(r"^\| (embedded [^|]+?) \| ([^|]+?) \| .*\|$", row, text, flags=re.MULTILINE)


def pages() -> Iterator[tuple[Path, str, str]]:
    """Every page with numbers: file, text, and text as it should be."""
    file = HERE / "results.md"
    text = file.read_text("utf-8")
    yield file, text, results_page(text)
    for file in sorted((HERE / "strategies").glob("*.md")):
        text = file.read_text("utf-8")
        yield file, text, strategy_page(file.stem, text)


def complaints() -> Iterator[str]:
    """What is not as it would be written, and kept results that no suite describes."""
    for file, text, wanted in pages():
        if text != wanted:
            yield f"{file.relative_to(HERE).as_posix()} is not what the kept results say; run python docs/results.py"
    described = {cell.name: config_of(cell) for suite in SUITES for cell in cells_of(suite)}
    for file in sorted((HERE / "results").rglob("*.json")):
        name = file.relative_to(HERE / "results").with_suffix("").as_posix()
        if name not in described:
            yield f"results/{name}.json is of no suite"
        elif json.loads(file.read_text("utf-8"))["config"] != described[name]:
            yield f"results/{name}.json is of another configuration than its suite has; run it again"


def main(arguments: Sequence[str]) -> int:
    """Keep, write or check; the exit code."""
    parser = argparse.ArgumentParser(description="The tables of results.md, from the kept results.")
    parser.add_argument("--keep", type=Path, metavar="RUNS", help="copy finished cells of the suites from this folder")
    parser.add_argument("--check", action="store_true", help="write nothing, say what would change")
    said = parser.parse_args(arguments)
    if said.keep is not None:
        print(f"{len(list(keep(said.keep)))} kept")
    elif said.check:
        found = list(complaints())
        print("\n".join(found) or "as written")
        return 1 if found else 0
    else:
        for file, text, wanted in pages():
            if text != wanted:
                file.write_text(wanted, "utf-8")
                print(f"written: {file.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
