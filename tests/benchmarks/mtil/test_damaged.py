"""MTIL over damaged, incomplete and hostile folders: always a sentence about the data, never a stray exception."""

import gzip
import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmcl_benchmarks.copies.edition import Edition, read_edition
from mmcl_benchmarks.formats.matlab import read_matlab
from mmcl_benchmarks.formats.packed import read_idx
from mmcl_benchmarks.formats.pickled import read_pickled_dictionary
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.mtil import layouts
from mmcl_benchmarks.mtil.benchmark import MTIL
from mmcl_benchmarks.mtil.sources import ORIGINS
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from mmcl.errors import DataError
from mmcl.streams.benchmark import Benchmark

DIGITS = np.arange(4 * 28 * 28).astype(np.uint8).reshape(4, 28, 28)
VARIANTS = "fgvc-aircraft-2013b/data/images_variant_train.txt"
FOOD = "food-101/meta/train.json"
PETS = "oxford-iiit-pet/annotations/trainval.txt"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The first five data sets of order 2 and the first of order 1, two classes each, not to be taken as official."""
    grey = [[Image.new("RGB", (8, 8), "grey")] * 2] * 2
    for write in (
        layouts.write_aircraft,
        layouts.write_cars,
        layouts.write_food101,
        layouts.write_pets,
        layouts.write_flowers,
    ):
        write(tmp_path, Drawn(["first", "second"], grey, grey))
    layouts.write_mnist(tmp_path, (DIGITS, np.arange(4)), (DIGITS[:2], np.arange(2)))
    (tmp_path / "edition.json").write_text(json.dumps({"edition": "miniature"}))
    return tmp_path


def build(root: Path) -> list[Benchmark]:
    return [
        MTIL(data_root=str(root), experiences=1).build(),
        MTIL(data_root=str(root), order=2, experiences=5).build(),
    ]


METADATA = {
    VARIANTS: "Aircraft",
    "fgvc-aircraft-2013b/data/variants.txt": "Aircraft",
    "stanford_cars/devkit/cars_train_annos.mat": "StanfordCars",
    "stanford_cars/devkit/cars_meta.mat": "StanfordCars",
    "stanford_cars/cars_test_annos_withlabels.mat": "StanfordCars",
    FOOD: "Food",
    "MNIST/raw/train-images-idx3-ubyte": "MNIST",
    "MNIST/raw/t10k-labels-idx1-ubyte": "MNIST",
    PETS: "OxfordPet",
    "flowers-102/imagelabels.mat": "Flowers",
    "flowers-102/setid.mat": "Flowers",
}
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "noise": lambda content: bytes(range(255, 0, -1)),
    "another": lambda content: b"[1]",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("file", METADATA)
def test_damaged_metadata_are_refused_with_the_name_of_the_data_set(
    root: Path, file: str, damage: Callable[[bytes], bytes]
) -> None:
    (root / file).write_bytes(damage((root / file).read_bytes()))
    with pytest.raises(DataError, match=f"data set {METADATA[file]}.*cannot be read"):
        build(root)


def food(content: object) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / FOOD).write_text(json.dumps(content), encoding="utf-8")

    return spoil


def names_of_flowers(content: object) -> Callable[[Path], None]:
    def spoil(root: Path) -> None:
        (root / "flowers-102/cat_to_name.json").write_text(json.dumps(content), encoding="utf-8")

    return spoil


def matrix(file: str, **content: object) -> Callable[[Path], None]:
    return lambda root: savemat(root / file, content)


CARS, LABELS = "stanford_cars/devkit/cars_train_annos.mat", "flowers-102/imagelabels.mat"
STRUCTURES = {
    "a number for files": ("Food", "no list of texts", food({"first": 3, "second": []})),
    "numbers for files": ("Food", "no list of texts", food({"first": [3], "second": []})),
    "a list of classes": ("Food", "holds a list", food(["first"])),
    "text for labels": ("Flowers", "holds no list .labels.", matrix(LABELS, labels="one")),
    "half a label": ("Flowers", "no list of whole", matrix(LABELS, labels=[1.5, 2])),
    "no labels": ("Flowers", "holds no list 'labels'", matrix(LABELS, other=[1, 2])),
    "image 0": ("Flowers", "KeyError: 0", matrix("flowers-102/setid.mat", trnid=[0, 1], tstid=[2, 3])),
    "a list of names": ("Flowers", "holds a list", names_of_flowers(["first", "second"])),
    "a number for a name": ("Flowers", "no list of texts", names_of_flowers({"1": "first", "2": 2})),
    "no structure": ("StanfordCars", "cannot be read", matrix(CARS, annotations=[1, 2])),
    "numbers for names": (
        "StanfordCars",
        "class_names",
        matrix("stanford_cars/devkit/cars_meta.mat", class_names=[1, 2]),
    ),
}


@pytest.mark.parametrize(("data_set", "sentence", "spoil"), STRUCTURES.values(), ids=STRUCTURES)
def test_files_that_hold_something_else_are_refused_in_a_sentence(
    root: Path, data_set: str, sentence: str, spoil: Callable[[Path], None]
) -> None:
    spoil(root)
    with pytest.raises(DataError, match=f"data set {data_set}.*{sentence}"):
        build(root)


def test_a_cut_matrix_is_refused_at_any_length(root: Path) -> None:
    path = root / CARS
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cars_train_annos\.mat"):
            read_matlab(path, "annotations")


@pytest.mark.parametrize("fault", [AttributeError("no attribute"), TypeError("wrong type"), ImportError("no module")])
def test_a_fault_of_a_program_is_not_blamed_on_the_data(
    root: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise fault

    monkeypatch.setattr(datasets, "FGVCAircraft", broken)
    with pytest.raises(type(fault), match=str(fault)):
        MTIL(data_root=str(root), experiences=1).build()


@pytest.mark.parametrize("file", METADATA)
def test_missing_metadata_are_refused_with_the_name_of_the_data_set(root: Path, file: str) -> None:
    (root / file).unlink()
    with pytest.raises(DataError, match=f"data set {METADATA[file]}.*cannot be read"):
        build(root)


@pytest.mark.parametrize(
    ("file", "entry", "hostile"),
    [
        (VARIANTS, "0000001", "../../../outside"),
        (VARIANTS, "0000001", "/outside"),
        (FOOD, "first/1", "../../outside"),
        (PETS, "first_1", "../../outside_1"),
        (PETS, "first_1", "/outside_1"),
    ],
)
def test_a_list_that_leads_out_of_the_folder_is_refused(root: Path, file: str, entry: str, hostile: str) -> None:
    text = (root / file).read_text()
    assert entry in text
    (root / file).write_text(text.replace(entry, hostile, 1))
    with pytest.raises(DataError, match="leads out of the folder"):
        build(root)


def test_a_root_given_with_dots_is_no_escape(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root / "MNIST")
    assert [len(benchmark.experiences) for benchmark in build(Path(".."))] == [1, 5]


def test_compressed_mnist_reads_the_same(root: Path) -> None:
    plain = build(root)[1]
    for path in sorted((root / "MNIST" / "raw").iterdir()):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    compressed = build(root)[1]
    assert compressed.metadata == plain.metadata
    image = compressed.experiences[2].train[3].inputs["image"]
    assert np.array_equal(np.asarray(image)[..., 0], DIGITS[3])


def test_a_cut_compressed_file_is_named(root: Path) -> None:
    path = root / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes())[:-20])
    path.unlink()
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte\.gz"):
        read_idx(path, 3)


@pytest.mark.parametrize("shape", [(2**31, 28, 28), (3_000_000, 32, 32), (2**32 - 1,) * 3])
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_claims_gigabytes_is_refused_before_they_are_read(
    tmp_path: Path, shape: tuple[int, ...], compressed: bool
) -> None:
    head = bytes((0, 0, 8, 3)) + b"".join(side.to_bytes(4, "big") for side in shape)
    path = tmp_path / "train-images-idx3-ubyte"
    if compressed:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(head + bytes(2**20)))
    else:
        path.write_bytes(head)
    with pytest.raises(ValueError, match=r"train-images-idx3-ubyte.*claims \d+ bytes of values; MNIST's largest"):
        read_idx(path, 3)


def test_more_values_than_announced_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(bytes((0, 0, 8, 1, 0, 0, 0, 2, 5, 6, 7)))
    with pytest.raises(ValueError, match="more than 2 bytes of values instead of 2"):
        read_idx(tmp_path / "labels", 1)


@pytest.mark.parametrize("content", [b"", b"\x80\x02]q\x00.", b"\x80\x02}q\x00(U", pickle.dumps(Path("x"))])
def test_a_file_that_is_no_cifar_dictionary_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta").write_bytes(content)
    with pytest.raises(ValueError, match="meta: "):
        read_pickled_dictionary(tmp_path / "meta")


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ("", "not valid JSON"),
        ("[1]", "a list"),
        ('{"editon": "x"}', "Did you mean 'edition'"),
        ('{"edition": 3}', "edition = 3"),
        ('{"training": []}', "of type dict"),
        ('{"templates": {"Aircarft": ["{}"]}}', "Did you mean 'Aircraft'"),
        ('{"templates": {"DTD": []}}', "templates of DTD"),
        ('{"templates": {"DTD": "the {}"}}', "templates of DTD"),
        ('{"templates": {"DTD": ["no place for a name"]}}', "exactly one"),
        ('{"templates": {"DTD": ["{} and {}"]}}', "exactly one"),
        ('{"templates": {"DTD": ["{} {name}"]}}', "exactly one"),
        ('{"names": {"DTD": []}}', "names of DTD"),
        ('{"names": {"DTD": ["banded", 3]}}', "names of DTD"),
    ],
)
def test_a_wrong_edition_file_is_refused_with_its_path(tmp_path: Path, said: str, sentence: str) -> None:
    (tmp_path / "edition.json").write_text(said)
    with pytest.raises(DataError, match=sentence) as refusal:
        read_edition(tmp_path, ORIGINS)
    assert "edition.json" in str(refusal.value)


def test_without_the_file_the_folder_is_official(tmp_path: Path) -> None:
    edition = read_edition(tmp_path, ORIGINS)
    assert (edition.name, edition.synthetic, edition.templates, edition.training) == ("official", False, {}, {})


def test_the_edition_file_replaces_templates_and_training(root: Path) -> None:
    said = {"edition": "x", "synthetic": True, "templates": {"Aircraft": ["one {}", "two {}"]}, "training": {"lr": 1}}
    (root / "edition.json").write_text(json.dumps(said))
    benchmark = build(root)[0]
    assert (benchmark.edition, benchmark.metadata["synthetic"], benchmark.training["lr"]) == ("x", True, 1)
    assert benchmark.experiences[0].label_space.classes[0].prompts == ("one first", "two first")
    assert not benchmark.experiences[0].training


def test_steps_of_an_edition_replace_the_epochs_of_the_protocol_and_its_own() -> None:
    edition = Edition(training={"iterations": 60, "epochs": 1, "lr": 1e-3})
    assert edition.settings({"epochs": 5, "lr": 1e-4, "weight_decay": 0.05}) == {
        "iterations": 60,
        "lr": 1e-3,
        "weight_decay": 0.05,
    }
    assert Edition(training={"epochs": 3}).settings({"iterations": 1001}) == {"epochs": 3}
    assert Edition().settings({"iterations": 1001}) == {"iterations": 1001}
