"""Columns of own data: categories that arrive, names of experiences, data frames, splits that are not named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import mmcl
from mmcl.errors import ConfigError, DataError, MMCLError
from mmcl.streams.benchmark import Benchmark

CATEGORIES = {"Food & Drink": ("pizza", "tea"), "Animals": ("cat", "dog", "owl")}


def emoji(label: str = "label", column: str = "category", makers: int = 1) -> list[dict[str, Any]]:
    """Five pictures of every class, rows mixed, with the column that says where each belongs."""
    rows = []
    for number in range(5):
        for category, names in CATEGORIES.items():
            for name in names:
                shade = 20 * [*CATEGORIES["Food & Drink"], *CATEGORIES["Animals"]].index(name) + number
                for maker in range(makers):
                    image = Image.new("RGB", (8, 8), (shade, 0, maker))
                    rows.append({"image": image, label: name, column: category, "maker": f"maker {maker}"})
    return rows


def classes_of(stream: Benchmark) -> dict[str, tuple[str, ...]]:
    return {part.name: part.label_space.names for part in stream.experiences}


class Frame:
    """What MMCL asks of a data frame of pandas."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows
        self.columns = list(rows[0])
        self.iloc = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> Any:
        raise KeyError(column)

    def astype(self, kind: type) -> "Frame":
        assert kind is object
        return self

    def notna(self) -> list[list[bool]]:
        return [[value == value for value in row.values()] for row in self.rows]

    def where(self, known: list[list[bool]], other: None) -> "Frame":
        pairs = zip(self.rows, known, strict=True)
        return Frame([{c: v if k else other for (c, v), k in zip(row.items(), ks, strict=True)} for row, ks in pairs])

    def itertuples(self, index: bool, name: None) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in self.rows]


class Polars:
    """What MMCL asks of a data frame of polars."""

    def __init__(self, rows: list[dict[str, Any]]) -> None:
        self.rows = rows

    def to_dicts(self) -> list[dict[str, Any]]:
        return self.rows


# Categories arrive.


def test_categories_arrive_as_they_first_occur_and_name_the_experiences() -> None:
    stream = mmcl.streams.by_column(emoji(), column="category", columns={"maker": None})
    assert classes_of(stream) == {"Food & Drink": ("pizza", "tea"), "Animals": ("cat", "dog", "owl")}
    assert stream.scenario.name == "CIL"
    assert stream.label_space.ids == (0, 1, 2, 3, 4)
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(8, 2), (12, 3)]
    assert stream.remarks == ()
    for part in stream.experiences:
        for side in (part.train, part.test):
            for sample in (side[index] for index in range(len(side))):
                assert sample.inputs["image"].getpixel((0, 0))[0] // 20 == sample.target


def test_categories_arrive_in_the_order_that_is_given_under_other_names_and_with_their_task_told() -> None:
    stream = mmcl.streams.by_column(
        emoji(label="name", column="group"),
        column="group",
        label="name",
        order=["Animals", "Food & Drink"],
        names=["first", "second"],
        scenario="TIL",
        columns={"maker": None},
    )
    assert classes_of(stream) == {"first": ("cat", "dog", "owl"), "second": ("pizza", "tea")}
    assert stream.scenario.name == "TIL"


def test_test_rows_follow_their_class_and_need_no_category() -> None:
    test = [{name: row[name] for name in ("image", "label")} for row in emoji()]
    stream = mmcl.streams.by_column(emoji(), test, column="category", columns={"maker": None})
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(10, 10), (15, 15)]


def test_a_class_of_two_categories_is_refused_and_domains_are_named_as_the_other_way() -> None:
    with pytest.raises(DataError, match=r"the class 'cat' is in 'maker 0', 'maker 1'.*by_domain\(domain='maker'\)"):
        mmcl.streams.by_column(emoji(makers=2), column="maker", columns={"category": None})


