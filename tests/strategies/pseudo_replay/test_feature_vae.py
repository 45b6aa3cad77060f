"""Variational autoencoders of features: what is drawn has the place, the size and the relations of what was seen."""

from functools import partial

import pytest
import torch
from mmcl_strategies.pseudo_replay.class_densities import ClassDensities, fit_classes
from mmcl_strategies.pseudo_replay.feature_replay import FeatureReplay
from mmcl_strategies.pseudo_replay.feature_vae import bound, draw_vae, fit_vae
from torch import Tensor

from mmcl.data.sample import Batch, Inputs
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ring(count: int) -> Tensor:
    """On a circle far from the origin, with the third feature a function of the others: no Gaussian is like it."""
    angle = 2 * torch.pi * torch.rand(count, generator=chance())
    first, second = 5 * angle.cos(), 5 * angle.sin()
    return torch.stack([20 + first, second - 7, first + second], dim=1)


def drawn(samples: Tensor, count: int = 400, **options: int) -> Tensor:
    density, generator = fit_vae(samples, **{"latent": 4, "steps": 300, "seed": 0, **options}), chance(1)
    return torch.stack([draw_vae(density, generator) for _ in range(count)])


def test_draws_have_mean_spread_and_relations_of_raw_samples() -> None:
    samples = ring(600)
    draws = drawn(samples)
    torch.testing.assert_close(draws.mean(0), samples.mean(0), atol=0.8, rtol=0)
    torch.testing.assert_close(draws.std(0), samples.std(0), atol=1.0, rtol=0)
    centred = draws - torch.tensor([20.0, -7.0, 0.0])
    assert float((centred[:, 0] + centred[:, 1] - centred[:, 2]).abs().mean()) < 1.5
    # of a Gaussian 22 % would be that near to the middle, and of the samples none are
    assert float((centred[:, :2].norm(dim=1) < 2.5).float().mean()) < 0.15


@pytest.mark.parametrize("count", [1, 2])
def test_one_sample_is_drawn_as_it_is_and_a_few_as_what_they_are(count: int) -> None:
    samples = ring(count)
    draws = drawn(samples, count=20, steps=30)
    assert draws.isfinite().all()
    assert float((draws - samples.mean(0)).abs().max()) < (1e-4 if count == 1 else 60)


def test_the_bound_is_minus_the_log_likelihood_where_the_posterior_is_the_prior() -> None:
    samples, decoded, log_noise = torch.randn(5, 3), torch.randn(5, 3), torch.randn(3)
    zeros = torch.zeros(5, 2)
    expected = -torch.distributions.Normal(decoded, log_noise.exp()).log_prob(samples).sum(1)
    constant = 3 * torch.tensor(2 * torch.pi).log() / 2
    torch.testing.assert_close(bound(samples, decoded, log_noise, zeros, zeros), expected - constant)
    shifted = bound(samples, decoded, log_noise, zeros + 1, zeros)
    posterior, prior = torch.distributions.Normal(1.0, 1.0), torch.distributions.Normal(0.0, 1.0)
    divergence = torch.distributions.kl_divergence(posterior, prior)
    torch.testing.assert_close(shifted, expected - constant + 2 * divergence)


def test_a_fit_depends_on_its_seed_alone_and_leaves_the_global_generator() -> None:
    before = torch.get_rng_state()
    first, second, other = (fit_vae(ring(30), 4, 20, seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    assert not torch.equal(first["decoder0"], other["decoder0"])
    assert not any(value.requires_grad for value in first.values())


def test_modalities_are_drawn_together_from_one_decoder() -> None:
    first = torch.randn(200, 2, generator=chance())
    features = {"b": torch.cat([first, first.sum(1, keepdim=True)], dim=1), "a": first}
    present = {name: torch.ones(200, dtype=torch.bool) for name in features}
    batch = Batch(
        Inputs({n: torch.zeros(200) for n in features}, present), torch.zeros(200).long(), torch.zeros(200).long()
    )
    records = fit_classes([(batch, features, present)], partial(fit_vae, latent=4, steps=300, seed=0))
    like = {name: value[:1] for name, value in features.items()}
    found = ClassDensities(records).draw(100, like, chance()).features
    assert torch.corrcoef(torch.stack([found["a"].sum(1), found["b"][:, 2]]))[0, 1] > 0.9


def test_the_strategy_replays_what_the_decoders_draw() -> None:
    benchmark, strategy = toy_benchmark(CIL, 2), FeatureReplay(density="vae", latent=2, vae_steps=5)
    learner = toy_learner(benchmark, {"feature_replay": strategy})
    for experience in benchmark.train:
        learner.train(experience)
    assert [record["target"] for record in strategy.state.densities] == [0, 1, 2, 3]
    assert all("decoder0" in record for record in strategy.state.densities)
    assert float(learner.loss_terms["feature_replay/replay"].detach()) > 0
