"""Gaussians of features: what is known of few samples, wider covariances, and samples that have them."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.maths.gaussian import samples, statistics, widened_by_means
from torch import Tensor


def drawn(rows: int, width: int, seed: int) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(st.integers(2, 9), st.integers(1, 6), st.integers(0, 50))
def test_statistics_are_the_mean_and_the_unbiased_covariance_with_a_least_variance(
    rows: int, width: int, seed: int
) -> None:
    features = drawn(rows, width, seed)
    mean, covariance = statistics(features, 0.25)
    torch.testing.assert_close(mean, features.mean(0))
    torch.testing.assert_close(covariance, features.T.cov().view(width, width) + 0.25 * torch.eye(width).double())


def test_one_sample_says_nothing_about_a_spread() -> None:
    features = drawn(1, 4, 0)
    mean, covariance = statistics(features, 0.25)
    assert torch.equal(mean, features[0])
    assert torch.equal(covariance, 0.25 * torch.eye(4).double())


def test_wider_covariances_have_their_means_added_and_zeros_beside_the_diagonal_do_not_count() -> None:
    covariance = torch.tensor([[4.0, 3.0, 0.0], [3.0, 6.0, -1.0], [0.0, -1.0, 2.0]])
    expected = torch.tensor([[8.0, 4.0, 1.0], [4.0, 10.0, 0.0], [1.0, 0.0, 6.0]])  # 4 and (3 - 1) / 2
    torch.testing.assert_close(widened_by_means(covariance), expected)
    torch.testing.assert_close(widened_by_means(torch.eye(3)), 2 * torch.eye(3))


def test_samples_have_the_mean_and_the_covariance() -> None:
    mean, covariance = statistics(drawn(9, 3, 1), 0.1)
    found = samples(mean, torch.linalg.cholesky(covariance), drawn(200_000, 3, 2))
    torch.testing.assert_close(found.mean(0), mean, rtol=0, atol=0.02)
    torch.testing.assert_close(found.T.cov(), covariance, rtol=0, atol=0.03)
