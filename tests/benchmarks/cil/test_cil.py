"""Class-incremental benchmarks: official layouts, orders, steps, names and prompts; what sloppy versions get wrong."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcl_benchmarks.cil.cifar100 import CIFAR100
from mmcl_benchmarks.cil.embedded import (
    write_embedded_cifar100,
    write_embedded_imagenet100,
    write_embedded_imagenet1000,
    write_embedded_tiny_imagenet,
)
from mmcl_benchmarks.cil.imagenet100 import ImageNet100
from mmcl_benchmarks.cil.imagenet1000 import ImageNet1000
from mmcl_benchmarks.cil.layouts import write_imagenet, write_imagenet100, write_tiny_imagenet
from mmcl_benchmarks.cil.orders import CIFAR100_ORDER, imagenet_order, tiny_imagenet_order
from mmcl_benchmarks.cil.tiny_imagenet import TinyImageNet
from mmcl_benchmarks.formats.cifar100_files import write_cifar100
from mmcl_benchmarks.formats.imagenet_names import curated_names
from mmcl_benchmarks.formats.pickled import read_pickled_dictionary
from mmcl_benchmarks.glyphs.drawn import Drawn, write_pickle
from mmcl_benchmarks.glyphs.symbols import held_out_symbols, seen_symbols
from PIL import Image

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.build import surroundings
from mmcl.config import TrainingConfig, resolve_training
from mmcl.data.asked import Asked
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Inputs
from mmcl.errors import ConfigError, DataError
from mmcl.evaluation.metric import Accuracy
from mmcl.evaluation.result_matrix import ResultMatrix
from mmcl.learning.competition import Competition
from mmcl.registry import BENCHMARKS, load
from mmcl.remarks import Remark
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.grouping import group_sizes
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.toy import toy_learner

Contents = Callable[[Path], dict[str, bytes]]
PLUGINS: dict[str, type[BenchmarkPlugin]] = {
    "cifar100": CIFAR100,
    "tiny-imagenet": TinyImageNet,
    "imagenet100": ImageNet100,
    "imagenet1000": ImageNet1000,
}
WRITERS = {
    "cifar100": write_embedded_cifar100,
    "tiny-imagenet": write_embedded_tiny_imagenet,
    "imagenet100": write_embedded_imagenet100,
    "imagenet1000": write_embedded_imagenet1000,
}
# true wnids, not in sorted order; the last is none of ImageNet's thousand
TINY = (*reversed(list(curated_names())[:19]), "n00001740")


def shade(label: int, classes: int) -> Image.Image:
    """An image whose brightness tells the class, through JPEG and back."""
    return Image.new("RGB", (16, 16), (round(10 + 235 * label / (classes - 1)),) * 3)


def label_of(image: Image.Image, classes: int) -> int:
    return round((float(np.asarray(image).mean()) - 10) * (classes - 1) / 235)


def drawn(names: list[str], train: int = 2, test: int = 1) -> Drawn:
    images = [shade(label, len(names)) for label in range(len(names))]
    return Drawn(names, [[image] * train for image in images], [[image] * test for image in images])


@pytest.fixture
def cifar(tmp_path: Path) -> Path:
    """A hundred classes in the official files, for which no edition is claimed."""
    write_cifar100(tmp_path, drawn([f"class {label}" for label in range(100)]))
    return tmp_path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    names = [curated_names().get(wnid, "entity, thing") for wnid in TINY]
    write_tiny_imagenet(tmp_path, drawn(names), TINY, TINY)
    return tmp_path


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    wnids = list(curated_names())[:20]
    write_imagenet100(tmp_path, drawn([curated_names()[wnid] for wnid in wnids], test=2), wnids)
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    return tmp_path


@pytest.fixture
def thousand(tmp_path: Path) -> Path:
    wnids = list(curated_names())[:20]
    write_imagenet(tmp_path, drawn([curated_names()[wnid] for wnid in wnids]), wnids)
    (tmp_path / "LOC_synset_mapping.txt").unlink()
    return tmp_path


def official(plugin: BenchmarkPlugin) -> Benchmark:
    with pytest.warns(UserWarning, match="not comparable with published ones"):
        return plugin.build()


def positions_shown(benchmark: Benchmark, order: list[int] | tuple[int, ...]) -> bool:
    """Whether every sample shows the class that is at its target's position in the order."""
    for data in benchmark.experiences:
        for side in (data.train, data.test):
            for index in range(len(side)):
                sample = side[index]
                if label_of(sample.inputs[IMAGE], len(order)) != order[sample.target]:
                    return False
                if sample.target not in data.label_space.ids:
                    return False
    return True


