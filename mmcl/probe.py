"""Probe: the same test pairs, encoded after every experience, so that one sees how the spaces of a CLIP model turn.

probe/pairs.json                the pairs: test set -> positions in it
probe/features-K.safetensors    image and text features after K experiences, and which text each pair has
disorder.json, disorder.png     what has become of them, by ``mmcl.evaluation.spatial_disorder``
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice, zip_longest
from typing import Any

import torch
from torch import Tensor

from mmcl.data.asked import AnswerKind
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch
from mmcl.data.subset import Subset
from mmcl.errors import ConfigError
from mmcl.evaluation.disorder_curves import DisorderCurves
from mmcl.evaluation.spatial_disorder import Pairs, disorder
from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.learner import Learner
from mmcl.learning.seeding import derive_generator, derive_seed, seeded
from mmcl.probe_needs import needed_by
from mmcl.run_folder import RunFolder
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.experience import Experience

PICTURE = "disorder.png"
_CURVES, _PAIRS = "disorder.json", "probe/pairs.json"


class Probe:
    """Keeps features of a few test pairs in the run folder after every experience, and changes nothing in the run.

    In benchmarks of pairs a sample is a pair; in those of classes the text is the first prompt of the sample's class.

    Args:
        size: number of pairs; those in the folder, if it has some, stay as they are.
        benchmark: whose test sets they come from, as evenly as their sizes allow.
        folder: of the run.

    Raises:
        ConfigError: if the test sets have fewer pairs.
    """

    def __init__(self, size: int, benchmark: Benchmark, folder: RunFolder) -> None:
        self.benchmark = benchmark
        self.folder = folder
        self.pairs: dict[str, list[int]] = folder.read_json(_PAIRS) or draw(benchmark, size)

    def record(self, learner: Learner, done: int, experience: str) -> None:
        """Keep the features after ``done`` experiences, of which ``experience`` is the last, and compare them."""
        self.folder.write_json(_PAIRS, self.pairs)
        self.folder.write_tensors(_features(done), self.features(learner))
        curves = self.curves
        if done:
            start, before, now = (self.folder.read_tensors(_features(index)) for index in (0, done - 1, done))
            step, total = (disorder(_pairs(earlier), _pairs(now), now["texts"]) for earlier in (before, start))
            curves.put(done - 1, experience, step, total)
        self.folder.write_json(_CURVES, curves.to_dict())

    def report(self) -> str:
        """Draw the curves; the section of the report that shows them."""
        curves = self.curves
        curves.plot(self.folder.path / PICTURE)
        return curves.markdown(PICTURE)

    @property
    def curves(self) -> DisorderCurves:
        """What is in the folder."""
        stored = self.folder.read_json(_CURVES)
        return DisorderCurves() if stored is None else DisorderCurves.from_dict(stored)

    def features(self, learner: Learner) -> dict[str, Tensor]:
        """``image`` and ``text``, ``float32[n, D]``, as evaluation compares them, and ``texts``, ``int64[n]``.

        Pairs whose texts have the same tokens have the same number in ``texts``.
        """
        images, texts, words = [], [], []
        with as_evaluated(learner):
            for experience in self.benchmark.test:
                for batch in learner.one_pass(Subset(experience.samples, self.pairs.get(experience.name, []))):
                    image, text, tokens = self._encoded(learner, experience, batch)
                    images.append(image)
                    texts.append(text)
                    words.append(tokens)
        distinct = torch.unique(torch.cat(words), dim=0, return_inverse=True)[1]
        return {"image": torch.cat(images).float(), "text": torch.cat(texts).float(), "texts": distinct}

    def _encoded(self, learner: Learner, experience: Experience, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Features of images and texts, and the tokens of the texts, on the CPU."""
        shown = batch.inputs
        if not learner.scenario.task_id_known_at_test:
            shown = shown.with_task_ids(None)
        features = learner.encode(shown).features
        if self.benchmark.objective.answers is AnswerKind.PARTNER:
            text, tokens = features[TEXT], shown[TEXT]
        else:
            prompts = {label.id: label.prompts[0] for label in experience.label_space}
            chosen = [prompts[target] for target in batch.targets.tolist()]
            tokens = learner.model.backbone.tokenize(chosen).to(learner.device)
            text = learner.encode_prompts(tokens)
        return features[IMAGE].cpu(), text.cpu(), tokens.cpu()


@contextmanager
def as_evaluated(learner: Learner) -> Iterator[None]:
    """The model as evaluation sees it, with the weights that strategies put in place for it; nothing is left behind."""
    with seeded(derive_seed(learner.seed, "evaluation")), auxiliary_pass(learner.model), torch.no_grad():
        for strategy in learner.strategies.values():
            strategy.before_eval(learner)
        try:
            yield
        finally:
            for strategy in learner.strategies.values():
                strategy.after_eval(learner)


def draw(benchmark: Benchmark, size: int) -> dict[str, list[int]]:
    """Pairs of the test stream: test set -> positions, ascending; the same for every seed and every strategy.

    Raises:
        ConfigError: if there are fewer than ``size``.
    """
    found = [_candidates(experience, needed_by(benchmark.objective.answers)) for experience in benchmark.test]
    in_turn = (candidate for candidate in chain.from_iterable(zip_longest(*found)) if candidate is not None)
    drawn: dict[str, list[int]] = {}
    for name, position in islice(in_turn, size):
        drawn.setdefault(name, []).append(position)
    total = sum(map(len, drawn.values()))
    if total < size:
        raise ConfigError(
            "probe",
            found=f"{size} pairs are asked for",
            allowed=f"up to {total}, which is what the test sets of {benchmark.name!r} have",
            remedy=f"Choose probe = {total} or less." if total else "Leave the probe out.",
        )
    return {name: sorted(positions) for name, positions in drawn.items()}


def _candidates(experience: Experience, needed: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Samples of a test set that have what is needed, shuffled: neighbours are often of one class."""
    if not needed <= experience.modalities:
        return
    samples = experience.samples
    for position in torch.randperm(len(samples), generator=derive_generator(0, "probe", experience.name)).tolist():
        if needed <= samples[position].inputs.keys():
            yield experience.name, position


def _features(done: int) -> str:
    return f"probe/features-{done}.safetensors"


def _pairs(stored: dict[str, Any]) -> Pairs:
    return Pairs(stored["image"].numpy(), stored["text"].numpy())
