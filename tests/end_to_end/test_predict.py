"""Asking the model of a run: files of any size, folders, tables, values in memory; and true sentences for the rest."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.errors import CheckpointError, ConfigError, DataError
from mmcl.evaluation.retrieval_metric import Retrieval
from mmcl.run_folder import RunFolder
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "classes"
    mmcl.run(benchmark=toy_benchmark(CIL, experiences=2), training={"iterations": 1}, out=out, quiet=True)
    return out


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "pairs"
    stream = toy_pairs(experiences=1)
    stream.metric = Retrieval()
    mmcl.run(benchmark=stream, training={"iterations": 1}, out=out, quiet=True)
    return out


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "below").mkdir(parents=True)
    for number, size in enumerate([(40, 30), (64, 64), (9, 70)]):
        Image.new("RGB", size, (80 * number, 40, 200)).save(folder / ("below" if number else "") / f"{number}.png")
    (folder / "notes.txt").write_text("no picture")
    return folder


def files(folder: Path) -> list[Path]:
    return [folder / "0.png", folder / "below" / "1.png", folder / "below" / "2.png"]


def shares(predictions: Any) -> list[dict[str, float]]:
    return [dict(said.classes) for said in predictions]


def close(one: list[dict[str, float]], other: list[dict[str, float]]) -> bool:
    return all(
        a.keys() == b.keys() and all(abs(a[k] - b[k]) < 1e-5 for k in a) for a, b in zip(one, other, strict=True)
    )


def test_all_ways_to_ask_about_the_same_pictures_have_the_same_answers(run: Path, pictures: Path) -> None:
    each = [mmcl.predict(run, path)[0] for path in files(pictures)]
    together = mmcl.predict(str(run), list(map(str, files(pictures))))
    assert [said.name for said in together] == list(map(str, files(pictures)))
    assert close(shares(each), shares(together))
    assert shares(mmcl.predict(run, pictures)) == shares(together)
    (pictures / "list.csv").write_text(
        "image,number\n" + "".join(f"{p.relative_to(pictures)},1\n" for p in files(pictures))
    )
    assert mmcl.predict(run, pictures / "list.csv") == together
    opened = [Image.open(path) for path in files(pictures)]
    assert shares(mmcl.predict(run, opened)) == shares(together)
    arrays = [np.asarray(picture) for picture in opened]
    assert shares(mmcl.predict(run, [arrays[0], {"image": arrays[1]}, opened[2]])) == shares(together)
    assert close(shares(mmcl.predict(run, pictures, batch_size=1)), shares(together))
    assert all(abs(sum(said.values()) - 1) < 1e-5 and len(said) == 4 for said in shares(together))


def test_answers_are_written_as_json_and_as_a_table(run: Path, pictures: Path) -> None:
    words = ["predict", str(run), str(pictures), "--top", "2"]
    said = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    expected = mmcl.predict(run, pictures, top=2)
    assert [(row["name"], [(c["name"], c["probability"]) for c in row["classes"]]) for row in said] == [
        (answer.name, list(answer.classes)) for answer in expected
    ]
    rows = list(csv.DictReader(CliRunner().invoke(app, [*words, "--csv"]).stdout.splitlines()))
    assert [(row["name"], row["rank"], row["class"], float(row["probability"])) for row in rows] == [
        (answer.name, str(rank), *best) for answer in expected for rank, best in enumerate(answer.classes, 1)
    ]
    plain = CliRunner().invoke(app, words).stdout
    assert plain.splitlines() == list(map(str, expected))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ("absent.png", r"file .*absent\.png: no such file or folder.*Check what you name"),
        ("notes.txt", r"image .*notes\.txt: it cannot be read.*Leave it out"),
        ("empty", r"folder .*empty: no picture in it"),
        ("names.csv", r"CSV file .*names\.csv: the columns name, age.*a column 'image'"),
        ("hole.csv", r"hole\.csv, line 3: no value"),
    ],
)
def test_what_cannot_be_asked_about_is_one_sentence(run: Path, pictures: Path, asked: str, sentence: str) -> None:
    (pictures / "empty").mkdir()
    (pictures / "names.csv").write_text("name,age\nAda,36\n")
    (pictures / "hole.csv").write_text("image,age\n0.png,36\n,37\n")
    with pytest.raises(DataError, match=sentence) as error:
        mmcl.predict(run, [pictures / "0.png", pictures / asked])
    assert "trained" not in error.value.remedy


def test_numbers_below_one_and_values_of_other_modalities_are_refused(run: Path, pictures: Path) -> None:
    for options in ({"top": -1}, {"top": 0}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match="Allowed: 1 or more"):
            mmcl.predict(run, pictures, **options)
    with pytest.raises(DataError, match="input 1: values for sound"):
        mmcl.predict(run, {"sound": 1})
    with pytest.raises(DataError, match="nothing to predict"):
        mmcl.predict(run, [])


def test_a_model_of_pairs_ranks_texts_and_says_so_without_any(pairs: Path, run: Path, pictures: Path) -> None:
    with pytest.raises(CheckpointError, match=r"learned pairs, which have no classes.*--texts FILE"):
        mmcl.predict(pairs, pictures)
    ranked = mmcl.predict(pairs, pictures, texts=["a star", "a circle", "a star"])
    assert [sorted(said) for said in shares(ranked)] == [["a circle", "a star"]] * 3
    (pictures / "texts.txt").write_text("a star\n\na circle\n")
    words = ["predict", str(pairs), *map(str, files(pictures)), "--texts", str(pictures / "texts.txt"), "--json"]
    assert json.loads(CliRunner().invoke(app, words).stdout)[0]["classes"][0]["name"] == ranked[0].classes[0][0]
    assert len(mmcl.predict(run, pictures, texts=["a star", "a circle"])[0].classes) == 2
    with pytest.raises(DataError, match=r"texts .*absent\.txt: it cannot be read"):
        CliRunner().invoke(
            app, ["predict", str(pairs), str(pictures), "--texts", str(pictures / "absent.txt")], catch_exceptions=False
        )


def test_a_run_that_has_learned_nothing_yet_says_so(run: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "begun")
    folder = RunFolder.open(tmp_path / "begun")
    folder.save({**(folder.progress or {}), "experiences_done": 99, "label_spaces": {}, "met": []}, {}, {})
    with pytest.raises(CheckpointError, match="no experience has been learned"):
        mmcl.predict(tmp_path / "begun", pictures)


@pytest.mark.parametrize("content", ["{}", '{"scenario": "DIL"}', '{"scenario": [], "training": {}}'])
def test_results_that_are_not_the_runs_are_named(content: str, pairs: Path, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(pairs, tmp_path / "run")
    (tmp_path / "run" / "results.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"results\.json: it cannot be read"):
        mmcl.predict(tmp_path / "run", files(pictures), texts=["a", "b"])
