"""Retrieval of pairs and of items as a metric of a stream, on each test set and on the pool of those met so far."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import matched
from mmcl.data.sample import Batch
from mmcl.evaluation.metric import Metric
from mmcl.evaluation.retrieval import (
    CUTOFFS,
    Floats,
    Integers,
    Items,
    first_hits,
    mean_average_precision,
    recall_of_chance,
    recall_scores,
    similarity_blocks,
)
from mmcl.models.output import Output


class Item(NamedTuple):
    """A query or a thing in a gallery: what it is, and the category that makes others relevant to it."""

    id: str
    category: str


@dataclass
class _Encoded:
    """Unit-length features of one test set, and the pairs they belong to; each list has an array per batch."""

    images: list[Floats] = field(default_factory=list)
    texts: list[Floats] = field(default_factory=list)
    images_of: list[Integers] = field(default_factory=list)
    texts_of: list[Integers] = field(default_factory=list)
    image_ids: list[str] = field(default_factory=list)
    text_ids: list[str] = field(default_factory=list)
    queries: list[Floats] = field(default_factory=list)
    gallery: list[Floats] = field(default_factory=list)
    asking: list[Item] = field(default_factory=list)
    in_gallery: list[Item] = field(default_factory=list)


class Retrieval(Metric):
    """Cross-modal retrieval of pairs and, where a benchmark has them, instance-level retrieval in a gallery.

    A sample whose id is neither a query nor in the gallery is a pair: its image and its text belong to each other and
    to nothing else, unless ``by_target`` says more. A value of another modality may stand for the image. Queries and
    gallery are compared by the fused features of all their modalities. The main score is ``r_mean`` on the pairs of one
    test set. Scores called ``pool ...`` are on the union of the test sets met since ``begin_round``: after experience
    i, column j is the model on the pool of experiences 0..j (VLCP's protocol).

    Args:
        queries: sample id -> item.
        gallery: sample id -> item, complete: a category's relevant items are counted in all of it.
        by_target: whether samples of one target in a test set belong together, as the captions of one picture do. An
            image then finds its text if one of its captions is among the first (Karpathy and Fei-Fei, CVPR 2015).
            Samples may lack one of the two modalities.
    """

    name = "r_mean"

    def __init__(
        self,
        queries: Mapping[str, Item] | None = None,
        gallery: Mapping[str, Item] | None = None,
        *,
        by_target: bool = False,
    ) -> None:
        self.queries = dict(queries or {})
        self.gallery = dict(gallery or {})
        self.by_target = by_target
        self._relevant = Counter(item.category for item in self.gallery.values())
        self._pool: list[_Encoded] = []
        self._scores: dict[str, float] = {}
        self._ranks: tuple[Integers, Integers] | None = None

    def begin_round(self) -> None:
        """Empty the pool of earlier test sets."""
        self._pool = []

    def reset(self) -> None:
        """The next test set joins the pool."""
        self._pool.append(_Encoded())

    def update(self, output: Output, batch: Batch, label_space: LabelSpace) -> None:
        """Keep the features of one batch."""
        kept, fused = self._pool[-1], _unit(output.fused)
        ids = batch.inputs.sample_ids or ("",) * len(fused)
        asking = [row for row, id_ in enumerate(ids) if id_ in self.queries]
        in_gallery = [row for row, id_ in enumerate(ids) if id_ in self.gallery]
        pairs = [row for row, id_ in enumerate(ids) if id_ not in self.queries and id_ not in self.gallery]
        begun = sum(map(len, kept.images))
        numbers = batch.targets.cpu().numpy() if self.by_target else begun + np.arange(len(ids))
        image, text = matched(output.features)
        for name, features, owners, known in (
            (image, kept.images, kept.images_of, kept.image_ids),
            (text, kept.texts, kept.texts_of, kept.text_ids),
        ):
            held = batch.inputs.present.get(name)
            rows = [row for row in pairs if held is None or bool(held[row])] if self.by_target else pairs
            features.append(_unit(output.features[name])[rows])
            owners.append(numbers[rows])
            known += [ids[row] for row in rows]
        kept.queries.append(fused[asking])
        kept.gallery.append(fused[in_gallery])
        kept.asking += [self.queries[ids[row]] for row in asking]
        kept.in_gallery += [self.gallery[ids[row]] for row in in_gallery]

    def compute(self) -> float:
        """``r_mean`` of the last test set; NaN if it has no pair."""
        self._ranks = _ranks_on(self._pool[-1:])
        self._scores = self._scores_on(self._pool[-1:], self._ranks)
        on_pool = self._scores_on(self._pool, _ranks_on(self._pool))
        self._scores |= {f"pool {name}": score for name, score in on_pool.items()}
        return self._scores.get(self.name, float("nan"))

    def chance(self) -> float:
        """``r_mean`` of a random order of the pairs of the last test set."""
        images, texts = _owners(self._pool[-1:])
        if not len(images) or not len(texts):
            return float("nan")
        found = [
            recall_of_chance(len(answers), Counter(map(Counter(answers.tolist()).__getitem__, queries.tolist())))
            for queries, answers in ((images, texts), (texts, images))
        ]
        return sum(found) / len(found)

    def further(self) -> dict[str, float]:
        """The other scores of the last test set, and those of the pool."""
        return {name: score for name, score in self._scores.items() if name != self.name}

    def answers(self) -> list[dict[str, Any]]:
        """For every image and every text of a pair, at which place its partner was found, from 0."""
        if self._ranks is None:
            return []
        last = self._pool[-1]
        sides = zip(("image", "text"), (last.image_ids, last.text_ids), self._ranks, strict=True)
        return [
            {"asked with": side, "row": row, "id": id_, "rank": rank}
            for side, ids, ranks in sides
            for row, (id_, rank) in enumerate(zip(ids, ranks.tolist(), strict=True))
        ]

    def _scores_on(self, sets: Sequence[_Encoded], ranks: tuple[Integers, Integers] | None) -> dict[str, float]:
        """All scores on the union of some test sets."""
        scores: dict[str, float] = {} if ranks is None else recall_scores(*ranks)
        queries, gallery = _joined([s.queries for s in sets]), _joined([s.gallery for s in sets])
        if len(queries) and len(gallery):
            asking, in_gallery = [i for s in sets for i in s.asking], [i for s in sets for i in s.in_gallery]
            ids, categories = (
                _numbers(i.id for i in asking + in_gallery),
                _numbers(i.category for i in asking + in_gallery),
            )
            means = mean_average_precision(
                similarity_blocks(queries, gallery),
                Items(ids[: len(asking)], categories[: len(asking)]),
                Items(ids[len(asking) :], categories[len(asking) :]),
                known=np.array([self._relevant[item.category] for item in asking]),
            )
            scores |= {f"mAP@{cutoff}": mean for cutoff, mean in zip(CUTOFFS, means, strict=True)}
        return scores


def _ranks_on(sets: Sequence[_Encoded]) -> tuple[Integers, Integers] | None:
    """At which place every image finds its text and every text its image; ``None`` without pairs."""
    images, texts = _joined([s.images for s in sets]), _joined([s.texts for s in sets])
    if not len(images) or not len(texts):
        return None
    images_of, texts_of = _owners(sets)
    return (
        first_hits(similarity_blocks(images, texts), images_of, texts_of),
        first_hits(similarity_blocks(texts, images), texts_of, images_of),
    )


def _numbers(names: Iterable[str]) -> Integers:
    """The same number for the same name."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names])


def _owners(sets: Sequence[_Encoded]) -> tuple[Integers, Integers]:
    """The pair of every image and of every text, numbered across test sets."""
    nothing: Integers = np.empty(0, dtype=np.int64)
    images, texts, begun = [nothing], [nothing], 0
    for kept in sets:
        for found, batches in ((images, kept.images_of), (texts, kept.texts_of)):
            found += [batch + begun for batch in batches]
        begun = 1 + max((int(batch.max()) for batch in (*images, *texts) if len(batch)), default=begun - 1)
    return np.concatenate(images), np.concatenate(texts)


def _joined(features: Sequence[Sequence[Floats]]) -> Floats:
    """All rows, ``[N, D]``; nothing without a batch."""
    batches = [batch for of_set in features for batch in of_set]
    return np.concatenate(batches) if batches else np.empty((0, 0))


def _unit(features: Tensor) -> Floats:
    array: Floats = functional.normalize(features.detach().float(), dim=-1).cpu().numpy()
    return array
