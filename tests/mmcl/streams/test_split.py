"""Own data become streams, whatever make they are of, and what a scenario promises is checked at once."""

import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset, Subset
from torchvision.datasets import ImageFolder

import mmcl
from mmcl.data.readable import check_readable
from mmcl.errors import ConfigError, DataError, MMCLError
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.grouping import class_groups, group_names, group_sizes, held_back, rows_by_group

BIRDS = ("crow", "heron", "owl", "wren")


def picture(label: int, number: int = 0) -> Image.Image:
    return Image.new("RGB", (8, 8), (40 + 50 * label + number,) * 3)


class Counted(Dataset[tuple[Image.Image, int]]):
    """A map-style data set that counts how often a row is decoded."""

    def __init__(self, classes: tuple[str, ...] = BIRDS, per_class: int = 5) -> None:
        self.classes = list(classes)
        self.targets = [label for label in range(len(classes)) for _ in range(per_class)]
        self.read = 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        self.read += 1
        return picture(self.targets[index]), self.targets[index]


class Arrow:
    """Rows as Hugging Face's data sets give them: dictionaries, columns by name, class names in the features."""

    def __init__(self, rows: list[dict[str, Any]], names: list[str] | None = None) -> None:
        self.rows = rows
        self.column_names = list(rows[0])
        self.features = {"label": SimpleNamespace(names=names)} if names else {"label": object()}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | str) -> Any:
        return [row[key] for row in self.rows] if isinstance(key, str) else self.rows[key]


def rows(per_class: int = 5, classes: int = 4, **constant: Any) -> list[dict[str, Any]]:
    return [{"image": picture(label), "label": label, **constant} for label in range(classes) for _ in range(per_class)]


def folder(root: Path, classes: tuple[str, ...] = BIRDS, per_class: int = 5) -> Path:
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            picture(label, number).save(root / name / f"{number}.png")
    return root


def brightness_tells_the_class(stream: Benchmark) -> bool:
    names = stream.label_space.names
    for data in stream.experiences:
        for side in (data.train, data.test):
            for index in range(len(side)):
                sample = side[index]
                shown = int(np.asarray(sample.inputs["image"]).mean() - 40) // 50
                if BIRDS[shown] != names[stream.label_space.ids.index(sample.target)]:
                    return False
    return True


# The pure functions.


@given(classes=st.integers(1, 60), groups=st.integers(1, 20), first=st.integers(0, 30))
def test_group_sizes_cover_all_classes_and_differ_by_one_at_most(classes: int, groups: int, first: int) -> None:
    if classes - first < groups:
        with pytest.raises(ConfigError, match="at least one class"):
            group_sizes(classes, groups, first)
        return
    sizes = group_sizes(classes, groups, first)
    assert sum(sizes) == classes
    assert len(sizes) == groups + (first > 0)
    rest = sizes[first > 0 :]
    assert max(rest) - min(rest) <= 1
    assert list(rest) == sorted(rest, reverse=True)


@given(order=st.permutations(range(12)), groups=st.integers(1, 12))
def test_rows_follow_their_classes_and_keep_their_order(order: list[int], groups: int) -> None:
    labels = [row % 12 for row in range(40)]
    cut = class_groups(order, group_sizes(12, groups))
    assert [label for group in cut for label in group] == order
    found = rows_by_group(labels, cut)
    assert sorted(row for part in found for row in part) == list(range(40))
    for group, part in zip(cut, found, strict=True):
        assert part == sorted(part)
        assert {labels[row] for row in part} == set(group)


def test_rows_of_classes_in_no_group_are_left_out() -> None:
    assert rows_by_group([0, 1, 2, 0], [(2,), (0,)]) == [[2], [0, 3]]


def test_experiences_are_named_by_the_positions_of_their_classes() -> None:
    assert group_names((10, 1, 2)) == ["classes 1-10", "class 11", "classes 12-13"]


def test_a_fifth_of_every_class_is_held_back_and_always_the_same() -> None:
    labels = [0] * 10 + [1] * 2 + [2] * 7
    train, test = held_back(labels, "abc", "data")
    assert sorted(train + test) == list(range(19))
    assert Counter(labels[row] for row in test) == {0: 2, 1: 1, 2: 1}
    assert held_back(labels, "abc", "data") == (train, test)


