"""Trial: a run of a second in a process of its own, what is done to it, and whether it ends as if nothing had been."""

import json
import os
import shutil
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch

import mmcl
from mmcl.backbones.openclip import OpenCLIPBackbone, tiny_clip
from mmcl.checkpoint import newest_intact
from mmcl.errors import MMCLError
from mmcl.history import HISTORY
from mmcl.models.backbone import BackbonePlugin
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark

REFUSED, BROKEN, HUNG = 2, 1, -1000  # exit codes beside 0 and those of signals
COMPOSITIONS: tuple[tuple[str, ...], ...] = ((), ("ewc:samples=4",), ("replay:size=6",), ("lwf", "replay:size=4"))

_LIMIT = 300.0  # seconds


@dataclass(kw_only=True)
class Small(BackbonePlugin):
    """A CLIP that learns in a fraction of a second."""

    modalities: ClassVar[frozenset[str]] = frozenset({"image", "text"})

    def build(self) -> OpenCLIPBackbone:
        """With random weights, always the same."""
        return tiny_clip()


def stream() -> Benchmark:
    """Three experiences of two classes."""
    return toy_benchmark(CIL, experiences=3, classes=2, per_class=4)


def begin(out: Path, strategies: tuple[str, ...] = (), seed: int = 0) -> None:
    """A new run."""
    training = {"iterations": 2, "batch_size": 4, "warmup": 0}
    mmcl.run(
        benchmark=stream(),
        backbone=Small(),
        strategies=strategies,
        training=training,
        seed=seed,
        out=out,
        quiet=True,
    )


def warm_up(folder: Path) -> None:
    """A run in this process, so that its children need not import what only a run imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        begin(folder / "warm-up", COMPOSITIONS[-1])


def go_on(out: Path, strategies: tuple[str, ...] = ()) -> None:
    """Resume a run, or begin it if it has not begun."""
    if RunFolder(out).has_begun:
        mmcl.resume(out, benchmark=stream(), quiet=True)
    else:
        begin(out, strategies)


@dataclass(frozen=True)
class Ending:
    """How a process has ended.

    Attributes:
        code: exit code; the negative number of a signal.
        said: the error, if there is one.
    """

    code: int
    said: str = ""


def start(action: Callable[[], Any], errors: Path, first: Callable[[], Any] = int) -> int:
    """The id of a new process that does ``first``, which may arm a trap, and then ``action``."""
    child = os.fork()
    if child:
        return child
    code = BROKEN
    try:
        warnings.simplefilter("ignore")
        first()
        action()
        code = 0
    except MMCLError as error:
        code = REFUSED
        errors.write_text(str(error), "utf-8", "replace")
    except BaseException:  # noqa: BLE001  a child reports everything
        errors.write_text(traceback.format_exc(), "utf-8", "replace")
    finally:
        sys.stdout.flush()
        os._exit(code)


def wait(child: int, errors: Path) -> Ending:
    """How a process ends; one that does not is killed."""
    end = time.monotonic() + _LIMIT
    while time.monotonic() < end:
        finished, status = os.waitpid(child, os.WNOHANG)
        if finished:
            said = errors.read_text("utf-8") if errors.exists() else ""
            return Ending(os.waitstatus_to_exitcode(status), said)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Ending(HUNG, "it did not end")


def in_child(action: Callable[[], Any], folder: Path, first: Callable[[], Any] = int) -> Ending:
    """Do something in a process of its own, with notes in a folder."""
    errors = folder / "errors.txt"
    errors.unlink(missing_ok=True)
    return wait(start(action, errors, first), errors)


def differences(expected: Path, found: Path) -> str:
    """What differs between two runs that have ended, beside times and remarks; empty if nothing does."""
    results = [json.loads((folder / "results.json").read_text("utf-8")) for folder in (expected, found)]
    for name in results[0].keys() | results[1].keys():
        if name not in ("seconds", "remarks") and results[0].get(name) != results[1].get(name):
            return f"{name} of the results is {results[1].get(name)} instead of {results[0].get(name)}"
    told = any(HISTORY in remark for remark in results[1]["remarks"])
    if not told and _history(expected) != _history(found):
        return "history.jsonl has other lines"
    last = [newest_intact(folder)[0] for folder in (expected, found)]
    assert last[0] is not None
    assert last[1] is not None
    names = [file.stem for file in (last[0].path / "strategies").iterdir()]
    if not _same(last[0].load(names), last[1].load(names)):
        return "the last checkpoint has other tensors"
    left = sorted({path.name for path in found.iterdir()} ^ {path.name for path in expected.iterdir()})
    return f"files in one of the folders only: {', '.join(left)}" if left else ""


def _history(run: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / HISTORY).read_text("utf-8").splitlines())
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]


def reference(folder: Path, strategies: tuple[str, ...]) -> Path:
    """A run that nothing happens to."""
    out = folder / "-".join(["undisturbed", *(name.partition(":")[0] for name in strategies)])
    if not out.exists():
        ending = in_child(lambda: begin(out, strategies), folder)
        assert ending.code == 0, ending.said
    return out


def stopped(folder: Path, strategies: tuple[str, ...]) -> Path:
    """A run that was killed while it learned its last experience, so that there are two checkpoints and work to do."""
    out = folder / "-".join(["stopped", *(name.partition(":")[0] for name in strategies)])
    if not out.exists():
        ending = in_child(lambda: begin(out, strategies), folder, lambda: _killed_after_saving(2))
        assert ending.code == -signal.SIGKILL, ending.said
    return out


def copy_of(run: Path, folder: Path) -> Path:
    """A copy to do something to."""
    shutil.rmtree(folder / "trial", ignore_errors=True)
    return Path(shutil.copytree(run, folder / "trial"))


def _killed_after_saving(experiences: int) -> None:
    write = RunFolder.write_json

    def watching(self: RunFolder, name: str, content: Any) -> None:
        write(self, name, content)
        if name == "results.json" and len(content["rows"]) == 1 + experiences:
            os.kill(os.getpid(), signal.SIGKILL)

    RunFolder.write_json = watching  # type: ignore[method-assign]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
