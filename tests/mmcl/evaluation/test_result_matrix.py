"""The result matrix grows, survives JSON and can be shown."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mmcl.errors import DataError
from mmcl.evaluation.result_matrix import HEADLINE, ResultMatrix


def example() -> ResultMatrix:
    matrix = ResultMatrix(["birds", "cars"])
    matrix.set_zero_shot([0.5, 0.4])
    matrix.set_row(0, {"birds": 0.9, "cars": 0.3})
    matrix.set_row(1, [0.7, 0.8])
    return matrix


def test_row_zero_of_the_stored_matrix_is_before_training() -> None:
    stored = example().to_dict()
    assert stored["rows"] == ["before training", "birds", "cars"]
    assert stored["matrix"] == [[0.5, 0.4], [0.9, 0.3], [0.7, 0.8]]
    np.testing.assert_array_equal(example().complete, stored["matrix"])


cells = st.one_of(st.floats(allow_nan=True, allow_infinity=False), st.just(float("nan")))


@given(st.data(), st.integers(0, 4), st.integers(0, 4))
@settings(deadline=None, max_examples=40)
def test_reading_what_was_written_gives_the_same_matrix(data: st.DataObject, rows: int, columns: int) -> None:
    matrix = ResultMatrix([f"task {j}" for j in range(columns)], metric="recall")
    matrix.set_zero_shot([data.draw(cells) for _ in range(columns)])
    for i in range(rows):
        matrix.set_row(i, [data.draw(cells) for _ in range(columns)], f"row {i}")
    read = ResultMatrix.from_dict(json.loads(json.dumps(matrix.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(read.complete, matrix.complete)
    assert (read.rows, read.columns, read.metric) == (matrix.rows, matrix.columns, "recall")


def test_a_new_column_leaves_earlier_rows_open() -> None:
    matrix = example()
    assert matrix.add_column("flowers") == 2
    matrix.set_row(2, [0.6, 0.7, 0.9])
    assert np.isnan(matrix.R[:2, 2]).all()
    assert np.isnan(matrix.zero_shot[2])
    assert matrix.rows[2] == "flowers"
    np.testing.assert_array_equal(matrix.R[:2, :2], example().R)


def test_skipped_rows_and_absent_columns_are_not_evaluated() -> None:
    matrix = ResultMatrix(["a", "b", "c"])
    matrix.set_row(2, {"b": 0.5})
    assert matrix.R.shape == (3, 3)
    assert np.isfinite(matrix.R).sum() == 1
    assert matrix.R[2, 1] == 0.5


def test_the_matrix_hands_out_copies() -> None:
    matrix = example()
    for array in (matrix.R, matrix.zero_shot, matrix.complete):
        array[:] = -1
    assert (matrix.complete >= 0).all()


def test_summary_holds_the_headline_scores() -> None:
    summary = example().summary(sizes=[10, 30], chance=[0.1, 0.2])
    assert list(summary) == list(HEADLINE)
    assert summary["forgetting"] == pytest.approx(0.2)
    assert summary["transfer"] == pytest.approx(0.3)
    assert summary["acc_weighted"] == pytest.approx((7 + 24) / 40)
    assert summary["fwt"] == pytest.approx(0.1)
    assert summary["fwt_zeroshot"] == pytest.approx(-0.1)


def test_summary_of_an_empty_matrix_is_undefined() -> None:
    for matrix in (ResultMatrix(), ResultMatrix(["a"])):
        assert all(np.isnan(score) for score in matrix.summary().values())


@pytest.mark.parametrize("scores", [[0.1], [0.1, 0.2, 0.3], {"birds": 0.1, "boats": 0.2}])
def test_scores_for_other_columns_are_refused(scores: object) -> None:
    with pytest.raises(DataError, match="add_column"):
        example().set_row(0, scores)  # type: ignore[arg-type]


def test_the_row_before_training_is_not_a_trained_row() -> None:
    with pytest.raises(DataError, match="set_zero_shot"):
        example().set_row(-1, [0.1, 0.2])


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(DataError, match="'birds'"):
        example().add_column("birds")


@pytest.mark.parametrize("matrix", [example(), ResultMatrix(["a", "b"]), ResultMatrix()], ids=["full", "open", "empty"])
def test_heat_map_is_written_to_a_file(matrix: ResultMatrix, tmp_path: Path) -> None:
    matrix.plot(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").stat().st_size > 0


def test_heat_map_is_drawn_on_given_axes() -> None:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    example().plot(axes)
    assert len(axes.images) == 1
    assert len(axes.texts) == 6


def test_a_score_is_drawn_with_the_digit_that_tables_print() -> None:
    assert [text.get_text() for text in drawn([12.5, 0.0, 100.0]).texts] == ["12.5", "0.0", "100.0"]


def drawn(scores: list[float], title: str = "") -> Axes:
    """The axes of a matrix with one row."""
    axes = Figure().subplots()
    matrix = ResultMatrix([f"set {i}" for i in range(len(scores))])
    matrix.set_zero_shot(scores)
    matrix.plot(axes, title)
    return axes


def test_percentages_are_drawn_on_one_scale_with_a_title_and_a_colour_bar() -> None:
    axes = drawn([40.0, 60.0], "mtil, seed 0")
    assert axes.images[0].get_clim() == (0.0, 100.0)
    assert axes.get_title() == "mtil, seed 0"
    bar = axes.images[0].colorbar
    assert bar is not None
    assert bar.ax.get_ylabel() == "accuracy"
    assert drawn([40.0]).get_title() == "accuracy"


def test_scores_that_are_no_percentages_are_drawn_on_their_own_scale() -> None:
    assert drawn([-3.0, 250.0]).images[0].get_clim() == (-3.0, 250.0)


def test_a_script_that_the_font_lacks_is_no_warning(tmp_path: Path) -> None:
    matrix = ResultMatrix(["\u5b57"])
    matrix.set_zero_shot([1.0])
    matrix.plot(tmp_path / "matrix.png")
    assert (tmp_path / "matrix.png").stat().st_size > 0


def test_a_long_stream_has_a_picture_of_the_usual_size_without_numbers() -> None:
    columns = [f"experience {index}" for index in range(1500)]
    matrix = ResultMatrix(columns, metric="accuracy")
    matrix.set_zero_shot(dict.fromkeys(columns, 10.0))
    matrix.set_row(0, dict.fromkeys(columns, 50.0), columns[0])
    axes = Figure().subplots()
    matrix.plot(axes)
    assert not axes.texts
    assert 24 <= len(axes.get_xticklabels()) <= 48
    assert axes.get_xticklabels()[1].get_text() == "experience 32"
    assert max(matrix.size) < 40