def test_a_class_with_a_single_row_cannot_be_split() -> None:
    with pytest.raises(DataError, match="class 'b' has a single row"):
        held_back([0, 0, 1], "ab", "data")


# By class, from every make of data set.


def test_of_a_torch_data_set_only_the_first_row_is_decoded() -> None:
    data = Counted()
    stream = mmcl.streams.by_class(data, experiences=2)
    assert data.read == 1
    assert stream.scenario.name == "CIL"
    assert [part.name for part in stream.experiences] == ["classes 1-2", "classes 3-4"]
    assert [part.label_space.names for part in stream.experiences] == [("crow", "heron"), ("owl", "wren")]
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(8, 2), (8, 2)]
    assert brightness_tells_the_class(stream)


def test_a_subset_of_a_torch_data_set_keeps_its_names_and_is_not_decoded_either() -> None:
    data = Counted()
    part = Subset(Subset(data, list(range(20))), [row for row in range(20) if row % 5])
    stream = mmcl.streams.by_class(part, experiences=2)
    assert data.read == 1
    assert stream.label_space.names == BIRDS
    assert sum(len(p.train) + len(p.test) for p in stream.experiences) == 16
    assert brightness_tells_the_class(stream)


def test_an_image_folder_knows_its_files(tmp_path: Path, cache: Path) -> None:
    stream = mmcl.streams.by_class(ImageFolder(str(folder(tmp_path))), experiences=4)
    assert stream.label_space.names == BIRDS
    assert brightness_tells_the_class(stream)
    (tmp_path / "owl" / "3.png").write_bytes((tmp_path / "owl" / "3.png").read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        check_readable([side for part in stream.experiences for side in (part.train, part.test)])
    assert {side.path(0).parent.name for part in stream.experiences for side in (part.train,)} == set(BIRDS)  # type: ignore[attr-defined]


def test_rows_that_are_dictionaries_take_their_names_from_the_features() -> None:
    stream = mmcl.streams.by_class(Arrow(rows(), list(BIRDS)), experiences=[1, 3])
    assert [len(part.label_space) for part in stream.experiences] == [1, 3]
    assert brightness_tells_the_class(stream)


def test_rows_without_class_names_are_called_by_their_labels() -> None:
    assert mmcl.streams.by_class(Arrow(rows()), experiences=2).label_space.names == ("0", "1", "2", "3")
    assert mmcl.streams.by_class(rows(), experiences=2).label_space.names == ("0", "1", "2", "3")


def test_a_csv_file_brings_captions_domains_and_its_own_split(tmp_path: Path) -> None:
    folder(tmp_path)
    lines = ["image,caption,label,split"]
    for name in BIRDS:
        lines += [f'{name}/{i}.png,"a {name}, on a branch",{name},{"test" if i == 4 else "train"}' for i in range(5)]
    lines[1] = lines[1].replace('"a crow, on a branch"', "")
    (tmp_path / "birds.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    stream = mmcl.streams.by_class(tmp_path / "birds.csv", experiences=2)
    assert stream.modalities == {"image", "text"}
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(8, 2), (8, 2)]
    first, second = stream.experiences[0].train[0], stream.experiences[0].train[1]
    assert set(first.inputs) == {"image"}
    assert second.inputs["text"] == "a crow, on a branch"
    assert stream.experiences[0].train.path(1) == tmp_path / "crow" / "1.png"  # type: ignore[attr-defined]
    assert brightness_tells_the_class(stream)


def test_pairs_may_begin_with_paths_or_texts(tmp_path: Path) -> None:
    folder(tmp_path)
    files = [(str(tmp_path / name / f"{i}.png"), name) for name in BIRDS for i in range(5)]
    assert brightness_tells_the_class(mmcl.streams.by_class(files, experiences=2))
    texts = [(f"{word} {i}", word) for word in ("bad", "good") for i in range(3)]
    stream = mmcl.streams.by_class(texts, experiences=2)
    assert stream.modalities == {"text"}
    assert stream.experiences[0].train[0].inputs["text"].startswith("bad")


def test_tensors_go_to_the_model_as_they_are() -> None:
    data = [(torch.zeros(3, 4, 4), label) for label in (0, 1) for _ in range(3)]
    sample = mmcl.streams.by_class(data, experiences=1).experiences[0].train[0]
    assert sample.finished
    assert sample.inputs["image"].shape == (3, 4, 4)


def test_arrays_and_grey_images_become_rgb() -> None:
    data = [(np.zeros((4, 4), np.uint8), 0), (Image.new("L", (4, 4)), 0), (Image.new("RGBA", (4, 4)), 0)]
    stream = mmcl.streams.by_class(data, data, experiences=1)
    assert {stream.experiences[0].train[i].inputs["image"].mode for i in range(3)} == {"RGB"}


def test_a_tensor_beside_a_raw_value_is_refused() -> None:
    data = [{"image": torch.zeros(3, 4, 4), "text": "crow", "label": 0}] * 3
    with pytest.raises(DataError, match="a tensor for image and raw values for the rest"):
        mmcl.streams.by_class(data, experiences=1).experiences[0].train[0]


def test_class_ids_are_positions_in_the_order() -> None:
    order = ["wren", "crow", "owl", "heron"]
    by_name = mmcl.streams.by_class(Counted(), experiences=2, order=order)
    by_number = mmcl.streams.by_class(Counted(), experiences=2, order=[3, 0, 2, 1])
    for stream in (by_name, by_number):
        assert stream.label_space.names == tuple(order)
        assert stream.label_space.ids == (0, 1, 2, 3)
        assert brightness_tells_the_class(stream)
    assert by_name.metadata == by_number.metadata
    assert by_name.metadata["digest"] != mmcl.streams.by_class(Counted(), experiences=2).metadata["digest"]


def test_til_reveals_the_group_and_nothing_else_changes() -> None:
    cil = mmcl.streams.by_class(Counted(), experiences=2)
    til = mmcl.streams.by_class(Counted(), experiences=2, scenario="TIL")
    assert til.scenario.task_id_known_at_test
    assert not cil.scenario.task_id_known_at_test
    assert til.metadata == cil.metadata


def test_test_data_are_matched_by_class_name() -> None:
    test = Counted(("owl", "wren", "heron"), per_class=2)
    test.__class__ = type("Other", (Counted,), {})
    stream = mmcl.streams.by_class(Counted(), test, experiences=2)
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(10, 2), (10, 4)]
    heron = stream.experiences[0].test[0]
    assert stream.label_space.names[heron.target] == "heron"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"experiences": 5}, "at least one class in every group"),
        ({"experiences": [1, 1]}, "2 classes in all"),
        ({"experiences": 2, "scenario": "DIL"}, "CIL or TIL"),
        ({"experiences": 2, "order": ["crow", "owl"]}, "lacks .*'heron'"),
        ({"experiences": 2, "order": ["crow", "owl", "heron", "emu"]}, "unknown classes .*'emu'"),
        ({"experiences": 2, "order": [0, 0, 1, 2]}, "lacks .*'wren'"),
    ],
)
def test_impossible_orders_and_sizes_are_refused(options: Mapping[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        mmcl.streams.by_class(Counted(), **options)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ([], "no row"),
        (iter([1]), "cannot be read by index"),
        ([{"picture": 1, "label": 0}], "the columns picture, label"),
        ([{"image": 1, "class": 0}], "the columns image, class"),
        ([(picture(0), 0.5)], "labels of type float"),
        ([(picture(0), 0), (picture(1), "one")], "labels of type int, str"),
        (Arrow([{"image": picture(0), "label": -1}] * 2, ["a", "b"]), "the label -1"),
        ([{"image": picture(0), "label": 0, "split": "validation"}], "the split 'validation'"),
    ],
)
def test_data_that_cannot_be_read_are_refused_in_words(data: Any, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        mmcl.streams.by_class(data, experiences=1)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no row below the header"),
        (b"image,label\n", "no row below the header"),
        (b"image,label\na.png,crow,black\n", "line 2 has another number of cells"),
        (b"image,label\na.png\n", "line 2 has another number of cells"),
        (b"image,label\n\xff.png,crow\n", "cannot be read"),
        (b"picture,label\na.png,crow\n", "the columns picture, label"),
    ],
)
def test_a_damaged_csv_file_is_refused_with_its_place(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "birds.csv").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        mmcl.streams.by_class(tmp_path / "birds.csv", experiences=1)


