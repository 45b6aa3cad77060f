"""Folders of images that extend a run: whose class it is, and where the folder is."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mmcl
from mmcl.data.folder import folder_experience
from mmcl.errors import CheckpointError, DataError, MMCLError
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark

PROMPT = "a drawing of a {}."


def picture(shade: int) -> Image.Image:
    return Image.new("RGB", (32, 32), (shade % 256, 3 * shade % 256, 7 * shade % 256))


def folder(place: Path, classes: Sequence[str], per_class: int = 5, first: int = 0) -> Path:
    for k, name in enumerate(classes):
        (place / name).mkdir(parents=True, exist_ok=True)
        for j in range(per_class):
            picture(first + 40 * k + j).save(place / name / f"{j}.png")
    return place


def stream(kind: str = "CIL") -> Benchmark:
    rows = [(picture(i), ("cat", "red fox")[i % 2]) for i in range(16)]
    training = {"iterations": 1, "batch_size": 4}
    if kind == "DIL":
        return mmcl.streams.by_domain({"photo": rows}, templates=[PROMPT], training=training)
    return mmcl.streams.by_class(rows, experiences=1, scenario=kind, templates=[PROMPT], training=training)


def learned(out: Path, benchmark: Benchmark, *strategies: str) -> Path:
    return mmcl.run(benchmark=benchmark, strategies=strategies, out=out, quiet=True).folder


def classes(run: Path) -> dict[str, dict[str, int]]:
    """Experience -> name -> id."""
    stored = RunFolder.open(run).read_json("progress.json")["label_spaces"].values()
    return {space["name"]: {c["name"]: c["id"] for c in space["classes"]} for space in stored}


def test_a_class_that_the_run_knows_keeps_its_id_and_new_ones_take_the_prompts_of_the_stream(tmp_path: Path) -> None:
    run = learned(tmp_path / "run", stream(), "icarl:size=8")
    mmcl.extend(run, folder(tmp_path / "first", ["Red_Fox", "dog"]), benchmark=stream(), quiet=True)
    mmcl.extend(run, folder(tmp_path / "second", ["DOG", "bus"], first=3), benchmark=stream(), quiet=True)
    assert classes(run)["first"] == {"red fox": 1, "dog": 2}
    assert classes(run)["second"] == {"dog": 2, "bus": 3}
    stored = RunFolder.open(run).read_json("identity.json")["experiences"]
    assert {template for data in stored for c in data["classes"] for template in c["templates"]} == {PROMPT}
    best = mmcl.predict(run, [tmp_path / "first" / "dog" / "0.png"], top=9)[0].classes
    assert sorted(name for name, _ in best) == ["bus", "cat", "dog", "red fox"]


def test_where_every_experience_has_classes_of_its_own_a_name_may_come_again(tmp_path: Path) -> None:
    run = learned(tmp_path / "run", stream("TIL"))
    mmcl.extend(run, folder(tmp_path / "more", ["cat", "dog"]), benchmark=stream("TIL"), quiet=True)
    assert classes(run)["more"] == {"cat": 2, "dog": 3}


def test_a_new_domain_has_the_same_classes_or_is_refused_with_their_names(tmp_path: Path) -> None:
    run = learned(tmp_path / "run", stream("DIL"))
    results = mmcl.extend(run, folder(tmp_path / "sketch", ["red_fox", "Cat"]), benchmark=stream("DIL"), quiet=True)
    assert results.results["columns"] == ["photo", "sketch"]
    assert classes(run)["sketch"] == {"cat": 0, "red fox": 1}
    with pytest.raises(DataError, match="'quick' lacks 'red fox' and has 'bus' in addition"):
        mmcl.extend(run, folder(tmp_path / "quick", ["cat", "bus"]), benchmark=stream("DIL"), quiet=True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda place: folder(place, ["ape"], per_class=1), "'ape' has a single row"),
        (lambda place: folder(place, ["ape"]), "'first' has 'ape' in addition"),
        (lambda place: shutil.rmtree(place / "dog"), "'first' lacks 'dog'"),
        (lambda place: (place / "dog").rename(place / "hog"), "'first' lacks 'dog' and has 'hog' in addition"),
        (lambda place: (place / "dog" / "0.png").unlink(), "train samples instead of"),
        (lambda place: picture(77).resize((40, 40)).save(place / "dog" / "0.png"), "other contents"),
    ],
)
def test_a_folder_that_changed_since_it_was_learned_is_refused_and_no_id_moves(
    change: Any, sentence: str, tmp_path: Path
) -> None:
    run = learned(tmp_path / "run", stream())
    mmcl.extend(run, folder(tmp_path / "first", ["bus", "dog"]), benchmark=stream(), quiet=True)
    before = classes(run)
    change(tmp_path / "first")
    with pytest.raises(MMCLError, match=sentence):
        mmcl.extend(run, folder(tmp_path / "second", ["emu", "fly"]), benchmark=stream(), quiet=True)
    assert classes(run) == before


def test_two_folders_of_one_class_are_refused(tmp_path: Path) -> None:
    run = learned(tmp_path / "run", stream())
    with pytest.raises(DataError, match=r"class folders 'Red Fox' \(5 rows\) and 'red_fox' \(5 rows\)"):
        mmcl.extend(run, folder(tmp_path / "new", ["Red Fox", "red_fox"]), benchmark=stream(), quiet=True)


def test_which_images_are_for_testing_depends_on_their_own_places_and_hidden_ones_are_none(tmp_path: Path) -> None:
    few, many = folder(tmp_path / "a", ["cat", "dog"], per_class=10), tmp_path / "b"
    folder(many, ["ape", "cat", "dog"], per_class=10)
    (many / "cat" / "._0.png").write_bytes(b"\0")
    folder(many / ".cache", ["cat"])
    aside = []
    for place in (few, many):
        test = folder_experience(place).test
        aside.append({test[i].sample_id.partition("/")[2] for i in range(len(test))})
    assert aside[0] == {place for place in aside[1] if not place.startswith("ape")}
    assert [len(places) for places in aside] == [4, 6]


def test_data_that_have_moved_are_named_anew_and_may_not_be_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = learned(tmp_path / "run", stream())
    folder(tmp_path / "first", ["dog", "emu"])
    mmcl.extend("run", "first", benchmark=stream(), quiet=True)  # type: ignore[arg-type]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    matrix = mmcl.resume(run, benchmark=stream(), quiet=True).results["matrix"]
    (tmp_path / "first").rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=rf"no longer in .*first.*mmcl resume {run} --data PLACE"):
        mmcl.resume(run, benchmark=stream(), quiet=True)
    with pytest.raises(CheckpointError, match="1 data sets have extended it"):
        mmcl.resume(run, benchmark=stream(), quiet=True, data=["../moved", "../moved"])
    with pytest.raises(CheckpointError, match="samples of 'first' have other contents"):
        mmcl.resume(run, benchmark=stream(), quiet=True, data=[folder(tmp_path / "other", ["dog", "emu"], first=9)])
    assert mmcl.resume(run, benchmark=stream(), quiet=True, data=["../moved"]).results["matrix"] == matrix
    longer = mmcl.extend(run, folder(tmp_path / "new", ["dog", "fly"]), benchmark=stream(), quiet=True)
    assert longer.results["columns"] == ["classes 1-2", "first", "new"]
    assert classes(run)["new"] == {"dog": 2, "fly": 4}


def test_a_data_root_that_has_moved_is_named_anew(embedded_mtil: Path, tmp_path: Path) -> None:
    shutil.copytree(embedded_mtil, tmp_path / "data", copy_function=os.link)
    options = {"experiences": 1, "data_root": os.path.relpath(tmp_path / "data")}
    training = {"iterations": 1, "batch_size": 4, "warmup": 0, "check_data": False}
    run = mmcl.run(
        benchmark=mmcl.benchmark("mtil", **options),
        backbone="glyph-clip",
        training=training,
        out=tmp_path / "run",
        quiet=True,
    )
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match="--data-root PLACE"):
        mmcl.extend(run.folder, quiet=True)
    again = mmcl.resume(run.folder, quiet=True, data_root=tmp_path / "moved")
    assert again.results["matrix"] == run.results["matrix"]
    assert len(mmcl.extend(run.folder, quiet=True).results["columns"]) == 2
    toy = learned(tmp_path / "toy", toy_benchmark(TIL, experiences=1))
    with pytest.raises(CheckpointError, match="no data root"):
        mmcl.resume(toy, benchmark=toy_benchmark(TIL, experiences=1), data_root=tmp_path, quiet=True)


def test_an_extension_that_was_killed_before_its_identity_was_written_is_resumed(tmp_path: Path) -> None:
    run = learned(tmp_path / "run", stream())
    before = (run / "identity.json").read_bytes(), (run / "progress.json").read_bytes()
    matrix = mmcl.extend(run, folder(tmp_path / "new", ["dog", "emu"]), benchmark=stream(), quiet=True).results[
        "matrix"
    ]
    (run / "identity.json").write_bytes(before[0])
    (run / "progress.json").write_bytes(before[1])
    shutil.rmtree(run / "checkpoint-2")
    assert mmcl.resume(run, benchmark=stream(), quiet=True).results["matrix"] == matrix
