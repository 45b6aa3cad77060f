"""Own data of four kinds in three layouts: the command line learns of them what Python learns, and goes on."""

import csv
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.errors import ConfigError
from mmcl.run_folder import RunFolder
from mmcl.testing.encoded import encoded
from mmcl.use import trained_model

from .small import SMALL

OWN = "mmcl_benchmarks.own.benchmark:Own"
SETTINGS = {"iterations": 1, "batch_size": 4, "lr": 1e-3, "warmup": 0}
LAYOUTS = ("folder", "csv", "huggingface")
WINDOW = (8, 3)
WATCH = "tests.mmcl.backbones.windows:SensorWindows"
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """Own data that arrive group by group.

    Attributes:
        by: option of the benchmark, and the name of the function that makes the stream in Python.
        group: column of the group.
        groups: that are learned; further ones extend the stream.
        columns: of the files.
        more: groups that extend the stream.
        model: the backbone.
        scenario: of the stream.
    """

    by: str
    group: str
    groups: tuple[str, ...]
    more: tuple[str, ...]
    columns: tuple[str, ...]
    scenario: str = "DIL"
    model: str = SMALL
    strategies: tuple[str, ...] = ()

    def rows(self, groups: Sequence[str]) -> list[Row]:
        """Five things of two classes for each group; pairs have two captions for each."""
        words = ("short", "other words") if "text" in self.columns else ("",)
        made = product(groups, ("ring", "red disc"), range(5), words)
        return [self._row(group, shape, number, said) for group, shape, number, said in made]

    def _row(self, group: str, shape: str, number: int, said: str) -> Row:
        label = f"{group} {shape}" if self.scenario == "CIL" else shape
        suffix = "npy" if "acceleration" in self.columns else "png"
        place = f"{group}/{label.replace(' ', '_')}/{number}.{suffix}"
        if self.by == "pairs":
            place = f"pictures/{group} {label} {number}.png"
        text = f"{shape} {number} of {group}, {said}"
        return {"label": label, self.group: group, "text": text, "image": place, "acceleration": place}


MAKERS = ("anna", "bert", "carl", "dora")
KINDS = {
    "pictures": Kind("domain", "domain", MAKERS, ("emil", "fred"), ("image", "label")),
    "categories": Kind("column", "category", ("sky", "sea"), ("ice", "air"), ("image", "label"), "CIL"),
    "pairs": Kind("pairs", "season", ("spring", "summer"), ("winter", "autumn"), ("image", "text")),
    "sensors": Kind(
        "domain", "domain", ("ada", "bob"), ("cyd", "dan"), ("acceleration", "label"), "DIL", WATCH, ("replay:size=4",)
    ),
}


def thing(place: str) -> Any:
    """What lies in a place: its picture or its window."""
    seed = sum(map(ord, place))
    if place.endswith("png"):
        return Image.new("RGB", (32, 32), (37 * seed % 256, seed % 256, 90))
    return np.random.default_rng(seed).normal("ring" in place, 0.1, WINDOW).astype("f4")


def write(place: Path, kind: Kind, groups: Sequence[str], layout: str) -> Path:
    """Rows in a layout; what is returned is the argument of ``--data``."""
    made, held = kind.rows(groups), kind.columns[0]
    if layout == "huggingface":
        columns = {name: [row[name] for row in made] for name in (*kind.columns[1:], kind.group)}
        return saved(place, columns | {held: [thing(row[held]) for row in made]})
    for row in made:
        file = place / row[held]
        file.parent.mkdir(parents=True, exist_ok=True)
        thing(row[held]).save(file) if held == "image" else np.save(file, thing(row[held]))
    if layout == "csv":
        return written(place / "rows.csv", made, (*kind.columns, kind.group))
    if kind.by == "pairs":
        for group in groups:
            written(place / f"{group}.csv", [row for row in made if row[kind.group] == group], kind.columns)
    return place