def test_a_missing_csv_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"birds\.csv.*cannot be read"):
        mmcl.streams.by_class(tmp_path / "birds.csv", experiences=1)


# By domain.


def test_domains_share_their_classes_by_name() -> None:
    photo, sketch = Counted(), Counted(("wren", "owl", "heron", "crow"))
    stream = mmcl.streams.by_domain({"photo": photo, "sketch": sketch})
    assert stream.scenario.name == "DIL"
    assert [part.domain for part in stream.experiences] == ["photo", "sketch"]
    assert stream.experiences[0].label_space == stream.experiences[1].label_space
    wren = stream.experiences[1].train[0]
    assert stream.label_space.names[wren.target] == "wren"
    assert wren.task_id == 1


def test_domains_with_other_classes_are_refused_and_the_classes_named() -> None:
    with pytest.raises(DataError, match=r"'sketch' lacks 'heron', 'wren' and has 'emu' in addition.*'photo'"):
        mmcl.streams.by_domain({"photo": Counted(), "sketch": Counted(("crow", "owl", "emu"))})


def test_a_column_may_name_the_domain() -> None:
    data = rows(domain="photo") + rows(domain="sketch")
    stream = mmcl.streams.by_domain(data)
    assert [(part.name, len(part.train), len(part.test)) for part in stream.experiences] == [
        ("photo", 16, 4),
        ("sketch", 16, 4),
    ]
    renamed = [{**row, "style": row["domain"]} for row in data]
    assert len(mmcl.streams.by_domain(renamed, domain="style").experiences) == 2


