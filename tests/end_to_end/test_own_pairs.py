"""Pairs and categories of own data on disk: what `mmcl run own` makes of them is what Python makes of them."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.config import read_toml
from mmcl.errors import ConfigError
from mmcl.run_folder import RunFolder

OWN = "mmcl_benchmarks.own.benchmark:Own"
SETTINGS = {"iterations": 2, "batch_size": 4, "lr": 1e-3}
LAYOUTS = ("csv", "huggingface", "folder")


def rows(seasons: str = "ab", count: int = 10) -> list[dict[str, Any]]:
    """Two captions for each picture, in rows of their own, and what the picture shows."""
    return [
        {
            "image": f"{season}{number}.png",
            "text": f"thing {number} of {season} in {words}",
            "season": season,
            "label": f"{season} {'disc' if number % 2 else 'ring'}",
        }
        for season in seasons
        for number in range(count)
        for words in ("short", "other words")
    ]


def write(place: Path, made: list[dict[str, Any]], layout: str, columns: tuple[str, ...]) -> Path:
    """The same rows in a layout; what is returned is the argument of ``--data``."""
    place.mkdir(parents=True)
    pictures = {}
    for row in made:
        shade = (10 * int(row["image"][1:-4]), 100 * ord(row["image"][0]) % 256, 0)
        pictures[row["image"]] = Image.new("RGB", (32, 32), shade)
        pictures[row["image"]].save(place / row["image"])
    if layout == "huggingface":
        datasets = pytest.importorskip("datasets")
        held: dict[str, list[Any]] = {name: [row[name] for row in made] for name in columns if name != "image"}
        datasets.Dataset.from_dict(held | {"image": [pictures[row["image"]] for row in made]}).save_to_disk(
            place / "set"
        )
        return place / "set"
    parts = {"rows": made}
    if layout == "folder":
        parts = {season: [row for row in made if row["season"] == season] for season in "ab"}
        columns = tuple(name for name in columns if name != "season")
    for name, part in parts.items():
        lines = [",".join(row[column] for column in columns) for row in part]
        (place / f"{name}.csv").write_text("\n".join([",".join(columns), *lines]), "utf-8")
    return place if layout == "folder" else place / "rows.csv"


def run(out: Path, data: Path, *options: str) -> Any:
    settings = [*(f"{k}={v}" for k, v in SETTINGS.items()), *(f"benchmark.{option}" for option in options)]
    words = ["run", OWN, "--data", data, "--backbone", "glyph-clip", "--out", out]
    return called(*words, *(word for setting in settings for word in ("--set", setting)), out=out)


def called(*words: object, out: Path) -> Any:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return RunFolder.open(out).results


@pytest.mark.parametrize("layout", LAYOUTS)
def test_pairs_are_learned_extended_and_asked_as_in_python(layout: str, tmp_path: Path, cache: Path) -> None:
    data = write(tmp_path / "data", rows(), layout, ("image", "text", "season"))
    out, said = tmp_path / "run", () if layout == "folder" else ("column=season",)
    found = run(out, data, "by=pairs", *said)
    source: Any = {name: data / f"{name}.csv" for name in "ab"} if layout == "folder" else data
    stream = mmcl.streams.of_pairs(source, column="season" if said else None)
    python = mmcl.run(benchmark=stream, backbone="glyph-clip", training=SETTINGS, out=tmp_path / "python", quiet=True)
    assert found["matrix"] == python.results["matrix"]
    assert (found["metric"], found["columns"], found["test_sizes"]) == ("r_mean", ["a", "b"], [4, 4])
    config = read_toml(out / "config.toml")
    assert config.benchmark.options["by"] == "pairs"
    more = write(tmp_path / "more", rows("c"), "csv", ("image", "text"))
    longer = called("extend", out, "--data", more, out=out)
    assert longer["columns"] == ["a", "b", "rows"]
    assert longer["matrix"][:3] == [[*row, None] for row in found["matrix"]]
    assert called("resume", out, out=out)["matrix"] == longer["matrix"]
    (answer,) = mmcl.predict(out, tmp_path / "data" / "a1.png", texts=["thing 1 of a", "a ring"])
    assert len(answer.classes) == 2


@pytest.mark.parametrize("layout", ["csv", "huggingface"])
def test_categories_are_learned_and_extended_as_in_python(layout: str, tmp_path: Path, cache: Path) -> None:
    data = write(tmp_path / "data", rows()[::2], layout, ("image", "label", "season"))
    out = tmp_path / "run"
    found = run(out, data, "by=column", "column=season", 'order=["b","a"]')
    stream = mmcl.streams.by_column(data, column="season", order=["b", "a"])
    python = mmcl.run(benchmark=stream, backbone="glyph-clip", training=SETTINGS, out=tmp_path / "python", quiet=True)
    assert found["matrix"] == python.results["matrix"]
    assert (found["scenario"], found["columns"]) == ("CIL", ["b", "a"])
    more = write(tmp_path / "more", rows("c")[::2], "csv", ("image", "label"))
    longer = called("extend", out, "--data", more, out=out)
    spaces = RunFolder.open(out).read_json("progress.json")["label_spaces"]
    assert [[label["id"] for label in space["classes"]] for space in spaces.values()] == [[0, 1], [2, 3], [4, 5]]
    assert called("resume", out, out=out)["matrix"] == longer["matrix"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"by": "column"}, r"own\.column: none, and categories"),
        ({"by": "pairs", "steps": [2, 3]}, r"own\.steps: \[2, 3\] for pairs"),
        ({"by": "pairs", "templates": ["a {}"]}, r"own\.templates: it has no effect on data by pairs"),
        ({"by": "domain", "column": "x"}, r"own\.column: it has no effect on data by domain"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        mmcl.benchmark(OWN, data_root="rows.csv", **options)
