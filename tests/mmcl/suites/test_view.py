"""What a suite shows: a table of the cells at work in a terminal, lines in a pipe, numbers as cells end."""

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from mmcl.evaluation.report import HEADLINES
from mmcl.suites.plan import Cell, plan
from mmcl.suites.view import DISPLAYS, View

RESULTS = {"scenario": "TIL", "summary": {**dict.fromkeys(HEADLINES, 12.34), "transfer": None}}


@pytest.fixture
def cells(tmp_path: Path) -> dict[str, Cell]:
    """Three seeds; the first has learned one experience of four."""
    content = {"suite": {"out": str(tmp_path), "seeds": [0, 1, 2]}, "benchmark": [{"name": "mtil", "label": "[m]"}]}
    found = {cell.name: cell for cell in plan(content, "suite")}
    first = next(iter(found.values())).folder
    first.mkdir(parents=True)
    (first / "progress.json").write_text(json.dumps({"experiences": 4, "experiences_done": 1}))
    return found


def view(cells: dict[str, Cell], terminal: bool, progress: str = "auto") -> tuple[View, io.StringIO]:
    text = io.StringIO()
    display = DISPLAYS[progress](Console(file=text, force_terminal=terminal, width=60))
    return View(display, cells, len(cells)), text


def test_in_a_terminal_the_cells_at_work_stand_in_a_table_with_how_far_they_have_come(cells: dict[str, Cell]) -> None:
    shown, text = view(cells, terminal=True)
    first, second, _ = cells
    with shown.display.shown():
        shown.at_work([first, second])
    for part in (first, second, "1 of 4", "0 of 3 cells finished", "0:00:00"):
        assert part in text.getvalue()


def test_in_a_pipe_a_line_says_now_and_then_that_the_suite_goes_on(
    cells: dict[str, Cell], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown, text = view(cells, terminal=False)
    first, second, _ = cells
    with shown.display.shown():
        shown.at_work([first, second])
        assert text.getvalue() == ""
        monkeypatch.setattr("mmcl.suites.view._HEARTBEAT", -1.0)
        shown.at_work([first, second])
    assert text.getvalue() == f"0 of 3 cells finished; at work: {first} (1 of 4), {second}\n"


def test_numbers_appear_when_a_cell_ends_and_a_failure_has_its_reason(cells: dict[str, Cell]) -> None:
    shown, text = view(cells, terminal=False)
    first, second, third = cells
    shown.at_work([first, second, third])
    shown.finished(first, RESULTS)
    shown.ended(second, "killed [by] SIGKILL " + "x" * 100)
    lines = text.getvalue().splitlines()
    assert lines[0] == f"{first}: Avg 12.3  Last 12.3  Forgetting 12.3  (0:00:00)"
    assert lines[1] == f"{second} failed: killed [by] SIGKILL {'x' * 100}"
    assert shown.standing == "1 of 3 cells finished, 1 failed"


def test_for_programs_every_line_is_an_object_and_work_is_told_when_it_has_changed(cells: dict[str, Cell]) -> None:
    shown, text = view(cells, terminal=True, progress="json")
    first, second, _ = cells
    with shown.display.shown():
        for _ in range(3):
            shown.at_work([first, second])
        shown.finished(first, RESULTS)
        shown.ended(second, "killed [by] SIGKILL")
    work, finished, failed = map(json.loads, text.getvalue().splitlines())
    assert work == {"event": "work", "cells": {first: "1 of 4", second: ""}}
    assert (finished["cell"], finished["scores"]["Avg"]) == (first, 12.34)
    assert failed == {"event": "failed", "cell": second, "reason": "killed [by] SIGKILL"}


@pytest.mark.parametrize(("progress", "lines"), [("plain", 1), ("off", 0)])
def test_a_terminal_may_be_asked_for_lines_or_nothing(cells: dict[str, Cell], progress: str, lines: int) -> None:
    shown, text = view(cells, terminal=True, progress=progress)
    with shown.display.shown():
        shown.at_work(list(cells))
        shown.finished(next(iter(cells)), RESULTS)
    assert text.getvalue().count("\n") == lines
    assert "\x1b" not in text.getvalue()
