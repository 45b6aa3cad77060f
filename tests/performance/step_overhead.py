"""Cost of the learner's own work: time per step against a bare PyTorch loop, and Python calls per step.

    python tests/performance/step_overhead.py

Reported as ratios of runs that alternate on the same machine; nothing is asserted.

1. ``Learner`` without a strategy on glyph-clip (image batch of 64, text features of 50 classes recomputed every step)
   against the same step written by hand.
2. Python function calls per step on a small network fed from tensors in memory.
3. EWC in its twentieth experience against no strategy, on glyph-clip.
"""

import cProfile
import pstats
import statistics
import time
from collections.abc import Callable

import torch
from mmcl_strategies.maths.quadratic import Separate, accumulate_separate
from mmcl_strategies.regularization.ewc import EWC, EWCState
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from mmcl.backbones.openclip import GlyphCLIP
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.models.heads import LinearHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import DIL, TIL

STEPS, PAIRS, BATCH, CLASSES = 12, 7, 64, 50


def experience(values: Tensor, targets: Tensor, classes: int, index: int = 0) -> Experience:
    """In-memory samples as one experience."""
    samples = TensorSamples({IMAGE: values}, targets, index)
    space = LabelSpace.of([f"symbol {i}" for i in range(classes)], templates=["the symbol {}"])
    return Experience(ExperienceData(f"e{index}", samples, samples, space), samples, index)


def median_ratio(first: Callable[[], float], second: Callable[[], float]) -> tuple[float, float, float]:
    """Median, minimum and maximum of the ratio first/second over alternating runs, after one warm-up each."""
    first(), second()
    ratios = [first() / second() for _ in range(PAIRS)]
    return statistics.median(ratios), min(ratios), max(ratios)


class TrainingTime:
    """Notes how long the inner loop of an experience takes, without set-up."""

    seconds = 0.0

    def before_training_epoch(self, learner: Learner, **_: object) -> None:
        """Start."""
        self._began = time.process_time()

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        """Stop."""
        self.seconds = time.process_time() - self._began


def learner_seconds(data: Experience, strategies: dict[str, StrategyPlugin] | None = None) -> float:
    """Time of one experience on glyph-clip through the learner."""
    clock = TrainingTime()
    learner = Learner(
        model=MultimodalModel(GlyphCLIP().build()),
        scenario=TIL,
        strategies=strategies,
        plugins=[clock],
        training={"iterations": STEPS, "batch_size": BATCH, "lr": 1e-4},
    )
    learner.train(data)
    return clock.seconds


def bare_seconds(images: Tensor, targets: Tensor, prompts: list[str]) -> float:
    """The same experience as a hand-written loop."""
    backbone = GlyphCLIP().build()
    backbone.clip.logit_scale.requires_grad_(False)
    tokens = backbone.tokenize(prompts)
    optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
    loader = DataLoader(TensorDataset(images, targets), batch_size=BATCH, shuffle=True)
    backbone.train()
    began, done = time.process_time(), 0
    while done < STEPS:
        for batch, labels in loader:
            optimizer.zero_grad()
            image = functional.normalize(backbone.clip.encode_image(batch), dim=-1)
            text = functional.normalize(backbone.clip.encode_text(tokens), dim=-1)
            loss = functional.cross_entropy(backbone.clip.logit_scale.exp() * image @ text.T, labels)
            loss.item()
            loss.backward()
            optimizer.step()
            done += 1
            if done == STEPS:
                break
    return time.process_time() - began


def ewc_after(experiences: int) -> EWC:
    """EWC with the sums of that many experiences, as it would be after learning them."""
    strategy = EWC(strength=1.0)
    sums = Separate({}, {}, {})
    model = MultimodalModel(GlyphCLIP().build())
    parameters = {name: p.detach() for name, p in model.shared_parameters() if "logit_scale" not in name}
    for _ in range(experiences):
        sums = accumulate_separate(sums, {name: torch.rand_like(p) for name, p in parameters.items()}, parameters)
    strategy.state = EWCState(**sums._asdict())
    return strategy


class SmallNet(Backbone):
    """64-128-128 perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU())
        self.specs = {IMAGE: ModalitySpec((64,))}
        self.towers = {IMAGE: Tower(self.layers, frozenset({IMAGE}), 128)}
        self.preprocess_train = self.preprocess_eval = {}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """Features of vectors."""
        return Features(self.layers(inputs[IMAGE]))

    def tokenize(self, texts: object) -> Tensor:
        """There is no text."""
        raise TypeError("this network reads no text")

    @property
    def logit_scale(self) -> Tensor:
        """Not used by linear heads."""
        return torch.ones(())

    def export(self, folder: object) -> None:
        """There is no format for it."""
        raise TypeError("this network is exported nowhere")


def calls_per_step(run: Callable[[int], None]) -> float:
    """Python calls of a step: the difference between a long and a short run."""

    def calls(steps: int) -> int:
        profile = cProfile.Profile()
        profile.enable()
        run(steps)
        profile.disable()
        return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]

    return (calls(140) - calls(40)) / 100


def small_learner(steps: int) -> None:
    """``steps`` steps of the small network through the learner."""
    generator = torch.Generator().manual_seed(0)
    data = experience(torch.randn(1280, 64, generator=generator), torch.arange(1280) % 10, 10)
    net = SmallNet()
    learner = Learner(
        model=MultimodalModel(net, LinearHead(128)),
        scenario=DIL,
        training={"iterations": steps, "batch_size": 32, "optimizer": "sgd", "lr": 0.01, "schedule": "constant"},
    )
    learner.train(data)


def small_bare(steps: int) -> None:
    """The same as a hand-written loop."""
    images, targets = torch.randn(1280, 64), torch.arange(1280) % 10
    net = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
    loader = DataLoader(TensorDataset(images, targets), batch_size=32, shuffle=True)
    done = 0
    while done < steps:
        for batch, labels in loader:
            optimizer.zero_grad()
            functional.cross_entropy(net(batch), labels).backward()
            optimizer.step()
            done += 1
            if done == steps:
                return


def main() -> None:
    """Print the three comparisons."""
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    images, targets = torch.randn(BATCH * 8, 3, 32, 32, generator=generator), torch.arange(BATCH * 8) % CLASSES
    data = experience(images, targets, CLASSES)
    prompts = [f"the symbol symbol {i}" for i in range(CLASSES)]
    plain = median_ratio(lambda: learner_seconds(data), lambda: bare_seconds(images, targets, prompts))
    print("learner without a strategy / bare loop, glyph-clip: median {:.3f} ({:.3f} to {:.3f})".format(*plain))
    remembered = ewc_after(20)
    ewc = median_ratio(lambda: learner_seconds(data, {"ewc": fresh(remembered)}), lambda: learner_seconds(data))
    print("EWC in experience 21 / no strategy, glyph-clip: median {:.3f} ({:.3f} to {:.3f})".format(*ewc))
    state = sum(t.numel() * t.element_size() for field in vars(remembered.state).values() for t in field.values())
    print(f"EWC state after 20 experiences: {state / 2**20:.2f} MiB")
    calls = calls_per_step(small_learner), calls_per_step(small_bare)
    print("Python calls per step, small network: learner {:.0f}, bare loop {:.0f}".format(*calls))


def fresh(strategy: EWC) -> EWC:
    """The same memory in a new strategy that makes no Fisher pass to speak of."""
    copy = EWC(strength=1.0, samples=1)
    copy.state = strategy.state
    return copy


if __name__ == "__main__":
    main()
