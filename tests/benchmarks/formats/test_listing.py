"""List files: nothing leads out of the data root, nothing is missing in silence."""

import warnings
from pathlib import Path

import pytest
from mmcl_benchmarks.dil.core50 import OBJECTS
from mmcl_benchmarks.formats.imagenet_names import class_names, curated_names
from mmcl_benchmarks.formats.listing import Tree, found_side, listed_classes, read_list
from mmcl_benchmarks.mtil.prompts import CALTECH101, EUROSAT, FLOWERS

from mmcl.data.names import namesakes
from mmcl.errors import DataError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("a/Dog.png", "a/cat.png", "b c/bird one.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_paths_may_hold_blanks_and_empty_lines_do_not_count(root: Path) -> None:
    (root / "list.txt").write_text("a/cat.png 0\n\nb c/bird one.png 12\n")
    assert read_list(root / "list.txt") == [("a/cat.png", 0), ("b c/bird one.png", 12)]


@pytest.mark.parametrize("line", ["a/cat.png", "a/cat.png x", "a/cat.png -1", "7"])
def test_a_line_without_path_and_label_is_named(root: Path, line: str) -> None:
    (root / "list.txt").write_text(f"a/cat.png 0\n{line}\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2"):
        read_list(root / "list.txt")


@pytest.mark.parametrize("name", ["/etc/passwd", "../outside.png", "a/../../outside.png", "a\\cat.png", "c:/x.png", ""])
def test_a_path_that_leads_out_is_refused(root: Path, name: str) -> None:
    with pytest.raises(ValueError, match="leads out of the folder"):
        Tree(root).find(name)


def test_an_exact_spelling_is_silent_and_another_one_warns(root: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        side, missing = found_side([("a/Dog.png", 1), ("a/cat.png", 0)], Tree(root), "data", strict=True)
    assert ([path.name for path in side.files], side.labels, missing) == (["Dog.png", "cat.png"], [1, 0], 0)
    with pytest.warns(UserWarning, match=r"2 files have another spelling .* A/dog\.PNG"):
        side, missing = found_side([("A/dog.PNG", 1), ("a/CAT.png", 0)], Tree(root), "data", strict=False)
    assert ([path.name for path in side.files], missing) == (["Dog.png", "cat.png"], 0)


def test_missing_files_are_counted_and_the_first_is_named(root: Path) -> None:
    entries = [("a/cat.png", 0), ("a/cow.png", 1), ("z/cat.png", 2)]
    with pytest.warns(UserWarning, match=r"2 of 3 listed files are missing and left out, the first is a/cow\.png"):
        side, missing = found_side(entries, Tree(root), "data", strict=False)
    assert (side.labels, missing) == ([0], 2)
    with pytest.raises(DataError, match=r"2 listed files are missing, the first is a/cow\.png"):
        found_side(entries, Tree(root), "data", strict=True)


def test_a_label_is_a_folder_and_a_folder_a_label() -> None:
    assert listed_classes({"l": [("d/b/1.png", 1), ("d/a/1.png", 0), ("d/b/2.png", 1)]}) == ["a", "b"]
    with pytest.raises(ValueError, match="label 0 stands for a and for b"):
        listed_classes({"l": [("d/a/1.png", 0)], "m": [("d/b/1.png", 0)]})
    with pytest.raises(ValueError, match="a class has two labels"):
        listed_classes({"l": [("d/a/1.png", 0), ("d/a/2.png", 1)]})
    with pytest.raises(ValueError, match="labels up to 2 for 2 classes"):
        listed_classes({"l": [("d/a/1.png", 0), ("d/b/2.png", 2)]})


def test_curated_names_are_clip_s_by_wnid() -> None:
    names = curated_names()
    assert len(names) == 1000
    assert list(names) == sorted(names)
    assert names["n01440764"] == "tench"
    assert names["n04067472"] == "fishing casting reel"  # WordNet says: reel
    assert list(names.values())[99] == "goose"


PAIRS = {"n03773504": "missile", "n04008634": "projectile", "n04355933": "sunglass", "n04356056": "sunglasses"}


def test_a_thousand_classes_have_a_thousand_different_names(tmp_path: Path) -> None:
    curated = curated_names()
    names = dict(zip(curated, class_names(list(curated), tmp_path / "nothing.txt"), strict=True))
    assert namesakes(names.values()) is None
    assert {wnid: name for wnid, name in names.items() if wnid in PAIRS} == PAIRS
    assert {wnid for wnid, name in names.items() if name != curated[wnid]} == {"n04008634", "n04355933"}


def test_one_class_of_a_pair_has_clip_s_name(tmp_path: Path) -> None:
    """Tiny ImageNet has one of each."""
    assert class_names(["n04008634", "n04356056"], tmp_path / "nothing.txt") == ["missile", "sunglasses"]
    assert class_names(["n04008634", "n03773504"], tmp_path / "nothing.txt") == ["projectile", "missile"]


@pytest.mark.parametrize("names", [FLOWERS, OBJECTS, tuple(EUROSAT.values()), tuple(CALTECH101.values())])
def test_no_list_that_comes_along_has_two_classes_of_one_name(names: tuple[str, ...]) -> None:
    assert namesakes(names) is None


def test_what_is_none_of_the_thousand_is_called_by_its_first_synonym(tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("n00001740\tentity, thing\nn01440764\tanother name\n", encoding="utf-8")
    assert class_names(["n00001740", "n01440764"], words) == ["entity", "tench"]
    with pytest.raises(ValueError, match=r"words\.txt has no name for n90000000"):
        class_names(["n90000000"], words)
    with pytest.raises(FileNotFoundError):
        class_names(["n90000000"], tmp_path / "nothing.txt")
    assert class_names(["n01440764"], tmp_path / "nothing.txt") == ["tench"]
