"""Reports say which edition was run, and only runs that differ in the seed alone are averaged."""

from typing import Any

import pytest
from rich.console import Console

from mmcl.config import TrainingConfig
from mmcl.evaluation.comparison import compare_results
from mmcl.evaluation.report import (
    CIL_HEADLINES,
    HEADLINES,
    markdown_report,
    results_table,
)


def results(seed: int = 0, score: float = 50.0, edition: str = "embedded", **training: Any) -> dict[str, Any]:
    return {
        "benchmark": "mtil",
        "edition": edition,
        "scenario": "TIL",
        "backbone": "glyph-clip",
        "strategies": [{"name": "ewc", "strength": 3}],
        "seed": seed,
        "unit": "%",
        "metric": "accuracy",
        "rows": ["before training", "[new] birds"],
        "columns": ["[new] birds", "cars"],
        "matrix": [[10.0, 20.0], [90.0, None]],
        "summary": {**dict.fromkeys(HEADLINES, score), "bwt": None},
        "parameters": {"total": 1000, "trainable": 10},
        "seconds": {"training": 1.0},
        "versions": {"torch": "2"},
        "training": TrainingConfig(**training).to_dict(),
    }


def printed(renderable: object) -> str:
    """What a terminal shows, without the line breaks of narrow tables."""
    with (console := Console(width=200)).capture() as capture:
        console.print(renderable)
    return " ".join(capture.get().split())


def test_further_matrices_have_a_line_each_and_facts_of_the_benchmark_are_told() -> None:
    pool = {"rows": ["before training", "a", "b"], "columns": ["a", "b"], "metric": "pool r_mean"}
    run = results() | {
        "further": {"pool r_mean": {**pool, "matrix": [[1.0, None], [80.0, 10.0], [60.0, 50.0]]}},
        "metadata": {"gallery": "of all industries so far", "samples": {"a": 3}},
    }
    report = markdown_report(run)
    assert "| pool r_mean | 65.0 | 55.0 | 50.0 | 20.0 |" in report
    assert "- gallery: of all industries so far" in report
    assert "samples" not in report
    assert "Further scores" not in markdown_report(results())


@pytest.mark.parametrize("edition", ["embedded", "thinned"])
def test_every_output_of_another_edition_says_that_it_is_not_the_official_one(edition: str) -> None:
    run = results(edition=edition)
    for text in (markdown_report(run), printed(results_table(run)), printed(compare_results([run]).table())):
        assert "not the official benchmark" in text
    assert f"| {edition} |" in compare_results([run]).markdown()


@pytest.mark.parametrize("edition", ["official", "own"])
def test_numbers_that_nobody_can_mistake_carry_no_such_sentence(edition: str) -> None:
    run = results(edition=edition)
    assert edition in printed(results_table(run))
    for text in (markdown_report(run), printed(results_table(run)), printed(compare_results([run]).table())):
        assert "not the official" not in text


def test_names_in_brackets_are_printed_as_they_are() -> None:
    assert printed(results_table(results())).count("[new] birds") == 2


def test_a_cell_that_was_not_evaluated_is_a_dash() -> None:
    assert "| [new] birds | 90.0 | - |" in markdown_report(results())


def cil(seed: int = 0) -> dict[str, Any]:
    """A class-incremental run whose scores all differ."""
    scores = {name: float(number) for number, name in enumerate({**HEADLINES, **CIL_HEADLINES})}
    return {**results(seed), "scenario": "CIL", "summary": scores}


def test_avg_and_last_of_a_class_incremental_run_are_over_the_union_of_seen_classes() -> None:
    run = cil()
    shown = printed(results_table(run))
    assert f"Avg {run['summary']['aia_weighted']:.1f}" in shown
    assert f"Last {run['summary']['acc_weighted']:.1f}" in shown
    (row,) = compare_results([run]).rows
    assert row.scores["Last"].mean == run["summary"]["acc_weighted"]
    assert row.scores["Avg"].mean == run["summary"]["aia_weighted"]
