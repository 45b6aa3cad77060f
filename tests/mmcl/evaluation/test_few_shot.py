"""Scores of few-shot sessions: counted on the union of test sets, and new classes are not hidden behind old ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mmcl
from mmcl.evaluation.few_shot import harmonic_mean, session_scores
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_benchmark

NAN = float("nan")
# sixty classes of ten images, then twice five classes of ten
SIZES = np.array([600, 50, 50])
R = np.array([[90.0, NAN, NAN], [84.0, 40.0, NAN], [80.0, 30.0, 50.0]])


def test_a_session_is_scored_on_the_test_images_of_all_classes_seen_so_far_not_on_the_mean_of_sessions() -> None:
    scores = session_scores(R, SIZES)
    right = [[540], [504, 20], [480, 15, 25]]
    assert scores.seen == pytest.approx([100 * sum(row) / SIZES[: len(row)].sum() for row in right])
    assert scores.average == pytest.approx(np.mean(scores.seen))
    assert scores.seen[-1] != pytest.approx(np.mean(R[-1]))


def test_the_drop_is_from_the_first_session_to_the_last() -> None:
    assert session_scores(R, SIZES).drop == pytest.approx(90 - 100 * 520 / 700)
    assert session_scores(R[:1], SIZES).drop == 0
    risen = np.array([[50.0, NAN, NAN], [90.0, 90.0, NAN], [60.0, 60.0, 60.0]])
    assert session_scores(risen, SIZES).drop == pytest.approx(-10), "whatever was between"


def test_first_and_later_classes_stand_apart_and_the_first_session_has_no_later_ones() -> None:
    scores = session_scores(R, np.array([600, 50, 150]))
    assert scores.first == pytest.approx([90, 84, 80])
    assert scores.later[1:] == pytest.approx([40, (30 * 50 + 50 * 150) / 200])
    assert np.isnan(scores.later[0])
    assert np.isnan(scores.harmonic[0])
    assert scores.harmonic[1:] == pytest.approx([2 / (1 / 84 + 1 / 40), 2 / (1 / 80 + 1 / 45)])


def test_scores_of_sessions_still_to_come_count_nowhere() -> None:
    zero_shot = np.where(np.isnan(R), 66.0, R)
    for one, other in zip(session_scores(R, SIZES), session_scores(zero_shot, SIZES), strict=True):
        np.testing.assert_array_equal(one, other)


def test_who_learns_nothing_new_has_a_harmonic_mean_of_zero_whatever_the_mean_over_all() -> None:
    frozen = np.array([[90.0, NAN], [90.0, 0.0]])
    scores = session_scores(frozen, np.array([600, 50]))
    assert scores.harmonic[-1] == 0
    assert scores.seen[-1] > 80
    assert harmonic_mean(np.zeros(1), np.zeros(1)).tolist() == [0.0]


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(deadline=None, max_examples=50)
def test_the_harmonic_mean_lies_between_the_smaller_score_and_twice_that(one: int, other: int) -> None:
    mean = float(harmonic_mean(np.array([one / 10]), np.array([other / 10]))[0])
    low, high = sorted((one / 10, other / 10))
    assert low - 1e-9 <= mean <= min(2 * low, high) + 1e-9


def test_a_run_whose_label_space_grows_says_what_sessions_say_and_another_does_not(tmp_path: Path, cache: Path) -> None:
    found = {
        scenario.name: mmcl.run(
            benchmark=toy_benchmark(scenario, experiences=3),
            training={"iterations": 2},
            out=str(tmp_path / scenario.name),
            quiet=True,
        )
        for scenario in (CIL, TIL)
    }
    result = found["CIL"]
    scores = session_scores(result.matrix[1:], np.array(result.results["test_sizes"]))
    assert result.summary["acc_drop"] == pytest.approx(scores.drop)
    assert result.summary["acc_weighted"] == pytest.approx(scores.seen[-1])
    for name, values in (("first", scores.first), ("later", scores.later), ("harmonic", scores.harmonic)):
        assert result.summary[f"acc_{name}"] == pytest.approx(values[-1])
    report = (result.folder / "report.md").read_text("utf-8")
    assert (
        f"Mean of all: {scores.average:.1f}; lost from the first experience to the last (PD): {scores.drop:.1f}."
        in report
    )
    assert f"| {result.results['rows'][1]} | {scores.seen[0]:.1f} | {scores.first[0]:.1f} | - | - |" in report
    assert "acc_drop" not in found["TIL"].summary
    assert "Classes seen so far" not in (found["TIL"].folder / "report.md").read_text("utf-8")
