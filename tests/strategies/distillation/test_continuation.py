"""Strategies of this family on pairs: continued after a stop they give the same bits; they compose or are refused."""

import io
from collections.abc import Callable

import pytest
import torch
from mmcl_strategies.distillation.ctp import CTP
from mmcl_strategies.distillation.distill import Distill
from mmcl_strategies.distillation.lwf_vr import LwFVR
from mmcl_strategies.distillation.modx import ModX
from mmcl_strategies.distillation.wise_ft import WiSEFT
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.pseudo_replay.incclip import IncCLIP
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.kdr import KDR
from mmcl_strategies.replay.replay import Replay

from mmcl.build import surroundings
from mmcl.errors import CompositionError
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import DIL, TIL
from mmcl.testing.laboratory.nested import difference
from mmcl.testing.toy import toy_learner, toy_pairs, weights

Make = Callable[[], StrategyPlugin]

STRATEGIES: dict[str, Make] = {
    "zscl": lambda: ZSCL(average_every=2),
    "zscl, interpolated": lambda: ZSCL(teacher="interpolated", alpha=0.9),
    "lwf_vr": lambda: LwFVR(sentences=20),
    "wise_ft": WiSEFT,
    "wise_ft, fisher": lambda: WiSEFT(fisher=True, samples=6),
    "modx": ModX,
    "ctp": lambda: CTP(queue=10),
    "kdr": lambda: KDR(samples=6),
    "incclip": lambda: IncCLIP(size=8, steps=3),
    "distill, compatible": lambda: Distill(kind="relation", teacher="compatible"),
    "distill, stored": lambda: Distill(kind="relation", form="angle", teacher="stored", samples=6),
}


def stream(strategy: StrategyPlugin, experiences: int = 3) -> Benchmark:
    return toy_pairs(TIL if isinstance(strategy, KDR) else DIL, experiences)


@pytest.mark.parametrize("make", STRATEGIES.values(), ids=list(STRATEGIES))
def test_stopped_and_continued_gives_the_same_bits(make: Make) -> None:
    whole = make()
    benchmark = stream(whole)
    uninterrupted = toy_learner(benchmark, {"it": whole}, lr=1e-2)
    for experience in benchmark.train:
        uninterrupted.train(experience)

    strategy = make()
    learner = toy_learner(stream(strategy), {"it": strategy}, lr=1e-2)
    for index, _ in enumerate(benchmark.train):
        learner, strategy = reborn(learner, strategy, make)
        learner.train(stream(strategy).train[index])
    assert difference(weights(learner), weights(uninterrupted)) == ""
    assert difference(strategy.state_dict(), whole.state_dict()) == ""


def reborn(learner: Learner, strategy: StrategyPlugin, make: Make) -> tuple[Learner, StrategyPlugin]:
    buffer = io.BytesIO()
    torch.save((model_tensors(learner.model, learner.untouched), strategy.state_dict()), buffer)
    buffer.seek(0)
    tensors, state = torch.load(buffer, weights_only=True)
    fresh = make()
    benchmark = stream(fresh)
    again = toy_learner(benchmark, {"it": fresh}, lr=1e-2)
    for met in learner.seen:
        again.meet(benchmark.train[met.index])
    again.untouched = restore_model(again.model, tensors)
    fresh.load_state_dict(state, again.device)
    return again, fresh


@pytest.mark.parametrize("other", [lambda: EWC(samples=6), lambda: Replay(size=6)], ids=["ewc", "replay"])
@pytest.mark.parametrize("make", STRATEGIES.values(), ids=list(STRATEGIES))
def test_composed_with_another_it_trains_or_is_refused_with_the_reason(make: Make, other: Make) -> None:
    strategy, partner = make(), other()
    benchmark = stream(strategy, experiences=2)
    around = surroundings(benchmark=benchmark, reference_data=True)
    if strategy.slots & partner.slots:
        with pytest.raises(CompositionError, match="both build the training batches"):
            check_composition([strategy, partner], ["it", "other"], around)
        return
    check_composition([strategy, partner], ["it", "other"], around)
    learner = toy_learner(benchmark, {"it": strategy, "other": partner}, lr=1e-2)
    before = weights(learner)
    for experience in benchmark.train:
        learner.train(experience)
    assert any(not torch.equal(value, before[name]) for name, value in weights(learner).items() if name in before)
    assert all(bool(value.isfinite().all()) for value in weights(learner).values())


@pytest.mark.parametrize("make", STRATEGIES.values(), ids=list(STRATEGIES))
def test_it_trains_in_half_precision(make: Make) -> None:
    strategy = make()
    benchmark = stream(strategy, experiences=2)
    learner = toy_learner(benchmark, {"it": strategy}, precision="bf16", lr=1e-2)
    for experience in benchmark.train:
        learner.train(experience)
        assert all(bool(value.isfinite()) for value in learner.loss_terms.values())
    assert all(value.dtype == torch.float32 for value in weights(learner).values())


def test_merged_weights_are_what_ewc_anchors_and_what_the_next_teacher_is() -> None:
    benchmark, ewc = toy_pairs(), EWC(samples=6)
    learner = toy_learner(benchmark, {"ewc": ewc, "wise_ft": WiSEFT(), "modx": ModX()}, lr=1e-2)
    learner.train(benchmark.train[0])
    handed_over = weights(learner)
    assert ewc.state.centre
    for name, centre in ewc.state.centre.items():
        torch.testing.assert_close(centre, handed_over[name])
    learner.train(benchmark.train[1])
    teacher = learner.teacher("previous").weights()
    assert all(torch.equal(value, handed_over[name]) for name, value in teacher.items())
