"""Every strategy trains, evaluates and goes on from a checkpoint on a device that is not the CPU, and learns the same.

Without a GPU the device is pretended; with one it is real as well.
"""

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from mmcl_strategies.architecture.hat import HAT
from mmcl_strategies.distillation.wise_ft import WiSEFT
from mmcl_strategies.replay.icarl import ICaRL
from torch import Tensor

import mmcl
from mmcl.data.modality import IMAGE
from mmcl.data.nested import tensors
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.output import Output
from mmcl.streams.scenario import CIL, TIL
from mmcl.testing.laboratory.trial import Answers
from mmcl.testing.toy import toy_learner

from .pretend_device import pretended_cuda
from .streams import class_stream
from .variants import Variant, variants

NAME = "it"
# signs of eigenvectors and the slope of a norm near zero hang on the last digit, from the second experience on
CHAOTIC = {"feature_replay"}
# so does what Adam makes of a gradient near zero at the rate of a new head, in the answers of that head
CHAOTIC_ANSWERS = {*CHAOTIC, "icarl,decision=network"}
Device = Callable[[], AbstractContextManager[Any]]
DEVICES = [
    pytest.param(pretended_cuda, id="pretended"),
    pytest.param(nullcontext, id="real", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")),
]


def learner_of(variant: Variant, device: str) -> tuple[Learner, Any]:
    benchmark = variant.benchmark()
    training = {"iterations": 2, "batch_size": 4, "lr": 1e-4, "warmup": 0, "device": device}
    return toy_learner(benchmark, {NAME: variant.fresh()}, **training), benchmark


def learned(variant: Variant, device: str) -> tuple[Learner, Any, list[dict[str, float]]]:
    """A learner after two experiences, and every value that it minimised on the way."""
    learner, benchmark = learner_of(variant, device)
    values: list[dict[str, float]] = []

    def note(learner: Learner) -> None:
        on = {learner.batch.targets.device.type, *(value.device.type for value in learner.loss_terms.values())}
        assert on == {torch.device(device).type}
        values.append({name: float(value.detach()) for name, value in learner.loss_terms.items()})

    learner._hooks["before_backward"].append(note)
    for experience in benchmark.train:
        learner.train(experience)
    return learner, benchmark, values


def answers(learner: Learner, benchmark: Any) -> list[Tensor]:
    metric, found = Answers(), []
    for experience in benchmark.test:
        learner.evaluate(experience, metric)
        found += metric.scores
    return found


def continued(learner: Learner, variant: Variant, benchmark: Any) -> Learner:
    """A new learner on the same device, from what a checkpoint of the first one holds."""
    buffer = io.BytesIO()
    states = {name: strategy.state_dict() for name, strategy in learner.strategies.items()}
    on_cpu = _moved_to_cpu((model_tensors(learner.model, learner.untouched), states))
    torch.save(on_cpu, buffer)
    buffer.seek(0)
    saved, kept = torch.load(buffer, weights_only=True)
    again, _ = learner_of(variant, "cuda:0")
    for experience in benchmark.train:
        again.meet(experience)
    again.untouched = restore_model(again.model, saved)
    for name, strategy in again.strategies.items():
        strategy.load_state_dict(kept[name], again.device)
    return again


def _moved_to_cpu(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.cpu()
    if isinstance(value, dict):
        return {key: _moved_to_cpu(item) for key, item in value.items()}
    return type(value)(map(_moved_to_cpu, value)) if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", list(variants()), ids=str)
def test_a_strategy_learns_on_a_device_what_it_learns_on_the_cpu(variant: Variant, device: Device) -> None:
    alone, benchmark, expected = learned(variant, "cpu")
    expected_answers = answers(alone, benchmark)
    with device():
        learner, benchmark, found = learned(variant, "cuda:0")
        assert {tensor.device.type for _, tensor in tensors(learner.model.state_dict())} == {"cuda"}
        steps = len(found) if variant.name not in CHAOTIC else len(found) // 2
        assert found[:steps] == [pytest.approx(terms, rel=0.02, abs=1e-3) for terms in expected[:steps]]
        given = answers(learner, benchmark)
        again = continued(learner, variant, benchmark)
        repeated = answers(again, benchmark)
        again.train(benchmark.train[-1])
    for one, other, third in zip(given, expected_answers, repeated, strict=True):
        torch.testing.assert_close(one, third)
        if not {variant.name, str(variant)} & CHAOTIC_ANSWERS:
            torch.testing.assert_close(one, other, rtol=0.02, atol=0.05)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    "strategies",
    [[], [WiSEFT(when="evaluation", alpha=0.0)], [HAT(hidden=(6,))], [ICaRL(size=8)]],
    ids=["finetune", "wise_ft", "hat", "icarl"],
)
def test_a_run_on_a_device_predicts_what_it_answers_in_evaluations(
    tmp_path: Path, strategies: list[StrategyPlugin], device: Device
) -> None:
    scenario = TIL if any(isinstance(strategy, HAT) for strategy in strategies) else CIL
    benchmark = class_stream(scenario)
    files = [tmp_path / f"{index}.png" for index in range(len(benchmark.test[0].samples))]
    for file, index in zip(files, range(len(files)), strict=True):
        benchmark.test[0].samples[index].inputs[IMAGE].save(file)
    training = {"iterations": 2, "batch_size": 4, "lr": 0.05, "device": "cuda:0", "eval_batch_size": 3}
    shown: list[tuple[int, str]] = []
    given: list[Tensor] = []

    def note(learner: Learner, inputs: Inputs) -> Output:
        output = answer(learner, inputs)
        assert output.logits is not None
        shown.append((inputs.batch_size, inputs[IMAGE].device.type))
        given.append(output.logits.cpu())
        return output

    answer, experience = Learner.predict, "classes0" if scenario is TIL else None
    with device(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "predict", note)
        run = mmcl.run(benchmark=benchmark, strategies=strategies, training=training, out=tmp_path / "run", quiet=True)
        last_round = given[-8:-4]  # of the first of two test sets
        del shown[:], given[:]
        predicted = mmcl.predict(run.folder, files, experience=experience)
    assert shown == [(3, "cuda"), (3, "cuda"), (3, "cuda"), (1, "cuda")]
    torch.testing.assert_close(torch.cat(given), torch.cat(last_round))
    names = {label.id: label.name for label in benchmark.experiences[0].label_space}
    right = [
        prediction.classes[0][0] == names[benchmark.test[0].samples[index].target]
        for index, prediction in enumerate(predicted)
    ]
    assert 100 * sum(right) / len(right) == pytest.approx(run.matrix[-1, 0])
