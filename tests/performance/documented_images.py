"""The documented path beside a bare loop where a model is large: fine-tuning glyph-clip on tensors and on PNG files.

    python tests/performance/documented_images.py [PAIRS]

``mmcl.streams.by_class`` reads 32 x 32 images of 50 classes, one prompt a class, 64 a step: a ``TensorDataset`` that is
ready, or a folder of PNG files. The bare loop reads the same rows, or opens the same files, in the same order through
torch's ``DataLoader``, files with the transform of the backbone. The crops differ: MMCL seeds each of them. CPU time of
12 steps, one thread, medians of pairs in alternating order.
"""

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bare_loops import orders
from pairs import Stopwatch, ratio
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

import mmcl
from mmcl.backbones.openclip import GlyphCLIP
from mmcl.data.modality import IMAGE
from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.benchmark import Benchmark

STEPS, BATCH, CLASSES, EACH = 12, 64, 50, 20
TEMPLATE = "the symbol {}"


def written(folder: Path) -> Path:
    """A folder of noise for each class."""
    draws = np.random.default_rng(0)
    for label in range(CLASSES):
        (folder / f"symbol {label}").mkdir(parents=True)
        for number in range(EACH):
            pixels = draws.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"symbol {label}" / f"{number}.png")
    return folder


class Files(Dataset[tuple[Tensor, int]]):
    """Files with a class each, as a tutorial reads them."""

    def __init__(self, stream: Benchmark, transform: object) -> None:
        samples = stream.experiences[0].train
        self.files = [(samples.path(i), samples[i].target) for i in range(len(samples))]  # type: ignore[attr-defined]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, target = self.files[index]
        return self.transform(Image.open(path).convert("RGB")), target  # type: ignore[operator]


def rows(stream: Benchmark) -> TensorDataset:
    """Tensors with a class each, in the order of the stream."""
    samples = [stream.train[0].samples[index] for index in range(len(stream.train[0].samples))]
    images = torch.stack([sample.inputs[IMAGE] for sample in samples])
    return TensorDataset(images, torch.tensor([sample.target for sample in samples]))


def ours(stream: Benchmark) -> float:
    """Through the learner."""
    clock = Stopwatch()
    learner = Learner(
        model=MultimodalModel(GlyphCLIP().build()),
        scenario=stream.scenario,
        plugins=[clock],
        training={"iterations": STEPS, "batch_size": BATCH, "lr": 1e-4, "schedule": "constant"},
    )
    learner.train(stream.train[0])
    return clock.seconds


def bare(stream: Benchmark, tensors: TensorDataset | None = None) -> float:
    """By hand, on the files of the stream unless tensors are there."""
    backbone = GlyphCLIP().build().train()
    backbone.clip.logit_scale.requires_grad_(False)
    tokens = backbone.tokenize([TEMPLATE.format(name) for name in stream.experiences[0].label_space.names])
    optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
    data: Any = tensors or Files(stream, backbone.preprocess_train[IMAGE])
    order = orders(len(data), BATCH, STEPS, torch.Generator().manual_seed(0))
    began = time.process_time()
    for images, labels in DataLoader(data, batch_sampler=order):
        optimizer.zero_grad()
        image = functional.normalize(backbone.clip.encode_image(images), dim=-1)
        text = functional.normalize(backbone.clip.encode_text(tokens), dim=-1)
        loss = functional.cross_entropy(backbone.clip.logit_scale.exp() * image @ text.T, labels)
        loss.item()
        loss.backward()
        optimizer.step()
    return time.process_time() - began


def main(pairs: int) -> None:
    """Print the ratios."""
    torch.set_num_threads(1)
    noise = torch.randn(CLASSES * EACH, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    given = TensorDataset(noise, torch.arange(CLASSES * EACH) % CLASSES)
    stream = mmcl.streams.by_class(given, experiences=1, ready=True, templates=TEMPLATE)
    tensors = rows(stream)
    found = ratio(lambda: ours(stream), lambda: bare(stream, tensors), pairs)
    print(f"no strategy / the same in a bare loop, glyph-clip, tensors: {found}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = written(Path(folder) / "symbols")
        stream = mmcl.streams.by_class(data, experiences=1, templates=TEMPLATE)
        found = ratio(lambda: ours(stream), lambda: bare(stream), pairs)
    print(f"no strategy / the same in a bare loop, glyph-clip, PNG files: {found}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
