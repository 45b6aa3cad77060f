"""Few-shot sessions: which classes and images they hold, from published lists or drawn; copies that are refused."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmcl_benchmarks.cil.cifar100 import CIFAR100
from mmcl_benchmarks.cil.cub200 import CUB200
from mmcl_benchmarks.cil.embedded import write_embedded_cub200, write_embedded_miniimagenet
from mmcl_benchmarks.cil.layouts import write_cub200, write_miniimagenet, write_session_lists
from mmcl_benchmarks.cil.miniimagenet import MiniImageNet
from mmcl_benchmarks.formats.cifar100_files import write_cifar100
from mmcl_benchmarks.formats.imagenet_names import curated_names
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.symbols import held_out_symbols, seen_symbols
from PIL import Image

import mmcl
from mmcl.config import TrainingConfig, resolve_training
from mmcl.data.experience_data import ExperienceData
from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError, DataError
from mmcl.learning.competition import Competition
from mmcl.registry import BENCHMARKS, load
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import CIL, TIL

Contents = Callable[[Path], dict[str, bytes]]
TRAIN, TEST = 7, 2
FIRST_WORDS = ("Red", "Blue", "Grey", "Long", "Far", "Dim", "Sad", "Old", "New", "Odd")
BIRDS = [f"{first} winged {kind}" for kind in ("Gull", "Tern") for first in FIRST_WORDS]
WNIDS = list(curated_names())[:20]
EMBEDDED = {"miniimagenet": write_embedded_miniimagenet, "cub200": write_embedded_cub200}


def shade(label: int, classes: int) -> Image.Image:
    """An image whose brightness tells the class, through JPEG and back."""
    return Image.new("RGB", (16, 16), (round(10 + 235 * label / (classes - 1)),) * 3)


def label_of(image: Image.Image, classes: int) -> int:
    return round((float(np.asarray(image).mean()) - 10) * (classes - 1) / 235)


def drawn(names: Sequence[str]) -> Drawn:
    images = [shade(label, len(names)) for label in range(len(names))]
    return Drawn(names, [[image] * TRAIN for image in images], [[image] * TEST for image in images])


@dataclass(frozen=True)
class Copy:
    """A small data set in its official layout.

    Attributes:
        root: the data root.
        plugin: reads it.
        lists: the data set's name among the published lists.
        lines: of every class, how the lists name its training images.
        sizes: classes of every session.
    """

    root: Path
    plugin: Callable[..., BenchmarkPlugin]
    lists: str
    lines: Sequence[Sequence[str]]
    sizes: Sequence[int]

    def build(self, **options: Any) -> Benchmark:
        with pytest.warns(UserWarning, match="not comparable with published ones"):
            return self.plugin(data_root=str(self.root), **options).build()

    @property
    def list_folder(self) -> Path:
        return self.root / "index_list" / self.lists

    def write_lists(self) -> list[str]:
        """The lists, and the lines of the later sessions."""
        write_session_lists(self.list_folder, self.lines, self.sizes, random.Random(3))
        files = [self.list_folder / f"session_{number}.txt" for number in range(2, len(self.sizes) + 1)]
        return [line for file in files for line in file.read_text("utf-8").splitlines()]


@pytest.fixture
def mini(tmp_path: Path) -> Copy:
    lines = write_miniimagenet(tmp_path, drawn([curated_names()[wnid] for wnid in WNIDS]), WNIDS)
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    return Copy(tmp_path, MiniImageNet, "mini_imagenet", lines, (12, *[1] * 8))


@pytest.fixture
def birds(tmp_path: Path) -> Copy:
    return Copy(tmp_path, CUB200, "cub200", write_cub200(tmp_path, drawn(BIRDS)), (10, *[1] * 10))


@pytest.fixture
def cifar(tmp_path: Path) -> Copy:
    write_cifar100(tmp_path, drawn([f"class {label}" for label in range(100)]))
    lines = [[str(TRAIN * label + number) for number in range(TRAIN)] for label in range(100)]

    def plugin(shots: int = 5, **options: Any) -> BenchmarkPlugin:
        return CIFAR100(shots=shots, **options)

    return Copy(tmp_path, plugin, "cifar100", lines, (60, *[5] * 8))


@pytest.fixture(params=["mini", "birds", "cifar"])
def copy(request: pytest.FixtureRequest) -> Copy:
    chosen: Copy = request.getfixturevalue(request.param)
    return chosen


def ids(data: ExperienceData) -> list[str]:
    return [data.train[index].sample_id for index in range(len(data.train))]


def targets(samples: Any) -> list[int]:
    return [samples[index].target for index in range(len(samples))]


# Sessions.


def test_the_first_session_has_all_images_and_later_ones_so_many_of_each_class(copy: Copy) -> None:
    benchmark = copy.build()
    assert [len(data.label_space) for data in benchmark.experiences] == list(copy.sizes)
    first, *later = benchmark.experiences
    assert set(Counter(targets(first.train)).values()) == {TRAIN}
    assert {count for data in later for count in Counter(targets(data.train)).values()} == {5}
    for data in benchmark.experiences:
        assert set(targets(data.train)) == set(targets(data.test)) == set(data.label_space.ids)
        assert set(Counter(targets(data.test)).values()) == {TEST}, "test sets are whole"


def test_classes_come_in_the_order_of_their_labels_and_samples_show_them(copy: Copy) -> None:
    benchmark, classes = copy.build(), sum(copy.sizes)
    for data in benchmark.experiences:
        for side in (data.train, data.test):
            for index in range(len(side)):
                assert label_of(side[index].inputs[IMAGE], classes) == side[index].target


def test_images_that_the_lists_name_are_taken_and_results_say_so(copy: Copy) -> None:
    listed = copy.write_lists()
    benchmark = copy.build()
    found = [id_ for data in benchmark.experiences[1:] for id_ in ids(data)]
    ends = {line.rpartition("/")[2] for line in listed}
    assert {id_.rpartition("/")[2] for id_ in found} == ends
    assert len(found) == len(ends) == 5 * sum(copy.sizes[1:])
    assert benchmark.metadata["images of later sessions"] == f"those of index_list/{copy.lists}"
    assert (benchmark.metadata["convention"], benchmark.metadata["shots"]) == ("fscil", 5)


def test_without_lists_with_a_draw_or_with_other_shots_they_are_drawn_and_results_say_so(copy: Copy) -> None:
    plain = copy.build()
    assert plain.metadata["images of later sessions"] == "drawn, draw 0"
    copy.write_lists()
    listed, zero, one, few = copy.build(), copy.build(draw=0), copy.build(draw=1), copy.build(shots=2)
    assert zero.metadata == plain.metadata, "what is drawn hangs on nothing else in the folder"
    assert one.metadata["images of later sessions"] == "drawn, draw 1"
    assert few.metadata["images of later sessions"] == "drawn, draw 0"
    assert [len(data.train) for data in few.experiences[1:]] == [2 * size for size in copy.sizes[1:]]
    first = next(iter(plain.metadata["digest"]))
    for other in (listed, zero, one):
        assert other.metadata["digest"][first] == plain.metadata["digest"][first], "the first session has no choice"
    drawings = [tuple(id_ for data in part.experiences[1:] for id_ in ids(data)) for part in (listed, zero, one)]
    assert len(set(drawings)) == 3


def test_a_shorter_stream_is_the_beginning_of_the_longer_one(copy: Copy) -> None:
    long, short = copy.build(), copy.build(experiences=3)
    assert [ids(data) for data in short.experiences] == [ids(data) for data in long.experiences[:3]]
    with pytest.raises(ConfigError, match=rf"experiences: {len(copy.sizes) + 1}\. Allowed: 1 to {len(copy.sizes)}"):
        copy.plugin(embedded=True, experiences=len(copy.sizes) + 1)


def test_a_session_is_tested_among_all_classes_seen_so_far(copy: Copy) -> None:
    benchmark = copy.build()
    assert benchmark.scenario is CIL
    competition = Competition(CIL, torch.device("cpu"))
    for index, experience in enumerate(benchmark.train):
        competition.meet(experience)
        for earlier in benchmark.test[: index + 1]:
            assert len(competition.at_test(earlier)) == sum(copy.sizes[: index + 1])


def test_the_prompt_is_the_bare_name_and_later_sessions_are_trained_in_small_batches(copy: Copy) -> None:
    benchmark = copy.build()
    assert {label.templates for label in benchmark.label_space} == {("{}.",)}
    first, *later = (resolve_training(benchmark.training, data.training) for data in benchmark.experiences)
    base = (6, 4) if copy.lists == "cub200" else (5, 32)
    assert (first.epochs, first.batch_size, first.warmup, first.label_smoothing) == (*base, 30, 0.0)
    assert {(part.epochs, part.batch_size, part.warmup, part.lr) for part in later} == {(5, 4, 0, first.lr)}


# What the lists must say.


@pytest.mark.parametrize("session", [2, 9])
def test_a_missing_list_is_named_and_that_of_the_first_session_is_not_needed(copy: Copy, session: int) -> None:
    copy.write_lists()
    (copy.list_folder / "session_1.txt").unlink()
    copy.build()
    (copy.list_folder / f"session_{session}.txt").unlink()
    with pytest.raises(DataError, match=rf"session_{session}\.txt"):
        copy.plugin(data_root=str(copy.root)).build()


def test_lists_of_another_class_order_are_refused(copy: Copy) -> None:
    copy.write_lists()
    one, other = (copy.list_folder / f"session_{number}.txt" for number in (2, 3))
    swapped = other.read_text("utf-8"), one.read_text("utf-8")
    for file, text in zip((one, other), swapped, strict=True):
        file.write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"session_2\.txt names 0 images of '.*', not 5"):
        copy.plugin(data_root=str(copy.root)).build()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda lines: lines[:-1], "names 4 images of"),
        (lambda lines: [*lines[:-1], lines[0]], "names 4 images of"),
        (lambda lines: [*lines, "99999999"], "names '99999999', which is no training image of this copy"),
        (lambda lines: [], "names 0 images of"),
    ],
    ids=["short", "twice", "unknown", "empty"],
)
def test_damaged_lists_are_refused(copy: Copy, change: Callable[[list[str]], list[str]], sentence: str) -> None:
    copy.write_lists()
    file = copy.list_folder / "session_4.txt"
    file.write_text("".join(f"{line}\n" for line in change(file.read_text("utf-8").splitlines())), encoding="utf-8")
    with pytest.raises(DataError, match=rf"session_4\.txt {sentence}"):
        copy.plugin(data_root=str(copy.root)).build()


def test_a_test_image_in_a_list_is_refused(birds: Copy) -> None:
    birds.write_lists()
    file = birds.list_folder / "session_2.txt"
    place = next(
        line.split(" ")[1]
        for line in (birds.root / "CUB_200_2011" / "images.txt").read_text("utf-8").splitlines()
        if "011." in line
    )
    lines = [f"CUB_200_2011/images/{place}", *file.read_text("utf-8").splitlines()[1:]]
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(DataError, match=r"session_2\.txt names '.*', which is no training image"):
        CUB200(data_root=str(birds.root)).build()


def test_line_ends_and_blank_lines_of_another_system_change_nothing(copy: Copy) -> None:
    copy.write_lists()
    before = copy.build().metadata
    for file in copy.list_folder.iterdir():
        file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n") + b"\r\n")
    assert copy.build().metadata == before


# CIFAR-100 has both protocols.


def test_without_shots_cifar_is_what_it_was_and_what_has_no_effect_is_refused(cifar: Copy) -> None:
    with pytest.warns(UserWarning, match="not comparable"):
        usual = CIFAR100(data_root=str(cifar.root)).build()
    assert usual.metadata["convention"] == "der-order"
    assert len(usual.experiences) == 10
    with pytest.raises(ConfigError, match=r"cifar100\.draw: 1, of classes that are learned from all images.*shots=5"):
        CIFAR100(draw=1)
    with pytest.raises(ConfigError, match=r"cifar100\.steps: 20, and 5 shots"):
        CIFAR100(shots=5, steps=20)


def test_sessions_of_cifar_may_reveal_the_task(cifar: Copy) -> None:
    benchmark = cifar.build(task_ids=True)
    assert benchmark.scenario is TIL
    assert benchmark.metadata == cifar.build().metadata


# Copies that are another data set, incomplete or somewhere else.


@pytest.mark.parametrize("name", EMBEDDED)
def test_missing_data_are_named_with_what_is_there_and_where_to_get_them(name: str, tmp_path: Path) -> None:
    folder, owner = {"miniimagenet": ("miniimagenet", "CEC"), "cub200": ("CUB_200_2011", "Caltech")}[name]
    plugin = load(BENCHMARKS, name)
    with pytest.raises(DataError, match=rf"no {folder} below .*, which is empty.*{owner}"):
        plugin(data_root=str(tmp_path)).build()
    for place in ("images", "lists", ".DS_Store"):
        (tmp_path / place).mkdir()
    with pytest.raises(DataError, match=rf"no {folder} below .*, which holds 'images', 'lists'\..*{owner}"):
        plugin(data_root=str(tmp_path)).build()
    inside = tmp_path / folder
    inside.mkdir()
    with pytest.raises(DataError, match=rf"Name the folder above, {tmp_path}: {folder} is looked for in it"):
        plugin(data_root=str(inside)).build()


def test_the_split_of_few_shot_learning_is_not_taken_for_that_of_sessions(mini: Copy) -> None:
    split = mini.root / "miniimagenet" / "split"
    header, *rows = (split / "train.csv").read_text("utf-8").splitlines()
    cut = len(rows) * 16 // 20
    (split / "train.csv").write_text("\n".join([header, *rows[:cut]]), encoding="utf-8")
    (split / "test.csv").write_text("\n".join([header, *rows[cut:]]), encoding="utf-8")
    with pytest.raises(DataError, match=r"train\.csv has 16 classes and test\.csv 4, not the same.*few-shot learning"):
        MiniImageNet(data_root=str(mini.root)).build()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("filename,label\n", "", r"train\.csv begins with '.*', not with 'filename,label'"),
        (f",{WNIDS[0]}\n", "\n", r"train\.csv, line 2: '.*' is not a file and a class"),
        (f",{WNIDS[0]}\n", f",{WNIDS[0]},7\n", r"train\.csv, line 2: '.*' is not a file and a class"),
        (f"{WNIDS[0]}00000001.jpg", "../../outside.jpg", "leads out of the folder"),
        (f",{WNIDS[0]}\n", ",n99999999\n", "21 classes and test.csv 20"),
    ],
)
def test_damaged_lists_of_miniimagenet_are_refused(mini: Copy, old: str, new: str, sentence: str) -> None:
    edit(mini.root / "miniimagenet" / "split" / "train.csv", old, new)
    with pytest.raises(DataError, match=rf"benchmark 'miniimagenet'.*{sentence}"):
        MiniImageNet(data_root=str(mini.root)).build()


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("images.txt", "2 001.", "1 001.", r"images\.txt, line 2: number 1 is there twice"),
        ("images.txt", "1 001.", "one 001.", r"images\.txt, line 1: 'one 001.*' is not a number"),
        ("images.txt", "1 001.", "1 ../../001.", "leads out of the folder"),
        (
            "image_class_labels.txt",
            "1 1\n",
            "",
            r"image_class_labels\.txt and images\.txt do not name .* 1\b",
        ),
        ("image_class_labels.txt", "1 1\n", "1 77\n", "image 1 class 77, which has no name"),
        ("train_test_split.txt", "1 0\n", "1 2\n", "'2' of image 1, neither 1 nor 0"),
        ("train_test_split.txt", "1 0\n", "", r"train_test_split\.txt and images\.txt do not name the same"),
        ("classes.txt", "1 001", "x 001", r"classes\.txt, line 1"),
    ],
)
def test_damaged_lists_of_cub_are_refused(birds: Copy, file: str, old: str, new: str, sentence: str) -> None:
    edit(birds.root / "CUB_200_2011" / file, old, new)
    with pytest.raises(DataError, match=rf"benchmark 'cub200'.*{sentence}"):
        CUB200(data_root=str(birds.root)).build()


@pytest.mark.parametrize("file", ["images", "image_class_labels", "train_test_split", "classes"])
def test_missing_lists_of_cub_are_named(birds: Copy, file: str) -> None:
    (birds.root / "CUB_200_2011" / f"{file}.txt").unlink()
    with pytest.raises(DataError, match=rf"benchmark 'cub200'.*cannot be read.*{file}\.txt"):
        CUB200(data_root=str(birds.root)).build()


@pytest.mark.parametrize("name", ["mini", "birds"])
def test_missing_images_are_counted_and_strict_refuses_them(name: str, request: pytest.FixtureRequest) -> None:
    copy: Copy = request.getfixturevalue(name)
    next(path for path in sorted(copy.root.rglob("*.jpg"))).unlink()
    with (
        pytest.warns(UserWarning, match=r"1 of \d+ listed files are missing"),
        pytest.warns(UserWarning, match="not comparable with published ones"),
    ):
        assert copy.plugin(data_root=str(copy.root)).build().metadata["missing"] == 1
    with pytest.raises(DataError, match="1 listed files are missing"):
        copy.plugin(data_root=str(copy.root), strict=True).build()


def test_strict_refuses_another_size(mini: Copy, birds: Copy) -> None:
    with pytest.raises(DataError, match=r"20 classes and 140 training samples and 40 test.*100 and 50000 and 10000"):
        MiniImageNet(data_root=str(mini.root), strict=True).build()
    with pytest.raises(DataError, match=r"20 classes and 140 training samples and 40 test.*200 and 5994 and 5794"):
        CUB200(data_root=str(birds.root), strict=True).build()


def test_birds_are_called_as_people_say(birds: Copy) -> None:
    assert birds.build().label_space.names == tuple(BIRDS)
    edit(birds.root / "CUB_200_2011" / "classes.txt", "2 002.Blue_winged_Gull", "2 Gull")
    assert birds.build().label_space.names[:2] == (BIRDS[0], "Gull"), "a name without a number is one, too"


def test_class_names_of_miniimagenet_are_clip_s(mini: Copy) -> None:
    assert mini.build().label_space.names == tuple(curated_names()[wnid] for wnid in WNIDS)


# The embedded editions.


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_editions_are_read_by_the_same_reader_and_say_so(
    name: str, tmp_path: Path, contents: Contents
) -> None:
    EMBEDDED[name](tmp_path)
    first = contents(tmp_path)
    assert sum(map(len, first.values())) < 5.5e6
    benchmark = load(BENCHMARKS, name)(data_root=str(tmp_path)).build()
    assert (benchmark.edition, benchmark.metadata["synthetic"]) == ("embedded", True)
    assert benchmark.metadata["images of later sessions"].startswith("those of index_list/")
    assert benchmark.reference is not None
    assert set(benchmark.reference.texts) <= {symbol.name for symbol in seen_symbols()}
    assert set(benchmark.label_space.names) <= {symbol.name for symbol in held_out_symbols()}
    assert contents(tmp_path) == first, "reading writes nothing"
    again = tmp_path / "again"
    again.mkdir()
    EMBEDDED[name](again)
    assert contents(again) == first


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", ["miniimagenet", "cub200", "cifar100"])
def test_embedded_sessions_have_settings_of_their_own_only(name: str) -> None:
    options = {"shots": 5} if name == "cifar100" else {}
    benchmark = mmcl.benchmark(name, embedded=True, experiences=2, **options).build()
    own = TrainingConfig(iterations=20, batch_size=32, lr=1e-3, warmup=2)
    assert [resolve_training(benchmark.training, data.training) for data in benchmark.experiences] == [own, own]


@pytest.mark.usefixtures("cache")
def test_embedded_birds_are_kin_and_wider_than_high() -> None:
    benchmark = CUB200(embedded=True).build()
    genera = Counter(name.partition(" with ")[0] for name in benchmark.label_space.names)
    assert len(genera) <= 12
    assert max(genera.values()) >= 5
    width, height = benchmark.experiences[0].train[0].inputs[IMAGE].size
    assert width > height


@pytest.mark.usefixtures("cache")
def test_a_run_says_where_its_images_come_from_and_what_sessions_are_scored_by(tmp_path: Path) -> None:
    result = mmcl.run(
        benchmark=mmcl.benchmark("cub200", embedded=True, experiences=3),
        training={"iterations": 1},
        out=str(tmp_path / "run"),
        quiet=True,
    )
    sizes = result.results["test_sizes"]
    union = [np.average(row[: i + 1], weights=sizes[: i + 1]) for i, row in enumerate(result.matrix[1:])]
    assert result.summary["acc_weighted"] == pytest.approx(union[-1])
    assert result.summary["acc_drop"] == pytest.approx(union[0] - union[-1])
    report = (result.folder / "report.md").read_text("utf-8")
    assert "- images of later sessions: those of index_list/cub200" in report
    assert "## Classes seen so far" in report
    shutil.rmtree(result.folder)
