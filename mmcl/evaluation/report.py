"""Reports: one run as a table and as Markdown, and several runs side by side."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from math import isnan
from statistics import mean, stdev
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from mmcl.errors import ConfigError
from mmcl.evaluation.result_matrix import BEFORE_TRAINING, ResultMatrix

Results = Mapping[str, Any]

HEADLINES = {
    "transfer": "Transfer",
    "avg": "Avg",
    "last": "Last",
    "acc": "ACC",
    "aia": "AIA",
    "forgetting": "Forgetting",
    "bwt": "BWT",
}
# class-incremental papers call other scores by the same words: accuracy on the union of all classes seen so far
CIL_HEADLINES = {
    "transfer": "Transfer",
    "aia_weighted": "Avg",
    "acc_weighted": "Last",
    "acc": "ACC",
    "aia": "AIA",
    "forgetting": "Forgetting",
    "bwt": "BWT",
}

COMPARED = ("Transfer", "Avg", "Last", "Forgetting")
# where scenarios are mixed, only words that mean the same in all of them
COMPARED_ACROSS = ("ACC", "AIA", "Forgetting", "BWT")

# training settings that decide where and how fast, not what is learned
WITHOUT_EFFECT = {"device", "num_workers", "eval_batch_size", "check_data"}


def headlines(results: Results) -> Mapping[str, str]:
    """The scores that papers of the run's scenario print, by name, with their words for them."""
    return CIL_HEADLINES if results["scenario"] == "CIL" else HEADLINES


def edition_note(results: Results) -> str:
    """The edition, and for all but official ones the sentence that keeps numbers from being mistaken."""
    if results["edition"] == "official":
        return "official edition"
    return f"{results['edition']} edition: not the official benchmark's numbers"


def title(results: Results) -> str:
    """Benchmark, edition, backbone, strategies and seed."""
    return (
        f"{results['benchmark']} ({edition_note(results)}), {results['backbone']}, "
        f"{strategies_label(results)}, seed {results['seed']}"
    )


def strategies_label(results: Results) -> str:
    """Names of the strategies with their options, joined by ``+``."""
    return " + ".join(_strategy_label(strategy) for strategy in results["strategies"]) or "finetune"


