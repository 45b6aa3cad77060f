"""Plugins of avalanche in a whole run: handed over, recorded, and wanted again."""

import io
import json
from pathlib import Path

import pytest
from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.logging import TextLogger
from avalanche.training.plugins import EarlyStoppingPlugin, EvaluationPlugin, ReplayPlugin
from avalanche.training.templates.base_sgd import PeriodicEval

import mmcl
from mmcl.errors import CheckpointError
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark

NAMES = ["avalanche.training.plugins.evaluation:EvaluationPlugin", "avalanche.training.plugins.replay:ReplayPlugin"]


def plugins(text: io.StringIO) -> list[object]:
    return [EvaluationPlugin(accuracy_metrics(experience=True), loggers=[TextLogger(text)]), ReplayPlugin(mem_size=4)]


def learn(out: Path, *given: object, experiences: int = 2, **training: object) -> mmcl.RunResult:
    return mmcl.run(
        benchmark=toy_benchmark(TIL, experiences=experiences),
        backbone="glyph-clip",
        strategies=["ewc:samples=4"],
        plugins=given,
        training={"lr": 1e-3, **training},
        out=out,
        quiet=True,
    )


def test_a_run_takes_plugins_and_records_them(tmp_path: Path) -> None:
    text = io.StringIO()
    result = learn(tmp_path / "run", *plugins(text))
    assert "Top1_Acc_Exp/eval_phase/test_stream" in text.getvalue()
    assert result.results["plugins"] == json.loads((tmp_path / "run" / "plugins.json").read_text()) == NAMES


def test_a_run_without_plugins_says_so(tmp_path: Path) -> None:
    assert learn(tmp_path / "run").results["plugins"] == []
    assert not (tmp_path / "run" / "plugins.json").exists()


def test_resuming_and_extending_want_the_same_plugins_again(tmp_path: Path) -> None:
    folder = learn(tmp_path / "run", *plugins(io.StringIO())).folder
    longer = toy_benchmark(TIL, experiences=3)
    for go_on in (mmcl.resume, mmcl.extend):
        with pytest.raises(
            CheckpointError, match=r"started with the plugins .*ReplayPlugin.* continued with no plugins"
        ):
            go_on(folder, benchmark=longer)
    extended = mmcl.extend(folder, benchmark=longer, quiet=True, plugins=plugins(io.StringIO()))
    assert extended.results["columns"] == ["toy0", "toy1", "toy2"]
    assert extended.results["plugins"] == NAMES
    again = mmcl.resume(folder, benchmark=longer, quiet=True, plugins=plugins(io.StringIO()))
    assert again.results["matrix"] == extended.results["matrix"]


def test_plugins_are_refused_where_the_run_had_none(tmp_path: Path) -> None:
    folder = learn(tmp_path / "run").folder
    with pytest.raises(CheckpointError, match="started with no plugins"):
        mmcl.resume(folder, benchmark=toy_benchmark(TIL, experiences=2), plugins=[ReplayPlugin()])


@pytest.mark.filterwarnings("ignore:Metric Top1_Acc_Stream used by the EarlyStopping:UserWarning")
def test_early_stopping_watches_the_test_stream_of_a_run(tmp_path: Path) -> None:
    evaluation = EvaluationPlugin(accuracy_metrics(stream=True), loggers=[TextLogger(io.StringIO())])
    stopping = EarlyStoppingPlugin(patience=2, val_stream_name="test_stream", peval_mode="iteration")
    given = (evaluation, stopping, PeriodicEval(1, "iteration"))
    learn(tmp_path / "run", *given, lr=1e-12, iterations=30)
    progress = json.loads((tmp_path / "run" / "progress.json").read_text())
    assert progress["clock"]["train_iterations"] < 10
