"""Spatial disorder: what a turn of both spaces changes and what it leaves, small cases, and the curves of a run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from scipy.stats import ortho_group

from mmcl.errors import DataError
from mmcl.evaluation.disorder_curves import DisorderCurves
from mmcl.evaluation.spatial_disorder import (
    Array,
    Bins,
    Disorder,
    Pairs,
    angles,
    deviation,
    disorder,
    finds_own_text,
    movement,
    pair_angle_change,
    procrustes_residual,
    shares,
    topology_change,
)

seeds = st.integers(0, 2**32 - 1)


def pairs(seed: int, n: int = 7, width: int = 5) -> Pairs:
    generator = np.random.default_rng(seed)
    return Pairs(generator.normal(size=(n, width)), generator.normal(size=(n, width)))


def orthogonal(seed: int, width: int = 5) -> Array:
    turn: Array = ortho_group.rvs(width, random_state=np.random.default_rng(seed))
    return turn


def in_plane(*degrees: float) -> Array:
    """Unit vectors at these angles."""
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)


@given(seed=seeds, scale=st.floats(0.1, 10.0))
def test_a_common_turn_of_both_modalities_changes_no_relation(seed: int, scale: float) -> None:
    earlier, turn = pairs(seed), orthogonal(seed)
    later = Pairs(scale * np.asarray(earlier.image) @ turn, scale * np.asarray(earlier.text) @ turn)
    found = disorder(earlier, later)
    assert found.image.rotation > 1
    assert found.text.rotation > 1
    assert np.abs(pair_angle_change(earlier, later)).max() < 1e-5
    for modality in (found.image, found.text):
        assert modality.topology_change < 1e-5
        assert modality.residual < 1e-9
    assert (found.forgotten, found.learned) == (0, 0)


@given(seed=seeds)
def test_turns_of_their_own_keep_both_topologies_and_change_the_pairs(seed: int) -> None:
    earlier = pairs(seed)
    later = Pairs(earlier.image @ orthogonal(seed), earlier.text @ orthogonal(seed + 1))
    found = disorder(earlier, later)
    assert max(found.image.topology_change, found.text.topology_change) < 1e-5
    assert np.abs(pair_angle_change(earlier, later)).max() > 1


@given(seed=seeds)
def test_nothing_has_happened_between_a_checkpoint_and_itself(seed: int) -> None:
    found = disorder(pairs(seed), pairs(seed))
    everything_in_the_first_bin = (1.0, 0.0, 0.0, 0.0, 0.0)
    for modality in (found.image, found.text):
        assert (modality.rotation, modality.topology_change) == (0, 0)
        assert modality.rotation_shares == modality.topology_shares == everything_in_the_first_bin
        assert modality.residual < 1e-12
    assert (found.deviation, found.pair_angle_change, found.forgotten, found.learned) == (0, 0, 0, 0)


@given(seed=seeds)
def test_angles_are_those_of_the_arc_cosine(seed: int) -> None:
    one, other = pairs(seed)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    expected = np.degrees(np.arccos(np.clip((np.asarray(one) * other).sum(1) / lengths, -1, 1)))
    np.testing.assert_allclose(angles(one, other), expected, atol=1e-5)


def test_small_angles_keep_their_digits() -> None:
    np.testing.assert_allclose(angles(in_plane(0), in_plane(1e-9)), [1e-9], rtol=1e-6)
    np.testing.assert_allclose(angles(in_plane(0, 0), in_plane(90, 180)), [90, 180])


def test_a_case_that_can_be_done_by_hand() -> None:
    earlier = Pairs(in_plane(0, 40, 90), in_plane(0, 40, 90))
    later = Pairs(in_plane(10, 50, 120), in_plane(0, 38, 90))
    image, text = angles(earlier.image, later.image), angles(earlier.text, later.text)
    np.testing.assert_allclose(image, [10, 10, 30], atol=1e-9)
    np.testing.assert_allclose(text, [0, 2, 0], atol=1e-9)
    np.testing.assert_allclose(deviation(image, text), [10, 8, 30], atol=1e-9)
    # between the rows (0, 1), (0, 2), (1, 2)
    np.testing.assert_allclose(topology_change(earlier.image, later.image), [0, 20, 20], atol=1e-9)
    np.testing.assert_allclose(topology_change(earlier.text, later.text), [2, 0, 2], atol=1e-9)
    np.testing.assert_allclose(pair_angle_change(earlier, later), [10, 12, 30], atol=1e-9)


def test_forgotten_and_learned_are_told_apart() -> None:
    texts = in_plane(0, 90, 180, 270)
    earlier = Pairs(in_plane(0, 90, 180, 0), texts)
    later = Pairs(in_plane(0, 180, 0, 270), texts)
    assert finds_own_text(earlier).tolist() == [True, True, True, False]
    found = disorder(earlier, later)
    assert (found.forgotten, found.learned) == (0.5, 0.25)


def test_a_text_that_several_pairs_share_is_found_by_any_of_them() -> None:
    shared = Pairs(in_plane(0, 1, 90), in_plane(0, 0, 90))
    assert finds_own_text(shared).tolist() == [True, False, True]
    assert finds_own_text(shared, [0, 0, 1]).tolist() == [True, True, True]


def test_the_residual_is_what_no_turn_removes() -> None:
    earlier = in_plane(0, 90)
    assert procrustes_residual(earlier, in_plane(30, -60)) < 1e-12
    # both rows on one line: the best turn puts them at 45 degrees to either side of it
    expected = np.sqrt(2 * (2 - 2 * np.cos(np.radians(45)))) / np.sqrt(2)
    assert procrustes_residual(earlier, in_plane(0, 0)) == pytest.approx(expected)


def test_bins_are_half_open_and_the_last_one_is_closed() -> None:
    values = np.array([0, 4.9, 5, 19.9, 180])
    np.testing.assert_allclose(shares(values, (0, 5, 20, 180)), [0.4, 0.4, 0.2])
    assert shares(np.empty(0), (0, 5, 180)).tolist() == [0, 0]


def test_bins_can_be_chosen() -> None:
    found = movement(in_plane(0, 0), in_plane(10, 40), Bins(rotation=(0, 20, 180), topology=(0, 180)))
    assert (found.rotation_shares, found.topology_shares) == ((0.5, 0.5), (1.0,))


def test_one_pair_has_no_topology() -> None:
    found = movement(in_plane(0), in_plane(20))
    assert found.rotation == pytest.approx(20)
    assert (found.topology_change, found.topology_shares) == (0, (0, 0, 0, 0, 0))


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (lambda: shares(np.zeros(2), (0, 5, 5)), r"\[0, 5, 5\].*above the one before"),
        (lambda: shares(np.zeros(2), (0,)), "two or more"),
        (lambda: angles(np.ones((2, 3)), np.ones((2, 4))), r"\(2, 3\) and \(2, 4\).*models of one width"),
        (lambda: angles(np.ones(3), np.ones(3)), r"\(3,\)"),
        (lambda: angles(np.empty((0, 3)), np.empty((0, 3))), "at least one row"),
        (lambda: angles(np.zeros((1, 3)), np.ones((1, 3))), "zero or not finite"),
        (lambda: movement(np.ones((1, 3)), np.full((1, 3), np.nan)), "zero or not finite"),
    ],
)
def test_what_cannot_be_compared_is_refused(action: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        action()


def example(rows: int = 3) -> DisorderCurves:
    curves = DisorderCurves(bins=Bins(topology=(0, 90, 180)))
    checkpoints = [pairs(seed) for seed in range(rows + 1)]
    for row in range(rows):
        step, total = (disorder(checkpoints[k], checkpoints[row + 1], bins=curves.bins) for k in (row, 0))
        curves.put(row, f"experience {row}", step, total)
    return curves


def test_curves_are_read_back_as_they_were_written() -> None:
    assert DisorderCurves.from_dict(json.loads(json.dumps(example().to_dict(), allow_nan=False))) == example()


def test_the_first_experience_is_on_both_curves_and_later_ones_differ() -> None:
    curves = example()
    assert curves.consecutive[0] == curves.cumulative[0]
    assert curves.consecutive[2] != curves.cumulative[2]


def test_an_experience_that_is_learned_again_takes_its_old_place() -> None:
    curves = example()
    again: Disorder = curves.cumulative[2]
    curves.put(1, "again", again, again)
    assert curves.experiences == ["experience 0", "again"]
    assert curves.consecutive[1] == curves.cumulative[1] == again


def test_the_section_of_a_report_has_a_row_for_each_curve_and_experience() -> None:
    lines = example().markdown("disorder.png").splitlines()
    found = example().cumulative[2]
    rows = [line for line in lines if line.startswith("| experience 2 |")]
    assert len(rows) == 2
    assert f"| {found.image.rotation:.1f} | {found.text.rotation:.1f} | {found.deviation:.1f} |" in rows[1]
    assert "![spatial disorder](disorder.png)" in lines


def test_every_point_of_both_curves_is_inside_the_picture() -> None:
    figure = Figure(layout="constrained")
    # shares the axis with consecutive changes, which are smaller
    curves = DisorderCurves(["a", "b"], [disorder(pairs(0), pairs(0))] * 2, example(2).cumulative)
    curves.plot(figure)
    left, right = figure.axes
    assert len(left.lines) == len(right.lines) == 5
    drawn = [float(value) for line in right.lines for value in np.asarray(line.get_ydata())]
    assert left.get_ylim() == right.get_ylim()
    assert right.get_ylim()[0] == 0
    assert right.get_ylim()[1] > max(drawn) > 50


def test_curves_are_drawn_into_a_file(tmp_path: Path) -> None:
    example().plot(tmp_path / "disorder.png")
    assert (tmp_path / "disorder.png").read_bytes().startswith(b"\x89PNG")
    DisorderCurves().plot(tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").stat().st_size > 1000
