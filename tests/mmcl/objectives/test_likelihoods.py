"""Likelihoods have one value per sample, against independent formulations and finite differences."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from mmcl.objectives.likelihoods import pair_log_likelihood, sequence_log_likelihood

IGNORED = -100
seeds = st.integers(0, 2**31 - 1)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def answers(seed: int, rows: int, length: int, vocabulary: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(vocabulary, (rows, length), generator=generator)
    return labels.masked_fill(torch.rand(rows, length, generator=generator) < 0.4, IGNORED)


@given(seed=seeds, rows=st.integers(1, 7), scale=st.floats(0.1, 60.0))
def test_a_pair_is_scored_against_every_other_pair_in_both_directions(seed: int, rows: int, scale: float) -> None:
    image, text = draw(seed, rows, 5), draw(seed + 1, rows, 5)
    found = pair_log_likelihood(image, text, torch.tensor(scale, dtype=torch.float64))
    for n in range(rows):

        def cosine(i: int, j: int) -> float:
            return float(functional.cosine_similarity(image[i], text[j], dim=0))

        right = math.exp(scale * cosine(n, n))
        among_texts = right / sum(math.exp(scale * cosine(n, j)) for j in range(rows))
        among_images = right / sum(math.exp(scale * cosine(j, n)) for j in range(rows))
        assert float(found[n]) == pytest.approx(0.5 * math.log(among_texts) + 0.5 * math.log(among_images), abs=1e-9)


def test_the_gradient_of_a_pair_reaches_its_negatives() -> None:
    image, text = draw(0, 4, 3).requires_grad_(), draw(1, 4, 3).requires_grad_()
    value = pair_log_likelihood(image, text, torch.tensor(5.0, dtype=torch.float64))[0]
    for gradient in torch.autograd.grad(value, (image, text)):
        assert bool((gradient.norm(dim=1) > 0).all())


def test_gradients_of_pairs_and_sequences_are_those_of_finite_differences() -> None:
    pair = (draw(2, 3, 4).requires_grad_(), draw(3, 3, 4).requires_grad_(), torch.tensor(7.0).double().requires_grad_())
    assert torch.autograd.gradcheck(pair_log_likelihood, pair)
    labels = answers(4, 3, 5, 6)
    for unit in ("sequence", "token_mean"):
        assert torch.autograd.gradcheck(
            lambda logits, unit=unit: sequence_log_likelihood(logits, labels, IGNORED, unit),
            (draw(5, 3, 5, 6).requires_grad_(),),
        )


@given(seed=seeds, rows=st.integers(1, 4), length=st.integers(1, 5))
def test_a_sequence_is_the_sum_of_its_answer_tokens(seed: int, rows: int, length: int) -> None:
    logits, labels = draw(seed, rows, length, 6), answers(seed, rows, length, 6)
    token_loss = functional.cross_entropy(
        logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none"
    )
    expected = -token_loss.reshape(rows, length).sum(1)
    torch.testing.assert_close(sequence_log_likelihood(logits, labels), expected)
    for n, row in enumerate(labels):
        mean = sequence_log_likelihood(logits, labels, unit="token_mean")[n]
        tokens = int((row != IGNORED).sum())
        if tokens:
            torch.testing.assert_close(mean, -functional.cross_entropy(logits[n], row, ignore_index=IGNORED))
        else:
            assert float(mean) == 0.0


def test_sequences_of_all_lengths_are_a_distribution() -> None:
    """Probabilities of all answers of a fixed length add up to one; a token mean's would not."""
    logits = draw(7, 1, 3, 4)
    labels = torch.tensor(list(product(range(4), repeat=3)))
    total = sequence_log_likelihood(logits.expand(len(labels), -1, -1), labels).exp().sum()
    assert float(total) == pytest.approx(1.0)
    assert float(sequence_log_likelihood(logits.expand(64, -1, -1), labels, unit="token_mean").exp().sum()) > 2.0


def test_the_squared_gradient_of_a_token_mean_is_smaller_by_the_square_of_the_length() -> None:
    logits, labels = draw(8, 1, 5, 6).requires_grad_(), torch.tensor([[IGNORED, 1, 2, 3, IGNORED]])
    (whole,) = torch.autograd.grad(sequence_log_likelihood(logits, labels).sum(), logits)
    (mean,) = torch.autograd.grad(sequence_log_likelihood(logits, labels, unit="token_mean").sum(), logits)
    torch.testing.assert_close(mean.square() * 9, whole.square())


@given(seed=seeds)
def test_prompt_and_padding_have_no_influence(seed: int) -> None:
    logits, labels = draw(seed, 2, 5, 6), answers(seed, 2, 5, 6)
    changed = torch.where((labels == IGNORED)[..., None], draw(seed + 1, 2, 5, 6), logits)
    torch.testing.assert_close(sequence_log_likelihood(changed, labels), sequence_log_likelihood(logits, labels))


def test_another_label_may_be_the_one_that_does_not_count() -> None:
    logits, labels = draw(9, 1, 2, 3), torch.tensor([[0, 2]])
    expected = logits[0, 1].log_softmax(0)[2]
    torch.testing.assert_close(sequence_log_likelihood(logits, labels, ignore_index=0)[0], expected)
