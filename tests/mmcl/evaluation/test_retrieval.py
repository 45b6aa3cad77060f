"""Retrieval scores against plain definitions, in blocks of any size, and as a metric of a stream."""

import resource
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch, Inputs
from mmcl.evaluation.retrieval import (
    Floats,
    Items,
    average_precision,
    first_hits,
    mean_average_precision,
    recall,
    recall_of_chance,
    recall_scores,
    similarity_blocks,
)
from mmcl.evaluation.retrieval_metric import Item, Retrieval
from mmcl.models.output import Output

SPACE = LabelSpace()


def sorted_rank(row: Floats, correct: list[int]) -> int:
    """By definition: sort, earlier items first among equals, and look for the first correct one."""
    order = sorted(range(len(row)), key=lambda i: (-float(row[i]), i))
    return min(order.index(i) for i in correct)


@st.composite
def tables(draw: st.DrawFn) -> Floats:
    """Small tables of few different values, so that ties are common."""
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 7))
    values = draw(st.lists(st.integers(0, 3), min_size=rows * columns, max_size=rows * columns))
    return np.array(values, dtype=np.float64).reshape(rows, columns)


@given(tables(), st.integers(1, 20), st.data())
def test_ranks_are_those_of_a_stable_sort_whatever_the_block(table: Floats, size: int, data: st.DataObject) -> None:
    owned = np.array([data.draw(st.integers(0, len(table) - 1)) for _ in range(table.shape[1])])
    wanted = owned[np.array([data.draw(st.integers(0, len(owned) - 1)) for _ in range(len(table))])]
    found = first_hits(similarity_blocks(table, np.eye(table.shape[1]), size), wanted, owned)
    expected = [sorted_rank(row, np.flatnonzero(owned == w).tolist()) for row, w in zip(table, wanted, strict=True)]
    assert found.tolist() == expected


@given(tables(), st.integers(1, 20), st.data())
def test_average_precision_is_that_of_the_definition(table: Floats, size: int, data: st.DataObject) -> None:
    rows, columns = table.shape
    number = st.integers(0, 2)
    queries = Items(*(np.array([data.draw(number) for _ in range(rows)]) for _ in range(2)))
    gallery = Items(*(np.array([data.draw(number) for _ in range(columns)]) for _ in range(2)))
    hidden = data.draw(st.integers(0, 4))  # relevant items that are not searched
    known = (queries.categories[:, None] == gallery.categories).sum(1) + hidden
    blocks = similarity_blocks(table, np.eye(columns), size)
    found = mean_average_precision(blocks, queries, gallery, known)
    for cutoff, mean in zip((1, 5, 10), found, strict=True):
        precisions = []
        for q, row in enumerate(table):
            best = sorted(range(columns), key=lambda i, row=row: (-float(row[i]), i))[:10]
            listed = [i for i in best if gallery.ids[i] != queries.ids[q]]
            hits, total = 0, 0.0
            for position, item in enumerate(listed[: min(cutoff, int(known[q]), len(listed))], 1):
                if gallery.categories[item] == queries.categories[q]:
                    hits += 1
                    total += hits / position
            precisions.append(total / hits if hits else 0.0)
        assert mean == pytest.approx(100 * float(np.mean(precisions)))


def test_the_query_itself_is_no_answer_and_takes_one_of_the_ten_places() -> None:
    similarity = np.array([[0.9, 0.8, 0.1]])
    relevant, same = np.array([[True, False, True]]), np.array([[True, False, False]])
    found = average_precision(similarity, relevant, same, known=np.array([2]))
    assert found.tolist() == [[0.0, 0.5, 0.5]]


def test_the_recalls_are_shares_of_the_queries_of_their_direction() -> None:
    scores = recall_scores(np.array([0, 4, 9, 10]), np.array([0, 0, 5, 5]))
    assert (scores["txt_r1"], scores["txt_r5"], scores["txt_r10"]) == (25.0, 50.0, 75.0)
    assert (scores["img_r1"], scores["img_r5"], scores["img_r10"]) == (50.0, 50.0, 100.0)
    assert scores["mean_r1"] == 37.5
    assert scores["r_mean"] == pytest.approx((25 + 50 + 75 + 50 + 50 + 100) / 6)


