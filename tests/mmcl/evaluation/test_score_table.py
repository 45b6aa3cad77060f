"""No number is cropped: at 40, 80 and 200 columns and in a pipe, every one of a run and of a comparison is there."""

import io
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from mmcl.config import TrainingConfig
from mmcl.console import make_console
from mmcl.evaluation.comparison import compare_results
from mmcl.evaluation.report import HEADLINES, headlines, results_table
from mmcl.evaluation.score_table import ScoreTable
from mmcl.progress import say_row

WIDTHS = (40, 80, 200)
SCORES = st.none() | st.sampled_from([100.0, -100.0, 0.0, -0.04, 99.95]) | st.floats(-1e5, 1e5)
NAMES = st.text(st.sampled_from("ab [/]|:_,\n\x1b字"), min_size=1, max_size=60)


@st.composite
def runs(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Runs of a few strategies on one stream, each with one to three seeds."""
    count = draw(st.integers(1, 15))
    names = [f"{name}{i}" for i, name in enumerate(draw(st.lists(NAMES, min_size=count, max_size=count)))]
    found = []
    for number in range(draw(st.integers(1, 3))):
        options = {
            "name": f"{draw(NAMES)}{number}",
            "strength": draw(st.floats(1e-6, 1e6)),
            "size": draw(st.integers(0, 10**6)),
        }
        for seed in range(draw(st.integers(1, 3))):
            cells = st.lists(SCORES, min_size=count, max_size=count)
            found.append(
                {
                    "benchmark": draw(NAMES),
                    "edition": "embedded",
                    "scenario": "TIL",
                    "backbone": "glyph-clip",
                    "strategies": [options],
                    "seed": seed,
                    "rows": ["before training", *names],
                    "columns": names,
                    "matrix": draw(st.lists(cells, min_size=count + 1, max_size=count + 1)),
                    "summary": {name: draw(SCORES) for name in HEADLINES},
                    "training": TrainingConfig().to_dict(),
                }
            )
    return found


def written(renderable: object, width: int | None) -> str:
    """What a terminal of a width shows, or a pipe."""
    stream = io.StringIO()
    terminal = {"force_terminal": True, "color_system": None, "width": width} if width else {}
    make_console(file=stream, **terminal).print(renderable)
    return stream.getvalue()


def numbers(text: str) -> Counter[str]:
    return Counter(re.findall(r"(?<![\d.])-?\d+\.\d(?!\d)", text))


@pytest.fixture(autouse=True)
def no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@settings(max_examples=8)
@given(runs())
def test_every_number_of_a_run_and_of_a_comparison_is_shown_in_full(found: list[dict[str, Any]]) -> None:
    run, comparison = found[0], compare_results([{**run, "benchmark": "mtil"} for run in found])
    of_run = [value for row in run["matrix"] for value in row] + [run["summary"][name] for name in headlines(run)]
    expected = Counter(f"{value:.1f}" for value in of_run if value is not None)
    cells = Counter(number for row in comparison.rows for cell in row.cells for number in numbers(cell).elements())
    for width in (*WIDTHS, None):
        shown = written(results_table(run), width)
        assert not expected - numbers(shown)
        compared = written(comparison.table(), width)
        assert not cells - numbers(compared)
        for row in comparison.rows:
            for score in row.scores.values():
                assert str(score) in compared  # mean, interval and p stand together
        for option in ("strength", "size"):
            assert f"{option}={run['strategies'][0][option]}" in shown
        for text in (shown, compared):
            assert width is None or max(map(len, text.splitlines())) <= width
            assert "\x1b" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_while_a_run_goes_on_is_shown_in_full(width: int) -> None:
    console = Console(width=width, file=io.StringIO())
    scores = {f"a rather long name {i}": 100.0 - i for i in range(12)}
    say_row(console, "birds", scores)
    assert numbers(console.file.getvalue()) == Counter(f"{s:.1f}" for s in scores.values())  # type: ignore[attr-defined]


def table(columns: int) -> ScoreTable:
    names = [f"a long name of data set {i}" for i in range(columns)]
    return ScoreTable("title", ["after"], names, [[name, *["50.0"] * columns] for name in ("start", *names)], first=0)


def test_narrow_terminals_number_the_columns_and_say_which_is_which() -> None:
    narrow, wide = written(table(4), 80), written(table(4), None)
    assert "column 3: a long name of data set 2" in narrow
    assert "row 0" not in narrow
    assert "column" not in wide
    assert wide.count("a long name of data set 2") == 2


def test_what_is_still_too_wide_is_shown_in_blocks() -> None:
    shown = written(table(15), 40)
    headers = [line.split() for line in shown.splitlines() if re.fullmatch(r"[ \d]+", line) and line.strip()]
    assert [number for header in headers for number in header] == [str(i) for i in range(1, 16)]
    assert len(headers) > 1
    assert "row 0: after start" in shown


def test_a_table_can_be_printed_and_shown_in_a_notebook() -> None:
    small = ScoreTable("of [x]", ["after"], ["a|b"], [["start", "50.0"]], "Last 50.0")
    assert "50.0" in str(small)
    assert r"| after | a\|b |" in small._repr_markdown_()
