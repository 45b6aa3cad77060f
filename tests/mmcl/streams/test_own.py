"""Own data become streams, whatever make they are of, and what a scenario promises is checked at once."""

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
from mmcl.remarks import Remark
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.grouping import class_groups, group_names, group_sizes, rows_by_group

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


# By class, from every make of data set.


def test_rows_of_a_torch_data_set_are_read_once_and_labels_apart_from_them() -> None:
    data = Counted()
    stream = mmcl.streams.by_class(data, experiences=2)
    assert data.read == len(data) + 2  # the first row also says what the data are
    assert stream.scenario.name == "CIL"
    assert [part.name for part in stream.experiences] == ["classes 1-2", "classes 3-4"]
    assert [part.label_space.names for part in stream.experiences] == [("crow", "heron"), ("owl", "wren")]
    assert [(len(part.train), len(part.test)) for part in stream.experiences] == [(8, 2), (8, 2)]
    assert brightness_tells_the_class(stream)


def test_a_subset_of_a_torch_data_set_keeps_its_names() -> None:
    data = Counted()
    part = Subset(Subset(data, list(range(20))), [row for row in range(20) if row % 5])
    stream = mmcl.streams.by_class(part, experiences=2)
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


def test_tensors_that_are_said_to_be_ready_go_to_the_model_as_they_are() -> None:
    data = [(torch.zeros(3, 4, 4), label) for label in (0, 1) for _ in range(3)]
    sample = mmcl.streams.by_class(data, experiences=1, ready=True).experiences[0].train[0]
    assert sample.finished
    assert sample.inputs["image"].shape == (3, 4, 4)


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 4, 4), torch.zeros(4, 4), torch.zeros(5, 4, 4, dtype=torch.uint8), torch.tensor(1)]
)
def test_a_tensor_that_may_have_been_preprocessed_is_refused_until_somebody_says_so(image: torch.Tensor) -> None:
    for data in ([(image, 0)] * 3, [{"image": image, "label": 0}] * 3):
        with pytest.raises(DataError, match=r"an image that is a tensor.*transform.*ready=True"):
            mmcl.streams.by_class(data, experiences=1)
    later = [(picture(0), 0), (picture(1), 0), (image, 0)]
    samples = mmcl.streams.by_class(later, later, experiences=1).experiences[0].train
    with pytest.raises(DataError, match=r"sample own/.*an image that is a tensor"):
        _ = [samples[index] for index in range(3)]


@pytest.mark.parametrize("shape", [(3, 4, 6), (1, 4, 6), (4, 6)])
def test_a_tensor_of_pixels_is_a_picture(shape: tuple[int, ...]) -> None:
    pixels = torch.arange(int(np.prod(shape)), dtype=torch.uint8).reshape(shape)
    data = [(pixels, 0), (pixels + 1, 0)]
    sample = mmcl.streams.by_class(data, data, experiences=1).experiences[0].train[0]
    shown = np.asarray(sample.inputs["image"])
    assert not sample.finished
    assert shown.shape == (4, 6, 3)
    wanted = pixels.expand(3, 4, 6).movedim(0, -1).numpy()
    assert (shown == wanted).all() or (shown == wanted + 1).all()


def test_windows_of_sensors_are_prepared_by_the_backbone_until_they_are_said_to_be_ready() -> None:
    data = [{"acceleration": torch.full((3, 8), float(i)), "label": i % 2} for i in range(8)]
    assert not mmcl.streams.by_class(data, experiences=1).experiences[0].train[0].finished
    assert mmcl.streams.by_class(data, experiences=1, ready=True).experiences[0].train[0].finished


def test_a_raw_value_in_data_that_are_said_to_be_ready_is_refused() -> None:
    data = [{"image": torch.zeros(3, 4, 4), "text": "crow", "label": 0}] * 3
    with pytest.raises(DataError, match="a value of type str for text, though the data are said to be ready"):
        mmcl.streams.by_class(data, experiences=1, ready=True).experiences[0].train[0]


