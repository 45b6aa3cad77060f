"""What a run folder holds survives kills, power cuts and damage, or says what is lost."""

import json
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcl.checkpoint import Checkpoint
from mmcl.claim import claimed, held
from mmcl.config import PluginConfig, RunConfig
from mmcl.errors import CheckpointError
from mmcl.remarks import Remark
from mmcl.run_folder import RunFolder

CONFIG = RunConfig(PluginConfig("toy"))


def progress(done: int) -> dict[str, Any]:
    return {"experiences": 3, "experiences_done": done, "remarks": [], "seconds": {"training": 0.1 * done}}


def save(folder: RunFolder, done: int) -> None:
    model = {"weight": torch.arange(64.0) + done, "empty": torch.empty(0)}
    folder.save(progress(done), model, {"toy": {"kept": torch.arange(8) + done}, "a.b:C": {}})


def learn(path: Path, experiences: int) -> RunFolder:
    with claimed(path) as folder:
        folder.begin(CONFIG, (), {})
        for done in range(experiences + 1):
            save(folder, done)
        return folder


def enter(folder: RunFolder) -> None:
    with held(folder.path):
        pass


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learn(tmp_path_factory.mktemp("learned") / "run", 3).path


@pytest.fixture
def run(learned: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(shutil.copytree(learned, tmp_path / "run"))


class Calls:
    """The calls that decide what survives a power cut, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made: list[tuple[str, str]] = []
        for name in ("replace", "rename"):
            self._watch(monkeypatch, name)
        fsync, rmtree = os.fsync, shutil.rmtree

        def flushed(handle: int) -> None:
            fsync(handle)
            self.made.append(("flush", os.readlink(f"/proc/self/fd/{handle}")))

        def removed(path: Any, *arguments: Any, **options: Any) -> None:
            if Path(path).exists():
                self.made.append(("remove", str(path)))
            rmtree(path, *arguments, **options)

        monkeypatch.setattr(os, "fsync", flushed)
        monkeypatch.setattr(shutil, "rmtree", removed)

    def _watch(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        function = getattr(os, name)

        def called(source: Any, target: Any, **options: Any) -> None:
            function(source, target, **options)
            self.made.append(("name", str(target)))

        monkeypatch.setattr(os, name, called)

    def at(self, kind: str, path: Path) -> int:
        """When the last such call was made."""
        return max(i for i, made in enumerate(self.made) if made == (kind, str(path)))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc")
def test_everything_is_on_the_disk_before_the_next_thing_depends_on_it(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    save(run, 4)
    new, draft, pointer = run.path / "checkpoint-4", run.path / ".checkpoint-4", run.path / "progress.json"
    files = [file.relative_to(new) for file in new.rglob("*")]
    assert len(files) == 6
    named = calls.at("name", new)
    assert all(calls.at("flush", draft / file) < named for file in files)
    assert calls.at("flush", draft) < named
    known = next(i for i, made in enumerate(calls.made) if made == ("flush", str(run.path)) and i > named)
    assert calls.at("flush", pointer.with_name(".progress.json.new")) < calls.at("name", pointer)
    assert named < known < calls.at("name", pointer) < calls.at("flush", run.path)
    assert calls.at("flush", run.path) < calls.at("remove", run.path / "checkpoint-2")


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="names of open files are read from /proc")
def test_a_run_that_can_be_resumed_is_on_the_disk_with_all_folders_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    learn(tmp_path / "a" / "b" / "run", 0)
    flushed = [path for kind, path in calls.made if kind == "flush"]
    above = [tmp_path, tmp_path / "a", tmp_path / "a" / "b"]
    assert {str(path) for path in above} <= set(flushed)
    assert flushed.index(str(tmp_path / "a" / "b")) < flushed.index(
        str(tmp_path / "a" / "b" / "run" / ".config.toml.new")
    )


def test_the_last_two_checkpoints_are_kept_and_nothing_else_is_left(run: RunFolder) -> None:
    assert {file.name for file in run.path.iterdir()} == {
        "config.toml",
        "identity.json",
        "progress.json",
        "checkpoint-2",
        "checkpoint-3",
    }


def test_what_a_kill_has_left_is_removed_when_the_run_goes_on(run: RunFolder) -> None:
    for name in ("checkpoint-0", ".checkpoint-3", ".results.json.new"):
        (run.path / name).mkdir()
    with held(run.path) as folder:
        folder.begin(CONFIG, (), {})
    assert {file.name for file in run.path.iterdir() if file.is_dir()} == {"checkpoint-2", "checkpoint-3"}


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002], ids=oct)
def test_all_files_have_the_modes_that_the_user_asks_for(umask: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        folder = learn(tmp_path / "run", 1)
    finally:
        os.umask(before)
    for path in (folder.path, *folder.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o777 if path.is_dir() else 0o666) & ~umask, path


def test_the_checksums_are_those_of_sha256sum(run: RunFolder) -> None:
    import hashlib

    for line in (run.path / "checkpoint-3" / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((run.path / "checkpoint-3" / name).read_bytes()).hexdigest() == digest


FILES = ("model.safetensors", "strategies/toy.pt", "strategies/a.b-C.pt", "progress.json", "SHA256SUMS")


@given(name=st.sampled_from(FILES), data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_changed_bit_makes_the_checkpoint_before_take_its_place(
    run: RunFolder, tmp_path: Path, name: str, data: st.DataObject
) -> None:
    shutil.rmtree(tmp_path / "copy", ignore_errors=True)
    folder = RunFolder(shutil.copytree(run.path, tmp_path / "copy"))
    file = folder.path / "checkpoint-3" / name
    content = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    with pytest.warns(Remark, match=r"checkpoint-3 is damaged .*: checkpoint-2 takes its place"):
        enter(folder)
    with held(folder.path):
        assert folder.progress is not None
        assert folder.progress["experiences_done"] == 2
        assert torch.equal(folder.load(["toy"])[1]["toy"]["kept"], torch.arange(8) + 2)
        assert "checkpoint-3 is damaged" in folder.progress["remarks"][0]
        assert len(folder.progress["remarks"]) == 1  # said once


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "other", "folder", "unlisted"])
def test_any_damaged_file_makes_the_checkpoint_before_take_its_place(run: RunFolder, name: str, damage: str) -> None:
    file = run.path / "checkpoint-3" / name
    content = file.read_bytes()
    file.unlink()
    if damage == "folder":
        file.mkdir()
    elif damage == "unlisted":
        file.write_bytes(content)
        (file.parent / "more.pt").touch()
    elif damage != "missing":
        file.write_bytes({"empty": b"", "cut": content[:-1], "other": b"\xff" * len(content)}[damage])
    assert Checkpoint(file.parents[1] if "/" in name else file.parent).damage
    with pytest.warns(Remark, match="checkpoint-3 is damaged"):
        newest = run.newest()
    assert newest is not None
    assert newest.name == "checkpoint-2"


def test_a_run_without_an_intact_checkpoint_is_refused_and_nothing_is_removed(run: RunFolder) -> None:
    for name in ("checkpoint-2", "checkpoint-3"):
        (run.path / name / "model.safetensors").write_bytes(b"")
    before = sorted(run.path.rglob("*"))
    with pytest.raises(CheckpointError, match=r"checkpoint-3 is damaged .*checkpoint-2 is damaged"):
        enter(run)
    assert sorted(run.path.rglob("*")) == before


def test_checkpoints_without_checksums_may_be_those_of_an_earlier_version(run: RunFolder) -> None:
    for name in ("checkpoint-2", "checkpoint-3"):
        (run.path / name / "SHA256SUMS").unlink()
    with pytest.raises(
        CheckpointError, match=r"no SHA256SUMS in checkpoint-3, checkpoint-2: an earlier version"
    ) as old:
        enter(run)
    assert "the version of MMCL that results.json names" in old.value.remedy


@pytest.mark.parametrize(
    "content", [None, b"", b"null", b"[]", b"{", b"\xff\xfe", b"{}", b'{"experiences_done": 7}', b"[" * 100_000]
)
def test_progress_is_made_again_from_the_newest_checkpoint(content: bytes | None, run: RunFolder) -> None:
    written = json.loads((run.path / "progress.json").read_text())
    (run.path / "progress.json").unlink()
    if content is not None:
        (run.path / "progress.json").write_bytes(content)
    with pytest.warns(Remark, match=r"progress\.json was lost or damaged; checkpoint-3"):
        enter(run)
    assert run.progress is not None
    assert run.progress == {**written, "remarks": run.progress["remarks"]}
    assert sorted(path.name for path in run.path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-3"]


@pytest.mark.filterwarnings("error::mmcl.remarks.Remark")
def test_a_kill_between_checkpoint_and_progress_loses_nothing(run: RunFolder) -> None:
    before = (run.path / "checkpoint-2" / "progress.json").read_bytes()
    (run.path / "progress.json").write_bytes(before)
    with held(run.path) as folder:
        assert folder.progress is not None
        assert folder.progress["experiences_done"] == 3


@pytest.mark.parametrize("lost", ["progress.json", "results.json"])
def test_a_run_that_has_lost_all_checkpoints_is_not_begun_anew(lost: str, run: RunFolder) -> None:
    shutil.rmtree(run.path / "checkpoint-2")
    shutil.rmtree(run.path / "checkpoint-3")
    (run.path / "progress.json").rename(run.path / lost)
    with pytest.raises(CheckpointError, match="without a checkpoint"):
        enter(run)


class Killed(BaseException):
    """Stands for a SIGKILL: nothing is cleaned up after it."""


@pytest.mark.parametrize("call", range(12))
def test_a_kill_in_the_beginning_leaves_a_folder_to_run_into_or_to_resume(
    call: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, count = tmp_path / "run", 0
    path.mkdir()

    def killing(name: str) -> None:
        function = getattr(os, name)

        def killed(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count > call:
                raise Killed
            return function(*arguments, **options)

        monkeypatch.setattr(os, name, killed)

    for name in ("replace", "fsync"):
        killing(name)
    try:
        RunFolder(path).begin(CONFIG, ["a.b:C"], {})
    except Killed:
        assert call < count
    monkeypatch.undo()
    if RunFolder(path).has_begun:
        with held(path) as folder:
            folder.require_plugins(["a.b:C"])
            assert folder.config == CONFIG
    else:
        with pytest.raises(CheckpointError, match=r"ended before it began|no config"):
            RunFolder.open(path)
        with claimed(path) as folder:
            folder.begin(CONFIG, (), {})
        assert folder.has_begun


@pytest.mark.parametrize("name", ["identity.json", "results.json", "plugins.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"3", b"null", b"[" * 100_000, b'{"a": ' * 100_000])
def test_a_damaged_file_is_a_sentence_that_names_it(name: str, content: bytes, run: RunFolder) -> None:
    (run.path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=name.replace(".", r"\.")):
        run.read_json(name, list if name == "plugins.json" else dict)