def test_a_data_set_for_each_category_is_the_same_stream_as_a_column() -> None:
    rows = emoji()
    sets = {title: [row for row in rows if row["category"] == title] for title in ("Animals", "Food & Drink")}
    apart = mmcl.streams.by_column(sets, columns={"category": None, "maker": None})
    whole = mmcl.streams.by_column(rows, column="category", order=list(sets), columns={"maker": None})
    for one, other in zip(apart.experiences, whole.experiences, strict=True):
        assert (one.name, one.label_space, list(one.train.targets)) == (
            other.name,
            other.label_space,
            list(other.train.targets),
        )
    with pytest.raises(ConfigError, match="several data sets, and a column beside them"):
        mmcl.streams.by_column(sets, column="category")
    with pytest.raises(DataError, match="compete and are called 'cat' and 'cat'"):
        mmcl.streams.by_column({"one": sets["Animals"], "other": sets["Animals"]})


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"column": "kind"}, "no column 'kind'.*It has 'image', 'label', 'category', 'maker'"),
        ({"column": "category", "order": ["Animals"]}, "order of categories: 'Animals'"),
        ({"column": "category", "names": ["one"]}, "names of experiences: 1: 'one'.*'Food & Drink', 'Animals'"),
        ({"column": "category", "names": ["one", "one"]}, "share the names"),
        ({"column": "category", "scenario": "DIL"}, "CIL or TIL"),
        ({"column": ["category"]}, "by_column: column"),
        ({}, "by_column: one data set and no column"),
    ],
)
def test_categories_that_cannot_be_meant_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(MMCLError, match=sentence):
        mmcl.streams.by_column(emoji(), **options)


def test_numbers_in_a_column_are_called_as_the_data_set_calls_them() -> None:
    class Arrow:
        """Rows as Hugging Face gives them, with numbers for classes and categories."""

        def __init__(self) -> None:
            feature = type("ClassLabel", (), {})
            self.features = {"label": feature(), "category": feature()}
            self.features["label"].names = ["pizza", "cat"]
            self.features["category"].names = ["Food", "Animals"]
            self.column_names = ["image", "label", "category"]

        def __len__(self) -> int:
            return 10

        def __getitem__(self, key: int | str) -> Any:
            if isinstance(key, str):
                return [self[row][key] for row in range(10)]
            return {"image": Image.new("RGB", (4, 4), (key, 0, 0)), "label": key % 2, "category": key % 2}

    assert classes_of(mmcl.streams.by_column(Arrow(), column="category")) == {"Food": ("pizza",), "Animals": ("cat",)}


# Names of experiences on every way in.


def test_experiences_are_called_by_the_names_that_are_given() -> None:
    rows = emoji(makers=2)
    columns = {"category": None}
    called = ["Food & Drink", "Animals"]
    by_class = mmcl.streams.by_class(rows, experiences=[2, 3], names=called, columns=columns | {"maker": None})
    by_task = mmcl.streams.by_task([rows, rows], names=called, columns=columns | {"maker": None})
    by_domain = mmcl.streams.by_domain(rows, domain="maker", names=called, columns=columns)
    for stream in (by_class, by_task, by_domain):
        assert [part.name for part in stream.experiences] == called
    assert [part.domain for part in by_domain.experiences] == ["maker 0", "maker 1"]
    with pytest.raises(ConfigError, match="names of experiences"):
        mmcl.streams.by_task([rows, rows], names=["one"])


def test_test_rows_may_name_their_domain_as_training_rows_do() -> None:
    rows, test = emoji(makers=2), emoji(makers=2)
    stream = mmcl.streams.by_domain(rows, test, domain="maker", columns={"category": None})
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(25, 25), (25, 25)]
    assert {part.test[i].inputs["image"].getpixel((0, 0))[2] for part in stream.experiences[1:] for i in range(25)} == {
        1
    }
    with pytest.raises(DataError, match="test data by domain: 'maker 0'"):
        mmcl.streams.by_domain(rows, test[::2], domain="maker", columns={"category": None})


# Data frames, splits, and what is none of them.


@pytest.mark.parametrize("frame", [Frame, Polars])
def test_a_data_frame_is_its_rows(frame: Callable[[Any], Any]) -> None:
    rows = emoji()
    stream = mmcl.streams.by_column(frame(rows), column="category", columns={"maker": None})
    assert stream.metadata == mmcl.streams.by_column(rows, column="category", columns={"maker": None}).metadata