def test_arrays_and_grey_images_become_rgb() -> None:
    data = [(np.zeros((4, 4), np.uint8), 0), (Image.new("L", (4, 4)), 0), (Image.new("RGBA", (4, 4)), 0)]
    stream = mmcl.streams.by_class(data, data, experiences=1)
    assert {stream.experiences[0].train[i].inputs["image"].mode for i in range(3)} == {"RGB"}


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
        ([{"image": picture(0), "label": 0, "split": "both"}], "row 0: the split 'both'"),
        ([{"image": picture(0), "label": 0, "split": "test"}], "no row for training"),
        ([(picture(0), 0), (picture(1), None)], "row 1: no label"),
        ([(picture(0), torch.tensor([0, 1]))], "labels of type Tensor"),
        ([[{"image": picture(0), "label": 0}]] * 2, "a list of data sets"),
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
        (b"PK\0\0", "it is no text"),
        (b"image,image,label\na.png,b.png,crow\n", "several columns that are called 'image'"),
        (b"picture,label\na.png,crow\n", "the columns picture, label"),
    ],
)
def test_a_damaged_csv_file_is_refused_with_its_place(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "birds.csv").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        mmcl.streams.by_class(tmp_path / "birds.csv", experiences=1)


def test_a_missing_csv_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"birds\.csv: no such file or folder"):
        mmcl.streams.by_class(tmp_path / "birds.csv", experiences=1)


# A class is an id with a name.


class Numbered(Counted):
    """Four classes by number, of which two may be called alike."""

    def __init__(self, classes: tuple[str, ...] = ("crane", "fox", "crane", "owl"), labels: Any = range(4)) -> None:
        super().__init__(classes)
        self.targets = [label for label in labels for _ in range(5)]


@pytest.mark.parametrize("other", ["crane", "Crane", "crane_"])
def test_two_classes_of_one_name_are_refused_with_both_numbers(other: str) -> None:
    data = Numbered(("crane", "fox", other, "owl"))
    for make in (
        lambda: mmcl.streams.by_class(data, experiences=2),
        lambda: mmcl.streams.by_class(Numbered(BIRDS), data, experiences=2),
        lambda: mmcl.streams.by_task([data]),
        lambda: mmcl.streams.by_domain({"photo": data, "sketch": data}),
        lambda: mmcl.streams.by_class(Arrow(rows(), ["crane", "fox", other, "owl"]), experiences=2),
    ):
        with pytest.raises(DataError, match="the classes 0 and 2 are both called 'crane'"):
            make()


def test_names_that_no_row_has_are_left_out_whatever_they_are() -> None:
    for make in (
        lambda: mmcl.streams.by_class(Numbered(labels=(1, 3)), experiences=2),
        lambda: mmcl.streams.by_task([Numbered(labels=(1, 3))]),
        lambda: mmcl.streams.by_domain({"photo": Numbered(labels=(1, 3))}),
    ):
        with pytest.warns(Remark, match="the classes 'crane', 'crane' have no row"):
            stream = make()
        assert stream.label_space.names == ("fox", "owl")
        assert {target for part in stream.experiences for target in part.train.targets} == {0, 1}  # type: ignore[attr-defined]
        assert brightness_of_the_names(stream) == {"fox": {1}, "owl": {3}}
        assert any("have no row" in sentence for sentence in stream.remarks)


