"""Experiments that are no package: a module in the working directory, named as module:Class."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

from .command import Done, finish, start

MODULE = """
from dataclasses import dataclass
from pathlib import Path

from mmcl.backbones.openclip import tiny_clip
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin


@dataclass(kw_only=True, eq=False)
class Mine(StrategyPlugin):
    strength: float = 1.0

    def before_training_exp(self, learner, **_):
        if learner.current.index == 1 and Path("stop").exists():
            raise KeyboardInterrupt


@dataclass(kw_only=True)
class Small(BackbonePlugin):
    modalities = frozenset({"image", "text"})

    def build(self):
        return tiny_clip()
"""


def installed(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The installed command, in a folder."""
    return subprocess.run(
        [Path(sys.executable).with_name("mmcl"), *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def mmcl(folder: Path, *arguments: str) -> Done:
    """The same without its start."""
    return finish(start(arguments, folder, {"COLUMNS": "200"}, partial(os.chdir, folder)), folder)


def test_a_module_in_the_working_directory_is_run_and_resumed(embedded_mtil: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "stop").touch()
    small = ["--set", "benchmark.experiences=2", "--set", "iterations=2", "--out", "run"]
    parts = ["--strategy", "mine:Mine:strength=2.5", "--backbone", "mine:Small"]
    done = mmcl(tmp_path, "run", "mtil", "--embedded", *parts, *small)
    assert done.returncode == 130, done.stderr
    (tmp_path / "stop").unlink()
    done = installed(tmp_path, "resume", "run")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["strategies"] == [{"name": "mine:Mine", "strength": 2.5}]
    assert results["backbone"] == "mine:Small"
    assert len(results["matrix"]) == 3
    # the same folder from somebody else, with a module beside it
    foreign = shutil.copytree(tmp_path / "run", tmp_path / "foreign")
    (foreign / "mine.py").write_text("open('ran', 'w')\n" + MODULE)
    done = mmcl(foreign, "resume", ".")
    assert done.returncode == 2
    assert "it names 'mine:Small', which no installed distribution has registered" in done.stderr
    assert str(foreign / "mine.py") in done.stderr
    assert not (foreign / "ran").exists()


def test_a_class_of_another_kind_gets_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MODULE)
    done = mmcl(tmp_path, "run", "mtil", "--embedded", "--strategy", "mine:Small")
    assert done.returncode == 2
    assert "Small is no StrategyPlugin" in done.stderr
    assert not (tmp_path / "runs").exists()
