"""The chaos campaign in short: whatever is done to a run, it ends as if nothing had been, or in a sentence."""

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .damages import damages
from .flips import flips
from .kills import kills
from .ledger import Ledger
from .pairs import pairs
from .power import cuts
from .trial import Ending, begin, in_child

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a trial is a forked process")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Undisturbed runs are made once."""
    return tmp_path_factory.mktemp("chaos")


def test_kills(folder: Path) -> None:
    for ledger in kills(8, random.Random(21), folder):
        assert ledger.faults == []
        assert ledger.tried == 4


@pytest.mark.usefixtures("flushes")
def test_power_cuts(folder: Path) -> None:
    ledger = cuts(1, random.Random(22), folder)
    if ledger.skipped:
        pytest.skip(ledger.skipped)
    assert ledger.faults == []


@pytest.mark.parametrize(("part", "count"), [(flips, 6), (damages, 18), (pairs, 2)])
def test_other_parts(part: Callable[[int, random.Random, Path], Ledger], count: int, folder: Path) -> None:
    ledger = part(count, random.Random(23), folder)
    assert ledger.faults == []
    assert ledger.tried == count


def test_a_ledger_tells_a_sentence_from_a_traceback_and_a_silent_difference() -> None:
    ledger = Ledger("it")
    ledger.note("fine", Ending(0))
    ledger.note("refused", Ending(2, "a sentence"))
    ledger.note("refused", Ending(2, "a sentence"), may_refuse=False)
    ledger.note("broken", Ending(1, "Traceback\nKeyError: 'a'"))
    ledger.note("other", Ending(0), "another seed")
    assert ledger.outcomes.total() == 2
    assert ledger.faults == [
        "refused: code 2: a sentence",
        "broken: code 1: KeyError: 'a'",
        "other: code 0: another seed",
    ]


def test_a_child_reports_every_error(tmp_path: Path) -> None:
    assert in_child(lambda: [][1], tmp_path).code == 1
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    assert "not an empty folder" in in_child(lambda: begin(tmp_path / "run"), tmp_path).said