def test_without_domains_there_is_no_such_stream() -> None:
    with pytest.raises(DataError, match="no column 'domain'"):
        mmcl.streams.by_domain(rows())


def test_test_data_are_needed_for_every_domain_or_for_none() -> None:
    data = {"photo": Counted(), "sketch": Counted()}
    with pytest.raises(DataError, match="test data by domain"):
        mmcl.streams.by_domain(data, {"photo": Counted()})
    stream = mmcl.streams.by_domain(data, {name: Counted(per_class=2) for name in data})
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(20, 8), (20, 8)]


# By task.


def test_tasks_keep_their_own_classes() -> None:
    stream = mmcl.streams.by_task([Counted(), Counted(("crow", "emu"))])
    assert stream.scenario.name == "TIL"
    assert [part.name for part in stream.experiences] == ["task 1", "task 2"]
    assert [part.label_space.ids for part in stream.experiences] == [(0, 1, 2, 3), (4, 5)]
    assert stream.experiences[1].train[0].target == 4


def test_tasks_of_different_modalities_make_an_mdtil_stream() -> None:
    texts = [{"text": f"{word} {i}", "label": word} for word in ("bad", "good") for i in range(4)]
    both = [{**row, "text": "a bird"} for row in rows()]
    stream = mmcl.streams.by_task({"birds": Counted(), "reviews": texts, "captions": both})
    assert stream.scenario.name == "MDTIL"
    assert [sorted(part.modalities) for part in stream.experiences] == [["image"], ["text"], ["image", "text"]]


def test_test_data_of_another_make_are_refused() -> None:
    with pytest.raises(DataError, match="the modalities text"):
        mmcl.streams.by_class(Counted(), [("crow", "crow")] * 3, experiences=2)


def test_a_test_class_that_training_lacks_is_refused() -> None:
    with pytest.raises(DataError, match="the class 'emu'"):
        mmcl.streams.by_class(Counted(), Counted(("crow", "emu")), experiences=2)


# Both ends of the journey.


def test_a_stream_of_own_data_runs_and_names_its_edition(tmp_path: Path, cache: Path) -> None:
    stream = mmcl.streams.by_class(Counted(), experiences=2, name="birds", training={"iterations": 2, "batch_size": 4})
    result = mmcl.run(benchmark=stream, out=str(tmp_path / "run"), quiet=True)
    assert result.results["edition"] == "own"
    assert result.matrix.shape == (3, 2)
    assert "own edition" in (result.folder / "report.md").read_text("utf-8")


def test_importing_the_functions_names_costs_nothing() -> None:
    check = "import sys, mmcl; import mmcl.streams; assert 'torch' not in sys.modules; mmcl.streams.by_class"
    subprocess.run([sys.executable, "-c", check], check=True)
    with pytest.raises(AttributeError, match="by_class, by_domain, by_task"):
        _ = mmcl.streams.by_magic


def test_every_refusal_is_one_of_ours() -> None:
    with pytest.raises(MMCLError):
        mmcl.streams.by_task([])
