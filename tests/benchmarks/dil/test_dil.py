"""Domain-incremental benchmarks: official layouts, orders and labels; what sloppy versions get wrong."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mmcl_benchmarks.dil.cddb import CDDB, ORDERS, SIZES, WITH_OBJECTS
from mmcl_benchmarks.dil.core50 import OBJECTS, CORe50, read_batches
from mmcl_benchmarks.dil.domainnet import DomainNet
from mmcl_benchmarks.dil.embedded import (
    CDDB_SOURCES,
    CORE50_ORDER,
    CORE50_TEST,
    DOMAINS,
    write_embedded_cddb,
    write_embedded_core50,
    write_embedded_domainnet,
)
from mmcl_benchmarks.dil.layouts import write_cddb, write_core50, write_domainnet
from mmcl_benchmarks.formats.pickled import read_pickle
from mmcl_benchmarks.glyphs.drawn import Drawn
from mmcl_benchmarks.glyphs.split import TEST
from mmcl_benchmarks.glyphs.symbols import held_out_symbols, seen_symbols
from PIL import Image

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE
from mmcl.errors import ConfigError, DataError
from mmcl.evaluation.metric import Accuracy
from mmcl.evaluation.result_matrix import ResultMatrix
from mmcl.registry import BENCHMARKS, load
from mmcl.running import extend
from mmcl.streams.benchmark import Benchmark, BenchmarkPlugin
from mmcl.streams.scenario import DIL
from mmcl.testing.toy import toy_learner

Contents = Callable[[Path], dict[str, bytes]]
PLUGINS: dict[str, type[BenchmarkPlugin]] = {"domainnet": DomainNet, "core50": CORe50, "cddb": CDDB}
WRITERS = {"domainnet": write_embedded_domainnet, "core50": write_embedded_core50, "cddb": write_embedded_cddb}
NAMES = ["The Eiffel Tower", "aircraft carrier", "zebra"]  # in the order of the official lists
LISTS = "batches_filelists/NI_inc/run0"


def shade(label: int, number: int = 0) -> Image.Image:
    """An image whose brightness tells the class, through JPEG and back."""
    return Image.new("RGB", (8, 8), (30 + 60 * label + number,) * 3)


def label_shown(image: Image.Image) -> int:
    return round((float(np.asarray(image).mean()) - 32) / 60)


def labels_are_shown(benchmark: Benchmark) -> bool:
    samples = [side[i] for data in benchmark.experiences for side in (data.train, data.test) for i in range(len(side))]
    return all(label_shown(sample.inputs[IMAGE]) == sample.target for sample in samples)


def official(plugin: BenchmarkPlugin) -> Benchmark:
    with pytest.warns(UserWarning, match="not comparable with published ones"):
        return plugin.build()


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    """Three classes in six domains, of which each has one training image more than the one before."""
    drawings = {
        domain: Drawn(NAMES, [[shade(c, i) for i in range(2 + k)] for c in range(3)], [[shade(c)] for c in range(3)])
        for k, domain in enumerate(DOMAINS[TEST])
    }
    write_domainnet(tmp_path, drawings)
    return tmp_path


@pytest.fixture
def sessions(tmp_path: Path) -> Path:
    """Three objects, two frames, eleven sessions in an order of their own."""
    frames = {session: [[shade(c, i) for i in range(2)] for c in range(3)] for session in range(1, 12)}
    write_core50(tmp_path, frames, CORE50_ORDER, CORE50_TEST)
    return tmp_path


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """Twelve sources; those with object folders have them."""
    for number, source in enumerate(ORDERS["long"]):
        objects = ("b", "a") if source in WITH_OBJECTS else ("",)
        train = [[shade(label, i) for i in range(2 + number)] for label in range(2)]
        write_cddb(tmp_path, source, train, [[shade(0), shade(0)], [shade(1), shade(1)]], objects)
    return tmp_path


# DomainNet.


def test_domainnet_has_six_domains_with_the_same_classes(domains: Path) -> None:
    benchmark = official(DomainNet(data_root=str(domains)))
    assert [data.domain for data in benchmark.experiences] == [
        "clipart",
        "infograph",
        "painting",
        "quickdraw",
        "real",
        "sketch",
    ]
    assert [(len(data.train), len(data.test)) for data in benchmark.experiences] == [(6 + 3 * k, 3) for k in range(6)]
    assert labels_are_shown(benchmark)


def test_class_and_domain_are_two_things(domains: Path) -> None:
    benchmark = official(DomainNet(data_root=str(domains)))
    assert len(benchmark.label_space) == len(NAMES)
    assert benchmark.label_space.names == tuple(NAMES)
    assert {data.label_space for data in benchmark.experiences} == {benchmark.label_space}
    assert [data.train[0].task_id for data in benchmark.experiences] == list(range(6))


def test_the_first_domain_has_settings_of_its_own(domains: Path) -> None:
    benchmark = official(DomainNet(data_root=str(domains)))
    assert benchmark.training["optimizer"] == "sgd"
    assert (benchmark.training["epochs"], benchmark.training["lr"], benchmark.training["batch_size"]) == (30, 0.01, 128)
    assert [data.training.get("weight_decay") for data in benchmark.experiences] == [5e-4] + [None] * 5
    assert benchmark.training["weight_decay"] == 2e-4


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("infograph_train.txt| 0\n", " 1\n", "label 1 stands for|label 0 stands for"),
        ("infograph_train.txt| 0\n", "\n", "line 1"),
        ("infograph_train.txt|infograph/", "../infograph/", "not of the form"),
        ("infograph_train.txt|infograph/", "/infograph/", "not of the form"),
        ("infograph_train.txt|infograph/", "real/", "not of the form infograph/CLASS/IMAGE"),
        ("infograph_test.txt|infograph/zebra/", "infograph/../", "label 2 stands for zebra"),
    ],
)
def test_damaged_lists_of_domainnet_are_refused(domains: Path, old: str, new: str, sentence: str) -> None:
    file, _, old = old.partition("|")
    text = (domains / file).read_text("utf-8")
    assert old in text
    (domains / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(DataError, match=rf"benchmark 'domainnet'.*({sentence})"):
        DomainNet(data_root=str(domains)).build()


def test_a_class_that_all_domains_call_by_another_number_has_no_gap(domains: Path) -> None:
    for file in domains.glob("*.txt"):
        file.write_text(file.read_text("utf-8").replace(" 2\n", " 7\n"), encoding="utf-8")
    with pytest.raises(DataError, match="labels up to 7 for 3 classes"):
        DomainNet(data_root=str(domains)).build()


@pytest.mark.parametrize("place", ["painting_train.txt", "painting_test.txt"])
def test_a_domain_may_lack_a_class(domains: Path, tmp_path_factory: pytest.TempPathFactory, place: str) -> None:
    """As the official painting_train.txt names no t-shirt."""
    lines = (domains / place).read_text("utf-8").splitlines(keepends=True)
    (domains / place).write_text("".join(line for line in lines if "/zebra/" not in line), encoding="utf-8")
    benchmark = official(DomainNet(data_root=str(domains)))
    assert {data.label_space.names for data in benchmark.experiences} == {tuple(NAMES)}
    side = benchmark.experiences[2].train if "train" in place else benchmark.experiences[2].test
    assert {side[i].target for i in range(len(side))} == {0, 1}
    assert labels_are_shown(benchmark)
    learner = toy_learner(benchmark, backbone=tiny_clip(), optimizer="sgd", iterations=2, batch_size=4)
    for experience in benchmark.train[1:3]:
        learner.train(experience)
    assert 0 <= learner.evaluate(benchmark.test[2], Accuracy()) <= 100


def test_a_missing_list_is_named_with_its_owner(domains: Path) -> None:
    (domains / "sketch_test.txt").unlink()
    with pytest.raises(DataError, match=r"domain sketch: no sketch_test\.txt below .*Boston University"):
        DomainNet(data_root=str(domains)).build()
    assert len(official(DomainNet(data_root=str(domains), experiences=5)).experiences) == 5


def test_missing_images_are_counted_and_strict_refuses_them(domains: Path) -> None:
    shutil.rmtree(domains / "real" / "zebra")
    with (
        pytest.warns(UserWarning, match=r"domain real: 6 of 18 listed files are missing"),
        pytest.warns(UserWarning, match="1 of 3 listed files are missing"),
        pytest.warns(UserWarning, match="not comparable"),
    ):
        benchmark = DomainNet(data_root=str(domains)).build()
    assert benchmark.metadata["missing"] == 7
    with pytest.raises(DataError, match="domain real: 6 listed files are missing"):
        DomainNet(data_root=str(domains), strict=True).build()


def test_strict_refuses_another_size_of_a_domain(domains: Path) -> None:
    with pytest.raises(DataError, match=r"domain clipart: 3 classes and 9 images\. Allowed: 345 and 48129"):
        DomainNet(data_root=str(domains), strict=True).build()


# CORe50.


def test_core50_learns_eight_sessions_in_the_order_of_the_lists(sessions: Path) -> None:
    benchmark = official(CORe50(data_root=str(sessions)))
    assert [data.name for data in benchmark.experiences] == [f"session {number}" for number in CORE50_ORDER]
    assert [len(data.train) for data in benchmark.experiences] == [6] * 8
    assert labels_are_shown(benchmark)


def test_test_sessions_are_never_learned_and_the_same_after_every_experience(sessions: Path) -> None:
    benchmark = official(CORe50(data_root=str(sessions)))
    assert [experience.name for experience in benchmark.test] == ["test"]
    tested = benchmark.test[0].samples
    assert all(data.test is tested for data in benchmark.experiences)
    of_session = {tested[i].sample_id.split("/")[1] for i in range(len(tested))}
    assert of_session == {"s3", "s7", "s10"}
    learned = {data.train[i].sample_id.split("/")[1] for data in benchmark.experiences for i in range(len(data.train))}
    assert learned == {f"s{number}" for number in CORE50_ORDER}
    assert not of_session & learned


def test_objects_are_named_by_category_and_number(sessions: Path) -> None:
    assert official(CORe50(data_root=str(sessions))).label_space.names == (
        "plug adapter 1",
        "plug adapter 2",
        "plug adapter 3",
    )
    assert len(OBJECTS) == len(set(OBJECTS)) == 50
    assert (OBJECTS[4], OBJECTS[5], OBJECTS[49]) == ("plug adapter 5", "mobile phone 1", "remote control 5")


def test_labels_come_from_the_paths_not_from_the_lists(sessions: Path) -> None:
    for file in (sessions / LISTS).iterdir():
        file.write_text("".join(f"{line.split()[0]} 99\n" for line in file.read_text("utf-8").splitlines()))
    assert labels_are_shown(official(CORe50(data_root=str(sessions))))


def test_where_only_pickles_exist_they_give_the_same_stream(sessions: Path) -> None:
    by_lists = official(CORe50(data_root=str(sessions)))
    shutil.rmtree(sessions / "batches_filelists")
    by_pickles = official(CORe50(data_root=str(sessions)))
    assert by_pickles.metadata == by_lists.metadata
    assert by_pickles.metadata["convention"] == "ni-run0"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"noise",
        b"\x80\x02]q.",
        *map(
            pickle.dumps, (Path("x"), {"nc": []}, ["ni"], {"ni": 3}, {"ni": [3]}, {"ni": [[["s8"]]]}, {"ni": [[[0.5]]]})
        ),
    ],
)
def test_pickles_that_hold_anything_else_are_refused(sessions: Path, content: bytes) -> None:
    shutil.rmtree(sessions / "batches_filelists")
    (sessions / "LUP.pkl").write_bytes(content)
    with pytest.raises(DataError, match=r"benchmark 'core50'.*cannot be read"):
        CORe50(data_root=str(sessions)).build()


def test_a_pickle_that_would_run_code_is_refused(sessions: Path) -> None:
    class Trap:
        def __reduce__(self) -> object:
            return (print, ("ran",))

    shutil.rmtree(sessions / "batches_filelists")
    (sessions / "paths.pkl").write_bytes(pickle.dumps([Trap()]))
    with pytest.raises(DataError, match="has no place in a file of numbers and texts"):
        CORe50(data_root=str(sessions)).build()


def test_pickles_of_numpy_s_numbers_are_read(sessions: Path) -> None:
    by_lists = official(CORe50(data_root=str(sessions)))
    shutil.rmtree(sessions / "batches_filelists")
    lookup = read_pickle(sessions / "LUP.pkl")
    runs = [[[np.int64(index) for index in batch] for batch in batches] for batches in lookup["ni"]]
    (sessions / "LUP.pkl").write_bytes(pickle.dumps({**lookup, "ni": runs}, protocol=2))
    assert official(CORe50(data_root=str(sessions))).metadata == by_lists.metadata


def test_a_run_that_does_not_exist_is_refused(sessions: Path) -> None:
    with pytest.raises(DataError, match="run 3 below"):
        CORe50(data_root=str(sessions), run=3).build()
    with pytest.raises(ConfigError, match=r"core50\.run"):
        CORe50(data_root=str(sessions), run=-1)


@pytest.mark.parametrize(
    ("file", "line", "sentence"),
    [
        ("test_filelist.txt", "s8/o1/C_08_01_000.png 0", "session 8 is in the training batches and in the test set"),
        ("train_batch_00_filelist.txt", "s2/o1/C_02_01_000.png 0", r"holds the sessions \[2, 8\] instead of one"),
        ("train_batch_00_filelist.txt", "s8/o1 0", "not of the form sSESSION/oOBJECT"),
        ("train_batch_00_filelist.txt", "../s8/o1/C_08_01_000.png 0", "not of the form"),
        ("train_batch_00_filelist.txt", "s8/o0/C_08_00_000.png 0", "not of the form"),
    ],
)
def test_damaged_lists_of_core50_are_refused(sessions: Path, file: str, line: str, sentence: str) -> None:
    path = sessions / LISTS / file
    path.write_text(f"{path.read_text('utf-8')}{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=rf"benchmark 'core50'.*{sentence}"):
        CORe50(data_root=str(sessions)).build()


def test_a_session_in_two_batches_is_refused(sessions: Path) -> None:
    lists = sessions / LISTS
    shutil.copy(lists / "train_batch_00_filelist.txt", lists / "train_batch_08_filelist.txt")
    with pytest.raises(DataError, match="session 8 is in two training batches"):
        CORe50(data_root=str(sessions)).build()


def test_more_objects_than_there_are_are_refused(sessions: Path) -> None:
    image = sessions / "core50_128x128" / "s8" / "o51" / "C_08_51_000.png"
    image.parent.mkdir()
    shade(0).save(image)
    path = sessions / LISTS / "train_batch_00_filelist.txt"
    path.write_text(f"{path.read_text('utf-8')}s8/o51/C_08_51_000.png 50\n", encoding="utf-8")
    with pytest.raises(DataError, match="object 51, but there are 50"):
        CORe50(data_root=str(sessions)).build()


def test_missing_frames_are_counted_once(sessions: Path) -> None:
    (sessions / "core50_128x128" / "s3" / "o1" / "C_03_01_000.png").unlink()
    (sessions / "core50_128x128" / "s5" / "o1" / "C_05_01_000.png").unlink()
    with pytest.warns(UserWarning, match="missing"), pytest.warns(UserWarning, match="not comparable"):
        benchmark = CORe50(data_root=str(sessions)).build()
    assert benchmark.metadata["missing"] == 2


@pytest.mark.usefixtures("cache")
def test_a_run_over_core50_has_one_column_and_can_be_extended(tmp_path: Path) -> None:
    result = mmcl.run(
        benchmark=mmcl.benchmark("core50", embedded=True, experiences=2),
        training={"iterations": 1},
        out=str(tmp_path / "run"),
        quiet=True,
    )
    assert result.matrix.shape == (3, 1)
    assert result.results["edition"] == "embedded"
    assert result.summary["forgetting"] is None
    longer = extend(result.folder, quiet=True)
    assert longer.matrix.shape == (4, 1)
    assert longer.results["rows"][1:] == [f"session {number}" for number in CORE50_ORDER[:3]]
    assert longer.results["columns"] == ["test"]
    np.testing.assert_array_equal(longer.matrix[:3], result.matrix)


def test_reading_batches_keeps_the_order_of_the_files(sessions: Path) -> None:
    *train, test = read_batches(sessions, 0)
    assert [batch[0].split("/")[0] for batch in train] == [f"s{number}" for number in CORE50_ORDER]
    assert len(test) == 18


# CDDB.


def test_variants_are_those_of_the_protocol() -> None:
    assert ORDERS["hard"] == ("gaugan", "biggan", "wild", "whichfaceisreal", "san")
    assert {name: len(order) for name, order in ORDERS.items()} == {"hard": 5, "easy": 7, "long": 12}
    assert set(ORDERS["hard"]) | set(ORDERS["easy"]) < set(ORDERS["long"])
    assert set(SIZES) == set(ORDERS["long"]) == set(CDDB_SOURCES)
    assert {source for source, objects in CDDB_SOURCES.items() if objects != ("",)} == WITH_OBJECTS


@pytest.mark.parametrize("variant", list(ORDERS))
def test_real_is_0_and_fake_is_1_in_every_source(fakes: Path, variant: str) -> None:
    benchmark = official(CDDB(data_root=str(fakes), variant=variant))  # type: ignore[arg-type]
    assert [data.name for data in benchmark.experiences] == list(ORDERS[variant])
    assert benchmark.label_space.names == ("real", "fake")
    assert labels_are_shown(benchmark)
    for data in benchmark.experiences:
        assert len(data.train) == 2 * (2 + ORDERS["long"].index(data.name))
        assert len(data.test) == 4


def test_files_are_sorted_whatever_order_the_file_system_has(fakes: Path) -> None:
    for folder in (fakes / "gaugan" / "train" / "0_real", fakes / "cyclegan" / "train" / "a" / "1_fake"):
        for number in (9, 0, 5):
            shade(int(folder.name[0])).save(folder / f"x{number}.png")
    benchmark = official(CDDB(data_root=str(fakes), variant="easy"))
    for source in (benchmark.experiences[0], benchmark.experiences[2]):
        ids = [source.train[i].sample_id for i in range(len(source.train))]
        folders = list(dict.fromkeys(id_.rsplit("/", 1)[0] for id_ in ids))
        assert folders == sorted(folders)
        assert ids == sorted(ids)


@pytest.mark.parametrize(
    ("source", "sentence"), [("gaugan", "without a level of object"), ("cyclegan", "with a level of object")]
)
def test_a_source_on_the_wrong_level_is_refused(fakes: Path, source: str, sentence: str) -> None:
    side = fakes / source / "train"
    if source == "gaugan":
        (fakes / source / "object").mkdir()
        for folder in list(side.iterdir()):
            folder.rename(fakes / source / "object" / folder.name)
        (fakes / source / "object").rename(side / "object")
    else:
        for name in ("0_real", "1_fake"):
            (side / "a" / name).rename(side / name)
        shutil.rmtree(side / "a")
        shutil.rmtree(side / "b")
    with pytest.raises(DataError, match=rf"source {source}.*{sentence}"):
        CDDB(data_root=str(fakes), variant="easy").build()


def test_a_missing_source_is_named_with_its_owner(fakes: Path) -> None:
    shutil.rmtree(fakes / "wild")
    with pytest.raises(DataError, match=r"source wild: no wild below .*ETH Zurich"):
        CDDB(data_root=str(fakes)).build()
    shutil.rmtree(fakes / "biggan" / "val")
    with pytest.raises(DataError, match=r"source biggan.*val"):
        CDDB(data_root=str(fakes), experiences=2).build()


def test_every_source_weighs_the_same_in_aa() -> None:
    matrix = ResultMatrix(["gaugan", "san"])
    matrix.set_row(0, [90.0, 50.0])
    matrix.set_row(1, [80.0, 60.0])
    summary = matrix.summary([10_000, 440])
    assert summary["acc"] == 70.0
    assert summary["acc_weighted"] == pytest.approx((80 * 10_000 + 60 * 440) / 10_440)
    assert summary["bwt"] == -10.0


def test_the_first_source_trains_shorter_and_slower(fakes: Path) -> None:
    benchmark = official(CDDB(data_root=str(fakes)))
    assert (benchmark.training["epochs"], benchmark.training["lr"]) == (50, 0.01)
    assert dict(benchmark.experiences[0].training) == {"epochs": 20, "lr": 0.001, "weight_decay": 5e-4}
    assert not benchmark.experiences[1].training


def test_the_published_size_is_compared_as_precisely_as_it_is_known(
    fakes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmcl_benchmarks.dil.cddb._images_below", lambda folder: SIZES[folder.name] + 30)
    with pytest.raises(DataError, match=r"source san: 470 images\. Allowed: 440"):
        CDDB(data_root=str(fakes), strict=True).build()


# All of them.


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
    assert not any(data.training for data in benchmark.experiences)
    if name != "cddb":
        assert set(benchmark.label_space.names) <= {symbol.name for symbol in held_out_symbols()}
    assert contents(tmp_path) == first
    again = tmp_path / "again"
    again.mkdir()
    WRITERS[name](again)
    assert contents(again) == first


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize("name", PLUGINS)
def test_registered_names_lead_to_the_embedded_editions(name: str) -> None:
    assert load(BENCHMARKS, name) is PLUGINS[name]
    benchmark = mmcl.benchmark(name, embedded=True, experiences=2).build()
    assert (benchmark.name, benchmark.edition, benchmark.scenario) == (name, "embedded", DIL)


@pytest.mark.parametrize("plugin", PLUGINS.values(), ids=PLUGINS)
def test_without_data_both_ways_are_told(plugin: type[BenchmarkPlugin], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--embedded.*--data-root"):
        plugin().build()
    with pytest.raises(DataError, match="no such folder"):
        plugin(data_root=str(tmp_path / "nowhere")).build()  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match=r"experiences: 99.*1 to"):
        plugin(experiences=99)  # type: ignore[call-arg]


def test_the_digest_knows_files_and_labels(domains: Path) -> None:
    before = official(DomainNet(data_root=str(domains))).metadata["digest"]
    assert official(DomainNet(data_root=str(domains))).metadata["digest"] == before
    lines = (domains / "real_train.txt").read_text("utf-8").splitlines(keepends=True)
    (domains / "real_train.txt").write_text("".join(reversed(lines)), encoding="utf-8")
    after = official(DomainNet(data_root=str(domains))).metadata["digest"]
    assert [name for name in before if before[name] != after[name]] == ["real"]


def test_names_of_an_edition_must_be_as_many_as_classes(sessions: Path) -> None:
    (sessions / "edition.json").write_text('{"edition": "mine", "names": {"core50": ["a", "b"]}}')
    with pytest.raises(DataError, match=r"2 names for core50.*one for each of its 3 classes"):
        CORe50(data_root=str(sessions)).build()
    (sessions / "edition.json").write_text('{"edition": "mine", "names": {"core50": ["a", "b", "c"]}}')
    assert CORe50(data_root=str(sessions)).build().label_space.names == ("a", "b", "c")
