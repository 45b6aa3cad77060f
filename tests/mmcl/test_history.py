"""history.jsonl has every tenth step and the last of an experience once, however often the run was interrupted."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import mmcl
from mmcl.history import HISTORY, History
from mmcl.learning.learner import Learner
from mmcl.progress import Moment
from mmcl.run_folder import RunFolder
from mmcl.streams.scenario import TIL
from mmcl.testing.toy import toy_benchmark

TRAINING = {"iterations": 12, "lr": 1e-3}


def learn(out: Path, experiences: int = 2, **options: Any) -> mmcl.RunResult:
    benchmark = toy_benchmark(TIL, experiences=experiences)
    return mmcl.run(
        benchmark=benchmark, strategies=["ewc:samples=4"], training=TRAINING, out=out, quiet=True, **options
    )


def lines(folder: Path) -> list[dict[str, Any]]:
    """Without the time that steps took."""
    read = [json.loads(line) for line in (folder / HISTORY).read_text("utf-8").splitlines()]
    return [{name: value for name, value in line.items() if name != "seconds"} for line in read]


def test_a_run_killed_while_it_learned_has_the_history_of_one_that_was_not(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learn(tmp_path / "whole")
    expected = lines(whole.folder)
    assert [(line["index"], line["step"], line["iteration"]) for line in expected] == [
        (0, 10, 10),
        (0, 12, 12),
        (1, 10, 22),
        (1, 12, 24),
    ]
    assert list(expected[2]["terms"]) == ["task", "ewc/penalty"]
    assert expected[0]["loss"] > 0
    assert expected[0]["rates"][0] > expected[1]["rates"][0] >= 0

    loss_terms = Learner.add_loss_terms

    def dying(learner: Learner, task: Tensor) -> Tensor:
        if learner.experience is not None and (learner.experience.index, learner.step) == (1, 10):
            raise KeyboardInterrupt
        return loss_terms(learner, task)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "add_loss_terms", dying)
        with pytest.raises(KeyboardInterrupt):
            learn(tmp_path / "killed")
    assert lines(tmp_path / "killed") == expected[:3]
    with (tmp_path / "killed" / HISTORY).open("a") as file:
        file.write('{"index": 0, "ste')  # what a power cut leaves of a line
    resumed = mmcl.resume(tmp_path / "killed", benchmark=toy_benchmark(TIL, experiences=2), quiet=True)
    assert lines(resumed.folder) == expected
    assert resumed.results["matrix"] == whole.results["matrix"]
    for file in (whole.folder / "predictions").iterdir():
        assert (resumed.folder / "predictions" / file.name).read_bytes() == file.read_bytes()

    mmcl.extend(whole.folder, benchmark=toy_benchmark(TIL, experiences=3), quiet=True)
    longer = lines(whole.folder)
    assert longer[:4] == expected
    assert [(line["index"], line["step"]) for line in longer[4:]] == [(2, 10), (2, 12)]


def test_lines_of_small_steps_are_written_together_and_those_of_long_ones_at_once(tmp_path: Path) -> None:
    history = History(RunFolder(tmp_path))

    def after(seconds: float) -> int:
        history.add(
            Moment(
                experience="birds",
                index=0,
                step=1,
                steps=9,
                iteration=1,
                loss=1.0,
                terms={},
                rates=[],
                seconds=seconds,
                done=1,
                total=9,
                left=1.0,
            )
        )
        return len(lines(tmp_path)) if (tmp_path / HISTORY).exists() else 0

    assert [after(seconds) for seconds in (0.1, 0.2, 0.6, 0.7, 60, 120, 0.1)] == [0, 0, 3, 3, 5, 6, 7]
    assert after(0.2) == 7
    history.flush()
    assert len(lines(tmp_path)) == 8


def test_a_history_without_lines_to_drop_is_not_written_again(tmp_path: Path) -> None:
    history = History(RunFolder(tmp_path))
    history.cut(0)
    assert not (tmp_path / HISTORY).exists()
    (tmp_path / HISTORY).write_text('{"index": 0}\n{"index": 1}\n')
    before = (tmp_path / HISTORY).stat().st_ino
    history.cut(2)
    assert (tmp_path / HISTORY).stat().st_ino == before
    history.cut(1)
    assert (tmp_path / HISTORY).read_text() == '{"index": 0}\n'


@pytest.mark.parametrize(
    "line", ["", "null", "[]", '{"index": 1e999}', '{"index": null}', "[" * 50_000, '{"a":' * 50_000]
)
def test_lines_that_no_run_wrote_are_dropped(line: str, tmp_path: Path) -> None:
    (tmp_path / HISTORY).write_text(f'{{"index": 0}}\n{line}\n{{"index": 0, "step": 2}}\n')
    History(RunFolder(tmp_path)).cut(1)
    assert (tmp_path / HISTORY).read_text() == '{"index": 0}\n{"index": 0, "step": 2}\n'


@pytest.mark.parametrize("content", [b"", b"\0\0\0", None])
def test_a_history_that_was_lost_or_damaged_is_remarked_upon(
    content: bytes | None, tmp_path: Path, cache: Path
) -> None:
    run = learn(tmp_path / "run").folder
    assert not mmcl.resume(run, benchmark=toy_benchmark(TIL, experiences=2), quiet=True).results["remarks"][1:]
    (run / HISTORY).unlink()
    if content is not None:
        (run / HISTORY).write_bytes(content)
    resumed = mmcl.resume(run, benchmark=toy_benchmark(TIL, experiences=2), quiet=True)
    assert any("history.jsonl was lost or damaged" in remark for remark in resumed.results["remarks"])
