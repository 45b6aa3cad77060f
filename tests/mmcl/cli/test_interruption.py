"""A command that is interrupted says what remains and how to go on."""

import json
import multiprocessing
import os
import signal
import sys
import time
from multiprocessing.synchronize import Event
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from mmcl.cli import app, main
from mmcl.cli.interruption import going_on, interruptible, of_new_run
from mmcl.cli.terminal import Shown


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_command_with_its_own_code_and_how_to_go_on(
    number: int, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop, interruptible(lambda: going_on(Path("runs/[b]"))):
        os.kill(os.getpid(), number)
    assert stop.value.code == code
    assert "'mmcl resume runs/[b]' goes on from the last finished experience" in capsys.readouterr().out


def test_a_program_that_reads_objects_gets_the_interruption_as_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), interruptible(lambda: "; again", Shown.json):
        raise KeyboardInterrupt
    assert json.loads(capsys.readouterr().out) == {"event": "interrupted", "sentence": "interrupted; again"}


def test_signals_have_their_usual_effect_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit), interruptible(str):
        raise KeyboardInterrupt
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


@pytest.mark.parametrize("when", ["never", "meanwhile", "before"])
def test_only_a_run_that_has_begun_is_promised_to_go_on(
    when: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = tmp_path / "config.toml"
    if when == "before":  # then it is another run, which this one would have been refused for
        begun.touch()
    what_remains = of_new_run(tmp_path)
    if when == "meanwhile":
        begun.touch()
    with pytest.raises(SystemExit), interruptible(what_remains):
        raise KeyboardInterrupt
    said = capsys.readouterr().out.replace("\n", " ")
    assert ("mmcl resume" in said) == (when == "meanwhile")
    assert ("nothing is kept" in said) == (when != "meanwhile")


def interrupted(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("arguments", "place"), [(["--version"], "typer.echo"), (["list"], "mmcl.cli.plugins.entries")]
)
def test_ctrl_c_ends_every_command_with_a_sentence_and_code_130(
    arguments: list[str], place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, interrupted)
    outcome = CliRunner().invoke(app, arguments)
    assert (outcome.exit_code, outcome.output) == (130, "interrupted; the same command begins anew\n")


def test_ctrl_c_while_the_command_line_is_imported_leaves_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mmcl.cli.entry", SimpleNamespace(run_app=interrupted))  # type: ignore[misc]
    with pytest.raises(SystemExit) as stop:
        main()
    assert (stop.value.code, capsys.readouterr().out) == (130, "interrupted before the command began\n")


def work(begun: Event) -> None:
    begun.set()
    for _ in range(600):
        time.sleep(0.1)


def test_a_child_dies_of_sigterm_as_it_would_without_the_command() -> None:
    fork = multiprocessing.get_context("fork")
    begun = fork.Event()
    with interruptible(str):
        child = fork.Process(target=work, args=(begun,))
        child.start()
        assert begun.wait(30)
        child.terminate()
        child.join(30)
    assert child.exitcode == -signal.SIGTERM