def test_a_large_gallery_takes_no_more_memory_than_its_blocks() -> None:
    """20,000 against 20,000 in single precision are 1.6 GB; blocks of 2**20 hold 4 MB."""
    features = np.random.default_rng(0).standard_normal((20_000, 8), dtype=np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    own = np.arange(len(features))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ranks = first_hits(similarity_blocks(features[:2_000], features, 2**20), own[:2_000], own)
    blocks: Iterator[Floats] = similarity_blocks(features, features, 2**20)
    assert max(len(next(blocks)) for _ in range(3)) * len(features) <= 2**20
    assert recall(ranks, 1) == 100.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 * 1024


# The metric.


def batch_of(ids: list[str], images: Tensor, texts: Tensor) -> tuple[Output, Batch]:
    present = torch.ones(len(images), dtype=torch.bool)
    inputs = Inputs({IMAGE: images}, {IMAGE: present}, tuple(ids))
    output = Output(features={IMAGE: images, TEXT: texts}, fused=(images + texts) / 2)
    return output, Batch(inputs, torch.zeros(len(images)), torch.zeros(len(images)))


def scored(metric: Retrieval, *sets: tuple[Output, Batch]) -> list[dict[str, float]]:
    metric.begin_round()
    scores = []
    for output, batch in sets:
        metric.reset()
        metric.update(output, batch, SPACE)
        main = metric.compute()
        scores.append({metric.name: main, **metric.further()})
    return scores


EYE = torch.eye(4)


def test_a_pool_is_harder_than_each_of_its_test_sets() -> None:
    """Both sets are perfect alone; together every image also resembles a text of the other set more than its own."""
    first = batch_of(["a", "b"], EYE[:2], EYE[:2] + EYE[2:])
    second = batch_of(["c", "d"], EYE[:2] * 2, EYE[:2] * 5)
    alone, both = scored(Retrieval(), first, second)
    assert alone["r_mean"] == both["r_mean"] == 100.0
    assert alone["pool r_mean"] == 100.0
    assert both["txt_r1"] == 100.0
    assert both["pool txt_r1"] == 50.0


def test_a_new_round_forgets_the_pool() -> None:
    metric, pairs = Retrieval(), batch_of(["a", "b"], EYE[:2], EYE[:2])
    assert scored(metric, pairs) == scored(metric, pairs)


def test_length_of_features_makes_no_difference() -> None:
    images, texts = EYE[:3], torch.tensor([[3.0, 1, 0, 0], [0, 9, 1, 0], [1, 0, 2, 0]])
    (plain,) = scored(Retrieval(), batch_of(["a", "b", "c"], images, texts))
    (scaled,) = scored(Retrieval(), batch_of(["a", "b", "c"], images * 7, texts * torch.tensor([[1.0], [50], [0.1]])))
    assert plain == scaled


def test_queries_and_gallery_are_no_pairs_and_are_compared_by_all_their_modalities() -> None:
    queries = {"q": Item("1", "kettle")}
    gallery = {"g0": Item("1", "kettle"), "g1": Item("2", "kettle"), "g2": Item("3", "lamp")}
    images = torch.stack([EYE[0], EYE[0], EYE[1], EYE[0], EYE[3]])
    texts = torch.stack([EYE[1], EYE[1], EYE[1], EYE[2], EYE[3]])
    (scores,) = scored(Retrieval(queries, gallery), batch_of(["q", "g0", "g1", "g2", "pair"], images, texts))
    assert scores["txt_r1"] == 100.0
    assert scores["mAP@1"] == 100.0, (
        "its own entry is left out, and the text of the other kettle is nearer than the lamp's"
    )


def test_relevant_items_are_counted_in_the_whole_gallery() -> None:
    """One kettle is searched, two are known: the list is cut at two, and the second place is no hit."""
    gallery = {"g0": Item("2", "lamp"), "g1": Item("3", "kettle"), "elsewhere": Item("4", "kettle")}
    images = torch.stack([EYE[0], EYE[0], EYE[0] + EYE[1]])
    metric = Retrieval({"q": Item("1", "kettle")}, gallery)
    (scores,) = scored(metric, batch_of(["q", "g0", "g1"], images, images))
    assert (scores["mAP@1"], scores["mAP@5"]) == (0.0, 50.0)


def test_a_test_set_without_pairs_has_no_score_and_no_chance() -> None:
    metric = Retrieval({}, {"g": Item("1", "lamp")})
    (scores,) = scored(metric, batch_of(["g"], EYE[:1], EYE[:1]))
    assert scores["r_mean"] != scores["r_mean"]
    assert metric.chance() != metric.chance()


@pytest.mark.parametrize("pairs", [1, 3, 7, 40])
def test_chance_is_the_mean_score_of_random_orders(pairs: int) -> None:
    generator = np.random.default_rng(pairs)
    ranks = generator.integers(pairs, size=400_000)
    assert recall_of_chance(pairs) == pytest.approx(recall_scores(ranks, ranks)["r_mean"], abs=0.2)


def test_chance_is_that_of_the_pairs_of_the_last_test_set_alone() -> None:
    metric = Retrieval({}, {"g": Item("1", "lamp")})
    scored(metric, batch_of(["a", "b"], EYE[:2], EYE[:2]), batch_of(["c", "d", "e", "g"], EYE, EYE))
    assert metric.chance() == pytest.approx(100 * (1 / 3 + 1 + 1) / 3)


# Several texts of one image.


def captioned(images: Tensor, texts: Tensor, owners: list[int]) -> tuple[Output, Batch]:
    """Every image with its first text; each further one is a row without an image, which holds a fill value."""
    first = [owners.index(owner) for owner in dict.fromkeys(owners)]
    shown = torch.zeros(len(owners), images.shape[1])
    shown[first] = images
    held = torch.zeros(len(owners), dtype=torch.bool)
    held[first] = True
    present = {IMAGE: held, TEXT: torch.ones(len(owners), dtype=torch.bool)}
    inputs = Inputs({IMAGE: shown, TEXT: texts}, present, tuple(f"own/{row}" for row in range(len(owners))))
    output = Output(features={IMAGE: shown, TEXT: texts}, fused=texts)
    return output, Batch(inputs, torch.tensor(owners), torch.zeros(len(owners)))


def test_an_image_finds_its_text_if_any_of_its_captions_is_first() -> None:
    """Image 0 is nearest to its second caption; image 1 to a caption of image 0, and second to its own."""
    texts = torch.stack([EYE[3], EYE[0], EYE[1], 0.9 * EYE[1] + 0.5 * EYE[2]])
    images = torch.stack([EYE[0], 0.9 * EYE[1] + 0.1 * EYE[0]])
    (scores,) = scored(Retrieval(by_target=True), captioned(images, texts, [0, 0, 0, 1]))
    assert scores["txt_r1"] == 50.0
    assert scores["txt_r5"] == 100.0
    assert scores["img_r1"] == 75.0, "text 2 finds the other image; text 0 is like none, and the first one is its own"


def test_captions_are_scored_as_a_plain_search_over_them_scores() -> None:
    generator = torch.Generator().manual_seed(0)
    owners = [0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5]
    images, texts = torch.randn(6, 8, generator=generator), torch.randn(12, 8, generator=generator)
    (scores,) = scored(Retrieval(by_target=True), captioned(images, texts, owners))
    table = torch.nn.functional.normalize(images, dim=1) @ torch.nn.functional.normalize(texts, dim=1).T
    for cutoff in (1, 5):
        best = table.topk(cutoff, dim=1).indices.tolist()
        hits = [any(owners[text] == image for text in found) for image, found in enumerate(best)]
        assert scores[f"txt_r{cutoff}"] == pytest.approx(100 * np.mean(hits))
        found = table.T.topk(cutoff, dim=1).indices.tolist()
        assert scores[f"img_r{cutoff}"] == pytest.approx(
            100 * np.mean([o in f for o, f in zip(owners, found, strict=True)])
        )


def test_targets_of_two_test_sets_are_kept_apart_in_the_pool() -> None:
    first, second = captioned(EYE[:2], EYE[:2], [0, 1]), captioned(EYE[:2], EYE[:2], [0, 1])
    alone, both = scored(Retrieval(by_target=True), first, second)
    assert alone["pool txt_r1"] == 100.0
    assert both["pool txt_r1"] == 50.0, "the equal text of the other set comes first for its images"


def test_chance_of_several_captions_is_the_mean_score_of_random_orders() -> None:
    owners = [0, 0, 1, 1, 1, 2, 3, 3, 4, 5, 5, 5] * 2
    owners = [owner + 6 * (row // 12) for row, owner in enumerate(owners)]
    metric = Retrieval(by_target=True)
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(300):
        images, texts = torch.randn(12, 24, generator=generator), torch.randn(24, 24, generator=generator)
        (scores,) = scored(metric, captioned(images, texts, owners))
        found.append(scores["r_mean"])
    assert metric.chance() == pytest.approx(np.mean(found), abs=1.5)


@pytest.mark.parametrize("answers", [1, 2, 7, 40, 1000])
def test_chance_of_one_right_answer_is_the_share_of_places_to_the_last_digit(answers: int) -> None:
    assert recall_of_chance(answers) == 100.0 * sum(min(k, answers) / answers for k in (1, 5, 10)) / 3
