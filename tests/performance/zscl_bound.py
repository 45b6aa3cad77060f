"""A step of ZSCL on a stream, beside what it cannot cost less than.

    python tests/performance/zscl_bound.py [PAIRS]

64 training and 64 reference images and 1,000 reference texts a step on glyph-clip, tensors in memory that
``mmcl.streams.by_class`` was given. With I, T and O the costs of training the image tower, the text tower and of the
optimiser, measured by hand beside each pair, a step costs at least ``1 + I / (I + T + O)`` of a fine-tuning step: the
student has to pass the reference images. CPU time of 24 steps, one thread, medians of pairs in alternating order.
"""

import statistics
import sys
import time

import torch
from mmcl_strategies.distillation.zscl import ZSCL
from pairs import Stopwatch
from torch import Tensor
from torch.utils.data import TensorDataset

import mmcl
from mmcl.backbones.openclip import GlyphCLIP
from mmcl.data.collate import TensorSamples
from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.benchmark import Benchmark

STEPS, BATCH, CLASSES, TEXTS = 24, 64, (50, 100, 200), 1000


def images(count: int, seed: int) -> Tensor:
    """Noise."""
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def stream(classes: int) -> Benchmark:
    """One experience of ten images a class."""
    data = TensorDataset(images(10 * classes, seed=0), torch.arange(10 * classes) % classes)
    return mmcl.streams.by_class(data, experiences=1, ready=True, templates="the symbol {}")


def learned(data: Benchmark, reference: ReferenceData, strategies: dict[str, StrategyPlugin]) -> float:
    """Seconds through the learner."""
    clock = Stopwatch()
    learner = Learner(
        model=MultimodalModel(GlyphCLIP().build()),
        scenario=data.scenario,
        strategies=strategies,
        plugins=[clock],
        reference=reference,
        training={"iterations": STEPS, "batch_size": BATCH, "lr": 1e-5},
    )
    learner.train(data.train[0])
    return clock.seconds


def bound(data: Benchmark) -> float:
    """``1 + I / (I + T + O)`` by hand."""
    backbone = GlyphCLIP().build().train()
    backbone.clip.logit_scale.requires_grad_(False)
    tokens = backbone.tokenize([f"the symbol {name}" for name in data.experiences[0].label_space.names])
    optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=1e-5, weight_decay=0.0)
    batch, spent = images(BATCH, seed=2), [0.0, 0.0, 0.0]
    for _ in range(STEPS):
        optimizer.zero_grad()
        marks = [time.process_time()]
        backbone.clip.encode_image(batch).square().mean().backward()
        marks.append(time.process_time())
        backbone.clip.encode_text(tokens).square().mean().backward()
        marks.append(time.process_time())
        optimizer.step()
        marks.append(time.process_time())
        spent = [total + end - begin for total, begin, end in zip(spent, marks, marks[1:], strict=False)]
    return 1 + spent[0] / sum(spent)


def main(pairs: int) -> None:
    """Print the ratio, the bound and how far they are apart."""
    torch.set_num_threads(1)
    outside = TensorSamples({IMAGE: images(4 * BATCH, seed=1)}, torch.arange(4 * BATCH))
    reference = ReferenceData(outside, [f"a drawing number {i}" for i in range(TEXTS)])
    for classes in CLASSES:
        data, found = stream(classes), []
        for pair in range(pairs + 1):
            seconds = {}
            for method in ("zscl", "none") if pair % 2 else ("none", "zscl"):
                strategies: dict[str, StrategyPlugin] = {"zscl": ZSCL(average_every=10)} if method == "zscl" else {}
                seconds[method] = learned(data, reference, strategies)
            found.append((seconds["zscl"] / seconds["none"], bound(data)))
        ratios, bounds = zip(*found[1:], strict=True)  # the first pair warms up
        apart = [ratio / limit for ratio, limit in found[1:]]
        print(
            f"ZSCL / fine-tuning, {classes} classes: {statistics.median(ratios):.3f} "
            f"({min(ratios):.3f} to {max(ratios):.3f}), bound {statistics.median(bounds):.3f}, "
            f"ratio / bound {statistics.median(apart):.3f} ({min(apart):.3f} to {max(apart):.3f})",
            flush=True,
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
