"""What below a folder is data, and what is said to be left out."""

import os
from pathlib import Path

import pytest
from PIL import Image

from mmcl.data.picture_files import folders_in, left_out_remark, pictures_below
from mmcl.data.reference import ReferenceData
from mmcl.errors import DataError
from mmcl.remarks import Remark


def put(root: Path, *places: str) -> Path:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"x")
    return root


def listed(root: Path) -> tuple[list[str], list[str]]:
    found = pictures_below(root)
    files, left_out = ([path.relative_to(root).as_posix() for path in paths] for paths in (found.files, found.left_out))
    return files, left_out


def test_pictures_are_found_at_any_depth_and_in_any_case(tmp_path: Path) -> None:
    put(tmp_path, "b.PNG", "a/c/d.jfif", "a/b.gif", "a b.JPEG", "ü.webp")
    assert listed(tmp_path) == (["a/b.gif", "a/c/d.jfif", "a b.JPEG", "b.PNG", "ü.webp"], [])


def test_litter_is_no_data_and_not_worth_a_word(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "._a.png", ".DS_Store", "Thumbs.db", "desktop.ini", "__MACOSX/a.png", "@eaDir/a.png", ".x")
    assert listed(tmp_path) == (["a.png"], [])


def test_hidden_pictures_and_folders_are_left_out_and_listed(tmp_path: Path) -> None:
    put(tmp_path, "a.png", ".b.png", "c/.ipynb_checkpoints/a-checkpoint.png", ".git/d.png")
    assert listed(tmp_path) == (["a.png"], [".b.png", ".git", "c/.ipynb_checkpoints"])


def test_other_files_are_left_out_and_listed(tmp_path: Path) -> None:
    put(tmp_path, "a.png", "notes.txt", "a.png.part", "c/labels.csv", "picture")
    assert listed(tmp_path) == (["a.png"], ["a.png.part", "c/labels.csv", "notes.txt", "picture"])


def test_pipes_and_links_that_lead_nowhere_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "a.png")
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to(tmp_path / "missing.png")
    assert listed(tmp_path) == (["a.png"], ["b.png", "c.png"])


def test_a_folder_that_is_called_as_a_picture_is_a_folder(tmp_path: Path) -> None:
    assert listed(put(tmp_path, "a.png/b.png")) == (["a.png/b.png"], [])


def test_links_are_followed_and_never_round_in_circles(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", "a.png")
    put(tmp_path / "data", "c/b.png")
    (tmp_path / "data" / "c" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "data" / "c" / "up").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert listed(tmp_path / "data") == (["b.png", "c/b.png", "c/linked/a.png"], [])


def test_what_is_below_a_hidden_folder_is_data_for_whoever_names_it(tmp_path: Path) -> None:
    assert listed(put(tmp_path / ".cache" / "pictures", "a.png")) == (["a.png"], [])


def test_a_folder_that_is_missing_holds_nothing(tmp_path: Path) -> None:
    assert listed(tmp_path / "missing") == ([], [])
    assert folders_in(tmp_path / "missing") == []


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "locked/a.png")

    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"folder .*cannot be read.*Permission denied.*permissions"):
        pictures_below(tmp_path)


def test_folders_of_data_are_those_that_people_see(tmp_path: Path) -> None:
    put(tmp_path, "b/x", "a/x", ".hidden/x", "__MACOSX/x", "file.png")
    assert [path.name for path in folders_in(tmp_path)] == ["a", "b"]


def test_the_remark_counts_and_shows_examples(tmp_path: Path) -> None:
    put(tmp_path, *(f"{number}.txt" for number in range(5)))
    (sentence,) = left_out_remark("image folder x", pictures_below(tmp_path).left_out, tmp_path)
    assert sentence.startswith("image folder x: 5 files or folders are left out")
    assert sentence.endswith("'0.txt', '1.txt', '2.txt' and 2 more.")
    assert list(left_out_remark("image folder x", (), tmp_path)) == []


def test_reference_images_are_listed_the_same_way(tmp_path: Path) -> None:
    put(tmp_path / "images", "._a.png", "b/.c.png", "d.txt")
    Image.new("RGB", (2, 2)).save(tmp_path / "images" / "b" / "e.gif")
    (tmp_path / "captions.txt").write_text("a caption\n", "utf-8")
    with pytest.warns(Remark, match=r"reference data .*2 files or folders.*'images/b/\.c\.png', 'images/d\.txt'"):
        reference = ReferenceData.from_folder(tmp_path)
    assert [reference.images[index].sample_id for index in range(len(reference.images))] == ["e.gif"]
