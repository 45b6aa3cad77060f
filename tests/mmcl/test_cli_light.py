"""What the command line prints without running anything."""

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmcl.cli import app
from mmcl.cli.entry import _warning_line
from mmcl.registry import STRATEGIES, entries
from mmcl.remarks import Remark


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package whose import fails loudly, with brackets in its card and its types."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "stranger-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[{STRATEGIES}]\nfancy = stranger.fancy:Fancy\ngone = stranger.gone:Gone\nodd = [no] module\n"
    )
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (tmp_path / "stranger" / "fancy.py").write_text(
        '"""Fancy: logits [b, n]."""\n\nfrom mmcl.learning.strategy import StrategyPlugin\n\n\n'
        "class Fancy(StrategyPlugin):\n    names: tuple[str, ...] = ()  # globs [a] of names\n"
    )
    entries.cache_clear()
    monkeypatch.setattr("mmcl.cli.terminal.output.width", 200)


@pytest.fixture(autouse=True)
def forget() -> Iterator[None]:
    yield
    entries.cache_clear()


@pytest.mark.usefixtures("stranger")
def test_strangers_are_listed_without_being_imported_and_broken_ones_with_their_reason() -> None:
    rows = {row["name"]: row for row in json.loads(CliRunner().invoke(app, ["list", "--json"]).stdout)}
    assert (rows["fancy"]["title"], rows["fancy"]["broken"]) == ("Fancy: logits [b, n].", None)
    assert rows["gone"]["distribution"] == "stranger"
    assert "there is no module stranger.gone" in rows["gone"]["broken"]
    assert rows["odd"]["broken"]
    assert rows["ewc"]["broken"] is None
    assert "stranger" not in sys.modules


@pytest.mark.usefixtures("stranger")
def test_brackets_in_cards_and_types_are_printed_as_they_are() -> None:
    assert "logits [b, n]" in CliRunner().invoke(app, ["list", "strategies"]).stdout
    shown = CliRunner().invoke(app, ["show", "fancy"]).stdout
    for text in ("logits [b, n]", "tuple[str, ...]", "globs [a] of names"):
        assert text in shown


def test_a_remark_is_a_line_without_the_place_in_the_source_that_said_it() -> None:
    line = _warning_line(warnings.formatwarning)
    assert line(Remark("few samples"), Remark, "run.py", 7) == "note: few samples\n"
    assert "run.py:7: UserWarning: odd" in line(UserWarning("odd"), UserWarning, "run.py", 7)
