"""A step of each strategy that adds to a frozen backbone, beside the bare step of the same model.

    python tests/performance/adapted_step.py [PAIRS] [STRATEGY ...]

glyph-clip, 64 images as tensors and 50 classes, in the second experience. The bare loop reads the same rows through
torch's ``DataLoader``, passes them through the very model that the strategy has adapted, with the ways, queries and
prompts that are part of it, and moves the same parameters by cross-entropy. CPU time of the steps, one thread, medians
of pairs: each is the epoch of a learner and the bare loop on its model right after it. Nothing is asserted.
"""

import statistics
import sys
import time
from typing import Any

import torch
from pairs import Ratio
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from mmcl.arguments import parse_plugin
from mmcl.backbones.openclip import GlyphCLIP
from mmcl.build import build_plugin
from mmcl.data.asked import Asked
from mmcl.data.collate import TensorSamples
from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Inputs
from mmcl.learning.learner import Learner
from mmcl.learning.optimizer import trainable
from mmcl.models.multimodal import MultimodalModel
from mmcl.registry import STRATEGIES, entries, load
from mmcl.streams.experience import Experience
from mmcl.streams.scenario import TIL
from mmcl.testing.compatibility import TRAINS, declared

STEPS, BATCH, CLASSES = 12, 64, 50
OPTIONS = {
    "fwd_prompt": "fwd_prompt:projection=residual",  # there are no reference data here
    "s_liprompts": "s_liprompts:context=8",  # the names leave no room for more
}


def images_of(index: int) -> tuple[Tensor, Tensor]:
    """Random images of classes of an experience's own, and these."""
    images = torch.randn(BATCH * STEPS, 3, 32, 32, generator=torch.Generator().manual_seed(index))
    return images, index * CLASSES + torch.arange(len(images)) % CLASSES


def experience(index: int) -> Experience:
    """The images as data of a stream."""
    images, targets = images_of(index)
    ids = range(index * CLASSES, (index + 1) * CLASSES)
    space = LabelSpace.of([f"symbol {i}" for i in ids], templates=["the symbol {}"], first_id=index * CLASSES)
    samples = TensorSamples({IMAGE: images}, targets, index)
    return Experience(ExperienceData(f"e{index}", samples, samples, space), samples, index)


class Pairs:
    """Times the steps of the learner and, right after them, the same steps by hand; a plugin of the learner."""

    def __init__(self) -> None:
        self.ours = self.bare = 0.0

    def before_training_epoch(self, learner: Learner, **_: object) -> None:
        """Start."""
        self._began = time.process_time()

    def after_training_epoch(self, learner: Learner, **_: object) -> None:
        """Stop, and go on by hand."""
        self.ours = time.process_time() - self._began
        images, targets = images_of(learner.current.index)
        began = time.process_time()
        by_hand(learner, images, targets)
        self.bare = time.process_time() - began


def by_hand(learner: Learner, images: Tensor, targets: Tensor) -> None:
    """The steps of an epoch, with a fresh optimiser over what is trained."""
    model, space = learner.model, learner.label_space
    optimizer = torch.optim.AdamW(list(trainable(model)), lr=1e-4, weight_decay=0.0)
    columns, asked, index = space.columns(targets), Asked(space), learner.current.index
    for batch, labels in DataLoader(TensorDataset(images, columns), batch_size=BATCH, shuffle=True):
        optimizer.zero_grad()
        there, ids = torch.ones(len(batch), dtype=torch.bool), torch.full((len(batch),), index)
        output = model(Inputs({IMAGE: batch}, {IMAGE: there}, task_ids=ids, whole=frozenset({IMAGE}), asked=asked))
        loss = functional.cross_entropy(output.logits, labels)
        loss.item()
        loss.backward()
        optimizer.step()


def adding() -> list[str]:
    """The strategies that add to this backbone what steps train."""
    known = {entry.name: load(STRATEGIES, entry.name) for entry in entries(STRATEGIES)}
    adapting = [name for name, kind in known.items() if kind.adapts is True and not kind.closed_form]
    return [name for name in adapting if declared((name,), "TIL", "glyph-clip") == TRAINS]


def measured(text: str, pairs: int) -> Ratio:
    """The ratio of a strategy, written as on the command line; one pair before warms up."""
    found = []
    for _ in range(pairs + 1):
        clock: Any = Pairs()
        learner = Learner(
            model=MultimodalModel(GlyphCLIP().build()),
            scenario=TIL,
            strategies={"s": build_plugin(STRATEGIES, parse_plugin(text))},
            plugins=[clock],
            training={"iterations": STEPS, "batch_size": BATCH, "lr": 1e-4},
        )
        for index in (0, 1):
            learner.train(experience(index))
        found.append(clock.ours / clock.bare)
    return Ratio(statistics.median(found[1:]), min(found[1:]), max(found[1:]))


def main(pairs: int, strategies: list[str]) -> None:
    """Print a line for each."""
    torch.set_num_threads(1)
    for text in strategies:
        print(f"{text} / bare step of the same model: {measured(text, pairs)}", flush=True)


if __name__ == "__main__":
    counts = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    named = [word for word in sys.argv[1:] if not word.isdecimal()]
    main(counts[0] if counts else 7, named or [OPTIONS.get(name, name) for name in adding()])