# Orders and steps.


def test_orders_are_permutations_that_begin_as_published() -> None:
    assert sorted(CIFAR100_ORDER) == list(range(100))
    assert CIFAR100_ORDER[:6] == (87, 0, 52, 58, 44, 91)
    assert CIFAR100_ORDER[-3:] == (26, 35, 39)
    assert imagenet_order(100)[:5] == [68, 56, 78, 8, 23]
    assert imagenet_order(1000)[:3] == [54, 7, 894]
    assert sorted(tiny_imagenet_order(200)) == list(range(200))


def test_tiny_imagenet_s_order_is_a_shuffle_after_seeding_with_zero() -> None:
    import random

    state = random.getstate()
    random.seed(0)
    order = list(range(200))
    random.shuffle(order)
    random.setstate(state)
    assert tiny_imagenet_order(200) == order


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_cifar_is_cut_into_equal_experiences(cifar: Path, steps: int) -> None:
    benchmark = official(CIFAR100(data_root=str(cifar), steps=steps))  # type: ignore[arg-type]
    assert [len(data.label_space) for data in benchmark.experiences] == [100 // steps] * steps
    assert positions_shown(benchmark, CIFAR100_ORDER)


@pytest.mark.parametrize("steps", [5, 10])
def test_steps_of_tiny_imagenet_do_not_count_the_first_experience(tiny: Path, steps: int) -> None:
    benchmark = official(TinyImageNet(data_root=str(tiny), steps=steps))  # type: ignore[arg-type]
    assert [len(data.label_space) for data in benchmark.experiences] == [10] + [10 // steps] * steps
    assert len(benchmark.experiences) == 1 + steps


def test_twenty_steps_are_twenty_one_experiences() -> None:
    assert group_sizes(200, 20, first=100) == (100, *[5] * 20)
    with pytest.raises(ConfigError, match="1 to 21"):
        TinyImageNet(steps=20, experiences=22)
    assert TinyImageNet(steps=20, experiences=21).experiences == 21


def test_fewer_classes_than_steps_are_refused(tiny: Path) -> None:
    with (
        pytest.warns(UserWarning, match="comparable"),
        pytest.raises(ConfigError, match="20 classes in 20 groups after a first one of 10"),
    ):
        TinyImageNet(data_root=str(tiny), steps=20).build()


def test_half_first_gives_eleven_experiences(hundred: Path) -> None:
    benchmark = official(ImageNet100(data_root=str(hundred), half_first=True))
    assert [len(data.label_space) for data in benchmark.experiences] == [10] + [1] * 10
    assert [len(data.label_space) for data in official(ImageNet100(data_root=str(hundred))).experiences] == [2] * 10


def test_a_shorter_stream_is_the_beginning_of_the_longer_one(cifar: Path) -> None:
    long, short = (official(CIFAR100(data_root=str(cifar), experiences=count)) for count in (None, 3))
    assert [data.name for data in short.experiences] == [data.name for data in long.experiences[:3]]
    assert short.label_space.classes == long.label_space.classes[:30]
    digests = long.metadata["digest"]
    assert short.metadata["digest"] == {name: digests[name] for name in list(digests)[:3]}


# Labels, names, prompts.


def test_tiny_imagenet_s_class_numbers_are_lines_of_wnids_txt_not_sorted_folders(tiny: Path) -> None:
    benchmark = official(TinyImageNet(data_root=str(tiny)))
    order = tiny_imagenet_order(20)
    assert positions_shown(benchmark, order)
    first = benchmark.experiences[0].label_space.names
    assert first == tuple((curated_names() | {"n00001740": "entity"})[TINY[line]] for line in order[:10])
    assert list(TINY) != sorted(TINY)


def test_the_image_nets_show_what_their_labels_say(hundred: Path) -> None:
    benchmark = official(ImageNet100(data_root=str(hundred)))
    assert positions_shown(benchmark, imagenet_order(20))
    assert benchmark.experiences[0].label_space.names[0] == list(curated_names().values())[imagenet_order(20)[0]]


def test_imagenet_counts_classes_by_the_rank_of_their_wnid(thousand: Path) -> None:
    benchmark = official(ImageNet1000(data_root=str(thousand)))
    assert positions_shown(benchmark, imagenet_order(20))
    assert len(benchmark.experiences) == 10


def test_there_is_one_fixed_prompt_and_no_ensemble(cifar: Path) -> None:
    benchmark = official(CIFAR100(data_root=str(cifar)))
    assert all(label.templates == ("a bad photo of a {}.",) for label in benchmark.label_space)
    assert benchmark.label_space.classes[0].prompts == ("a bad photo of a class_87.",)


@pytest.mark.parametrize("name", ["tiny", "hundred", "thousand"])
def test_the_prompts_of_the_image_nets(name: str, request: pytest.FixtureRequest) -> None:
    plugin, frame = {
        "tiny": (TinyImageNet, "a bad photo of a {}."),
        "hundred": (ImageNet100, "a good photo of a {}."),
        "thousand": (ImageNet1000, "a good photo of a {}."),
    }[name]
    benchmark = official(plugin(data_root=str(request.getfixturevalue(name))))  # type: ignore[call-arg]
    assert {label.templates for label in benchmark.label_space} == {(frame,)}


@pytest.mark.parametrize(
    ("fixture", "plugin", "batch_size", "lr", "weight_decay", "label_smoothing"),
    [
        ("cifar", CIFAR100, 64, 7.1e-6, 0.0, 0.2),
        ("tiny", TinyImageNet, 64, 7.1e-6, 0.0, 0.2),
        ("hundred", ImageNet100, 128, 7e-6, 0.1, 0.0),
        ("thousand", ImageNet1000, 128, 7.1e-6, 0.0, 0.2),
    ],
)
def test_training_defaults_are_those_of_the_authors_configurations(
    fixture: str,
    plugin: type[BenchmarkPlugin],
    batch_size: int,
    lr: float,
    weight_decay: float,
    label_smoothing: float,
    request: pytest.FixtureRequest,
) -> None:
    benchmark = official(plugin(data_root=str(request.getfixturevalue(fixture))))  # type: ignore[call-arg]
    assert benchmark.training == {
        "epochs": 1,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "warmup": 30,
        "label_smoothing": label_smoothing,
    }
    assert all(not data.training for data in benchmark.experiences)


@pytest.mark.parametrize("steps", [10, 20, 50])
def test_settings_of_cifar_do_not_depend_on_the_number_of_steps(cifar: Path, steps: int) -> None:
    benchmark = official(CIFAR100(data_root=str(cifar), steps=steps))  # type: ignore[arg-type]
    assert benchmark.training["batch_size"] == 64


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", PLUGINS)
def test_embedded_editions_have_settings_of_their_own_only(name: str) -> None:
    settings = resolve_training(mmcl.benchmark(name, embedded=True, experiences=1).build().training)
    own = {"iterations": 20, "batch_size": 32, "lr": 1e-3, "warmup": 2}
    assert settings == TrainingConfig(**own)


def test_the_protocol_holds_for_another_copy_of_real_images(cifar: Path) -> None:
    (cifar / "edition.json").write_text(json.dumps({"edition": "mine", "training": {"lr": 1e-4}}))
    training = CIFAR100(data_root=str(cifar)).build().training
    assert (training["lr"], training["warmup"], training["label_smoothing"]) == (1e-4, 30, 0.2)


# What competes at test time, and the scores.


def test_only_classes_seen_so_far_compete(cifar: Path) -> None:
    benchmark = official(CIFAR100(data_root=str(cifar)))
    competition = Competition(CIL, torch.device("cpu"))
    for index, experience in enumerate(benchmark.train):
        competition.meet(experience)
        for earlier in benchmark.test[: index + 1]:
            assert len(competition.at_test(earlier)) == 10 * (index + 1)


def test_with_task_ids_only_the_experience_s_own_classes_compete(cifar: Path) -> None:
    benchmark = official(CIFAR100(data_root=str(cifar), task_ids=True))
    assert benchmark.scenario is TIL
    competition = Competition(benchmark.scenario, torch.device("cpu"))
    for experience in benchmark.train:
        competition.meet(experience)
    assert [len(competition.at_test(experience)) for experience in benchmark.test] == [10] * 10
    assert benchmark.metadata == official(CIFAR100(data_root=str(cifar))).metadata


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=PLUGINS)
def test_an_option_decides_the_scenario_before_data_are_read(plugin: type[BenchmarkPlugin]) -> None:
    assert plugin().scenario is CIL
    assert plugin(task_ids=True).scenario is TIL  # type: ignore[call-arg]
    assert surroundings(benchmark=plugin(task_ids=True)).scenario is TIL  # type: ignore[call-arg]


def test_an_explanation_knows_the_options_of_the_benchmark() -> None:
    with pytest.raises(ConfigError, match="another one"):
        mmcl.explain(["finetune"], benchmark="cifar100", scenario="TIL")
    assert mmcl.explain(["finetune"], benchmark="cifar100:task_ids=true", scenario="TIL").refusal is None


@pytest.mark.usefixtures("cache")
def test_last_is_accuracy_on_the_union_of_all_seen_classes_not_the_mean_of_experiences() -> None:
    benchmark = TinyImageNet(embedded=True, experiences=3).build()
    assert [len(data.label_space) for data in benchmark.experiences] == [20, 2, 2]
    learner = toy_learner(benchmark, backbone=tiny_clip(), iterations=2)
    matrix = ResultMatrix([data.name for data in benchmark.experiences])
    for index, experience in enumerate(benchmark.train):
        learner.train(experience)
        scores = [learner.evaluate(earlier, Accuracy()) for earlier in benchmark.test[: index + 1]]
        matrix.set_row(index, [*scores, *[float("nan")] * (2 - index)])
    sizes = [len(data.test) for data in benchmark.experiences]
    samples = [data.test[i] for data in benchmark.experiences for i in range(len(data.test))]
    preprocess = learner.model.backbone.preprocess_eval[IMAGE]
    images = torch.stack([preprocess(sample.inputs[IMAGE]) for sample in samples])
    learner.model.eval()
    present, asked = torch.ones(len(images), dtype=torch.bool), Asked(benchmark.label_space)
    with torch.no_grad():
        logits = learner.model(Inputs({IMAGE: images}, {IMAGE: present}, asked=asked)).logits
    assert logits is not None
    right = logits.argmax(1) == benchmark.label_space.columns(torch.tensor([sample.target for sample in samples]))
    summary = matrix.summary(sizes)
    assert summary["acc_weighted"] == pytest.approx(100 * float(right.float().mean()))
    steps = [np.average(row[: i + 1], weights=sizes[: i + 1]) for i, row in enumerate(matrix.R)]
    assert summary["aia_weighted"] == pytest.approx(np.mean(steps))


# Damaged and incomplete copies.


@pytest.mark.parametrize("content", [b"", b"noise", pickle.dumps([1]), pickle.dumps(Path("x"))])
@pytest.mark.parametrize("file", ["meta", "train", "test"])
def test_damaged_pickles_are_refused_with_the_name_of_the_benchmark(cifar: Path, file: str, content: bytes) -> None:
    (cifar / "cifar-100-python" / file).write_bytes(content)
    with pytest.raises(DataError, match=rf"benchmark 'cifar100'.*cannot be read.*{file}"):
        CIFAR100(data_root=str(cifar)).build()


@pytest.mark.parametrize(
    ("file", "key", "value"),
    [
        ("meta", "fine_label_names", 100),
        ("meta", "fine_label_names", [1] * 100),
        ("train", "fine_labels", None),
        ("train", "fine_labels", ["one"] * 200),
        ("test", "data", None),
        ("test", "data", ["pixels"]),
    ],
)
def test_pickles_that_hold_something_else_are_refused(cifar: Path, file: str, key: str, value: object) -> None:
    path = cifar / "cifar-100-python" / file
    write_pickle({**read_pickled_dictionary(path), key: value}, path)
    with pytest.raises(DataError, match=rf"benchmark 'cifar100'.*{file}: '{key}' is no "):
        CIFAR100(data_root=str(cifar)).build()


def test_a_pickle_that_would_run_code_is_refused(cifar: Path) -> None:
    class Trap:
        def __reduce__(self) -> object:
            return (print, ("ran",))

    (cifar / "cifar-100-python" / "test").write_bytes(pickle.dumps({"data": Trap()}))
    with pytest.raises(DataError, match="has no place in a file of numbers and texts"):
        CIFAR100(data_root=str(cifar)).build()


@pytest.mark.parametrize("file", ["meta", "train", "test"])
def test_a_missing_file_is_named(cifar: Path, file: str) -> None:
    (cifar / "cifar-100-python" / file).unlink()
    with pytest.raises(DataError, match=rf"cifar100.*{file}"):
        CIFAR100(data_root=str(cifar)).build()


def test_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    write_cifar100(tmp_path, drawn(["a", "b", "c"]))
    with pytest.raises(DataError, match="3 class names instead of 100"):
        CIFAR100(data_root=str(tmp_path)).build()


def test_strict_refuses_another_size(cifar: Path) -> None:
    with pytest.raises(DataError, match=r"200 training samples and 100 test samples.*50000 and 10000"):
        CIFAR100(data_root=str(cifar), strict=True).build()


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=PLUGINS)
def test_missing_data_are_named_with_their_place_and_owner(plugin: type[BenchmarkPlugin], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no .* below .*(Toronto|Stanford|ImageNet)"):
        plugin(data_root=str(tmp_path)).build()  # type: ignore[call-arg]
    with pytest.raises(DataError, match="no such folder"):
        plugin(data_root=str(tmp_path / "nowhere")).build()  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"--embedded.*--data-root"):
        plugin().build()


