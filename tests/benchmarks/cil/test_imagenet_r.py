"""ImageNet-R: a folder per class without a split; where the split comes from, and what is refused."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mmcl_benchmarks.cil.embedded import RENDITIONS, write_embedded_imagenet_r
from mmcl_benchmarks.cil.imagenet_r import ImageNetR
from mmcl_benchmarks.cil.layouts import write_imagenet_r
from mmcl_benchmarks.cil.orders import imagenet_order
from mmcl_benchmarks.formats.imagenet_names import curated_names
from mmcl_benchmarks.glyphs.symbols import held_out_symbols, seen_symbols
from PIL import Image

import mmcl
from mmcl.config import TrainingConfig, resolve_training
from mmcl.data.experience_data import ExperienceData
from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError, DataError
from mmcl.registry import BENCHMARKS, load
from mmcl.remarks import Remark
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, TIL

Contents = Callable[[Path], dict[str, bytes]]
WNIDS = list(curated_names())[:20]
IMAGES = 15  # of every class: ten sketches, five tattoos


def shade(label: int) -> Image.Image:
    """An image whose brightness tells the class, through JPEG and back."""
    return Image.new("RGB", (16, 16), (10 + 12 * label,) * 3)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    renditions = [{"sketch": [shade(label)] * 10, "tattoo": [shade(label)] * 5} for label in range(len(WNIDS))]
    write_imagenet_r(tmp_path, [curated_names()[wnid] for wnid in WNIDS], WNIDS, renditions)
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    return tmp_path


def built(root: Path, **options: Any) -> Benchmark:
    with pytest.warns(UserWarning, match="not comparable with published ones"):
        return ImageNetR(data_root=str(root), **options).build()


def refused(root: Path, sentence: str, **options: Any) -> None:
    with pytest.raises(DataError, match=rf"benchmark 'imagenet_r'.*{sentence}"):
        ImageNetR(data_root=str(root), **options).build()


def ids(benchmark: Benchmark, side: str) -> list[str]:
    def of(data: ExperienceData) -> list[str]:
        samples = getattr(data, side)
        return [samples[index].sample_id for index in range(len(samples))]

    return [id_ for data in benchmark.experiences for id_ in of(data)]


def write_lists(root: Path) -> tuple[list[str], list[str]]:
    """CODA-Prompt's lists, in no order, of which three sketches of every class are for the test."""
    places = [path.relative_to(root).as_posix() for path in sorted(root.rglob("*.jpg"), reverse=True)]
    test = [place for place in places if place.rsplit("/", 1)[1] in ("sketch_1.jpg", "sketch_4.jpg", "sketch_7.jpg")]
    train = [place for place in places if place not in test]
    (root / "splits").mkdir()
    for side, listed in (("train", train), ("test", test)):
        lines = ["data:", *(f"- data/{place}" for place in listed), "targets:", *("- 107" for _ in listed)]
        (root / "splits" / f"imagenet-r_{side}.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return train, test


# Where the split comes from.


def test_without_a_split_four_fifths_of_all_images_are_drawn_for_training(root: Path) -> None:
    benchmark, again, other = built(root), built(root, draw=0), built(root, draw=1)
    train, test = ids(benchmark, "train"), ids(benchmark, "test")
    assert (len(train), len(test)) == (240, 60)
    assert not set(train) & set(test)
    assert len(set(train) | set(test)) == IMAGES * len(WNIDS)
    assert len(set(Counter(id_.split("/")[1] for id_ in train).values())) > 1, "whatever their class"
    assert benchmark.metadata == again.metadata
    assert (benchmark.metadata["split"], other.metadata["split"]) == ("drawn, draw 0", "drawn, draw 1")
    assert set(ids(other, "test")) != set(test)


def test_lists_of_coda_prompt_are_taken_where_they_are_and_a_draw_leaves_them(root: Path) -> None:
    plain = built(root)
    train, test = write_lists(root)
    benchmark = built(root)
    assert (set(ids(benchmark, "train")), set(ids(benchmark, "test"))) == (set(train), set(test))
    assert benchmark.metadata["split"] == "by splits/imagenet-r_train.yaml and splits/imagenet-r_test.yaml"
    assert built(root, draw=0).metadata == plain.metadata


def test_folders_train_and_test_are_the_split(root: Path) -> None:
    train, test = write_lists(root)
    sorted_root = root / "sorted"
    for side, listed in (("train", train), ("test", test)):
        for place in listed:
            target = sorted_root / "imagenet-r" / side / place.removeprefix("imagenet-r/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(root / place, target)
    benchmark = built(sorted_root)
    assert benchmark.metadata["split"] == "by folders"
    for side, listed in (("train", train), ("test", test)):
        assert {id_.replace(f"/{side}/", "/") for id_ in ids(benchmark, side)} == set(listed)
    with pytest.raises(ConfigError, match=r"imagenet_r\.draw: 3, and imagenet-r has the folders train and test"):
        ImageNetR(data_root=str(sorted_root), draw=3).build()
    shutil.rmtree(sorted_root / "imagenet-r" / "test" / WNIDS[0])
    refused(sorted_root, f"train and test have different class folders, such as {WNIDS[0]}")


@pytest.mark.parametrize("side", ["train", "test"])
def test_one_of_two_lists_is_not_enough(root: Path, side: str) -> None:
    write_lists(root)
    (root / "splits" / f"imagenet-r_{side}.yaml").unlink()
    refused(root, rf"imagenet-r_{side}\.yaml")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("data:\n", "", r"imagenet-r_test\.yaml does not begin with the list 'data'"),
        ("- data/", "data/", r"imagenet-r_test\.yaml, line 2: 'data/imagenet-r/.*' is no image in a class folder"),
        (f"/{WNIDS[-1]}/", "/n99999999/", r"line 2: '.*n99999999.*' is no image in a class folder of imagenet-r"),
        ("sketch_7.jpg", "sketch_0.jpg", f"both lists name imagenet-r/{WNIDS[-1]}/sketch_0.jpg"),
        ("sketch_7.jpg", "..", "leads out of the folder"),
    ],
)
def test_damaged_lists_are_refused(root: Path, old: str, new: str, sentence: str) -> None:
    write_lists(root)
    file = root / "splits" / "imagenet-r_test.yaml"
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    refused(root, sentence)


