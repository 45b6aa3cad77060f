"""MTIL: official layouts, splits, names and templates; and an embedded edition that speaks the same formats."""

import filecmp
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcl_benchmarks.formats.cifar100_files import write_cifar100
from mmcl_benchmarks.glyphs import sets
from mmcl_benchmarks.glyphs.drawing import coverage
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.symbols import HELD_OUT_FONTS, held_out_symbols, seen_symbols
from mmcl_benchmarks.mtil import layouts
from mmcl_benchmarks.mtil.benchmark import MTIL, ORDERS
from mmcl_benchmarks.mtil.embedded import DIGITS_TEST, DIGITS_TRAIN, write_mtil
from mmcl_benchmarks.mtil.prompts import FLOWERS, TEMPLATES
from mmcl_benchmarks.mtil.sources import ORIGINS
from PIL import Image
from torchvision import datasets

from mmcl.data.names import plain_name
from mmcl.data.readable import check_readable
from mmcl.errors import ConfigError, DataError
from mmcl.streams.benchmark import Benchmark

TRAIN, TEST = 5, 3
NAMES = {
    "Aircraft": ["707-320", "727-200", "737-200"],
    "Caltech101": ["Faces", "accordion", "yin_yang"],
    "CIFAR100": ["apple", "aquarium_fish", "baby"],
    "DTD": ["banded", "blotchy", "polka-dotted"],
    "EuroSAT": ["AnnualCrop", "Forest", "SeaLake"],
    "Food": ["apple_pie", "baby_back_ribs", "baklava"],
    "OxfordPet": ["Abyssinian", "american_bulldog", "great_pyrenees"],
    "StanfordCars": ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Acura TL Sedan 2012"],
    "SUN397": ["abbey", "airplane_cabin", "apartment_building/outdoor"],
}
WRITERS = {
    "Aircraft": layouts.write_aircraft,
    "Caltech101": layouts.write_caltech101,
    "CIFAR100": write_cifar100,
    "DTD": layouts.write_dtd,
    "EuroSAT": layouts.write_eurosat,
    "Food": layouts.write_food101,
    "OxfordPet": layouts.write_pets,
    "StanfordCars": layouts.write_cars,
    "SUN397": layouts.write_sun397,
}


def shade(label: int, number: int) -> Image.Image:
    """An image whose brightness tells the class, through JPEG and back."""
    return Image.new("RGB", (20, 16), (40 + 80 * label + number,) * 3)