def test_tiny_imagenet_without_an_image_warns_counts_and_goes_on(tiny: Path) -> None:
    (tiny / "tiny-imagenet-200" / "val" / "images" / "val_3.JPEG").unlink()
    with (
        pytest.warns(UserWarning, match="1 of 20 listed files are missing"),
        pytest.warns(UserWarning, match="not comparable with published ones"),
    ):
        benchmark = TinyImageNet(data_root=str(tiny)).build()
    assert benchmark.metadata["missing"] == 1
    with pytest.raises(DataError, match="1 listed files are missing"):
        TinyImageNet(data_root=str(tiny), strict=True).build()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        ("wnids.txt", f"{TINY[1]}\n", f"{TINY[0]}\n", "names a class twice"),
        ("wnids.txt", f"{TINY[1]}\n", "n99999999\n", "no image in train/n99999999"),
        ("val/val_annotations.txt", TINY[3], "n99999999", "line 4: 'n99999999' is none of the classes"),
        ("val/val_annotations.txt", f"\t{TINY[3]}", "", "line 4: '0' is none of the classes"),
        ("val/val_annotations.txt", "val_3.JPEG", "../../../outside.JPEG", "leads out of the folder"),
        ("words.txt", "n00001740", "n00001741", "no name for n00001740"),
    ],
)
def test_damaged_lists_of_tiny_imagenet_are_refused(tiny: Path, file: str, old: str, new: str, sentence: str) -> None:
    edit(tiny / "tiny-imagenet-200" / file, old, new)
    with pytest.raises(DataError, match=rf"benchmark 'tiny-imagenet'.*{sentence}"):
        TinyImageNet(data_root=str(tiny)).build()