def saved(place: Path, columns: Mapping[str, list[Any]]) -> Path:
    datasets = pytest.importorskip("datasets")
    kinds = {name: datasets.Value("string") for name in columns}
    kinds |= (
        {"image": datasets.Image()} if "image" in columns else {"acceleration": datasets.Array2D(WINDOW, "float32")}
    )
    datasets.Dataset.from_dict(dict(columns), features=datasets.Features(kinds)).save_to_disk(str(place))
    return place


def written(file: Path, made: Sequence[Row], columns: Sequence[str]) -> Path:
    with file.open("w", newline="") as out:
        table = csv.DictWriter(out, columns, extrasaction="ignore")
        table.writeheader()
        table.writerows(made)
    return file


def command(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@dataclass(frozen=True)
class Learned:
    """A run of the command line, and the same in Python."""

    kind: Kind
    layout: str
    data: Path
    out: Path
    first: Mapping[str, Any]
    python: Mapping[str, Any]

    def more(self, place: Path) -> Path:
        """Further groups in the same layout."""
        return write(place, self.kind, self.kind.more, self.layout)


def stream(kind: Kind, data: Path, layout: str) -> Any:
    """The stream in Python, from what a person has there."""
    make = {"domain": mmcl.streams.by_domain, "column": mmcl.streams.by_column, "pairs": mmcl.streams.of_pairs}[kind.by]
    suffix = ".csv" if kind.by == "pairs" else ""
    source: Any = {group: data / f"{group}{suffix}" for group in kind.groups} if layout == "folder" else data
    if layout == "huggingface":
        source = pytest.importorskip("datasets").load_from_disk(str(data))
    named = {} if layout == "folder" else {"domain" if kind.by == "domain" else "column": kind.group}
    declared = {"columns": {"array": "acceleration"}} if kind.model == WATCH and layout == "folder" else {}
    return make(source, order=kind.groups, **named, **declared)


def options(kind: Kind, layout: str) -> list[str]:
    """The same on the command line."""
    said = [f"by={kind.by}", f"order={json.dumps(kind.groups)}", f"experiences={len(kind.groups) - 1}"]
    if layout != "folder" and kind.by != "domain":
        said.append(f"column={kind.group}")
    if layout == "folder" and kind.model == WATCH:
        said.append("columns.array=acceleration")
    return [word for option in said for word in ("--set", f"benchmark.{option}")]


@pytest.fixture(scope="module")
def repository() -> Iterator[None]:
    """The models of these tests can be imported by their place in the repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2]))
        yield


@pytest.fixture(scope="module", params=list(product(KINDS, LAYOUTS)), ids="-".join)
def learned(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cache: Path, repository: None
) -> Learned:
    kind, layout = KINDS[request.param[0]], request.param[1]
    place = tmp_path_factory.mktemp("own")
    data, out = write(place / "data", kind, kind.groups, layout), place / "run"
    settings = [word for name, value in SETTINGS.items() for word in ("--set", f"{name}={value}")]
    settings += [word for name in kind.strategies for word in ("--strategy", name)]
    command("run", OWN, "--data", data, "--backbone", kind.model, "--out", out, *settings, *options(kind, layout))
    first = RunFolder.open(out).results
    command("extend", out)
    made = stream(kind, data, layout)
    python = mmcl.run(
        benchmark=made,
        backbone=kind.model,
        strategies=kind.strategies,
        training=SETTINGS,
        out=place / "python",
        quiet=True,
    )
    return Learned(kind, layout, data, out, first, python.results)


def test_the_command_line_learns_what_python_learns_and_extends_by_the_next_group(learned: Learned) -> None:
    kind, results = learned.kind, RunFolder.open(learned.out).results
    fewer = len(kind.groups) - 1
    assert (learned.first["scenario"], learned.first["columns"]) == (kind.scenario, list(kind.groups[:fewer]))
    assert learned.first["matrix"] == [row[:fewer] for row in learned.python["matrix"][: fewer + 1]]
    assert results["columns"] == list(kind.groups)
    assert results["matrix"][-1] == learned.python["matrix"][-1]
    here, there = (
        RunFolder.open(run).read_json("identity.json") for run in (learned.out, learned.out.parent / "python")
    )
    assert here["experiences"] == there["experiences"]


def test_each_group_of_further_data_is_an_experience_and_a_kill_in_between_changes_nothing(
    learned: Learned, tmp_path: Path
) -> None:
    run, kind = tmp_path / "run", learned.kind
    shutil.copytree(learned.out, run)
    command("extend", run, "--data", learned.more(tmp_path / "more"))
    results = RunFolder.open(run).results
    groups = [*kind.groups, *(sorted(kind.more) if learned.layout == "folder" else kind.more)]
    assert results["columns"] == groups
    assert not [remark for remark in results["remarks"] if "has changed" in remark]
    assert results["matrix"][-3][: len(kind.groups)] == learned.python["matrix"][-1]
    assert results["test_sizes"][-1] == results["test_sizes"][0]
    spaces = RunFolder.open(run).read_json("progress.json")["label_spaces"].values()
    ids = [label["id"] for space in spaces for label in space["classes"]]
    assert ids == {"CIL": list(range(8)), "DIL": [0, 1] * (0 if kind.by == "pairs" else len(groups))}[kind.scenario]
    shutil.rmtree(run / f"checkpoint-{len(groups)}")
    (run / "progress.json").unlink()
    command("resume", run)
    assert RunFolder.open(run).results["matrix"] == results["matrix"]


def test_predict_takes_the_data_themselves(learned: Learned, tmp_path: Path) -> None:
    kind = learned.kind
    texts = ["a ring", "a red disc"] if kind.by == "pairs" else None
    (tmp_path / "texts.txt").write_text("\n".join(texts or []))
    asked = learned.data / "pictures" if kind.by == "pairs" and learned.layout == "folder" else learned.data
    words = ["predict", learned.out, asked, "--json", *(["--texts", tmp_path / "texts.txt"] if texts else [])]
    said = json.loads(command(*words))
    expected = mmcl.predict(learned.out, asked, texts=texts)
    assert [(row["name"], [(c["name"], c["probability"]) for c in row["classes"]]) for row in said] == [
        (answer.name, list(answer.classes)) for answer in expected
    ]
    made = kind.rows(kind.groups)
    assert len(said) == len(made if learned.layout != "folder" else {row["image"] for row in made})
    classes = texts or {row["label"] for row in made}
    assert all({found["name"] for found in row["classes"]} == set(classes) for row in said)
    if kind.model == WATCH:
        np.savetxt(tmp_path / "window.csv", np.ones(WINDOW), delimiter=",")
        assert shares(learned.out, tmp_path / "window.csv") == shares(learned.out, np.ones(WINDOW, "f4"))
    if kind.model == WATCH and learned.layout == "folder":
        (tmp_path / "asked.csv").write_text("array,note\nwindow.csv,in the columns that Python was told of\n")
        assert shares(learned.out.parent / "python", tmp_path / "asked.csv") == shares(learned.out, np.ones(WINDOW))
    if learned.layout != "folder":
        alone = mmcl.predict(learned.out, {kind.columns[0]: thing(made[-1][kind.columns[0]])}, texts=texts)
        assert dict(alone[0].classes) == pytest.approx(dict(expected[-1].classes), abs=1e-6)


def shares(run: Path, asked: Any) -> list[Any]:
    return [answer.classes for answer in mmcl.predict(run, asked)]


def test_models_that_are_an_open_clip_model_are_exported_and_others_refused(learned: Learned, tmp_path: Path) -> None:
    if learned.kind.model == WATCH:
        with pytest.raises(ConfigError, match="written in another format"):
            command("export", learned.out, "--to", "open_clip")
        return
    command("export", learned.out, "--to", "open_clip", "--out", tmp_path / "clip")
    clip, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path / 'clip'}")
    ours = trained_model(RunFolder.open(learned.out)).backbone
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(clip.eval().encode_image(image), encoded(ours, "image", image).pooled)
