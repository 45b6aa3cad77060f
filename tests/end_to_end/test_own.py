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

MAKERS = ("anna", "bert", "carl")
CLASSES = ("cat", "red_fox")
OWN = "mmcl_benchmarks.own.benchmark:Own"
SETTINGS = {"iterations": 2, "batch_size": 4, "lr": 1e-3}
LAYOUTS = ("folder", "csv", "huggingface")

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


def write(place: Path, made: Sequence[Row], layout: str) -> Path:
    """The same rows in a layout; what is returned is the argument of ``--data``."""
    if layout == "huggingface":
        datasets = pytest.importorskip("datasets")
        columns = {name: [row[name] for row in made] for name in ("label", "domain")}
        columns["image"] = [picture(row["seed"]) for row in made]
        datasets.Dataset.from_dict(columns).save_to_disk(str(place))
        return place
    for row in made:
        (place / row["image"]).parent.mkdir(parents=True, exist_ok=True)
        picture(row["seed"]).save(place / row["image"])
    if layout == "folder":
        return place
    with (place / "rows.csv").open("w", newline="") as file:
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
    mmcl_("run", OWN, "--data", data, "--backbone", "glyph-clip", "--out", out, *words)
    return RunFolder.open(out).results


def stream(data: Path, layout: str) -> Any:
    """The same stream made in Python."""
    if layout == "folder":
        return mmcl.streams.by_domain({maker: data / maker for maker in MAKERS})
    if layout == "csv":
        return mmcl.streams.by_domain(data)
    return mmcl.streams.by_domain(pytest.importorskip("datasets").load_from_disk(str(data)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_domains_of_any_layout_are_learned_extended_and_used_as_in_python(layout: str, tmp_path: Path) -> None:
    data = write(tmp_path / "data", list(rows(MAKERS)), layout)
    python = mmcl.run(
        benchmark=stream(data, layout), backbone="glyph-clip", training=SETTINGS, out=tmp_path / "python", quiet=True
    ).results
    out = tmp_path / "run"
    first = run(out, data, "by=domain", "experiences=2")
    assert first["scenario"] == "DIL"
    assert first["columns"] == ["anna", "bert"]
    assert first["matrix"] == [row[:2] for row in python["matrix"][:3]]
    mmcl_("extend", out)
    longer = RunFolder.open(out).results
    assert longer["matrix"][-1] == python["matrix"][-1]
    assert (
        RunFolder.open(out).read_json("identity.json")["experiences"]
        == (RunFolder.open(tmp_path / "python").read_json("identity.json")["experiences"])
    )
    fourth = write(tmp_path / "dora", list(rows(["dora"])), layout)
    if layout == "folder":
        fourth = fourth / "dora"
    mmcl_("extend", out, "--data", fourth)
    results = RunFolder.open(out).results
    assert results["columns"] == [*MAKERS, "rows" if layout == "csv" else "dora"]
    spaces = RunFolder.open(out).read_json("progress.json")["label_spaces"].values()
    assert {tuple((label["id"], label["name"]) for label in space["classes"]) for space in spaces} == {
        ((0, "cat"), (1, "red fox"))
    }
    mmcl_("resume", out)
    assert RunFolder.open(out).results["matrix"] == results["matrix"]
    picture(3).resize((50, 40)).save(tmp_path / "new.png")
    assert sorted(name for name, _ in mmcl.predict(out, tmp_path / "new.png")[0].classes) == ["cat", "red fox"]
    mmcl_("export", out, "--to", "open_clip")
    assert (out / "export-open_clip").is_dir()


def test_an_extension_by_the_last_domain_is_the_run_of_all_of_them(tmp_path: Path) -> None:
    data = write(tmp_path / "data", list(rows(MAKERS)), "folder")
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
    data = write(tmp_path / "data", list(rows(["anna"])), "csv")
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


SENSOR = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import nn

from mmcl.data.modality import ModalitySpec
from mmcl.models.backbone import Backbone, BackbonePlugin, Features


class Windows(Backbone):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(24, 8)
        self.specs, self.embed_dim = {"acceleration": ModalitySpec((8, 3))}, 8
        read = {"acceleration": lambda value: torch.as_tensor(value, dtype=torch.float32)}
        self.preprocess_train = self.preprocess_eval = read

    def encode(self, modality, value):
        return Features(self.layer(value.flatten(1)))

    def tower(self, modality):
        return self.layer

    def tokenize(self, texts):
        raise AssertionError

    @property
    def logit_scale(self):
        return torch.tensor(1.0)

    def export(self, folder):
        raise AssertionError


@dataclass(kw_only=True)
class Watch(BackbonePlugin):
    modalities: ClassVar[frozenset[str]] = frozenset({"acceleration"})

    def build(self):
        torch.manual_seed(0)
        return Windows()

    def miniature(self):
        return self.build()
"""


def windows(place: Path, layout: str) -> Path:
    """Ten windows of two classes, two of each for testing."""
    place.mkdir()
    generator = np.random.default_rng(0)
    made = [
        ("walk" if i % 2 else "rest", "test" if i > 5 else "train", generator.normal(i % 2, 0.1, (8, 3)).astype("f4"))
        for i in range(10)
    ]
    if layout == "huggingface":
        datasets = pytest.importorskip("datasets")
        columns = dict(zip(("label", "split"), zip(*[row[:2] for row in made], strict=True), strict=True))
        kind = datasets.Array2D((8, 3), "float32")
        features = datasets.Features(
            {"label": datasets.Value("string"), "split": datasets.Value("string"), "acceleration": kind}
        )
        listed = {name: list(values) for name, values in columns.items()} | {"acceleration": [row[2] for row in made]}
        datasets.Dataset.from_dict(listed, features=features).save_to_disk(str(place / "saved"))
        return place / "saved"
    lines = ["acceleration,label,split"]
    for number, (label, side, window) in enumerate(made):
        np.save(place / f"{number}.npy", window)
        lines.append(f"{number}.npy,{label},{side}")
    (place / "rows.csv").write_text("\n".join(lines) + "\n")
    return place / "rows.csv"


@pytest.mark.parametrize("layout", ["csv", "huggingface"])
def test_windows_of_sensors_are_learned_extended_and_asked_about(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_sensor.py").write_text(SENSOR)
    monkeypatch.syspath_prepend(str(tmp_path))
    data, out = windows(tmp_path / "data", layout), tmp_path / "run"
    words = [
        word for name, value in {**SETTINGS, "benchmark.steps": 1}.items() for word in ("--set", f"{name}={value}")
    ]
    mmcl_("run", f"{OWN}:task_ids=true", "--data", data, "--backbone", "own_sensor:Watch", "--out", out, *words)
    from_disk = data if layout == "csv" else pytest.importorskip("datasets").load_from_disk(str(data))
    python = mmcl.run(
        benchmark=mmcl.streams.by_class(from_disk, experiences=1, scenario="TIL"),
        backbone="own_sensor:Watch",
        training=SETTINGS,
        out=tmp_path / "python",
        quiet=True,
    )
    assert RunFolder.open(out).results["matrix"] == python.results["matrix"]
    mmcl_("extend", out, "--data", windows(tmp_path / "more", layout))
    assert len(RunFolder.open(out).results["columns"]) == 2
    np.save(tmp_path / "new.npy", np.ones((8, 3), "f4"))
    asked = [tmp_path / "new.npy", np.ones((8, 3))]
    one, other = mmcl.predict(out, asked, experience=RunFolder.open(out).results["columns"][0])
    assert one.classes == other.classes
    (tmp_path / "bad.npy").write_bytes(b"\x93NUMPY but no more")
    with pytest.raises(DataError, match=r"array .*bad\.npy: it cannot be read"):
        mmcl.predict(out, tmp_path / "bad.npy")


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
    ],
)
def test_what_cannot_be_meant_is_refused(
    options: dict[str, Any], kind: Any, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat").mkdir()
    picture(0).save(tmp_path / "flat" / "0.png")
    (tmp_path / "one.csv").write_text("image,label\nflat/0.png,cat\n")
    with pytest.raises(kind, match=sentence):
        mmcl.benchmark(OWN, **options).build()


def test_tasks_are_the_data_sets_in_a_folder_in_the_order_that_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "data", list(rows(["anna", "bert"])), "folder")
    (tmp_path / "data" / "texts.csv").write_text("text,label\n" + "".join(f"word {i},t{i % 2}\n" for i in range(8)))
    plugin = mmcl.benchmark(OWN, data_root=str(tmp_path / "data"), by="task", order=["texts", "bert", "anna"])
    built = plugin.build()
    assert (plugin.scenario, plugin.modalities) == (built.scenario, built.modalities)
    assert built.scenario.name == "MDTIL"
    assert [data.name for data in built.experiences] == ["texts", "bert", "anna"]
    with pytest.raises(ConfigError, match=r"own\.order: 'texts'\. Allowed: each of 'anna', 'bert', 'texts' once"):
        mmcl.benchmark(OWN, data_root=str(tmp_path / "data"), by="task", order=["texts"]).build()


def test_check_data_names_every_bad_row_of_own_data(tmp_path: Path) -> None:
    data = write(tmp_path / "data", list(rows(["anna"])), "csv")
    (tmp_path / "data" / "anna" / "cat" / "0.png").write_bytes(b"no picture")
    (tmp_path / "data" / "anna" / "red_fox" / "1.png").unlink()
    result = CliRunner().invoke(app, ["check-data", f"{OWN}:steps=1", "--data", str(data)])
    assert result.exit_code == 1
    assert "cat/0.png: it cannot be read" in result.output
    assert "red_fox/1.png: it cannot be read" in result.output
    assert "2 of them cannot be learned from" in result.output