@pytest.mark.parametrize("file", ["wnids.txt", "words.txt", "val/val_annotations.txt"])
def test_missing_lists_of_tiny_imagenet_are_refused(tiny: Path, file: str) -> None:
    (tiny / "tiny-imagenet-200" / file).unlink()
    with pytest.raises(DataError, match=rf"benchmark 'tiny-imagenet'.*cannot be read.*{Path(file).name}"):
        TinyImageNet(data_root=str(tiny)).build()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (".JPEG 0\n", ".JPEG 1\n", "label 1 stands for"),
        (".JPEG 0\n", ".JPEG zero\n", "line 1"),
        ("train/", "../train/", "leads out of the folder"),
        ("train/", "/train/", "leads out of the folder"),
    ],
)
def test_damaged_lists_of_imagenet100_are_refused(hundred: Path, old: str, new: str, sentence: str) -> None:
    edit(hundred / "train_100.txt", old, new)
    with pytest.raises(DataError, match=rf"benchmark 'imagenet100'.*{sentence}"):
        ImageNet100(data_root=str(hundred)).build()


def test_a_flat_validation_folder_is_refused(thousand: Path) -> None:
    for folder in list((thousand / "val").iterdir()):
        for image in folder.iterdir():
            image.rename(thousand / "val" / image.name)
        folder.rmdir()
    with pytest.raises(DataError, match=r"benchmark 'imagenet1000'.*class folder in .*val"):
        ImageNet1000(data_root=str(thousand)).build()


