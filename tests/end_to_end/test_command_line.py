"""The command line: what it prints, and one sentence where the user erred."""

import json
import resource
import shutil
from pathlib import Path
from typing import Any

import pytest

from mmcl.learning.learner import Learner

from .command import call, finish, start

RUN = ["run", "mtil", "--embedded", "--set", "iterations=2", "--set", "benchmark.experiences=1"]


@pytest.fixture(autouse=True)
def wide(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables and sentences are not cut."""
    monkeypatch.setattr("mmcl.cli.terminal.output.width", 200)


def test_everything_that_is_registered_is_listed() -> None:
    rows = json.loads(call("list", "--json").stdout)
    names = {row["name"] for row in rows}
    assert {"finetune", "joint", "ewc", "lwf", "zscl", "replay", "mtil", "glyph-clip", "openclip"} <= names
    assert not any(row["broken"] for row in rows)


def test_show_prints_card_and_options() -> None:
    text = call("show", "ewc").stdout
    assert "Kirkpatrick" in text
    assert "strength" in text
    assert "1000.0" in text


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["run", "mtil", "--embedded", "--strategy", "zcsl"], "Did you mean 'zscl'?"),
        (["run", "mtli", "--embedded"], "Did you mean 'mtil'?"),
        (["run", "mtil"], "neither --embedded nor --data-root"),
        (["run", "mtil", "--data-root", "nowhere"], "no such folder"),
        ([*RUN, "--strategy", "ewc:strenght=3"], "Did you mean 'strength'?"),
        ([*RUN, "--strategy", "ewc:strength=high"], "ewc.strength: the value 'high'"),
        ([*RUN, "--strategy", "ewc:fisher=none"], "ewc.fisher"),
        ([*RUN, "--set", "training.lrr=1"], "unknown key 'lrr'"),
        ([*RUN, "--set", "lr=-1"], "training.lr"),
        ([*RUN, "--backbone", "openclip:ViT-B-61/openai"], "ViT-B-16"),
        ([*RUN, "--strategy", "replay", "--strategy", "joint"], "both build the training batches"),
        ([*RUN, "--strategy", "ewc", "--strategy", "ewc"], "'ewc' is there 2 times"),
        ([*RUN, "--log", "wandbb"], "Did you mean 'wandb'?"),
        (["resume", "nowhere"], "no such folder"),
        (["report", "."], "no config.toml"),
        (["show", "zslc"], "zscl"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_gets_a_sentence_and_exit_code_2(
    arguments: list[str], sentence: str, embedded_mtil: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(*arguments)
    errors = done.stderr.replace("\n", " ")
    assert done.returncode == 2
    assert sentence in errors
    assert "Allowed:" in errors
    assert not list(tmp_path.rglob("*.*")), "a refused run must leave nothing behind"


def test_an_output_folder_that_holds_a_run_is_left_alone(embedded_mtil: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert call(*RUN, "--out", out).returncode == 0
    before = (tmp_path / "run" / "results.json").read_bytes()
    again = call(*RUN, "--out", out)
    assert again.returncode == 2
    assert "it holds another run" in again.stderr.replace("\n", " ")
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    assert "before training" in call("report", out).stdout
    assert "mtil" in call("compare", out, "--markdown").stdout


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = call(*RUN, "--out", str(tmp_path / "file" / "run"))
    assert done.returncode == 2
    assert "cannot be written" in done.stderr.replace("\n", " ")


def test_a_full_disk_is_named_and_the_last_good_checkpoint_is_kept(embedded_mtil: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk that is full when the second checkpoint is written."""
    out, train = tmp_path / "run", Learner.train

    def full(self: Learner, *arguments: Any) -> None:
        train(self, *arguments)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    limited = start((*RUN, "--out", str(out)), tmp_path, {}, first=lambda: setattr(Learner, "train", full))
    done = finish(limited, tmp_path)
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert json.loads((out / "progress.json").read_text())["experiences_done"] == 0
    assert call("resume", str(out)).returncode == 0


def test_an_unreadable_image_is_named_before_training(embedded_mtil: Path, tmp_path: Path) -> None:
    shutil.copytree(embedded_mtil, tmp_path / "data")
    broken = tmp_path / "data" / "fgvc-aircraft-2013b" / "data" / "images" / "0000005.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    done = call(
        *["run", "mtil", "--data-root", str(tmp_path / "data"), "--set", "benchmark.experiences=1"],
        *["--out", str(tmp_path / "run")],
    )
    assert done.returncode == 2
    assert "0000005.jpg" in done.stderr.replace("\n", "")
    assert not (tmp_path / "run" / "progress.json").exists()


def test_a_configuration_file_reproduces_a_run(embedded_mtil: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert call(*RUN, "--strategy", "ewc:samples=4", "--seed", "3", "--out", str(first)).returncode == 0
    done = call("run", "--config", str(first / "config.toml"), "--out", str(second))
    assert done.returncode == 0, done.stderr
    results = [json.loads((folder / "results.json").read_text()) for folder in (first, second)]
    assert results[0]["matrix"] == results[1]["matrix"]
    assert results[0]["seed"] == results[1]["seed"] == 3
