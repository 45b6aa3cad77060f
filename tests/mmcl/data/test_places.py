"""Own data where they lie: arrays in class folders; saved data sets, which are refused before Arrow meets damage."""

import random
import struct
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image

from mmcl.data.places import rows_at, sets_below
from mmcl.errors import DataError

TEXTS = ["one", "two and three", "four"]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    datasets.Dataset.from_dict({"text": TEXTS, "label": [0, 1, 0]}).save_to_disk(tmp_path / "set")
    return tmp_path / "set"


def test_a_saved_data_set_is_read(saved: Path) -> None:
    assert [row["text"] for row in rows_at(saved).rows] == TEXTS


def test_arrays_lie_as_pictures_do_and_count_where_there_is_no_picture(tmp_path: Path) -> None:
    for side, number in (("train", 0), ("train", 1), ("test", 2)):
        (tmp_path / side / "walk_fast").mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / side / "walk_fast" / f"{number}.npy", np.zeros(3))
    (tmp_path / "train" / "walk_fast" / "notes.txt").write_text("a file of another kind")
    place = rows_at(tmp_path)
    assert place.rows == [
        {"array": f"{side}/walk_fast/{number}.npy", "label": "walk fast", "split": side}
        for side, number in (("train", 0), ("train", 1), ("test", 2))
    ]
    assert ["notes.txt" in remark for remark in place.remarks] == [True]
    Image.new("RGB", (2, 2)).save(tmp_path / "train" / "walk_fast" / "0.png")
    assert [row["image"] for row in rows_at(tmp_path).rows] == ["train/walk_fast/0.png"]


def test_no_sample_arrives_twice_by_a_folder_and_by_a_file_that_lists_it(tmp_path: Path) -> None:
    for maker in ("anna", "bert"):
        (tmp_path / maker / "cat").mkdir(parents=True)
    (tmp_path / "texts.csv").write_text("text,label\nanna/bert is no file,a\n")
    assert list(sets_below(tmp_path)) == ["anna", "bert", "texts"]
    Image.new("RGB", (2, 2)).save(tmp_path / "bert" / "cat" / "0.png")
    (tmp_path / "rows.csv").write_text("image,label\nbert/cat/0.png,cat\n")
    with pytest.raises(DataError, match=r"'rows\.csv', which lists what lies in the sub-folder 'bert'.*Name the file"):
        sets_below(tmp_path)
    assert list(sets_below(tmp_path, classes=False)) == ["rows", "texts"]


@pytest.mark.parametrize("place", [1, 2, 3])
@pytest.mark.parametrize("wrong", [-1, 10**9])
def test_a_text_that_ends_outside_of_the_file_is_refused(saved: Path, place: int, wrong: int) -> None:
    (file,) = saved.glob("*.arrow")
    raw, ends = file.read_bytes(), [0, 3, 16, 20]
    written = struct.pack("<4i", *ends)
    assert raw.count(written) == 1
    file.write_bytes(raw.replace(written, struct.pack("<4i", *ends[:place], wrong, *ends[place + 1 :])))
    with pytest.raises(DataError, match="cannot be read"):
        rows_at(saved)


def test_other_bytes_anywhere_never_do_more_than_be_refused(saved: Path) -> None:
    chance, refused = random.Random(0), 0
    (file,) = saved.glob("*.arrow")
    whole = file.read_bytes()
    for _ in range(150):
        raw = bytearray(whole)
        for _ in range(3):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        file.write_bytes(raw)
        try:
            rows = rows_at(saved).rows
            assert [str(rows[number]) for number in range(len(rows))]
        except DataError:
            refused += 1
    assert 50 < refused < 150
