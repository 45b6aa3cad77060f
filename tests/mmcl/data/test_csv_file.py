"""CSV files of other programs hold the rows that people see in them."""

from pathlib import Path

import pytest

from mmcl.data.csv_file import csv_rows
from mmcl.data.records import Records

ROWS = [{"image": "a.png", "label": "cat, big"}, {"image": "b.png", "label": None}]


@pytest.mark.parametrize(
    "text",
    [
        'image,label\na.png,"cat, big"\nb.png,\n',
        "\ufeffimage;label\r\na.png;cat, big\r\nb.png;\r\n",
        "image\tlabel\na.png\tcat, big\n\nb.png\t\n",
        '"image", "label"\na.png, "cat, big"\nb.png,\n',
    ],
)
def test_what_separates_cells_is_read_from_the_header(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(text.encode())
    assert csv_rows(tmp_path / "rows.csv") == ROWS


@pytest.mark.parametrize(
    ("said", "sides", "remarks"),
    [
        (("Train", "TEST", "val"), ["train", "test", "validation"], 1),
        (("training", "val", "val"), ["train", "test", "test"], 0),
        (("train", "train", "train"), None, 0),
    ],
)
def test_sides_in_a_column_are_called_as_those_of_folders(
    said: tuple[str, ...], sides: list[str] | None, remarks: int
) -> None:
    rows = [{"text": str(number), "label": 0, "split": side} for number, side in enumerate(said)]
    table = Records(rows, "own").table("label", None, {}, ready=False)
    assert (table.sides, len(table.remarks)) == (sides, remarks)
