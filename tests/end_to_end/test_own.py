"""Own data on the command line: the streams that Python makes of them, with a configuration of their own."""

import csv
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.errors import CheckpointError, ConfigError, DataError
from mmcl.run_folder import RunFolder

from .small import SMALL

MAKERS = ("anna", "bert", "carl")
CLASSES = ("cat", "red_fox")
OWN = "mmcl_benchmarks.own.benchmark:Own"
SETTINGS = {"iterations": 2, "batch_size": 4, "lr": 1e-3}

Row = Mapping[str, Any]


def picture(seed: int) -> Image.Image:
    image = Image.new("RGB", (32, 32), "white")
    ImageDraw.Draw(image).rectangle((seed % 7, seed % 5, 12 + seed % 11, 20), fill=((37 * seed) % 256, seed % 256, 90))
    return image


def rows(makers: Sequence[str], per_class: int = 5) -> Iterator[Row]:
    for maker in makers:
        for k, name in enumerate(CLASSES):
            for j in range(per_class):
                seed = 50 * (("anna", "bert", "carl", "dora").index(maker)) + 20 * k + j
                label = name.replace("_", " ")
                yield {"image": f"{maker}/{name}/{j}.png", "label": label, "domain": maker, "seed": seed}


def write(place: Path, made: Sequence[Row]) -> Path:
    """The pictures of rows in folders of their makers and classes."""
    for row in made:
        (place / row["image"]).parent.mkdir(parents=True, exist_ok=True)
        picture(row["seed"]).save(place / row["image"])
    return place


def listed(place: Path, made: Sequence[Row]) -> Path:
    """The same with a CSV file that lists them."""
    with (write(place, made) / "rows.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["image", "label", "domain"], extrasaction="ignore")
        table.writeheader()
        table.writerows(made)
    return place / "rows.csv"


def mmcl_(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def run(out: Path, data: Path, *options: str) -> Any:
    """``mmcl run own``; the results."""
    settings = [
        *(f"{name}={value}" for name, value in SETTINGS.items()),
        *(f"benchmark.{option}" for option in options),
    ]
    words = [word for setting in settings for word in ("--set", setting)]
    mmcl_("run", OWN, "--data", data, "--backbone", SMALL, "--out", out, *words)
    return RunFolder.open(out).results


def test_an_extension_by_the_last_domain_is_the_run_of_all_of_them(tmp_path: Path) -> None:
    data = write(tmp_path / "data", list(rows(MAKERS)))
    whole = run(tmp_path / "whole", data, "by=domain")
    carl = tmp_path / "moved" / "carl"
    shutil.move(data / "carl", carl)
    out = tmp_path / "run"
    run(out, data, "by=domain")
    mmcl_("extend", out, "--data", carl)
    assert RunFolder.open(out).results["matrix"][-1] == whole["matrix"][-1]


def test_a_configuration_runs_again_from_anywhere_and_data_that_moved_are_named_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = listed(tmp_path / "data", list(rows(["anna"])))
    first = run(
        Path("run"), data.relative_to(tmp_path), "steps=[1,1]", 'order=["red fox","cat"]', "columns.domain=none"
    )
    assert first["scenario"] == "CIL"
    assert [space["classes"][0]["name"] for space in RunFolder.open(Path("run")).progress["label_spaces"].values()] == [  # type: ignore[index]
        "red fox",
        "cat",
    ]
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    mmcl_("run", "--config", "../run/config.toml", "--out", "again")
    assert RunFolder.open(Path("again")).results["matrix"] == first["matrix"]
    (tmp_path / "data").rename(tmp_path / "moved")
    with pytest.raises(CheckpointError, match=r"no longer in .*rows\.csv.*--data-root PLACE"):
        mmcl_("resume", "../run")
    mmcl_("resume", "../run", "--data-root", "../moved/rows.csv")
    assert RunFolder.open(tmp_path / "run").results["matrix"] == first["matrix"]


@pytest.mark.parametrize(
    ("options", "kind", "sentence"),
    [
        ({}, ConfigError, "no data.*mmcl run own --data DATA"),
        ({"data_root": "x", "embedded": True}, ConfigError, "both own data and --embedded"),
        ({"data_root": "absent"}, DataError, "own data absent: no such file or folder"),
        ({"data_root": "flat"}, DataError, "no picture in a sub-folder.*FOLDER/CLASS/PICTURE"),
        ({"data_root": "flat", "by": "task"}, DataError, "neither sub-folders nor CSV files"),
        ({"data_root": "one.csv", "by": "task"}, DataError, "one data set.*a data set for every task"),
        ({"by": "domain", "steps": 3}, ConfigError, r"own\.steps: it has no effect on data by domain.*by=class"),
        ({"domain": "maker"}, ConfigError, r"own\.domain: it has no effect on data by class.*by=domain"),
        ({"by": "domain", "embedded": True}, ConfigError, "'domain' of the embedded edition"),
        ({"data_root": "one.csv", "by": "column"}, ConfigError, r"own\.column: none, and categories"),
        ({"by": "pairs", "steps": [2, 3]}, ConfigError, r"own\.steps: \[2, 3\] for pairs"),
        ({"by": "pairs", "templates": ["a {}"]}, ConfigError, r"own\.templates: it has no effect on data by pairs"),
        ({"by": "domain", "column": "x"}, ConfigError, r"own\.column: it has no effect on data by domain"),
        ({"data_root": "classes", "by": "pairs"}, DataError, "neither sub-folders nor CSV files"),
        ({"data_root": "windows"}, DataError, r"the columns array, label.*columns={'array': 'acceleration'}"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    options: dict[str, Any], kind: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat").mkdir()
    picture(0).save(tmp_path / "flat" / "0.png")
    write(tmp_path / "classes", list(rows(["anna"])))
    (tmp_path / "windows" / "walk").mkdir(parents=True)
    np.save(tmp_path / "windows" / "walk" / "0.npy", np.zeros((8, 3)))
    (tmp_path / "one.csv").write_text("image,label\nflat/0.png,cat\n")
    with pytest.raises(kind, match=sentence):
        mmcl.benchmark(OWN, **options).build()


def test_tasks_are_the_data_sets_in_a_folder_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "data", list(rows(["anna", "bert"])))
    (tmp_path / "data" / "texts.csv").write_text("text,label\n" + "".join(f"word {i},t{i % 2}\n" for i in range(8)))
    plugin = mmcl.benchmark(OWN, data_root=str(tmp_path / "data"), by="task", order=["texts", "bert", "anna"])
    built = plugin.build()
    assert (plugin.scenario, plugin.modalities) == (built.scenario, built.modalities)
    assert built.scenario.name == "MDTIL"
    assert [data.name for data in built.experiences] == ["texts", "bert", "anna"]
    with pytest.raises(ConfigError, match=r"own\.order: 'texts'\. Allowed: each of 'anna', 'bert', 'texts' once"):
        mmcl.benchmark(OWN, data_root=str(tmp_path / "data"), by="task", order=["texts"]).build()


def test_check_data_names_every_bad_row_of_own_data(tmp_path: Path) -> None:
    data = listed(tmp_path / "data", list(rows(["anna"])))
    (tmp_path / "data" / "anna" / "cat" / "0.png").write_bytes(b"no picture")
    (tmp_path / "data" / "anna" / "red_fox" / "1.png").unlink()
    result = CliRunner().invoke(app, ["check-data", f"{OWN}:steps=1", "--data", str(data)])
    assert result.exit_code == 1
    assert "cat/0.png: it cannot be read" in result.output
    assert "red_fox/1.png: it cannot be read" in result.output
    assert "2 of them cannot be learned from" in result.output
