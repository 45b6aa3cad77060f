"""Several captions of one sample: training draws one of them, an un-augmented read takes the first."""

import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.data.captions import captions_of
from mmcl.data.memory import Memory
from mmcl.data.sample import Sample
from mmcl.errors import DataError
from mmcl.testing.toy import toy_learner

WORDS = ("alpha", "beta", "gamma", "delta")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("a cat", "a cat"),
        (["a cat"], "a cat"),
        (("a cat", "a dog"), ["a cat", "a dog"]),
        (np.array(["a cat", "a dog"]), ["a cat", "a dog"]),
        (np.array(["a cat", None], object), "a cat"),
        (["a cat", "", " "], "a cat"),
        (np.str_("a cat"), "a cat"),
        ([], []),
    ],
)
def test_a_list_of_texts_is_several_captions_of_which_empty_ones_do_not_count(value: Any, wanted: Any) -> None:
    assert captions_of(value, "row 0") == wanted


@pytest.mark.parametrize("value", [3, 2.5, True, {"a": 1}, [3], [["a"]], b"a", np.array([1.0]), object()])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(DataError, match="row 0: a text of type"):
        captions_of(value, "row 0")


def rows(count: int = 8) -> list[dict[str, Any]]:
    return [
        {"image": Image.new("RGB", (8, 8), (i, 0, 0)), "caption": list(WORDS), "label": i % 2} for i in range(count)
    ]


def texts_read(stream: Any, seed: int = 0, workers: int = 0, epochs: int = 8) -> list[tuple[str, str]]:
    """Sample id and caption of every training read, in order."""
    learner = toy_learner(stream, seed=seed, batch_size=4, num_workers=workers)
    tokens = tiny_clip().tokenize(list(WORDS))
    known = {tuple(row.tolist()): word for word, row in zip(WORDS, tokens, strict=True)}
    samples = stream.experiences[0].train
    found = []
    for batch in learner.batches(samples, 2 * epochs):
        ids = batch.inputs.sample_ids
        found += [(id_, known[tuple(row.tolist())]) for id_, row in zip(ids, batch.inputs["text"], strict=True)]
    return found


def test_training_draws_one_of_the_captions_by_the_seed_of_the_draw() -> None:
    stream = mmcl.streams.by_class(rows(), rows(), experiences=1, training={"iterations": 2})
    first = texts_read(stream)
    assert first == texts_read(stream)
    assert first == texts_read(stream, workers=1)
    assert first != texts_read(stream, seed=1)
    shown = Counter(word for _, word in first)
    assert set(shown) == set(WORDS)
    assert all(8 <= shown[word] <= 24 for word in WORDS)  # 64 reads, 16 each on average


def test_a_read_that_is_not_augmented_takes_the_first() -> None:
    stream = mmcl.streams.by_class(rows(), rows(), experiences=1, training={"iterations": 2})
    learner = toy_learner(stream)
    (batch,) = learner.one_pass(stream.experiences[0].test)
    assert torch.equal(batch.inputs["text"], tiny_clip().tokenize(["alpha"] * 8))


def test_a_memory_keeps_all_captions() -> None:
    sample = mmcl.streams.by_class(rows(), rows(), experiences=1).experiences[0].train[0]
    memory = Memory()
    memory.put(0, sample)
    assert memory[0].inputs["text"] == list(WORDS)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_value_that_cannot_be_prepared_is_refused_in_a_sentence_in_any_process(workers: int) -> None:
    windows = [{"image": Image.new("RGB", (8, 8)), "text": {"words": i}, "label": 0} for i in range(4)]
    samples = [Sample(row, 0, f"own/{i}", 0) for i, row in enumerate(windows)]
    stream = mmcl.streams.by_class(rows(), rows(), experiences=1)
    learner = toy_learner(stream, batch_size=4, num_workers=workers)
    with pytest.raises(DataError, match=r"sample own/\d: the backbone cannot prepare its text, a value of type dict"):
        next(iter(learner.batches(samples, 2)))
    with pytest.raises(DataError, match=r"sample own/\d: image of shape \[1\] after preprocessing"):
        next(iter(learner.batches([Sample({"image": torch.zeros(1)}, 0, "own/0", 0, finished=True)] * 4, 2)))


def test_an_error_is_the_same_in_another_process() -> None:
    error = DataError("row 3", found="nothing", allowed="something", remedy="Look.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is DataError
    assert (str(again), again.who, again.remedy) == (str(error), "row 3", "Look.")