def drawn(names: list[str]) -> Drawn:
    train = [[shade(label, i) for i in range(TRAIN)] for label in range(len(names))]
    test = [[shade(label, 10 + i) for i in range(TEST)] for label in range(len(names))]
    return Drawn(names, train, test)


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Miniatures with the first names of the true class lists; Flowers without the companion file of names."""
    root = tmp_path_factory.mktemp("official")
    for name, write in WRITERS.items():
        write(root, drawn(NAMES[name]))
    layouts.write_flowers(root, drawn(["pink primrose", "hard-leaved pocket orchid", "canterbury bells"]))
    (root / "flowers-102" / "cat_to_name.json").unlink()
    digits = np.full((6, 28, 28), 0, np.uint8) + np.arange(6, dtype=np.uint8)[:, None, None] * 40
    layouts.write_mnist(root, (digits, np.arange(6)), (digits[:3], np.arange(3)))
    return root


@pytest.fixture(scope="module")
def benchmark(official: Path) -> Benchmark:
    with pytest.warns(UserWarning, match="not comparable with published ones"):
        return MTIL(data_root=str(official)).build()


def test_every_data_set_is_read_from_its_official_layout(benchmark: Benchmark) -> None:
    assert [data.name for data in benchmark.experiences] == list(ORIGINS)
    for data in benchmark.experiences:
        if data.name in ("Caltech101", "EuroSAT", "SUN397"):
            sizes = 19, 5
        elif data.name == "MNIST":
            sizes = 6, 3
        else:
            sizes = 15, 9
        assert (len(data.train), len(data.test)) == sizes, data.name


def test_few_shots_are_trained_for_half_as_many_steps(official: Path, benchmark: Benchmark) -> None:
    with pytest.warns(UserWarning, match="not comparable with published ones"):
        few = MTIL(data_root=str(official), shots=2).build()
    assert few.training == {**benchmark.training, "iterations": 501}
    assert {len(data.train) for data in few.experiences} == {6}, "two of each of three classes; MNIST has one of six"


def test_what_a_reader_reads_is_not_said_to_be_left_out(benchmark: Benchmark) -> None:
    assert benchmark.remarks == ()


def test_images_and_labels_belong_together(benchmark: Benchmark) -> None:
    for data in benchmark.experiences:
        if data.name == "MNIST":
            continue
        for samples in (data.train, data.test):
            for index in range(len(samples)):
                brightness = np.asarray(samples[index].inputs["image"]).mean()
                drawn_as = int((brightness - 35) // 80)
                assert data.label_space.ids.index(samples[index].target) == drawn_as, data.name


def test_class_names_are_those_of_the_protocol(benchmark: Benchmark) -> None:
    names = {data.name: data.label_space.names for data in benchmark.experiences}
    assert names["Caltech101"] == ("off-center face", "accordion", "yin and yang symbol")
    assert names["EuroSAT"] == ("annual crop land", "forest", "lake or sea")
    assert names["CIFAR100"] == ("apple", "aquarium fish", "baby")
    assert names["MNIST"][:2] == ("0 - zero", "1 - one")
    assert names["OxfordPet"] == ("Abyssinian", "American Bulldog", "Great Pyrenees")
    assert names["Food"][1] == "baby back ribs"
    assert names["SUN397"] == ("abbey", "airplane cabin", "apartment building/outdoor")
    assert names["Flowers"][0] == "pink primrose"
    assert not any("?" in name for name in names["Flowers"])


def test_names_of_flowers_do_not_come_from_the_installed_torchvision(
    official: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(datasets.Flowers102, "classes", raising=False)  # as in 0.19 to 0.21
    assert ORIGINS["Flowers"].read(official, False).names == FLOWERS
    assert (len(FLOWERS), len(set(map(plain_name, FLOWERS)))) == (102, 102)
    assert (FLOWERS[0], FLOWERS[59], FLOWERS[101]) == ("pink primrose", "pink-yellow dahlia", "blackberry lily")


@pytest.mark.skipif(not hasattr(datasets.Flowers102, "classes"), reason="this torchvision has no names of flowers")
def test_names_of_flowers_are_torchvision_s_without_the_question_mark() -> None:
    assert [name.replace("?", "") for name in datasets.Flowers102.classes] == list(FLOWERS)


def test_a_list_of_names_beside_the_labels_of_flowers_replaces_the_official_names(
    official: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(official / "flowers-102", tmp_path / "flowers-102")
    companion = tmp_path / "flowers-102" / "cat_to_name.json"
    companion.write_text('{"2": "second", "1": "first", "3": "third"}', encoding="utf-8")
    assert ORIGINS["Flowers"].read(tmp_path, False).names == ["first", "second", "third"]


def test_templates_are_counted_as_in_the_protocol(benchmark: Benchmark) -> None:
    counts = [len(data.label_space.classes[0].templates) for data in benchmark.experiences]
    assert counts == [2, 34, 18, 8, 3, 1, 1, 1, 1, 9, 2]
    assert all(len(set(frames)) == len(frames) for frames in TEMPLATES.values())
    assert benchmark.experiences[0].label_space.classes[0].prompts[0] == "a photo of a 707-320, a type of aircraft."


def test_the_random_split_is_that_of_seed_42(benchmark: Benchmark) -> None:
    order = torch.utils.data.random_split(range(24), [19, 5], generator=torch.Generator().manual_seed(42))  # type: ignore[arg-type]
    sun = next(data for data in benchmark.experiences if data.name == "SUN397")
    ids = sorted(sun.train[i].sample_id for i in range(19)) + [sun.test[i].sample_id for i in range(5)]
    assert len(set(ids)) == 24
    everything = sorted(ids)
    assert [sun.test[i].sample_id for i in range(5)] == [everything[i] for i in order[1].indices]


def test_class_ids_and_sample_ids_are_unique_in_the_stream(benchmark: Benchmark) -> None:
    ids = [label.id for data in benchmark.experiences for label in data.label_space]
    assert ids == list(range(len(ids)))
    samples = [
        side[i].sample_id for data in benchmark.experiences for side in (data.train, data.test) for i in range(3)
    ]
    assert len(set(samples)) == len(samples)


def test_settings_are_those_of_the_protocol(benchmark: Benchmark) -> None:
    assert benchmark.training["iterations"] == 1001
    assert benchmark.training["lr"] == 1e-5
    assert {d.name: d.training for d in benchmark.experiences if d.training} == {
        "Aircraft": {"lr": 5e-5},
        "MNIST": {"lr": 5e-5},
    }


def test_both_orders_hold_the_same_data_sets() -> None:
    assert set(ORDERS[1]) == set(ORDERS[2]) == set(ORIGINS)
    assert ORDERS[2][0] == "StanfordCars"


def test_strict_refuses_another_size(official: Path) -> None:
    with pytest.raises(DataError, match=r"Aircraft.*15 training samples and 9 test samples.*3334 and 3333"):
        MTIL(data_root=str(official), strict=True).build()


def test_a_missing_data_set_is_named_with_its_place_and_owner(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Aircraft.*fgvc-aircraft-2013b/data.*Oxford"):
        MTIL(data_root=str(tmp_path)).build()


def test_neither_edition_nor_folder_tells_both_ways() -> None:
    with pytest.raises(ConfigError, match=r"--embedded.*--data-root"):
        MTIL().build()


def test_a_truncated_image_is_named(official: Path, tmp_path: Path, cache: Path) -> None:
    import shutil

    shutil.copytree(official / "dtd", tmp_path / "dtd")
    broken = tmp_path / "dtd" / "dtd" / "images" / "banded" / "banded_0002.jpg"
    broken.write_bytes(broken.read_bytes()[:150])
    source = ORIGINS["DTD"].read(tmp_path, False)
    from mmcl.data.folder import LabelledFiles

    samples = LabelledFiles(list(zip(source.train.files, source.train.labels, strict=True)), tmp_path, 0)
    with pytest.raises(DataError, match=r"banded_0002\.jpg"):
        check_readable([samples])


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("Caltech101", "caltech101/101_ObjectCategories"),
        ("EuroSAT", "eurosat/2750"),
        ("SUN397", "SUN397"),
    ],
)
def test_hidden_copies_and_notes_beside_the_images_change_no_side(
    official: Path, tmp_path: Path, name: str, place: str
) -> None:
    import shutil

    shutil.copytree(official / place, tmp_path / place)
    before = ORIGINS[name].read(tmp_path, False)
    image = before.train.files[0]
    for stray in (f".ipynb_checkpoints/{image.name}", f"._{image.name}", ".DS_Store", "Thumbs.db", "notes.txt"):
        (image.parent / stray).parent.mkdir(exist_ok=True)
        shutil.copy(image, image.parent / stray)
    (tmp_path / place / ".ipynb_checkpoints").mkdir()
    after = ORIGINS[name].read(tmp_path, False)
    assert (after.names, after.train.files, after.test.files) == (before.names, before.train.files, before.test.files)
    assert (after.train.labels, after.test.labels) == (before.train.labels, before.test.labels)
    assert {".ipynb_checkpoints", "notes.txt"} <= {path.name for path in after.train.left_out}


def test_a_pickle_that_would_run_code_is_refused(official: Path, tmp_path: Path) -> None:
    import pickle
    import shutil

    class Trap:
        def __reduce__(self) -> object:
            return (print, ("ran",))

    for name in WRITERS:
        if name in ("Aircraft", "Caltech101"):
            folder = ORIGINS[name].folder.split("/")[0]
            shutil.copytree(official / folder, tmp_path / folder)
    shutil.copytree(official / "cifar-100-python", tmp_path / "cifar-100-python")
    (tmp_path / "cifar-100-python" / "train").write_bytes(pickle.dumps({"data": Trap()}))
    with (
        pytest.warns(UserWarning, match="comparable"),
        pytest.raises(DataError, match=r"CIFAR100.*no place in a file of numbers and texts"),
    ):
        MTIL(data_root=str(tmp_path)).build()


@pytest.fixture(scope="module")
def embedded(embedded_mtil: Path) -> Benchmark:
    return MTIL(embedded=True).build()


def test_the_embedded_edition_says_so_and_is_read_by_the_same_reader(embedded: Benchmark, embedded_mtil: Path) -> None:
    assert embedded.edition == "embedded"
    assert embedded.metadata["synthetic"] is True
    by_folder = MTIL(data_root=str(embedded_mtil)).build()
    assert by_folder.edition == "embedded"
    assert by_folder.metadata == embedded.metadata


def test_embedded_classes_were_never_shown_to_the_pretrained_model(embedded: Benchmark) -> None:
    unseen = {symbol.name for symbol in held_out_symbols()}
    seen = {symbol.name for symbol in seen_symbols()}
    for data in embedded.experiences:
        if data.name != "MNIST":
            assert {name.lower() for name in data.label_space.names} <= unseen
    assert embedded.reference is not None
    assert set(embedded.reference.texts) <= seen


def test_listed_seats_test_every_class_in_fonts_that_training_never_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sets, "images_of", lambda symbol, fonts, count, generator: fonts)
    symbols = held_out_symbols()
    fonts = sets.drawn(symbols, random.Random(0), 1, 1)
    for symbol, train, test in zip(symbols, fonts.train, fonts.test, strict=True):
        assert train, symbol.name
        assert test, symbol.name
        assert not set(train) & set(test), symbol.name
        unseen = {font for font in HELD_OUT_FONTS if symbol.character in coverage(font)}
        assert not unseen or set(test) == unseen, symbol.name


def test_the_seats_are_wide_enough(embedded: Benchmark) -> None:
    sizes = {data.name: len(data.label_space) for data in embedded.experiences}
    assert sizes.pop("MNIST") == 10
    assert min(sizes.values()) >= 15
    assert sum(sizes.values()) > 650
    mnist = next(data for data in embedded.experiences if data.name == "MNIST")
    assert (len(mnist.train), len(mnist.test)) == (DIGITS_TRAIN, DIGITS_TEST)


def test_two_writers_write_the_same_bytes(embedded_mtil: Path, tmp_path: Path) -> None:
    write_mtil(tmp_path)

    def differing(comparison: "filecmp.dircmp[str]") -> Iterator[str]:
        yield from comparison.left_only + comparison.right_only
        for part in comparison.subdirs.values():
            yield from differing(part)

    assert not list(differing(filecmp.dircmp(embedded_mtil, tmp_path)))
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file())
    matrices = [path for path in files if path.suffix in (".mat", ".json")]
    chosen = [*matrices, *random.Random(0).sample(files, 300)]
    assert all((embedded_mtil / path).read_bytes() == (tmp_path / path).read_bytes() for path in chosen)


def test_reading_writes_nothing_into_the_data_folder(official: Path) -> None:
    before = sorted(path.as_posix() for path in official.rglob("*"))
    with pytest.warns(UserWarning, match="comparable"):
        MTIL(data_root=str(official)).build()
    assert sorted(path.as_posix() for path in official.rglob("*")) == before
