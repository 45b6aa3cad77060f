"""Reports: one run as a table and as Markdown."""

from collections.abc import Mapping
from math import isnan
from typing import Any

from mmcl.escaping import markdown
from mmcl.evaluation.few_shot import session_scores
from mmcl.evaluation.markdown_table import markdown_table
from mmcl.evaluation.result_matrix import BEFORE_TRAINING, ResultMatrix
from mmcl.evaluation.score_table import ScoreTable

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

OWN = "own"  # the edition of data that belong to no official benchmark
UNMISTAKABLE = frozenset({"official", OWN})  # editions whose numbers nobody takes for those of another

# training settings that decide where and how fast, not what is learned
WITHOUT_EFFECT = {"device", "num_workers", "eval_batch_size", "check_data"}


def headlines(results: Results) -> Mapping[str, str]:
    """The scores that papers of the run's scenario print, by name, with their words for them."""
    return CIL_HEADLINES if results["scenario"] == "CIL" else HEADLINES


def edition_note(results: Results) -> str:
    """The edition, and where numbers could be mistaken for official ones the sentence that they are not."""
    if results["edition"] == OWN:
        return "own data"
    if results["edition"] in UNMISTAKABLE:
        return f"{results['edition']} edition"
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


def results_table(results: Results) -> ScoreTable:
    """The result matrix with the headline scores below it."""
    return ScoreTable(
        title=title(results),
        descriptions=["after learning"],
        scores=results["columns"],
        rows=[[name, *map(_number, row)] for name, row in zip(results["rows"], results["matrix"], strict=True)],
        caption="  ".join(f"{word} {_number(results['summary'][name])}" for name, word in headlines(results).items()),
        first=0,
    )


def markdown_report(results: Results) -> str:
    """``report.md``: what was run, the matrix, the scores, the cost, the versions."""
    columns = list(results["columns"])
    lines = [
        f"# {markdown(results['benchmark'])}: {markdown(strategies_label(results))}",
        "",
        f"- edition: **{markdown(edition_note(results))}**",
        f"- scenario: {results['scenario']}; backbone: {markdown(results['backbone'])}; seed: {results['seed']}",
        f"- parameters: {results['parameters']['total']:,} in all, {results['parameters']['trainable']:,} trained",
        *_model(results),
        *(
            f"- {markdown(name)}: {markdown(fact)}"
            for name, fact in results.get("metadata", {}).items()
            if isinstance(fact, str)
        ),
        "",
        f"## {markdown(results['metric'].capitalize())} ({markdown(results['unit'])}) on every test set after every "
        "experience",
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
        *_sessions(results),
        *_further_scores(results),
        *_remarks(results),
        "## Cost",
        "",
        *_parameters(results),
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


def _strategy_label(strategy: Mapping[str, Any]) -> str:
    options = ",".join(f"{key}={value}" for key, value in strategy.items() if key != "name")
    return f"{strategy['name']}:{options}" if options else str(strategy["name"])


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


def _sessions(results: Results) -> list[str]:
    """Accuracy on all classes seen so far after every experience, where ever more compete."""
    if "acc_drop" not in results["summary"]:
        return []
    matrix = ResultMatrix.from_dict(results)
    scores = session_scores(matrix.complete[1:], results["test_sizes"])
    columns = zip(matrix.rows, scores.seen, scores.first, scores.later, scores.harmonic, strict=True)
    lines = [[name, *(_number(None if isnan(value) else value) for value in values)] for name, *values in columns]
    return [
        "## Classes seen so far",
        "",
        *markdown_table(["after learning", "all", "of the first experience", "later ones", "harmonic mean"], lines),
        "",
        f"Mean of all: {scores.average:.1f}; lost from the first experience to the last (PD): {scores.drop:.1f}.",
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
    facts = "; ".join(f"{markdown(name)}: {markdown(fact)}" for name, fact in results.get("model", {}).items())
    return [f"- {facts}"] if facts else []


def _parameters(results: Results) -> list[str]:
    """What each experience has cost; nothing of runs that did not write it down."""
    rows = [row for row in results["parameters"].get("per_experience", ()) if isinstance(row, Mapping)]
    if not rows:
        return []
    numbers = ("trained", "added", "stored", "bytes")
    return [
        "Parameters that an experience trained and added, and numbers that are kept after it beside a model of the "
        "backbone's size.",
        "",
        *markdown_table(
            ["experience", *numbers], [[row["experience"], *(f"{row[name]:,}" for name in numbers)] for row in rows]
        ),
        "",
    ]


def _remarks(results: Results) -> list[str]:
    """What the run was told and went on with."""
    sentences = [f"- {markdown(sentence)}" for sentence in results.get("remarks", ())]
    return ["## Remarks", "", *sentences, ""] if sentences else []


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