def test_listed_images_that_are_missing_are_counted_and_strict_refuses_them(root: Path) -> None:
    write_lists(root)
    (root / "imagenet-r" / WNIDS[3] / "tattoo_2.jpg").unlink()
    with pytest.warns(UserWarning, match=r"1 of 240 listed files are missing.*tattoo_2\.jpg"):
        assert built(root).metadata["missing"] == 1
    refused(root, "1 listed files are missing", strict=True)


def test_what_systems_leave_behind_changes_no_split_and_what_is_no_picture_is_said(root: Path) -> None:
    before = built(root).metadata
    folder = root / "imagenet-r" / WNIDS[0]
    for place in ("._sketch_0.jpg", ".DS_Store", "notes.txt", "../README.txt", "../.cache/sketch_0.jpg"):
        (folder / place).parent.mkdir(exist_ok=True)
        (folder / place).write_bytes(b"")
    with pytest.warns(Remark, match=r"1 files or folders are left out.*notes\.txt"):
        assert built(root).metadata == before


# The stream.


@pytest.mark.parametrize("steps", [5, 10, 20])
def test_classes_are_cut_into_equal_experiences_in_the_order_of_seed_1993(root: Path, steps: int) -> None:
    benchmark, order = built(root, steps=steps), imagenet_order(20)
    assert [len(data.label_space) for data in benchmark.experiences] == [20 // steps] * steps
    assert benchmark.label_space.names == tuple(curated_names()[WNIDS[label]] for label in order)
    for data in benchmark.experiences:
        for side in (data.train, data.test):
            for index in range(len(side)):
                shown = round((float(np.asarray(side[index].inputs[IMAGE]).mean()) - 10) / 12)
                assert shown == order[side[index].target]


def test_two_hundred_classes_begin_as_in_pilot() -> None:
    assert imagenet_order(200)[:5] == np.random.RandomState(1993).permutation(200)[:5].tolist()
    assert sorted(imagenet_order(200)) == list(range(200))
    assert imagenet_order(200)[:3] == [168, 136, 51]


def test_prompt_settings_and_scenario(root: Path) -> None:
    benchmark = built(root)
    assert benchmark.scenario is CIL
    assert built(root, task_ids=True).scenario is TIL
    assert {label.templates for label in benchmark.label_space} == {("a good photo of a {}.",)}
    assert (benchmark.training["epochs"], benchmark.training["label_smoothing"]) == (1, 0.0)
    assert all(not data.training for data in benchmark.experiences)


def test_a_shorter_stream_is_the_beginning_of_the_longer_one(root: Path) -> None:
    long, short = built(root), built(root, experiences=3)
    digests = long.metadata["digest"]
    assert short.metadata["digest"] == {name: digests[name] for name in list(digests)[:3]}
    with pytest.raises(ConfigError, match="1 to 5"):
        ImageNetR(steps=5, experiences=6)


# What is missing or of another size.


def test_missing_data_are_named_with_what_is_there_and_where_to_get_them(tmp_path: Path) -> None:
    refused(tmp_path, r"no imagenet-r below .*, which is empty.*hendrycks/imagenet-r")
    (tmp_path / "imagenet-r").mkdir()
    refused(tmp_path, "no class folder in .*imagenet-r")
    refused(tmp_path / "imagenet-r", rf"Name the folder above, {tmp_path}: imagenet-r is looked for in it")
    (tmp_path / "imagenet-r" / WNIDS[0]).mkdir()
    refused(tmp_path, f"no image in imagenet-r/{WNIDS[0]}")


def test_strict_refuses_another_size(root: Path) -> None:
    refused(root, "20 classes and 240 training samples and 60 test samples.*200 and 24000 and 6000", strict=True)


# The embedded edition.


def test_the_embedded_edition_is_read_by_the_same_reader_and_says_so(tmp_path: Path, contents: Contents) -> None:
    write_embedded_imagenet_r(tmp_path)
    first = contents(tmp_path)
    assert sum(map(len, first.values())) < 5.5e6
    benchmark = load(BENCHMARKS, "imagenet_r")(data_root=str(tmp_path)).build()
    assert (benchmark.edition, benchmark.metadata["synthetic"]) == ("embedded", True)
    assert benchmark.reference is not None
    assert set(benchmark.reference.texts) <= {symbol.name for symbol in seen_symbols()}
    assert set(benchmark.label_space.names) <= {symbol.name for symbol in held_out_symbols()}
    assert contents(tmp_path) == first, "reading writes nothing"
    kinds = Counter(id_.rsplit("/", 1)[1].split("_")[0] for id_ in (*ids(benchmark, "train"), *ids(benchmark, "test")))
    assert kinds == dict.fromkeys(RENDITIONS, 160)
    again = tmp_path / "again"
    again.mkdir()
    write_embedded_imagenet_r(again)
    assert contents(again) == first


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("validation", [False, True])
def test_every_embedded_class_has_images_on_both_sides(validation: bool) -> None:
    benchmark = mmcl.benchmark("imagenet_r", embedded=True, validation=validation).build()
    for data in benchmark.experiences:
        for side in (data.train, data.test):
            assert {side[index].target for index in range(len(side))} == set(data.label_space.ids)
    assert resolve_training(benchmark.training) == TrainingConfig(iterations=20, batch_size=32, lr=1e-3, warmup=2)
