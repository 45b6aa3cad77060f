"""Names are data: what they hold is shown as it is, on the line of an experience, in its row and in the picture."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

import mmcl
from mmcl.errors import ConfigError
from mmcl.progress import Moment, View, say_row
from mmcl.views import VIEWS, Bar, make_view

NAMES = ("photos [/old]", "[bold]new", "under $5 \\frac{ and $6", "a_b^{c}")


def rows(first: int) -> list[tuple[Any, str]]:
    return [(Image.new("RGB", (8, 8), (first + i, 0, 0)), "ab"[i % 2]) for i in range(6)]


def test_names_that_look_like_markup_run_to_the_end_and_are_in_the_picture(tmp_path: Path, cache: Path) -> None:
    stream = mmcl.streams.by_task({name: rows(10 * i) for i, name in enumerate(NAMES)})
    result = mmcl.run(benchmark=stream, training={"iterations": 1, "batch_size": 4}, out=tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "matrix.png").stat().st_size > 0
    assert result.results["columns"] == list(NAMES)


def test_a_row_shows_its_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    say_row(Console(), NAMES[0], dict.fromkeys(NAMES, 50.0))
    shown = " ".join(capsys.readouterr().out.split())
    for name in NAMES:
        assert name in shown


def moment(step: int, index: int = 0, **facts: Any) -> Moment:
    """A step of the second of two experiences of 20 steps."""
    known = {"experience": "birds", "loss": 1.5, "terms": {"task": 1.0, "ewc/penalty": 0.5}, "rates": [1e-4]}
    counts = {"index": index, "step": step, "steps": 20, "iteration": step, "done": 20 * index + step, "total": 40}
    return Moment(**{**known, **counts, "seconds": 2.0, "left": 75.0, **facts})


def recorded(view: Callable[[Console], View], terminal: bool = False, width: int = 200, **facts: Any) -> str:
    """What a view shows of a short run."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    shown = view(console)
    with shown.shown():
        with shown.phase("evaluation before training", 2) as advance:
            advance("birds")
        for index in (0, 1):
            for step in (1, 10, 20):
                shown.step(moment(step, index, **facts))
            shown.row("birds", {"birds": 90.0})
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_without_a_terminal_a_run_is_told_in_lines_with_all_terms_and_the_time_that_is_left() -> None:
    lines = recorded(VIEWS["auto"]).splitlines()
    assert lines[0] == "learn 1: birds: step 1 of 20 (2 % of the run, 0:01:15 left)  task 1.000  ewc/penalty 0.500"
    assert lines[2] == "  birds: birds 90.0"
    assert len(lines) == 6  # the steps between the first and the last come within the heartbeat


def test_a_terminal_shows_bars_and_has_its_cursor_back_when_a_run_is_interrupted() -> None:
    shown = recorded(VIEWS["auto"], terminal=True)
    assert "0:01:15 left" in shown
    assert "ewc/penalty 0.500" in shown
    console = Console(file=io.StringIO(), force_terminal=True)
    with pytest.raises(KeyboardInterrupt), Bar(console).shown():
        raise KeyboardInterrupt
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert written.rfind("\x1b[?25h") > written.rfind("\x1b[?25l") >= 0


@pytest.mark.parametrize("width", [40, 80, 200])
def test_bars_show_every_term_in_full_and_leave_room_for_what_terminals_print_at_ctrl_c(width: int) -> None:
    terms = {f"zscl/a rather long name {i}": 1000.125 + i for i in range(6)}
    shown = recorded(VIEWS["auto"], terminal=True, width=width, terms=terms, experience="a long name of an experience")
    drawn = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line).strip("\r") for line in shown.splitlines()]
    for number in (*(f"{value:.3f}" for value in terms.values()), "20/20", "40/40", "0:01:15"):
        assert any(number in line for line in drawn)
    assert max(map(len, drawn)) <= width - 3


def test_for_programs_every_line_is_an_object() -> None:
    events = [json.loads(line) for line in recorded(VIEWS["json"]).splitlines()]
    assert [event["event"] for event in events] == ["phase", *(2 * ["step", "step", "step", "row"])]
    assert events[1]["terms"] == {"task": 1.0, "ewc/penalty": 0.5}
    assert json.loads(json.dumps(moment(1, terms={"task": float("inf")}).to_dict(), allow_nan=False))["terms"] == {
        "task": None
    }


def test_off_shows_nothing_and_an_unknown_view_is_refused() -> None:
    assert recorded(VIEWS["off"]) == ""
    with pytest.raises(ConfigError, match="Did you mean 'plain'"):
        make_view("plane")


def test_what_takes_long_without_being_training_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmcl.views._HEARTBEAT", -1.0)
    monkeypatch.setattr("mmcl.views._PAUSE", -1.0)
    console = {name: Console(file=io.StringIO(), width=200) for name in ("plain", "json")}
    for name in console:
        with VIEWS[name](console[name]).phase("reading", 2) as advance:
            for part in ("birds", "[/cats]"):
                advance(part)
    plain, objects = (console[name].file.getvalue().splitlines() for name in console)  # type: ignore[attr-defined]
    assert plain == ["reading: 1 of 2 (birds), 0:00:00 left", "reading: 2 of 2 ([/cats]), 0:00:00 left"]
    begun, *parts = map(json.loads, objects)
    assert begun == {"event": "phase", "name": "reading", "total": 2}
    assert [(part["event"], part["name"], part["done"]) for part in parts] == [
        ("part", "birds", 1),
        ("part", "[/cats]", 2),
    ]