def brightness_of_the_names(stream: Benchmark) -> dict[str, set[int]]:
    """Which pictures the classes show, by name."""
    shown: dict[str, set[int]] = {}
    for data in stream.experiences:
        for side in (data.train, data.test):
            for sample in (side[index] for index in range(len(side))):
                name = stream.label_space.names[stream.label_space.ids.index(sample.target)]
                shown.setdefault(name, set()).add(int(np.asarray(sample.inputs["image"]).mean() - 40) // 50)
    return shown


def test_an_order_names_the_classes_as_people_read_them_and_may_name_those_without_rows() -> None:
    order = ["OWL ", "emu", "Crow", "heron"]
    stream = mmcl.streams.by_class(Counted(("crow", "heron", "owl", "emu")), experiences=2, order=order)
    assert stream.label_space.names == ("owl", "emu", "crow", "heron")
    few = Numbered(BIRDS, labels=(0, 2))
    assert mmcl.streams.by_class(few, experiences=2, order=[3, 2, 1, 0]).label_space.names == ("owl", "crow")


def test_test_classes_are_found_in_any_order_and_spelling() -> None:
    test = Counted(("Red_Fox", "OWL", "heron"), per_class=2)
    stream = mmcl.streams.by_class(Counted(("heron", "owl", "red fox")), test, experiences=1)
    assert stream.label_space.names == ("heron", "owl", "red fox")
    held = stream.experiences[0].test
    shown = {s.target: s.inputs["image"].getpixel((0, 0))[0] for s in map(held.__getitem__, range(len(held)))}
    assert shown == {2: 40, 1: 90, 0: 140}


def test_a_class_that_only_the_test_rows_have_is_refused_also_where_it_is_declared() -> None:
    with pytest.raises(DataError, match="the class 'fox', which the training data lack"):
        mmcl.streams.by_class(Numbered(BIRDS, (0, 2)), Counted(("crow", "fox", "owl")), experiences=1)
    with pytest.raises(DataError, match="the class 'heron', which the training data lack"):
        mmcl.streams.by_class(Numbered(BIRDS, (0, 2)), Counted(), experiences=1)
    one_table = [{**row, "split": "test" if row["label"] == 3 else "train"} for row in rows()] + [
        {"image": picture(0), "label": 0, "split": "test"}
    ]
    with pytest.raises(DataError, match="the class '3', which the training data lack"):
        mmcl.streams.by_class(one_table, experiences=1)


def test_labels_that_people_read_as_one_are_refused_with_both_spellings() -> None:
    data = [(picture(i % 3), ("Dog", "cat", "dog ")[i % 3]) for i in range(12)]
    with pytest.raises(DataError, match=r"the labels 'Dog' \(4 rows\) and 'dog ' \(4 rows\)"):
        mmcl.streams.by_class(data, experiences=1)
    dictionaries = [{"image": image, "label": label, "domain": "photo"} for image, label in data if label != "dog "]
    with pytest.raises(DataError, match=r"the domains 'Photo' \(1 rows\) and 'photo' \(8 rows\)"):
        mmcl.streams.by_domain([*dictionaries, {"image": picture(0), "label": "cat", "domain": "Photo"}])


def test_a_list_of_synonyms_is_one_name() -> None:
    data = Counted()
    data.classes = [("crow", "Corvus"), ("heron",), "owl", "wren"]  # type: ignore[list-item]
    assert mmcl.streams.by_class(data, experiences=1).label_space.names == ("crow, Corvus", "heron", "owl", "wren")


# Templates, where they are written.


@pytest.mark.parametrize("templates", [["a photo"], ["a {} of {}"], [], [3], ["a {.__class__}"]])
def test_templates_without_one_place_are_refused_before_anything_is_read(templates: Any) -> None:
    data = Counted()
    for make in (
        lambda: mmcl.streams.by_class(data, experiences=2, templates=templates),
        lambda: mmcl.streams.by_task([data], templates=templates),
        lambda: mmcl.streams.by_domain({"photo": data}, templates=templates),
    ):
        with pytest.raises(ConfigError, match="templates"):
            make()
    assert not data.read


@pytest.mark.parametrize("templates", ["the bird {}", ["the bird {c}"], [lambda c: f"the bird {c}"]])
def test_templates_whose_meaning_is_clear_are_taken(templates: Any) -> None:
    for stream in (
        mmcl.streams.by_class(Counted(), experiences=2, templates=templates),
        mmcl.streams.by_task([Counted()], templates=templates),
        mmcl.streams.by_domain({"photo": Counted()}, templates=templates),
    ):
        assert [label.prompts for label in stream.label_space] == [(f"the bird {name}",) for name in BIRDS]


# The order of rows is nothing.


def contents(stream: Benchmark) -> dict[str, list[list[tuple[str, int, bytes]]]]:
    """Everything a run reads of a stream."""
    return {
        part.name: [
            [(s.sample_id, s.target, s.inputs["image"].tobytes()) for s in (side[i] for i in range(len(side)))]
            for side in (part.train, part.test)
        ]
        for part in stream.experiences
    }


@pytest.mark.parametrize("seed", range(3))
def test_the_same_rows_in_another_order_are_the_same_stream(tmp_path: Path, seed: int) -> None:
    order = torch.randperm(40, generator=torch.Generator().manual_seed(seed)).tolist()
    pairs = [(picture(i % 4, i // 4), BIRDS[i % 4]) for i in range(40)]
    dictionaries = [{"image": image, "label": label, "text": label} for image, label in pairs]
    (tmp_path / "pictures").mkdir()
    for i, (image, _) in enumerate(pairs):
        image.save(tmp_path / "pictures" / f"{i}.png")
    files = [(str(tmp_path / "pictures" / f"{i}.png"), label) for i, (_, label) in enumerate(pairs)]
    for data in (pairs, dictionaries, files):
        moved = [data[i] for i in order]
        for make in (
            lambda rows_: mmcl.streams.by_class(rows_, experiences=2),
            lambda rows_: mmcl.streams.by_class(rows_, rows_, experiences=2),
            lambda rows_: mmcl.streams.by_task({"a": rows_}),
            lambda rows_: mmcl.streams.by_domain({"a": rows_}),
        ):
            stream, other = make(data), make(moved)
            assert contents(stream) == contents(other)
            assert stream.metadata == other.metadata


def test_a_csv_file_and_a_folder_are_the_same_stream_wherever_they_lie_and_however_listed(tmp_path: Path) -> None:
    found = []
    for place in ("here", "there"):
        folder(tmp_path / place, per_class=10)
        lines = [f"{name}/{i}.png,{name}" for name in BIRDS for i in range(10)]
        text = "\n".join(["image,label", *(lines if place == "here" else reversed(lines))])
        (tmp_path / place / "birds.csv").write_text(text, "utf-8")
        found.append(contents(mmcl.streams.by_class(tmp_path / place / "birds.csv", experiences=2)))
        found.append(contents(mmcl.streams.by_class(ImageFolder(str(tmp_path / place)), experiences=2)))
    assert found[0] == found[2]
    assert found[1] == found[3]
    assert found[0]["classes 1-2"][1][0][0].startswith("own/crow/")


def test_a_random_transform_of_the_data_set_does_not_draw_the_split() -> None:
    class Jittered(Counted):
        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            shade = 40 + 50 * self.targets[index] + index % 5 + int(torch.randint(20, ()))
            return Image.new("RGB", (4, 4), (shade,) * 3), self.targets[index]

    digests = [mmcl.streams.by_class(Jittered(), experiences=2).metadata["digest"] for _ in range(2)]
    assert digests[0] == digests[1]


def test_domains_arrive_as_they_first_occur_or_in_the_order_that_is_given() -> None:
    data = rows(domain="sketch") + rows(domain="photo")
    assert [part.name for part in mmcl.streams.by_domain(data).experiences] == ["sketch", "photo"]
    ordered = mmcl.streams.by_domain(data, order=["photo", "sketch"])
    assert [(part.name, part.train[0].task_id) for part in ordered.experiences] == [("photo", 0), ("sketch", 1)]
    assert contents(ordered) == contents(mmcl.streams.by_domain(data[::-1], order=["photo", "sketch"]))
    with pytest.raises(ConfigError, match=r"order of domains: 'photo'\. Allowed: each of 'sketch', 'photo' once"):
        mmcl.streams.by_domain(data, order=["photo"])


# Columns.


def test_columns_say_what_they_hold_on_every_way_in(tmp_path: Path) -> None:
    data = [{"img": picture(i % 4, i), "emg": np.full(3, i), "label": BIRDS[i % 4]} for i in range(20)]
    said = {"img": "image", "emg": "emg"}
    for stream in (
        mmcl.streams.by_class(data, experiences=2, columns=said),
        mmcl.streams.by_task([data], columns=said),
        mmcl.streams.by_domain({"photo": data}, columns=said),
    ):
        assert stream.modalities == {"image", "emg"}
        assert stream.remarks == ()
        assert set(stream.experiences[0].train[0].inputs) == {"image", "emg"}
    folder(tmp_path)
    lines = [f"{name}/{i}.png,{name},a {name}" for name in BIRDS for i in range(5)]
    (tmp_path / "birds.csv").write_text("\n".join(["path,label,caption", *lines]), "utf-8")
    stream = mmcl.streams.by_class(tmp_path / "birds.csv", experiences=2, columns={"path": "image"})
    assert stream.modalities == {"image", "text"}
    assert brightness_tells_the_class(stream)


def test_a_column_that_is_neither_used_nor_declared_is_said(tmp_path: Path) -> None:
    lines = [f"{name}/{i}.png,{name},a {name} {i}" for name in BIRDS for i in range(5)]
    (tmp_path / "birds.csv").write_text("\n".join(["path,label,caption", *lines]), "utf-8")
    with pytest.warns(Remark, match=r"the columns 'path' are not used. .*columns=\{'path': 'image'\}"):
        stream = mmcl.streams.by_class(tmp_path / "birds.csv", experiences=2)
    assert len(stream.remarks) == 1
    assert not mmcl.streams.by_class(tmp_path / "birds.csv", experiences=2, columns={"path": None}).remarks
    windows = [{"acceleration": np.zeros(3) + i, "emg": np.zeros(2), "label": i % 2} for i in range(8)]
    with pytest.warns(Remark, match="the columns 'emg' are not used"):
        assert mmcl.streams.by_task([windows]).modalities == {"acceleration"}
    with pytest.warns(Remark, match="the columns 'domain' are not used"):
        mmcl.streams.by_class(rows(domain="photo"), experiences=2)
    assert not mmcl.streams.by_domain(rows(domain="photo")).remarks


def test_a_remark_about_the_data_is_kept_with_the_run(tmp_path: Path, cache: Path) -> None:
    data = [{**row, "source": "web"} for row in rows()]
    stream = mmcl.streams.by_class(data, experiences=2, training={"iterations": 10, "batch_size": 4})
    result = mmcl.run(benchmark=stream, out=str(tmp_path / "run"), quiet=True)
    assert any("the columns 'source' are not used" in sentence for sentence in result.results["remarks"])


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"imgage": "image"}, "columns: the column 'imgage'"),
        ({"extra": "image"}, "the columns 'image', 'extra', which are all image.*columns="),
        ({"image": None}, "the columns image, extra, label"),
    ],
)
def test_columns_that_cannot_be_meant_are_refused(columns: dict[str, str | None], sentence: str) -> None:
    with pytest.raises(MMCLError, match=sentence):
        mmcl.streams.by_class(
            [{"image": picture(0), "extra": picture(1), "label": 0}] * 4, experiences=1, columns=columns
        )
    with pytest.raises(ConfigError, match="pairs, which have no columns"):
        mmcl.streams.by_class(Counted(), experiences=2, columns=columns)


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
    report = (result.folder / "report.md").read_text("utf-8")
    assert "own data" in report
    assert "official" not in report


def test_a_function_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(AttributeError, match="by_class, by_column, by_domain, by_task, of_pairs"):
        _ = mmcl.streams.by_magic


def test_every_refusal_is_one_of_ours() -> None:
    with pytest.raises(MMCLError):
        mmcl.streams.by_task([])
