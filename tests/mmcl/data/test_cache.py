"""Editions get into the cache once, and none disturbs another."""

import multiprocessing
from pathlib import Path
from typing import Any

import pytest

from mmcl.data.cache import materialise
from mmcl.errors import DataError

FORK = multiprocessing.get_context("fork")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMCL_CACHE", str(tmp_path))
    return tmp_path


def quick(draft: Path) -> None:
    (draft / "file").write_text("quick")


def write_slowly(begun: Any, finish: Any) -> None:
    def write(draft: Path) -> None:
        (draft / "first").touch()
        begun.set()
        assert finish.wait(60)
        (draft / "second").touch()

    materialise("it-1-validation", write)


def test_an_edition_whose_name_begins_another_ones_leaves_its_draft_alone(place: Path) -> None:
    begun, finish = FORK.Event(), FORK.Event()
    process = FORK.Process(target=write_slowly, args=(begun, finish))
    process.start()
    assert begun.wait(60)
    materialise("it-1", quick)
    finish.set()
    process.join(60)
    assert process.exitcode == 0
    assert sorted(file.name for file in (place / "it-1-validation").iterdir()) == ["first", "second"]


def test_what_a_process_that_was_killed_has_left_is_not_in_the_edition(place: Path) -> None:
    (place / ".it-1-new").mkdir()
    (place / ".it-1-new" / "left").touch()
    assert [file.name for file in materialise("it-1", quick).iterdir()] == ["file"]
    assert [file.name for file in place.iterdir()] == ["it-1"]


def test_an_edition_that_is_there_is_not_written_again(place: Path) -> None:
    materialise("it-1", quick)

    def never(draft: Path) -> None:
        raise AssertionError

    assert (materialise("it-1", never) / "file").read_text() == "quick"


def test_a_place_that_cannot_be_written_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "file").touch()
    monkeypatch.setenv("MMCL_CACHE", str(place / "file"))
    with pytest.raises(DataError, match="MMCL_CACHE"):
        materialise("it-1", quick)
