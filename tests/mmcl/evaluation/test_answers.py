"""Answers are a table of commas whose names stay what they are, compressed to the same bytes every time."""

import gzip
from pathlib import Path

from mmcl.evaluation.answers import AnswerTable
from mmcl.evaluation.frame import answers_frame

ROWS = [
    {"row": row, "id": f"images/{row:05}.jpg", "target": "NA", "prediction": "one, two\n\u5b57", "score": "0.5"}
    for row in range(1000)
]


def packed() -> bytes:
    table = AnswerTable()
    table.add("nothing", [])
    assert table.empty
    table.add("007", ROWS)
    table.add("birds", ROWS)
    assert not table.empty
    return table.packed()


def test_names_that_look_like_numbers_gaps_or_several_cells_are_read_as_they_were(tmp_path: Path) -> None:
    (tmp_path / "1.csv.gz").write_bytes(packed())
    frame = answers_frame(tmp_path / "1.csv.gz")
    assert list(frame) == ["test set", "row", "id", "target", "prediction", "score"]
    assert frame["test set"].value_counts().to_dict() == {"007": 1000, "birds": 1000}
    assert set(frame["target"]) == {"NA"}
    assert set(frame["prediction"]) == {"one, two\n\u5b57"}
    assert set(frame["score"]) == {0.5}


def test_a_file_is_much_smaller_than_its_table_and_the_same_every_time() -> None:
    assert packed() == packed()
    assert len(packed()) * 8 < len(gzip.decompress(packed()))
