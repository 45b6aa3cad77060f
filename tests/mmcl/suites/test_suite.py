"""Suites as a whole: equal to single runs, refused first, skipped, continued, collected."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import mmcl
from mmcl.cli import app
from mmcl.errors import ConfigError
from mmcl.running import run_config
from mmcl.suites.plan import plan

MODULE = '''
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from mmcl.backbones.openclip import tiny_clip
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import BackbonePlugin
from mmcl.streams.benchmark import BenchmarkPlugin
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark


@dataclass(kw_only=True)
class Toy(BenchmarkPlugin):
    """Three experiences."""

    per_class: int = 4
    scenario = TIL
    name = "toy"

    def build(self):
        return toy_benchmark(TIL, per_class=self.per_class)


@dataclass(kw_only=True)
class Small(BackbonePlugin):
    """A miniature."""

    modalities = frozenset({"image", "text"})

    def build(self):
        return tiny_clip()


@dataclass(kw_only=True, eq=False)
class Trouble(StrategyPlugin):
    """Does nothing but what a file of its place says, once each: kill, fail or wait at an experience."""

    place: str = "."

    def after_training_exp(self, learner, **_):
        for what in ("kill", "fail", "wait"):
            file = Path(self.place) / f"{what}{learner.current.index}"
            if file.exists():
                file.unlink()
                getattr(self, what)()

    def kill(self):
        os.kill(os.getpid(), signal.SIGKILL)

    def fail(self):
        raise ValueError("trouble")

    def wait(self):
        (Path(self.place) / "waiting").write_text(str(os.getpid()))
        time.sleep(600)
'''
NUMBERS = ("matrix", "summary", "rows", "columns", "further", "parameters", "chance", "training", "data", "strategies")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the module of the parts."""
    (tmp_path / "parts.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "parts", raising=False)
    return tmp_path


def suite(**changes: Any) -> dict[str, Any]:
    """Two strategies on two seeds."""
    content = {
        "suite": {"out": "suite", "seeds": [0, 1]},
        "training": {"iterations": 2},
        "benchmark": [{"name": "parts:Toy", "label": "toy"}],
        "backbone": [{"name": "parts:Small", "label": "small"}],
        "strategy": [
            {"name": "parts:Trouble", "label": "trouble", "place": os.getcwd()},
            {"compose": [{"name": "ewc", "samples": 4}, {"name": "replay", "size": 6}], "label": "both"},
        ],
    }
    return content | changes


def numbers(results: Mapping[str, Any]) -> dict[str, Any]:
    return {name: results[name] for name in NUMBERS}


def singles(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Every cell as a run of its own, in this process."""
    found = {}
    for cell in plan(content, "suite", "single"):
        found[cell.name] = numbers(run_config(cell.config, quiet=True).results)
    return found


def written(content: dict[str, Any]) -> str:
    import tomli_w

    Path("suite.toml").write_text(tomli_w.dumps(content))
    return "suite.toml"


def test_a_suite_equals_single_runs_whatever_was_killed_or_failed_in_between(place: Path) -> None:
    content = suite()
    (place / "kill0").touch()
    first = mmcl.run_suite(content, cores=1, quiet=True)
    assert first.failed == {"toy/small/trouble/seed0": "killed by SIGKILL"}
    assert list(first.cells) == ["toy/small/trouble/seed1", "toy/small/both/seed0", "toy/small/both/seed1"]
    stamps = {name: (result.folder / "results.json").stat().st_mtime_ns for name, result in first.cells.items()}
    (place / "kill1").touch()
    second = mmcl.run_suite(content, cores=1, quiet=True)
    assert second.failed == {"toy/small/trouble/seed0": "killed by SIGKILL"}
    progress = json.loads(Path("suite/toy/small/trouble/seed0/progress.json").read_text())
    assert progress["experiences_done"] == 1  # it went on from there
    (place / "fail2").touch()
    outcome = CliRunner().invoke(app, ["suite", written(content), "--cores", "2"])
    assert outcome.exit_code == 1, outcome.output
    assert "toy/small/trouble/seed0 failed: ValueError: trouble" in outcome.output
    outcome = CliRunner().invoke(app, ["suite", written(content), "--cores", "2"])
    assert outcome.exit_code == 0, outcome.output
    assert "toy/small/trouble/seed0: Transfer" in outcome.output
    last = mmcl.run_suite(content, quiet=True)
    assert {name: numbers(result.results) for name, result in last.cells.items()} == singles(content)
    for name, stamp in stamps.items():
        assert (last.cells[name].folder / "results.json").stat().st_mtime_ns == stamp  # finished cells are not touched
    assert [row.facts["strategies"] for row in last.compare().rows][1] == "ewc:samples=4 + replay:size=6"


def test_a_suite_that_is_killed_takes_its_cells_with_it_and_goes_on(place: Path) -> None:
    content = suite(suite={"out": "suite", "seeds": [0]}, strategy=suite()["strategy"][:1])
    (place / "wait1").touch()
    command = "from mmcl.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", command, "suite", written(content), "--trust"],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    until(lambda: process.poll() is not None or ((place / "waiting").exists() and (place / "waiting").read_text()))
    assert process.poll() is None, "it has ended by itself"
    process.send_signal(signal.SIGKILL)
    process.wait()
    cell = int((place / "waiting").read_text())
    until(lambda: not is_alive(cell))
    result = mmcl.run_suite(content, quiet=True)
    assert {name: numbers(result.results) for name, result in result.cells.items()} == singles(content)


def test_what_cannot_compose_is_refused_before_anything_is_run(place: Path) -> None:
    refused = {"compose": [{"name": "icarl"}, {"name": "kdr"}]}
    with pytest.raises(
        ConfigError, match=r"(?s)2 of 6 cells cannot be run:\n  toy/small/icarl\+kdr/seed0: .*leave_out"
    ):
        mmcl.run_suite(suite(strategy=[*suite()["strategy"], refused]), quiet=True)
    with pytest.raises(ConfigError, match=r"2 of 2 cells cannot be run:\n.*Did you mean 'ewc'"):
        mmcl.run_suite(suite(strategy=[{"name": "ewcc"}]), quiet=True)
    assert not (place / "suite").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_suite_says_how_to_go_on(
    number: int, code: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("mmcl.suites.suite.in_processes", interrupted)
    outcome = CliRunner().invoke(app, ["suite", written(suite()), "--trust"])
    assert outcome.exit_code == code
    assert "'mmcl suite suite.toml' goes on" in outcome.output


def test_a_suite_that_is_begun_by_a_child_of_a_process_is_refused_whatever_the_cause(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("multiprocessing.parent_process", object)
    with pytest.raises(ConfigError, match=r'another Python process has started.*if __name__ == "__main__".*elsewhere'):
        mmcl.run_suite({})


def test_a_folder_that_holds_another_run_is_refused_with_the_difference(place: Path) -> None:
    content = suite(suite={"out": "suite", "seeds": [0]}, strategy=[{"name": "finetune"}])
    (cell,) = plan(content, "suite")
    run_config(replace(cell.config, training={"iterations": 1}), quiet=True)
    with pytest.raises(ConfigError, match=r"another run: its training.iterations is 1 instead of 2"):
        mmcl.run_suite(content, quiet=True)
    content["training"] = {"iterations": 1, "check_data": False, "num_workers": 0}  # which change no number
    assert list(mmcl.run_suite(content, quiet=True).cells) == ["toy/small/finetune/seed0"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"cores": 0}, "cores: the value 0"),
        ({"threads": 0}, "threads: the value 0"),
        ({"cores": 2, "threads": 3}, "fewer"),
    ],
)
def test_a_budget_that_no_cell_fits_is_refused(options: dict[str, int], match: str, place: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        mmcl.run_suite(suite(), quiet=True, **options)


def test_an_output_that_cannot_be_made_is_refused(place: Path) -> None:
    (place / "suite").touch()
    with pytest.raises(ConfigError, match="its folder cannot be made"):
        mmcl.run_suite(suite(), quiet=True)


def until(condition: Any, seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z" if Path("/proc").exists() else True