def test_what_is_missing_in_a_data_frame_is_no_value() -> None:
    rows = [
        {"image": Image.new("RGB", (4, 4), (i, 0, 0)), "text": "a" if i else float("nan"), "label": 0} for i in range(4)
    ]
    stream = mmcl.streams.by_class(Frame(rows), Frame(rows), experiences=1)
    side = stream.experiences[0].train
    assert sorted(len(side[index].inputs) for index in range(4)) == [1, 2, 2, 2]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_are_taken_where_their_library_is_installed(library: str) -> None:
    words = [(word, number) for word in ("bad", "good") for number in range(3)]
    rows = [{"text": f"{word} {i}", "label": word, "note": None if i else "x"} for word, i in words]
    wanted = mmcl.streams.by_class(rows, experiences=2, columns={"note": None})
    frame = pytest.importorskip(library).DataFrame(rows)
    assert mmcl.streams.by_class(frame, experiences=2, columns={"note": None}).metadata == wanted.metadata


def test_a_frame_whose_columns_share_a_name_is_refused() -> None:
    frame = Frame(emoji())
    frame.columns[0] = "label"
    with pytest.raises(DataError, match="several columns that are called 'label'"):
        mmcl.streams.by_class(frame, experiences=1)


WAYS: dict[str, Callable[[Any], Any]] = {
    "by_class": lambda data: mmcl.streams.by_class(data, experiences=1),
    "by_class, test": lambda data: mmcl.streams.by_class(emoji(), data, experiences=1),
    "by_column": lambda data: mmcl.streams.by_column(data, column="category"),
    "by_domain": lambda data: mmcl.streams.by_domain(data),
    "by_domain, one of them": lambda data: mmcl.streams.by_domain({"a": data}),
    "by_task": lambda data: mmcl.streams.by_task(data),
    "by_task, one of them": lambda data: mmcl.streams.by_task([data]),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_dictionary_of_splits_is_no_data_set_and_no_list_of_them(way: Callable[[Any], Any]) -> None:
    for data in ({"train": emoji(), "test": emoji()}, {"train": emoji(), "validation": emoji()}, {"train": emoji()}):
        with pytest.raises(DataError, match=r"the splits? '?train.*data\['train'\]"):
            way(data)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize(
    "data",
    [
        3,
        b"rows",
        iter([1]),
        (row for row in emoji()),
        np.zeros((4, 8, 8, 3), np.uint8),
        (np.zeros((4, 8, 8, 3), np.uint8), np.zeros(4, int)),
        [Image.new("RGB", (4, 4))] * 4,
        [(Image.new("RGB", (4, 4)),)] * 4,
        [None, None],
        ["a cat", "a dog"],
        {"image": [Image.new("RGB", (4, 4))], "label": [0]},
        {},
        [],
        "",
        "nowhere.csv",
        ".",
    ],
    ids=lambda data: type(data).__name__,
)
def test_what_is_no_data_set_is_refused_in_a_sentence(
    way: Callable[[Any], Any], data: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MMCLError):
        way(data)


def test_rows_that_lack_a_column_lack_the_value_and_columns_of_later_rows_are_known() -> None:
    rows = emoji()
    del rows[3]["image"]
    rows[3]["text"] = "a cat"
    stream = mmcl.streams.by_class(rows, rows, experiences=1, columns={"category": None, "maker": None})
    assert stream.modalities == {"image", "text"}
    side = stream.experiences[0].train
    assert [set(side[i].inputs) for i in range(len(side))].count({"text"}) == 1


def test_a_text_that_is_none_is_refused_with_its_row() -> None:
    rows = [{"text": value, "label": i % 2} for i, value in enumerate(["a", "b", 7.5, "c"])]
    with pytest.raises(DataError, match="row 2: a text of type float"):
        mmcl.streams.by_class(rows, experiences=1)


def test_columns_are_those_of_any_of_the_data_sets_and_of_one_at_least() -> None:
    birds = [{"img": Image.new("RGB", (4, 4), (i, 0, 0)), "label": i % 2} for i in range(8)]
    windows = [{"emg": np.full(3, i), "label": i % 2} for i in range(8)]
    columns = {"img": "image", "emg": "emg"}
    stream = mmcl.streams.by_task({"birds": birds, "moves": windows}, columns=columns)
    assert [set(part.modalities) for part in stream.experiences] == [{"image"}, {"emg"}]
    with pytest.raises(ConfigError, match=r"columns: the column 'emgg'.*img, label, emg.*Did you mean 'emg'"):
        mmcl.streams.by_task({"birds": birds, "moves": windows}, columns=columns | {"emgg": "emg"})
