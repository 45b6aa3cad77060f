"""Cost of a ZSCL step against a fine-tuning step at equal batch sizes, on glyph-clip.

    python tests/performance/zscl_step.py

Reported as ratios of runs that alternate on the same machine; nothing is asserted. 64 training images, 64 reference
images and 1,000 reference texts a step, with 50, 100 and 200 classes (MTIL's data sets have 10 to 397, 109 in the mean,
five of the eleven about 100). The teacher's features of all reference texts and images are computed
before the first step, as in any experience that draws more reference images than there are, and are not in these times.

What remains is the student's pass over the reference images: with I and T the costs of a training pass of the image and
the text tower and O that of the optimiser, the ratio cannot be below ``1 + I / (I + T + O)``. Measured with tensors in
memory, with images as data sets have them, which are augmented anew in training and prepared once as reference, and on
embedded MTIL itself, whose files are decoded in every step (46 to 122 classes, one data set with 10).
"""

import statistics
import time
from collections.abc import Sequence

import torch
from mmcl_benchmarks.mtil.benchmark import MTIL
from mmcl_strategies.distillation.zscl import ZSCL
from PIL import Image

from mmcl.backbones.openclip import GlyphCLIP
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.reference import ReferenceData
from mmcl.data.sample import Sample, SampleDataset
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import TIL

STEPS, PAIRS, BATCH, CLASSES, TEXTS = 24, 7, 64, (50, 100, 200), 1000

VARIANTS: dict[str, dict[str, float]] = {
    "the whole method": {"average_every": 10},
    "distillation alone": {"consolidation": 0.0, "average_every": 0},
}


class Pictures:
    """The images of tensors in memory, as Pillow images."""

    def __init__(self, samples: TensorSamples) -> None:
        pixels = (samples.values[IMAGE].clamp(0, 1) * 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        self.images, self.targets = [Image.fromarray(image) for image in pixels], samples.targets.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        return Sample({IMAGE: self.images[index]}, self.targets[index], str(index), 0)


def tensors(count: int, classes: int, seed: int) -> TensorSamples:
    """Random images."""
    values = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    return TensorSamples({IMAGE: values}, torch.arange(count) % classes)


class TrainingTime:
    """Notes how long the inner loop of an experience takes, without set-up."""

    seconds = 0.0

    def before_training_epoch(self, learner: Learner, **_: object) -> None:
        """Start."""
        self._began = time.process_time()

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        """Stop."""
        self.seconds += time.process_time() - self._began


def seconds(
    stream: Sequence[Experience], reference: ReferenceData | None, strategies: dict[str, StrategyPlugin]
) -> float:
    """Processor time of the steps of all experiences."""
    clock = TrainingTime()
    learner = Learner(
        model=MultimodalModel(GlyphCLIP().build()),
        scenario=TIL,
        strategies=strategies,
        plugins=[clock],
        reference=reference,
        training={"iterations": STEPS, "batch_size": BATCH, "lr": 1e-5},
    )
    for experience in stream:
        learner.train(experience)
    return clock.seconds


def compare(
    name: str, stream: Sequence[Experience], reference: ReferenceData | None, options: dict[str, float], pairs: int
) -> None:
    """Print the ratio of one variant on one stream."""
    ratios = []
    for pair in range(pairs + 1):
        zscl = seconds(stream, reference, {"zscl": ZSCL(**options)})  # type: ignore[arg-type]
        plain = seconds(stream, reference, {})
        if pair:  # the first pair warms up
            ratios.append(zscl / plain)
    median, low, high = statistics.median(ratios), min(ratios), max(ratios)
    print(f"ZSCL / fine-tuning, {name}: median {median:.3f} ({low:.3f} to {high:.3f})", flush=True)


def experience(samples: SampleDataset, classes: int) -> list[Experience]:
    """A stream of one."""
    space = LabelSpace.of([f"symbol {i}" for i in range(classes)], templates=["the symbol {}"])
    return [Experience(ExperienceData("e", samples, samples, space), samples, 0)]


def main() -> None:
    """Print a ratio for the whole method and for its variants."""
    torch.set_num_threads(1)
    images, texts = tensors(BATCH * 4, BATCH * 4, seed=1), [f"a drawing number {i}" for i in range(TEXTS)]
    whole = VARIANTS["the whole method"]
    for classes in CLASSES:
        samples = tensors(BATCH * 8, classes, seed=0)
        for name, options in VARIANTS.items():
            stream = experience(samples, classes)
            compare(f"{classes} classes, {name}, tensors", stream, ReferenceData(images, texts), options, PAIRS)
        pictures = ReferenceData(Pictures(images), texts)
        compare(f"{classes} classes, whole, images", experience(Pictures(samples), classes), pictures, whole, PAIRS)
    mtil = MTIL(embedded=True).build()
    compare("embedded MTIL, the whole method", mtil.train, mtil.reference, whole, 3)


if __name__ == "__main__":
    main()
