"""Asking the model of a run: files of any size, folders, tables, values in memory; and true sentences for the rest."""

import builtins
import csv
import errno
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.pixels import open_image
from mmcl.data.sample import Inputs
from mmcl.errors import CheckpointError, ConfigError, DataError
from mmcl.evaluation.retrieval_metric import Retrieval
from mmcl.models.output import Output
from mmcl.run_folder import RunFolder
from mmcl.streams.scenario import CIL, DIL
from mmcl.testing.laboratory.audit import audited
from mmcl.testing.toy import toy_benchmark, toy_pairs
from mmcl.use import trained_model


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


def answered(run: Path, space: LabelSpace, pictures: Path) -> Output:
    """What the model of a run makes of the pictures."""
    model = trained_model(RunFolder.open(run)).eval()
    images = torch.stack([model.backbone.preprocess_eval["image"](open_image(path)) for path in files(pictures)])
    asked = Asked(space)
    with torch.no_grad():
        return model.predict(Inputs({"image": images}, {"image": torch.ones(3, dtype=torch.bool)}, asked=asked))


def test_the_head_of_a_run_says_how_sure_its_answers_are(pictures: Path, tmp_path: Path) -> None:
    strategy, out = mmcl.strategy("rail", expansion=16), tmp_path / "run"
    stream = toy_benchmark(CIL, experiences=2)
    mmcl.run(benchmark=stream, strategies=[strategy], out=out, quiet=True)
    scores = answered(out, stream.label_space, pictures).logits
    assert scores is not None
    positive = scores.clamp(min=0)
    expected = [
        dict(zip(stream.label_space.names, row, strict=True)) for row in (positive / positive.sum(1, True)).tolist()
    ]
    found = shares(mmcl.predict(out, pictures))
    assert close(found, expected)
    for said, flat in zip(found, scores.softmax(1).amax(1).tolist(), strict=True):
        assert abs(sum(said.values()) - 1) < 1e-5
        assert max(said.values()) > 1.2 * flat


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


@pytest.mark.parametrize("make", ["rows", "frame", "saved", "in memory"])
def test_rows_of_any_make_are_asked_about_whatever_else_they_have(
    make: str, run: Path, pictures: Path, tmp_path: Path
) -> None:
    held = [str(path) if make in ("rows", "frame") else open_image(path) for path in files(pictures)]
    rows = [{"image": held[0], "label": {"id": 3}}, {"image": held[1], "label": "x"}, {"image": held[2], "label": None}]
    asked: Any = rows
    if make == "frame":
        asked = pytest.importorskip("pandas").DataFrame(rows)
    elif make != "rows":
        asked = pytest.importorskip("datasets").Dataset.from_dict({"number": [1, 2, 3], "image": held})
    if make == "saved":
        asked.save_to_disk(str(tmp_path / "saved"))
        asked = tmp_path / "saved"
    said = mmcl.predict(run, asked)
    assert shares(said) == shares(mmcl.predict(run, files(pictures)))
    assert [answer.name for answer in said] == {
        "rows": ["input 1", "input 2", "input 3"],
        "frame": list(map(str, files(pictures))),
        "saved": [f"{tmp_path / 'saved'}, row {row}" for row in range(3)],
        "in memory": [f"input 1, row {row}" for row in range(3)],
    }[make]


def test_a_model_in_a_folder_that_nobody_may_write_to_answers_and_is_exported_elsewhere(
    run: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, make, opened = mmcl.predict(run, pictures), os.mkdir, open

    def refused(path: Any, flags: str = "w") -> None:
        if set(flags) & set("wax+") and Path(os.path.abspath(path)).is_relative_to(run):
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def mkdir(path: Any, *arguments: Any, **options: Any) -> None:
        refused(path)
        make(path, *arguments, **options)

    def open_(path: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        if isinstance(path, (str, os.PathLike)):
            refused(path, mode)
        return opened(path, mode, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", mkdir)
    for module in (builtins, io):
        monkeypatch.setattr(module, "open", open_)
    with audited() as audit:
        assert mmcl.predict(run, pictures) == expected
    assert [path for path in audit.written if Path(path).is_relative_to(run)] == []
    with pytest.raises(ConfigError, match=r"export-open_clip cannot be written .*Read-only.*Name another with --out"):
        mmcl.export(run, "open_clip")
    assert (mmcl.export(run, "open_clip", tmp_path / "clip") / "open_clip_model.safetensors").exists()
    assert not (run / "export-open_clip").exists()


def test_a_model_is_exported_in_the_format_of_its_backbone_and_in_no_other(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"another format, OpenCLIPBackbone.*open_clip.*Leave the format out"):
        mmcl.export(run, "onnx", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()
    assert (mmcl.export(run, out=tmp_path / "clip") / "open_clip_model.safetensors").exists()


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
    with pytest.raises(DataError, match=r"a dictionary of the splits.*data\['train'\]"):
        mmcl.predict(run, {"train": [{"image": 1}]})
    with pytest.raises(DataError, match="data frame input 1: the columns name"):
        mmcl.predict(run, pytest.importorskip("pandas").DataFrame({"name": ["Ada"]}))
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


def test_the_ways_of_a_run_are_found_again_and_what_was_added_to_a_model_is_not_exported(
    pictures: Path, tmp_path: Path
) -> None:
    strategy = mmcl.strategy("s_liprompts", context=4, prompt_length=2, restarts=1)
    out, stream = tmp_path / "run", toy_benchmark(DIL, experiences=2)
    mmcl.run(benchmark=stream, strategies=[strategy], training={"iterations": 1}, out=out, quiet=True)
    output = answered(out, stream.label_space, pictures)
    assert output.route is not None
    assert set(output.route.ids.tolist()) <= {0, 1}
    assert output.logits is not None
    names = stream.label_space.names
    expected = [dict(zip(names, row, strict=True)) for row in output.logits.softmax(1).tolist()]
    assert close(shares(mmcl.predict(out, pictures)), expected)
    with pytest.raises(ConfigError, match=r"added to it, such as 'backbone.*s_liprompts.*Use 'mmcl predict'"):
        mmcl.export(out, "open_clip", tmp_path / "clip")
    assert not (tmp_path / "clip").exists()
