"""Loggers never stop a run."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from mmcl.errors import ConfigError
from mmcl.evaluation.loggers import make_loggers


def test_wandb_without_a_key_is_offline_and_keeps_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (logger,) = make_loggers(["wandb"], tmp_path, {"seed": 0})
    logger.scalar("loss/task", 1.0, 0)
    logger.cell("before training", "toy", 50.0)
    logger.close()
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_a_failing_wandb_warns_once_and_lets_the_run_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = ModuleType("wandb")
    monkeypatch.setitem(sys.modules, "wandb", broken)
    with pytest.warns(UserWarning, match="logging stopped"):
        (logger,) = make_loggers(["wandb"], tmp_path, {})
    # warnings are errors here: nothing below may warn again
    logger.scalar("loss/task", 1.0, 0)
    logger.cell("a", "b", 1.0)
    logger.close()


def test_tensorboard_files_hold_the_values(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (logger,) = make_loggers(["tensorboard"], tmp_path, {})
    logger.scalar("loss/task", 1.5, 7)
    logger.cell("before training", "birds", 20.0)
    logger.cell("birds", "birds", 90.0)
    logger.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(point.step, point.value) for point in events.Scalars("loss/task")] == [(7, 1.5)]
    assert [(point.step, point.value) for point in events.Scalars("matrix/birds")] == [(0, 20.0), (1, 90.0)]


def test_an_unknown_logger_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'tensorboard'"):
        make_loggers(["tensorbord"], tmp_path, {})
