"""Reports say which edition was run, and only runs that differ in the seed alone are averaged."""

from typing import Any

import pytest
from rich.console import Console

from mmcl.config import TrainingConfig
from mmcl.errors import ConfigError
from mmcl.evaluation.report import (
    CIL_HEADLINES,
    HEADLINES,
    comparison,
    comparison_markdown,
    comparison_table,
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


@pytest.mark.parametrize("edition", ["embedded", "own"])
def test_every_output_of_another_edition_says_that_it_is_not_the_official_one(edition: str) -> None:
    run = results(edition=edition)
    for text in (markdown_report(run), printed(results_table(run)), printed(comparison_table([run]))):
        assert "not the official benchmark" in text
    assert f"| {edition} |" in comparison_markdown([run])


def test_an_official_run_carries_no_such_sentence() -> None:
    run = results(edition="official")
    for text in (markdown_report(run), printed(results_table(run)), printed(comparison_table([run]))):
        assert "not the official" not in text


def test_names_in_brackets_are_printed_as_they_are() -> None:
    assert printed(results_table(results())).count("[new] birds") == 2


def test_a_cell_that_was_not_evaluated_is_a_dash() -> None:
    assert "| [new] birds | 90.0 | - |" in markdown_report(results())


def test_one_run_has_no_spread_and_the_number_of_runs_is_shown() -> None:
    header, rows = comparison([results(0, 40.0, lr=1e-4), results(0, 60.0), results(1, 70.0)])
    assert [row[header.index("n")] for row in rows] == ["1", "2"]
    assert [row[header.index("Transfer")] for row in rows] == ["40.0", "65.0 ± 7.1"]


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mtil, embedded, glyph-clip, ewc.*: 2 runs with seed 0"):
        comparison([results(1), results(0, 77.0), results(0, 77.0)])
    apart = ({"data": "a"}, {"data": "b"}, {"data": "b", "plugins": ["avalanche:Replay"]})
    assert len(comparison([results(0) | facts for facts in apart])[1]) == 3


def test_seeds_are_averaged() -> None:
    header, rows = comparison([results(0, 40.0), results(1, 60.0)])
    assert "settings" not in header
    assert rows == [["mtil", "embedded", "glyph-clip", "ewc:strength=3", "0, 1", "2", *["50.0 ± 14.1"] * 4]]


def test_runs_with_other_training_settings_are_not_averaged() -> None:
    header, rows = comparison([results(0, 40.0, lr=1e-4), results(0, 60.0, lr=3e-4), results(1, 70.0, lr=3e-4)])
    settings, seeds, score = (header.index(name) for name in ("settings", "seeds", "Transfer"))
    assert [(row[settings], row[seeds], row[score]) for row in rows] == [
        ("lr=0.0001", "0", "40.0"),
        ("lr=0.0003", "0, 1", "65.0 ± 7.1"),
    ]


def test_runs_over_other_experiences_are_not_averaged() -> None:
    shorter = {**results(1), "columns": ["[new] birds"]}
    assert len(comparison([results(0), shorter])[1]) == 2


def test_settings_that_change_no_number_do_not_separate_runs() -> None:
    _, rows = comparison([results(0, device="cpu", num_workers=2), results(1, eval_batch_size=8, check_data=False)])
    assert len(rows) == 1


def cil(seed: int = 0) -> dict[str, Any]:
    """A class-incremental run whose scores all differ."""
    scores = {name: float(number) for number, name in enumerate({**HEADLINES, **CIL_HEADLINES})}
    return {**results(seed), "scenario": "CIL", "summary": scores}


def test_avg_and_last_of_a_class_incremental_run_are_over_the_union_of_seen_classes() -> None:
    run = cil()
    shown = printed(results_table(run))
    assert f"Avg {run['summary']['aia_weighted']:.1f}" in shown
    assert f"Last {run['summary']['acc_weighted']:.1f}" in shown
    header, (row,) = comparison([run])
    assert row[header.index("Last")] == f"{run['summary']['acc_weighted']:.1f}"
    assert row[header.index("Avg")] == f"{run['summary']['aia_weighted']:.1f}"


def test_runs_of_different_scenarios_are_neither_averaged_nor_compared_in_ambiguous_words() -> None:
    header, rows = comparison([results(0), cil(1)])
    assert len(rows) == 2
    assert {"Avg", "Last"}.isdisjoint(header)
    assert [row[header.index("settings")] for row in rows] == ["scenario=TIL", "scenario=CIL"]


def test_runs_over_other_data_are_not_averaged() -> None:
    other = {**results(1), "metadata": {"convention": "ni-run1", "digest": {"session 8": "0123"}}}
    assert len(comparison([results(0), other])[1]) == 2