def test_different_folders_on_both_sides_are_refused(thousand: Path) -> None:
    shutil.rmtree(thousand / "val" / "n01440764")
    with pytest.raises(DataError, match="different class folders, such as n01440764"):
        ImageNet1000(data_root=str(thousand)).build()


def test_what_systems_and_notebooks_leave_behind_changes_no_stream(tiny: Path, thousand: Path) -> None:
    for plugin, place in ((TinyImageNet, tiny / "tiny-imagenet-200" / "train" / TINY[0] / "images"),
                          (ImageNet1000, thousand / "train" / "n01440764")):  # fmt: skip
        root = str(tiny if plugin is TinyImageNet else thousand)
        before = official(plugin(data_root=root)).metadata["digest"]
        image = next(place.iterdir())
        for copy in (f"._{image.name}", ".DS_Store", f".ipynb_checkpoints/{image.name}", "notes.txt"):
            (place / copy).parent.mkdir(exist_ok=True)
            shutil.copy(image, place / copy)
        (thousand / "train" / ".ipynb_checkpoints").mkdir(exist_ok=True)
        with pytest.warns(Remark, match=r"2 files or folders are left out.*/\.ipynb_checkpoints.*notes\.txt"):
            stream = official(plugin(data_root=root))
        assert stream.metadata["digest"] == before
        assert len(stream.remarks) == 1


