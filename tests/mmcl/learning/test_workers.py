"""Worker processes, and what a run may not owe them: real image files, random crops, dropout."""

from pathlib import Path

import pytest
import torch
from avalanche.training.plugins import ReplayPlugin
from mmcl_strategies.baselines.joint import Joint
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.pseudo_replay.feature_replay import FeatureReplay
from mmcl_strategies.replay.icarl import ICaRL
from mmcl_strategies.replay.replay import Replay
from torch import Tensor, nn

from mmcl.backbones.openclip import OpenCLIPBackbone, tiny_clip
from mmcl.data.modality import IMAGE
from mmcl.data.reference import ImageFiles, ReferenceData
from mmcl.data.sample import SampleDataset
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.samples import Raw, rewritten

STRATEGIES = {
    "finetune": {},
    "replay": {"replay": lambda: Replay(size=5)},
    "replay by reference": {"replay": lambda: Replay(size=5, keep="references")},
    "icarl": {"icarl": lambda: ICaRL(size=4)},
    "zscl": {"zscl": ZSCL},
    "lwf, zscl, replay": {"lwf": lambda: LwF(samples="second"), "zscl": ZSCL, "replay": lambda: Replay(size=5)},
    "feature replay": {"features": FeatureReplay},
    "joint": {"joint": Joint},
}


class Dropped(nn.Module):
    """A layer of the tower with dropout behind it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.dropout = inner, nn.Dropout(0.3)

    def forward(self, value: Tensor) -> Tensor:
        dropped: Tensor = self.dropout(self.inner(value))
        return dropped


def backbone() -> OpenCLIPBackbone:
    """A miniature CLIP with random crops, as open_clip makes them, and dropout."""
    model = tiny_clip()
    model.clip.visual.ln_pre = Dropped(model.clip.visual.ln_pre)  # type: ignore[union-attr]
    return model


def pictures(folder: Path) -> Benchmark:
    """Toy images as Pillow images, and image files as reference data."""
    benchmark = rewritten(toy_benchmark(CIL, experiences=2), lambda samples, *_: Raw(samples))
    for index in range(6):
        Raw(benchmark.reference.images)[index].inputs[IMAGE].save(folder / f"{index}.png")
    benchmark.reference = ReferenceData(ImageFiles(sorted(folder.glob("*.png"))), benchmark.reference.texts)
    return benchmark


def made(kind: str) -> dict[str, StrategyPlugin]:
    return {name: make() for name, make in STRATEGIES[kind].items()}


def learned(folder: Path, kind: str, workers: int) -> tuple[dict[str, Tensor], list[Tensor]]:
    """Weights after two experiences, and the global generator's next numbers in every step of the last one."""
    benchmark, drawn = pictures(folder), []

    class Noted:
        def before_forward(self, learner: Learner, **_: object) -> None:
            drawn.append(torch.get_rng_state().clone())

    learner = Learner(
        model=toy_learner(benchmark, backbone=backbone()).model,
        scenario=benchmark.scenario,
        strategies=made(kind),
        plugins=[Noted()],
        training={"num_workers": workers},
        defaults={**benchmark.training, "iterations": 6},
        reference=benchmark.reference,
    )
    for experience in benchmark.train:
        learner.train(experience)
    return weights(learner), drawn


@pytest.mark.parametrize("kind", STRATEGIES)
def test_the_number_of_workers_changes_no_bit(tmp_path: Path, kind: str) -> None:
    alone, *helped = (learned(tmp_path, kind, workers) for workers in (0, 1, 2))
    for weights_, drawn in helped:
        assert all(torch.equal(alone[0][name], weights_[name]) for name in alone[0])
        assert all(map(torch.equal, alone[1], drawn))


def test_plugins_of_avalanche_that_load_batches_themselves_do_not_notice_the_workers_either(tmp_path: Path) -> None:
    def run(workers: int) -> dict[str, Tensor]:
        benchmark = pictures(tmp_path)
        learner = Learner(
            model=toy_learner(benchmark, backbone=backbone()).model,
            scenario=benchmark.scenario,
            plugins=[ReplayPlugin(mem_size=6)],
            training={"num_workers": workers},
            defaults=benchmark.training,
        )
        for experience in benchmark.train:
            learner.train(experience)
        return weights(learner)

    alone, helped = run(0), run(2)
    assert all(torch.equal(alone[name], helped[name]) for name in alone)


def crops(learner: Learner, samples: SampleDataset, **options: object) -> dict[str, list[Tensor]]:
    """What each sample looks like each time that it comes."""
    seen: dict[str, list[Tensor]] = {}
    for batch in learner.batches(samples, 8, batch_size=4, **options):  # type: ignore[arg-type]
        for name, image in zip(batch.inputs.sample_ids, batch.inputs[IMAGE], strict=True):
            seen.setdefault(name, []).append(image)
    return seen


def test_two_epochs_see_different_crops_and_a_new_learner_sees_the_same_ones(tmp_path: Path) -> None:
    benchmark = pictures(tmp_path)
    samples = benchmark.train[0].samples
    first, second, other = (toy_learner(benchmark, seed=seed) for seed in (0, 0, 1))
    for learner in (first, second, other):
        learner.begin(benchmark.train[0])
    seen, again, elsewhere = crops(first, samples), crops(second, samples), crops(other, samples)
    named = crops(first, samples, name="other")
    assert {len(images) for images in seen.values()} == {2}
    assert all(not torch.equal(*images) for images in seen.values())
    assert all(torch.equal(*pair) for name in seen for pair in zip(seen[name], again[name], strict=True))
    for different in (elsewhere, named):
        assert not all(torch.equal(seen[name][0], different[name][0]) for name in seen)


def test_remembered_samples_are_augmented_anew_and_alike_after_a_restart(tmp_path: Path) -> None:
    benchmark = pictures(tmp_path)
    samples = benchmark.train[0].samples
    learner = toy_learner(benchmark)

    def prepared(name: str = "memory") -> Tensor:
        return learner.prepare(samples, [3, 1], name=name).inputs[IMAGE]

    learner.begin(benchmark.train[0])
    before = torch.get_rng_state()
    shown = [prepared(), prepared(), prepared("elsewhere")]
    learner.begin(benchmark.train[1])
    shown.append(prepared())
    assert len({tuple(image.flatten().tolist()) for images in shown for image in images}) == 8
    learner.begin(benchmark.train[0])
    assert torch.equal(prepared(), shown[0])
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_may_be_spawned(tmp_path: Path) -> None:
    benchmark = pictures(tmp_path)
    learner = toy_learner(benchmark, num_workers=1)
    learner.begin(benchmark.train[0])
    forked, spawned = (learner.batches(benchmark.train[0].samples, 2) for _ in range(2))
    spawned.loader.multiprocessing_context = "spawn"
    assert all(torch.equal(one.inputs[IMAGE], other.inputs[IMAGE]) for one, other in zip(forked, spawned, strict=True))
