"""Names are data: what they hold is shown as it is, on the line of an experience, in its row and in the picture."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mmcl
from mmcl.progress import ProgressBar

NAMES = ("photos [/old]", "[bold]new", "under $5 \\frac{ and $6", "a_b^{c}")


def rows(first: int) -> list[tuple[Any, str]]:
    return [(Image.new("RGB", (8, 8), (first + i, 0, 0)), "ab"[i % 2]) for i in range(6)]


def test_names_that_look_like_markup_run_to_the_end_and_are_in_the_picture(tmp_path: Path, cache: Path) -> None:
    stream = mmcl.streams.by_task({name: rows(10 * i) for i, name in enumerate(NAMES)})
    result = mmcl.run(benchmark=stream, training={"iterations": 1, "batch_size": 4}, out=tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "matrix.png").stat().st_size > 0
    assert result.results["columns"] == list(NAMES)


def test_a_row_shows_its_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar()
    bar.show_row(NAMES[0], dict.fromkeys(NAMES, 50.0))
    shown = " ".join(capsys.readouterr().out.split())
    for name in NAMES:
        assert name in shown
