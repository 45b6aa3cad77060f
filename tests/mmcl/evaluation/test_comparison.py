"""Runs that differ in the seed alone share a row; intervals and tests are those that scipy computes from the scores."""

import csv
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy import stats

from mmcl.config import TrainingConfig
from mmcl.errors import ConfigError
from mmcl.evaluation.comparison import Comparison, compare_results, p_value
from mmcl.evaluation.report import CIL_HEADLINES, HEADLINES
from mmcl.evaluation.statistics import half_width, holm, paired_p

SCORES = {
    "finetune": {0: 50.0, 1: 53.0, 2: 51.5, 3: 49.0},
    "ewc": {0: 60.0, 1: 61.5, 2: 62.5, 3: 58.0},
    "zscl": {0: 70.0, 1: 71.0, 2: 72.0},
}


def results(seed: int = 0, score: float | None = 50.0, strategy: str = "ewc", **training: Any) -> dict[str, Any]:
    return {
        "benchmark": "mtil",
        "edition": "embedded",
        "scenario": "TIL",
        "backbone": "glyph-clip",
        "strategies": [{"name": strategy}],
        "seed": seed,
        "metric": "accuracy",
        "columns": ["birds", "cars"],
        "summary": dict.fromkeys({**HEADLINES, **CIL_HEADLINES}, score),
        "training": TrainingConfig(**training).to_dict(),
    }


def transfers(comparison: Comparison) -> list[str]:
    return [str(row.scores["Transfer"]) for row in comparison.rows]


@pytest.fixture
def three() -> Comparison:
    """Three strategies on up to four seeds, tested against the first."""
    return compare_results([results(seed, score, name) for name, by in SCORES.items() for seed, score in by.items()])


def test_one_run_has_no_interval_and_the_number_of_runs_is_shown() -> None:
    comparison = compare_results([results(0, 40.0, lr=1e-4), results(0, 60.0), results(1, 70.0)])
    assert [row.cells[comparison.header.index("n")] for row in comparison.rows] == ["1", "2"]
    assert transfers(comparison) == ["40.0", "65.0 ± 63.5"]


def test_the_same_run_twice_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mtil, embedded, glyph-clip, ewc.*: 2 runs with seed 0"):
        compare_results([results(1), results(0, 77.0), results(0, 77.0)])
    apart = ({"data": "a"}, {"data": "b"}, {"data": "b", "plugins": ["avalanche:Replay"]})
    assert len(compare_results([results(0) | facts for facts in apart]).rows) == 3


def test_no_run_at_all_is_refused() -> None:
    with pytest.raises(ConfigError, match="no runs"):
        compare_results([])


def test_runs_with_other_training_settings_are_not_averaged() -> None:
    comparison = compare_results([results(0, 40.0, lr=1e-4), results(0, 60.0, lr=3e-4), results(1, 70.0, lr=3e-4)])
    assert [(row.facts["settings"], row.seeds) for row in comparison.rows] == [
        ("lr=0.0001", (0,)),
        ("lr=0.0003", (0, 1)),
    ]


def test_runs_over_other_experiences_or_other_data_are_not_averaged() -> None:
    for other in ({"columns": ["birds"]}, {"metadata": {"convention": "ni-run1", "digest": {"session 8": "0123"}}}):
        assert len(compare_results([results(0), results(1) | other]).rows) == 2


def test_settings_that_change_no_number_do_not_separate_runs() -> None:
    same = [results(0, device="cpu", num_workers=2), results(1, eval_batch_size=8, check_data=False)]
    assert len(compare_results(same).rows) == 1


def test_runs_of_different_scenarios_are_neither_averaged_nor_compared_in_ambiguous_words() -> None:
    comparison = compare_results([results(0), {**results(1), "scenario": "CIL"}])
    assert {"Avg", "Last"}.isdisjoint(comparison.header)
    assert [row.facts["settings"] for row in comparison.rows] == ["scenario=TIL", "scenario=CIL"]


def test_intervals_and_corrected_tests_are_those_of_scipy(three: Comparison) -> None:
    base = SCORES["finetune"]
    raw = {}
    for row in three.rows:
        name, score = row.facts["strategies"], row.scores["Last"]
        values = list(SCORES[name].values())
        low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        assert score.mean == pytest.approx(np.mean(values))
        assert score.half_width == pytest.approx((high - low) / 2)
        if name != "finetune":
            pairs = [(SCORES[name][seed], base[seed]) for seed in SCORES[name] if seed in base]
            raw[name] = stats.ttest_rel(*zip(*pairs, strict=True)).pvalue
    smaller, larger = sorted(raw, key=raw.__getitem__)
    by_name = {row.facts["strategies"]: row.scores["Last"].p for row in three.rows}
    assert by_name["finetune"] is None
    assert by_name[smaller] == pytest.approx(2 * raw[smaller])
    assert by_name[larger] == pytest.approx(max(2 * raw[smaller], raw[larger]))


