"""Retrieval: who is found by what, over pairs of images and texts and over a gallery of items; pure functions.

Similarities come in blocks of rows, so that a hundred thousand queries meet a hundred thousand items in little memory.
Equal similarities rank by position: the earlier item comes first. NumPy and not torch, whose aligned allocations of
changing sizes let the process grow with every block.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from math import comb
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

CUTOFFS = (1, 5, 10)
_BLOCK = 2**22  # similarities at a time


class Items(NamedTuple):
    """Queries or a gallery, by numbers.

    Attributes:
        ids: a query is no answer to itself.
        categories: an item is relevant to a query of its category.
    """

    ids: Int[Integers, " N"]
    categories: Int[Integers, " N"]


def similarity_blocks(
    queries: Float[Floats, "Q D"], gallery: Float[Floats, "G D"], size: int = _BLOCK
) -> Iterator[Float[Floats, "b G"]]:
    """``queries @ gallery.T`` by rows, with ``b * G <= size`` as long as one row is not larger.

    Args:
        queries: features of what asks.
        gallery: features of what is searched.
        size: the number of similarities held at a time.
    """
    rows = max(1, size // max(1, len(gallery)))
    for begin in range(0, len(queries), rows):
        yield queries[begin : begin + rows] @ gallery.T


def first_hits(
    blocks: Iterable[Float[Floats, "b G"]], wanted: Int[Integers, " Q"], owned: Int[Integers, " G"]
) -> Int[Integers, " Q"]:
    """The 0-based rank of the best correct item of every query.

    Args:
        blocks: similarities of all queries by rows.
        wanted: an item is correct for a query if both carry the same number.
        owned: the number of each item.
    """
    places, ranks, begin = np.arange(len(owned)), [], 0
    for similarity in blocks:
        correct = wanted[begin : begin + len(similarity), None] == owned
        begin += len(similarity)
        best = np.where(correct, similarity, -np.inf).max(axis=1, keepdims=True)
        ties = similarity == best
        position = (ties & correct).argmax(axis=1)[:, None]
        ranks.append(((similarity > best) | (ties & (places < position))).sum(axis=1))
    return np.concatenate(ranks)


def recall(ranks: Int[Integers, " Q"], cutoff: int) -> float:
    """R@K: the percentage of queries whose best correct item is among the first ``cutoff``."""
    return 100.0 * float((ranks < cutoff).mean())


def recall_of_chance(answers: int, right: Mapping[int, int] | None = None) -> float:
    """The mean recall at every cutoff of a random order of ``answers`` things, in percent, on average.

    Args:
        answers: how many things are ranked.
        right: number of right ones -> how many queries have so many; by default every query has one.
    """
    queries = sum((right or {1: 1}).values())
    recalls = []
    for cutoff in CUTOFFS:
        missed = sum(
            count * Fraction(comb(answers - hits, min(cutoff, answers)), comb(answers, min(cutoff, answers)))
            for hits, count in (right or {1: 1}).items()
        )
        recalls.append(float(1 - missed / queries))
    return 100.0 * sum(recalls) / len(CUTOFFS)


def average_precision(
    similarity: Float[Floats, "B G"],
    relevant: Bool[Flags, "B G"],
    same: Bool[Flags, "B G"],
    known: Int[Integers, " B"],
    cutoffs: Sequence[int] = CUTOFFS,
) -> Float[Floats, "B K"]:
    """AP at every cutoff, as VLCP counts it (Zhu et al., ICCV 2023; product evaluation of their release).

    The ten best items of a query are taken (the largest cutoff), the query itself is removed from them, and precision
    is averaged over the hits that were found, not over all relevant items: 0 without a hit.

    Args:
        similarity: of queries to items.
        relevant: items of the query's category.
        same: items that are the query itself.
        known: the number of relevant items in the whole gallery, of which a part may be searched.
        cutoffs: K of each column.
    """
    best = np.argsort(-similarity, axis=1, kind="stable")[:, : max(cutoffs)]
    kept = ~np.take_along_axis(same, best, axis=1)
    position = kept.cumsum(axis=1)
    hit = kept & np.take_along_axis(relevant, best, axis=1)
    precision = hit.cumsum(axis=1) / position.clip(min=1)
    columns = []
    for cutoff in cutoffs:
        length = np.minimum(known.clip(max=cutoff), kept.sum(axis=1))
        counted = hit & (position <= length[:, None])
        columns.append((precision * counted).sum(axis=1) / counted.sum(axis=1).clip(min=1))
    return np.stack(columns, axis=1)


def mean_average_precision(
    blocks: Iterable[Float[Floats, "b G"]], queries: Items, gallery: Items, known: Int[Integers, " Q"]
) -> list[float]:
    """Mean average precision in percent at every cutoff of ``CUTOFFS``.

    Args:
        blocks: similarities of all queries by rows.
        queries: Q of them.
        gallery: the G items that are searched.
        known: the number of relevant items in the whole gallery, searched or not.
    """
    parts, begin = [], 0
    for similarity in blocks:
        rows = slice(begin, begin + len(similarity))
        begin += len(similarity)
        relevant = queries.categories[rows, None] == gallery.categories
        same = queries.ids[rows, None] == gallery.ids
        parts.append(average_precision(similarity, relevant, same, known[rows]))
    mean: list[float] = (100.0 * np.concatenate(parts).mean(axis=0)).tolist()
    return mean


def recall_scores(image_ranks: Int[Integers, " images"], text_ranks: Int[Integers, " texts"]) -> dict[str, float]:
    """The recalls of both directions by name, ``mean_r1`` and ``r_mean``, the mean of all six.

    Args:
        image_ranks: of the texts that images ask for.
        text_ranks: of the images that texts ask for.
    """
    scores = {
        f"{word}_r{cutoff}": recall(ranks, cutoff)
        for word, ranks in (("txt", image_ranks), ("img", text_ranks))
        for cutoff in CUTOFFS
    }
    mean_r1 = (scores["txt_r1"] + scores["img_r1"]) / 2
    return {**scores, "mean_r1": mean_r1, "r_mean": sum(scores.values()) / len(scores)}
