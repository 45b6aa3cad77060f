"""The documented path beside a bare loop where images are files: fine-tuning glyph-clip on a folder of PNG files.

    python tests/performance/documented_images.py [PAIRS]

``mmcl.streams.by_class`` reads 32 x 32 PNG files of 50 classes, one prompt a class, 64 a step; the bare loop opens
the same files in the same order through torch's ``DataLoader``, with the transform of the backbone. The crops differ:
MMCL seeds each of them. CPU time of 12 steps, one thread, medians of pairs in alternating order.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from bare_loops import orders
from pairs import Stopwatch, ratio
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

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


def bare(stream: Benchmark) -> float:
    """By hand."""
    backbone = GlyphCLIP().build().train()
    backbone.clip.logit_scale.requires_grad_(False)
    tokens = backbone.tokenize([TEMPLATE.format(name) for name in stream.experiences[0].label_space.names])
    optimizer = torch.optim.AdamW([p for p in backbone.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
    files = Files(stream, backbone.preprocess_train[IMAGE])
    order = orders(len(files), BATCH, STEPS, torch.Generator().manual_seed(0))
    began = time.process_time()
    for images, labels in DataLoader(files, batch_sampler=order):
        optimizer.zero_grad()
        image = functional.normalize(backbone.clip.encode_image(images), dim=-1)
        text = functional.normalize(backbone.clip.encode_text(tokens), dim=-1)
        loss = functional.cross_entropy(backbone.clip.logit_scale.exp() * image @ text.T, labels)
        loss.item()
        loss.backward()
        optimizer.step()
    return time.process_time() - began


def main(pairs: int) -> None:
    """Print the ratio."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = written(Path(folder) / "symbols")
        stream = mmcl.streams.by_class(data, experiences=1, templates=TEMPLATE)
        found = ratio(lambda: ours(stream), lambda: bare(stream), pairs)
    print(f"no strategy / the same in a bare loop, glyph-clip, PNG files: {found}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 9)