def test_the_row_to_test_against_can_be_named_and_a_wrong_name_gets_a_hint() -> None:
    runs = [results(seed, score, name) for name, by in SCORES.items() for seed, score in by.items()]
    tested = {row.facts["strategies"]: row.scores["Last"].p for row in compare_results(runs, "zscl").rows}
    assert tested["zscl"] is None
    assert tested["finetune"] is not None
    with pytest.raises(ConfigError, match="Did you mean 'zscl'"):
        compare_results(runs, "zcsl")


def test_rows_on_other_test_sets_are_not_tested_against_each_other() -> None:
    runs = [results(seed, 50.0 + seed * step, name) for name, step in (("a", 1), ("b", 3)) for seed in (0, 1, 2)]
    elsewhere = [{**run, "benchmark": "cddb"} for run in runs[3:]]
    assert [row.scores["Last"].p for row in compare_results(runs[:3] + elsewhere).rows] == [None, None]
    both = compare_results(runs + elsewhere)
    assert [row.scores["Last"].p is None for row in both.rows] == [True, False, True]


def test_a_test_needs_two_common_seeds_and_differences_that_vary() -> None:
    assert paired_p({0: 1.0, 1: 2.0}, {1: 5.0, 2: 6.0}) is None
    assert paired_p({0: 1.0, 1: 2.0, 2: 4.0}, {0: 0.1, 1: 1.1, 2: 3.1}) is None
    assert paired_p({0: 1.0, 1: 2.0}, {0: 1.0, 1: 3.0}) == pytest.approx(0.5)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_between_the_raw_value_and_bonferroni(ps: list[float]) -> None:
    corrected = holm(ps)
    for p, value in zip(ps, corrected, strict=True):
        assert value is not None
        assert p <= value <= min(1.0, p * len(ps)) or value == pytest.approx(p * len(ps))
    order = np.argsort(ps, kind="stable")
    assert all(a <= b for a, b in zip(np.array(corrected)[order], np.array(corrected)[order][1:], strict=False))


def test_holm_rejects_exactly_what_the_step_down_procedure_rejects() -> None:
    ps = [0.01, None, 0.04, 0.03, 0.005]
    assert holm(ps) == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06), pytest.approx(0.02)]


def test_half_width_is_t_times_the_standard_error() -> None:
    assert half_width([40.0]) is None
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.302652729911275 * 1 / 3**0.5)


def test_a_small_p_is_never_printed_as_zero() -> None:
    assert (p_value(0.04999), p_value(0.0001), p_value(1.0)) == ("0.050", "< 0.001", "1.000")


def test_markdown_latex_and_the_terminal_show_the_same_cells(three: Comparison) -> None:
    console = Console(width=300)
    with console.capture() as capture:
        console.print(three.table())
    for row in three.rows:
        markdown = next(line for line in three.markdown().splitlines() if f"| {row.facts['strategies']} |" in line)
        latex = next(line for line in three.latex().splitlines() if f"& {row.facts['strategies']} &" in line)
        for cell in row.cells:
            assert f"| {cell} |" in markdown
            assert cell.replace("±", r"$\pm$").replace("<", "$<$") in latex
            assert cell in capture.get()
    assert "Holm" in three.markdown()
    assert three.latex().count(r"\\") == len(three.rows) + 1


def test_latex_escapes_what_would_be_a_command() -> None:
    assert r"my\_idea\{\}\$\textbackslash{}" in compare_results([results(strategy="my_idea{}$\\")]).latex()


def test_csv_and_json_hold_every_digit(three: Comparison) -> None:
    lines = list(csv.DictReader(io.StringIO(three.csv())))
    for line, record in zip(lines, json.loads(three.json()), strict=True):
        assert float(line["mean"]) == record["mean"]
        assert (line["p"] == "") == (record["p"] is None)
    ewc = next(line for line in lines if line["strategies"] == "ewc" and line["score"] == "Last")
    assert float(ewc["mean"]) == np.mean(list(SCORES["ewc"].values()))
    assert (ewc["seeds"], ewc["n"]) == ("0 1 2 3", "4")


def test_a_score_that_is_not_defined_is_a_dash() -> None:
    comparison = compare_results([results(0, None), results(1, None)])
    assert transfers(comparison) == ["-"]
    assert comparison.records()[0]["mean"] is None
