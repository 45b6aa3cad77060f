"""The command line: light where it can be, and one sentence where the user erred."""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmcl.cli import main
from mmcl.learning.learner import Learner

from .command import Done, finish, start

RUN = ["run", "mtil", "--embedded", "--set", "iterations=2", "--set", "benchmark.experiences=1"]


@pytest.fixture
def mmcl(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Done]:
    """Runs the command in a process of its own."""
    notes = tmp_path_factory.mktemp("notes")

    def run(*arguments: str, first: Callable[[], Any] = int) -> Done:
        return finish(start(arguments, notes, {"COLUMNS": "200", "MMCL_CACHE": str(cache)}, first), notes)

    return run


@pytest.mark.parametrize("arguments", [["list"], ["show", "zscl"], ["--help"], ["list", "strategies", "--json"]])
def test_light_commands_load_neither_torch_nor_avalanche(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom mmcl.cli import app\n"
        f"try:\n    app({arguments!r})\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'avalanche', 'open_clip', 'transformers', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_everything_that_is_registered_is_listed(mmcl: Callable[..., Done]) -> None:
    rows = json.loads(mmcl("list", "--json").stdout)
    names = {row["name"] for row in rows}
    assert {"finetune", "joint", "ewc", "lwf", "zscl", "replay", "mtil", "glyph-clip", "openclip"} <= names
    assert not any(row["broken"] for row in rows)


def test_show_prints_card_and_options(mmcl: Callable[..., Done]) -> None:
    text = mmcl("show", "ewc").stdout
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
    arguments: list[str],
    sentence: str,
    embedded_mtil: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mmcl", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    errors = capsys.readouterr().err.replace("\n", " ")
    assert stop.value.code == 2
    assert sentence in errors
    assert "Allowed:" in errors
    assert not list(tmp_path.rglob("*.*")), "a refused run must leave nothing behind"


def test_an_output_folder_that_holds_a_run_is_left_alone(
    mmcl: Callable[..., Done], embedded_mtil: Path, tmp_path: Path
) -> None:
    out = str(tmp_path / "run")
    assert mmcl(*RUN, "--out", out).returncode == 0
    before = (tmp_path / "run" / "results.json").read_bytes()
    again = mmcl(*RUN, "--out", out)
    assert again.returncode == 2
    assert "it holds another run" in again.stderr.replace("\n", " ")
    assert (tmp_path / "run" / "results.json").read_bytes() == before
    assert "before training" in mmcl("report", out).stdout
    assert "mtil" in mmcl("compare", out, "--markdown").stdout


def test_an_output_folder_that_cannot_be_written_is_named(mmcl: Callable[..., Done], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = mmcl(*RUN, "--out", str(tmp_path / "file" / "run"))
    assert done.returncode == 2
    assert "cannot be written" in done.stderr.replace("\n", " ")


def test_a_full_disk_is_named_and_the_last_good_checkpoint_is_kept(
    mmcl: Callable[..., Done], embedded_mtil: Path, tmp_path: Path
) -> None:
    """A limit on the size of files stands for a disk that is full when the second checkpoint is written."""
    out, train = tmp_path / "run", Learner.train

    def full(self: Learner, *arguments: Any) -> None:
        train(self, *arguments)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    done = mmcl(*RUN, "--out", str(out), first=lambda: setattr(Learner, "train", full))
    assert done.returncode == 2, done.stderr
    assert "cannot be written" in done.stderr
    assert json.loads((out / "progress.json").read_text())["experiences_done"] == 0
    assert mmcl("resume", str(out)).returncode == 0


def test_an_unreadable_image_is_named_before_training(
    mmcl: Callable[..., Done], embedded_mtil: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(embedded_mtil, tmp_path / "data")
    broken = tmp_path / "data" / "fgvc-aircraft-2013b" / "data" / "images" / "0000005.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    done = mmcl(
        *["run", "mtil", "--data-root", str(tmp_path / "data"), "--set", "benchmark.experiences=1"],
        *["--out", str(tmp_path / "run")],
    )
    assert done.returncode == 2
    assert "0000005.jpg" in done.stderr.replace("\n", "")
    assert not (tmp_path / "run" / "progress.json").exists()


def test_a_configuration_file_reproduces_a_run(mmcl: Callable[..., Done], embedded_mtil: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert mmcl(*RUN, "--strategy", "ewc:samples=4", "--seed", "3", "--out", str(first)).returncode == 0
    done = mmcl("run", "--config", str(first / "config.toml"), "--out", str(second))
    assert done.returncode == 0, done.stderr
    results = [json.loads((folder / "results.json").read_text()) for folder in (first, second)]
    assert results[0]["matrix"] == results[1]["matrix"]
    assert results[0]["seed"] == results[1]["seed"] == 3