def results_table(results: Results) -> Table:
    """The result matrix with the headline scores below it."""
    scores = "  ".join(f"{word} {_number(results['summary'][name])}" for name, word in headlines(results).items())
    table = Table(title=escape(title(results)), caption=scores, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("after learning", overflow="fold")
    for column in results["columns"]:
        table.add_column(escape(column), justify="right", overflow="fold", min_width=len("100.0"))
    for name, row in zip(results["rows"], results["matrix"], strict=True):
        table.add_row(escape(name), *map(_number, row))
    return table


def markdown_report(results: Results) -> str:
    """``report.md``: what was run, the matrix, the scores, the cost, the versions."""
    columns = list(results["columns"])
    lines = [
        f"# {results['benchmark']}: {strategies_label(results)}",
        "",
        f"- edition: **{edition_note(results)}**",
        f"- scenario: {results['scenario']}; backbone: {results['backbone']}; seed: {results['seed']}",
        f"- parameters: {results['parameters']['total']:,} in all, {results['parameters']['trainable']:,} trained",
        *_model(results),
        *(f"- {name}: {fact}" for name, fact in results.get("metadata", {}).items() if isinstance(fact, str)),
        "",
        f"## {results['metric'].capitalize()} ({results['unit']}) on every test set after every experience",
        "",
        "![result matrix](matrix.png)",
        "",
        *markdown_table(
            ["after learning", *columns],
            [[name, *map(_number, row)] for name, row in zip(results["rows"], results["matrix"], strict=True)],
        ),
        "",
        f"The row '{BEFORE_TRAINING}' is the model before any training; it enters no scores but fwt_zeroshot and "
        "zeroshot_drop.",
        "",
        "## Scores",
        "",
        *markdown_table(["score", "value"], [[name, _number(value)] for name, value in results["summary"].items()]),
        "",
        *_own_classes_note(results),
        *_further_scores(results),
        *_remarks(results),
        "## Cost",
        "",
        *markdown_table(["phase", "seconds"], [[name, f"{s:.1f}"] for name, s in results["seconds"].items()]),
        "",
        "## Settings and versions",
        "",
        *markdown_table(["setting", "value"], [[k, str(v)] for k, v in results["training"].items()]),
        "",
        *markdown_table(["package", "version"], [[k, str(v)] for k, v in results["versions"].items()]),
        "",
    ]
    return "\n".join(lines)


def comparison(runs: Sequence[Results]) -> tuple[list[str], list[list[str]]]:
    """Header and rows: runs that differ in nothing but the seed share a row, as mean and standard deviation.

    Where training settings, experiences, scenario or data differ, the column ``settings`` says how; ``n`` is the number
    of runs. A single one has no deviation.

    Raises:
        ConfigError: if two runs do not even differ in the seed.
    """
    one_scenario = len({run["scenario"] for run in runs}) <= 1
    words = COMPARED if one_scenario else COMPARED_ACROSS
    all_settings = [_settings(run) for run in runs]
    keys = sorted({key for settings in all_settings for key in settings})
    varying = [key for key in keys if len({settings.get(key, "-") for settings in all_settings}) > 1]
    groups: dict[tuple[str, ...], list[Results]] = defaultdict(list)
    for run, settings in zip(runs, all_settings, strict=True):
        key = [run["benchmark"], run["edition"], run["backbone"], strategies_label(run)]
        key += [", ".join(f"{name}={settings.get(name, '-')}" for name in varying)] if varying else []
        groups[tuple(key)].append(run)
    descriptions = ["benchmark", "edition", "backbone", "strategies", *(["settings"] if varying else []), "seeds", "n"]
    header = [*descriptions, *words]
    rows = []
    for group_key, group in groups.items():
        seeds = [str(run["seed"]) for run in group]
        _require_distinct(seeds, ", ".join(group_key))
        spreads = [_spread([_score(run, word) for run in group]) for word in words]
        rows.append([*group_key, ", ".join(seeds), str(len(seeds)), *spreads])
    return header, rows


def comparison_table(runs: Sequence[Results]) -> Table:
    """``comparison`` for the terminal."""
    header, rows = comparison(runs)
    embedded = any(run["edition"] != "official" for run in runs)
    caption = "embedded editions: not the official benchmarks' numbers" if embedded else None
    table = Table(title="mean ± standard deviation over seeds", caption=caption)
    for position, name in enumerate(header):
        table.add_column(name, justify="left" if position < len(header) - len(COMPARED) else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def comparison_markdown(runs: Sequence[Results]) -> str:
    """``comparison`` as Markdown."""
    return "\n".join(markdown_table(*comparison(runs)))


def _require_distinct(seeds: Sequence[str], what: str) -> None:
    twice = [seed for seed in dict.fromkeys(seeds) if seeds.count(seed) > 1]
    if twice:
        raise ConfigError(
            f"comparison of {what}",
            found=f"{seeds.count(twice[0])} runs with seed {twice[0]}, which are one run several times",
            allowed="runs that differ in their settings or their seed",
            remedy="Leave all but one of them out; a run again with the same seed says nothing about the spread.",
        )


def _strategy_label(strategy: Mapping[str, Any]) -> str:
    options = ",".join(f"{key}={value}" for key, value in strategy.items() if key != "name")
    return f"{strategy['name']}:{options}" if options else str(strategy["name"])


def _settings(run: Results) -> dict[str, str]:
    """What may change the numbers of a run besides its seed, its strategies and its backbone."""
    training = {name: str(value) for name, value in run["training"].items() if name not in WITHOUT_EFFECT}
    return {
        **training,
        "experiences": " ".join(run["columns"]),
        "scenario": run["scenario"],
        "plugins": " ".join(run.get("plugins", ())),
        "data": _fingerprint(run),
    }


def _fingerprint(run: Results) -> str:
    """Stands for the samples, their split and their order, as far as the benchmark records them."""
    if "data" in run:
        return str(run["data"])
    metadata = run.get("metadata", {})
    recorded = {name: metadata.get(name) for name in ("convention", "digest")}
    return sha256(json.dumps(recorded).encode()).hexdigest()[:8]


def _own_classes_note(results: Results) -> list[str]:
    """What the scores among a test set's own classes are for, where there are any."""
    if "zeroshot_drop_own" not in results["summary"]:
        return []
    return [
        f"In the row '{BEFORE_TRAINING}' only a test set's own classes compete, in later rows all classes seen so far: "
        "zeroshot_drop and fwt_zeroshot hold the loss of zero-shot skill and the larger label space together. "
        "zeroshot_drop_own and fwt_zeroshot_own are the same at equal label space, from answers among a test set's own "
        "classes before and after.",
        "",
    ]


def _further_scores(results: Results) -> list[str]:
    """The matrices beside the main one, a line each."""
    lines = []
    for name, stored in results.get("further", {}).items():
        matrix = ResultMatrix.from_dict(stored)
        scores, end = matrix.summary(), matrix.complete[-1, -1]
        values = (scores["learning_acc"], scores["acc"], end, -scores["bwt"])
        lines.append([name, *(_number(None if isnan(value) else value) for value in values)])
    if not lines:
        return []
    header = ["score", "just learned, mean", "at the end, mean", "at the end, last column", "lost since learned, mean"]
    return ["## Further scores", "", *markdown_table(header, lines), ""]


def _model(results: Results) -> list[str]:
    """What the backbone said of itself, in one line."""
    facts = "; ".join(f"{name}: {fact}" for name, fact in results.get("model", {}).items())
    return [f"- {facts}"] if facts else []


def _remarks(results: Results) -> list[str]:
    """What the run was told and went on with."""
    sentences = [f"- {sentence}" for sentence in results.get("remarks", ())]
    return ["## Remarks", "", *sentences, ""] if sentences else []


def _score(run: Results, word: str) -> float | None:
    """The score that the run's scenario knows by a word."""
    name = next(name for name, known in headlines(run).items() if known == word)
    score: float | None = run["summary"][name]
    return score


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    if len(known) == 1:
        return f"{known[0]:.1f}"
    return f"{mean(known):.1f} ± {stdev(known):.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]