def test_the_digest_knows_files_and_labels(tiny: Path) -> None:
    before = official(TinyImageNet(data_root=str(tiny))).metadata["digest"]
    assert official(TinyImageNet(data_root=str(tiny))).metadata["digest"] == before
    image = tiny / "tiny-imagenet-200" / "train" / TINY[0] / "images" / f"{TINY[0]}_0.JPEG"
    image.rename(image.with_name(f"{TINY[0]}_9.JPEG"))
    after = official(TinyImageNet(data_root=str(tiny))).metadata["digest"]
    assert sum(before[name] != after[name] for name in before) == 1


def test_reading_writes_nothing_into_the_data_folder(tiny: Path, contents: Contents) -> None:
    before = contents(tiny)
    official(TinyImageNet(data_root=str(tiny)))
    assert contents(tiny) == before


# The embedded editions.


@pytest.mark.parametrize("name", PLUGINS)
def test_embedded_editions_are_read_by_the_same_reader_and_say_so(
    name: str, tmp_path: Path, contents: Contents
) -> None:
    WRITERS[name](tmp_path)
    first = contents(tmp_path)
    assert sum(map(len, first.values())) < 5.5e6
    benchmark = PLUGINS[name](data_root=str(tmp_path)).build()  # type: ignore[call-arg]
    assert benchmark.edition == "embedded"
    assert benchmark.metadata["synthetic"] is True
    assert benchmark.reference is not None
    assert set(benchmark.reference.texts) <= {symbol.name for symbol in seen_symbols()}
    unseen = {symbol.name for symbol in held_out_symbols()}
    assert {label.replace("_", " ") for label in benchmark.label_space.names} <= unseen
    again = tmp_path / "again"
    again.mkdir()
    WRITERS[name](again)
    assert contents(again) == first


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", PLUGINS)
def test_registered_names_lead_to_the_embedded_editions(name: str) -> None:
    assert load(BENCHMARKS, name) is PLUGINS[name]
    benchmark = mmcl.benchmark(name, embedded=True, experiences=2).build()
    assert (benchmark.name, benchmark.edition) == (name, "embedded")


@pytest.mark.usefixtures("cache")
def test_every_output_of_an_embedded_run_names_its_edition(tmp_path: Path) -> None:
    result = mmcl.run(
        benchmark=mmcl.benchmark("tiny-imagenet", embedded=True, experiences=2),
        training={"iterations": 1},
        out=str(tmp_path / "run"),
        quiet=True,
    )
    assert result.results["edition"] == "embedded"
    assert result.results["metadata"]["convention"] == "wnids-lines-seed0"
    assert "embedded edition" in str(result.table().title)
    assert "**embedded edition" in (result.folder / "report.md").read_text("utf-8")
    assert json.loads((result.folder / "results.json").read_text("utf-8"))["edition"] == "embedded"
