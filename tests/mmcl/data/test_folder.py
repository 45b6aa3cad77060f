"""A folder of own pictures becomes an experience: which sub-folders are sides, which are classes, what is said."""

import warnings
from pathlib import Path

import pytest
from PIL import Image

from mmcl.data.experience_data import ExperienceData
from mmcl.data.folder import folder_experience
from mmcl.errors import DataError
from mmcl.remarks import Remark, Remarks


def pictures(root: Path, *places: str, count: int = 4) -> Path:
    for place in places:
        (root / place).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("RGB", (2, 2)).save(root / place / f"{number}.png")
    return root


def places(data: ExperienceData) -> tuple[list[str], list[str]]:
    """The folders in which training and test pictures lie."""
    train, test = ({path.parent for path, _ in side.files} for side in (data.train, data.test))  # type: ignore[attr-defined]
    root = data.train.root  # type: ignore[attr-defined]
    return sorted(path.relative_to(root).as_posix() for path in train), sorted(
        path.relative_to(root).as_posix() for path in test
    )


def quietly(root: Path) -> ExperienceData:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return folder_experience(root)


@pytest.mark.parametrize("train", ["train", "Train", "training_set"])
@pytest.mark.parametrize("test", ["test", "val", "valid", "validation", "Test", "VAL", "testing", "test-set", "dev"])
def test_sides_are_known_by_their_names_and_never_classes(tmp_path: Path, train: str, test: str) -> None:
    pictures(tmp_path, f"{train}/cat", f"{train}/dog")
    data = quietly(pictures(tmp_path, f"{test}/cat", f"{test}/dog", count=2))
    assert data.label_space.names == ("cat", "dog")
    assert places(data) == ([f"{train}/cat", f"{train}/dog"], [f"{test}/cat", f"{test}/dog"])
    assert (len(data.train), len(data.test)) == (8, 4)


def test_beside_a_test_side_the_validation_side_is_left_out_and_said(tmp_path: Path) -> None:
    root = pictures(tmp_path, "train/cat", "val/cat", "test/cat")
    with pytest.warns(Remark, match=r"4 files or folders are left out.*'val/cat/0\.png'"):
        data = folder_experience(root)
    assert places(data) == (["train/cat"], ["test/cat"])


def test_a_training_side_alone_is_split_as_its_classes_would_be(tmp_path: Path) -> None:
    both = quietly(pictures(tmp_path / "a", "train/cat", "train/dog"))
    alone = quietly(pictures(tmp_path / "b", "cat", "dog"))
    assert both.label_space.names == ("cat", "dog")
    held = [{path.relative_to(tmp_path / top).as_posix() for path, _ in data.test.files} for top, data in  # type: ignore[attr-defined]
            (("a/train", both), ("b", alone))]  # fmt: skip
    assert held[0] == held[1]


def test_a_train_beside_other_vehicles_is_a_class(tmp_path: Path) -> None:
    assert quietly(pictures(tmp_path, "train", "bus")).label_space.names == ("bus", "train")
    assert quietly(pictures(tmp_path / "alone", "train")).label_space.names == ("train",)


@pytest.mark.parametrize(
    ("folders", "sentence"),
    [
        (("train/cat", "val/cat", "bird"), "'train', 'val', 'bird'.*either classes, or sides"),
        (("train/cat", "training/cat", "test/cat"), "'train', 'training'.*each side once"),
        (("val/cat", "test/cat"), "'test', 'val'|'val', 'test'.*a folder 'train' beside them"),
        (("test/cat",), "'test'.*a folder 'train' beside them"),
        (("train/cat", "test/cat", "test/bird"), "class 'bird' has 0 training and 4 test images"),
        (("train/cat", "train/bird", "val/cat"), "class 'bird' has 4 training and 0 test images"),
        (("train", "test"), "no sub-folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, folders: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        folder_experience(pictures(tmp_path, *folders))


def test_a_class_is_found_on_the_other_side_as_people_read_its_name(tmp_path: Path) -> None:
    data = quietly(pictures(tmp_path, "train/Red_Fox", "train/cat", "test/red fox", "test/Cat"))
    assert data.label_space.names == ("Red Fox", "cat")
    assert sorted(data.test[index].target for index in range(8)) == [0] * 4 + [1] * 4


def test_notes_and_folders_without_pictures_beside_the_sides_are_said(tmp_path: Path) -> None:
    pictures(tmp_path, "train/cat", "val/cat")
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "boxes.json").write_text("{}")
    Image.new("RGB", (2, 2)).save(tmp_path / "overview.png")
    said = Remarks()
    folder_experience(tmp_path, remarks=said)
    assert [sentence.partition("left out")[2] for sentence in said] == [
        ", as hidden or no pictures: 'annotations/boxes.json', 'overview.png'."
    ]


def test_copies_in_hidden_folders_never_reach_the_test_side(tmp_path: Path) -> None:
    pictures(tmp_path, "cat", "dog", "cat/.ipynb_checkpoints", ".ipynb_checkpoints", "__MACOSX/cat")
    with pytest.warns(Remark, match=r"2 files or folders.*'\.ipynb_checkpoints', 'cat/\.ipynb_checkpoints'"):
        data = folder_experience(tmp_path)
    assert places(data) == (["cat", "dog"], ["cat", "dog"])
    assert len(data.train) + len(data.test) == 8


def test_a_class_whose_pictures_lie_in_folders_of_their_own_is_said(tmp_path: Path) -> None:
    root = pictures(tmp_path, "pets/cat", "pets/dog", "cars", "cars/old")
    with pytest.warns(Remark, match="All images of class 'pets' lie in sub-folders.*'cat', 'dog'") as told:
        data = folder_experience(root)
    assert data.label_space.names == ("cars", "pets")
    assert len(told) == 1
