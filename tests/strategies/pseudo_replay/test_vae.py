"""The generator that comes with deep generative replay."""

import pytest
import torch
from mmcl_strategies.pseudo_replay.generator import named_generator
from mmcl_strategies.pseudo_replay.vae import VAE, bound
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mmcl.errors import MMCLError


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def fresh(code: int = 0) -> VAE:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return VAE((1, 16, 16), latent=8, width=8, variance=4.0, code=code)


def trained(vae: VAE, images: Tensor, classes: Tensor, steps: int) -> None:
    optimizer, generator = torch.optim.Adam(vae.parameters(), lr=1e-2), chance()
    for _ in range(steps):
        optimizer.zero_grad()
        vae.loss(images, classes, generator).backward()
        optimizer.step()


def two_patterns(count: int) -> tuple[Tensor, Tensor]:
    patterns = torch.randn(2, 1, 4, 4, generator=chance(3)).repeat_interleave(4, 2).repeat_interleave(4, 3)
    classes = torch.arange(count) % 2
    return patterns[classes] + 0.1 * torch.randn(count, 1, 16, 16, generator=chance(4)), classes


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 30, 45), (3, 7, 5)])
@pytest.mark.parametrize("code", [0, 8])
def test_samples_have_the_shape_of_the_images(shape: tuple[int, int, int], code: int) -> None:
    vae, classes = VAE(shape, latent=4, width=4, code=code), torch.tensor([3, 90, 3])
    assert vae.sample(classes, chance()).shape == (3, *shape)
    assert vae.loss(torch.randn(3, *shape), classes, chance()).dim() == 0


def test_the_bound_is_that_of_normal_noise_and_a_standard_normal_prior() -> None:
    images, decoded = torch.randn(2, 5, 3, 4, 4, generator=chance(), dtype=torch.float64)
    mean, log_variance = torch.randn(2, 5, 6, generator=chance(1), dtype=torch.float64)
    variance = 2.5
    noise = Normal(decoded, variance**0.5)
    likelihood = noise.log_prob(images).flatten(1).sum(1) - noise.log_prob(decoded).flatten(1).sum(1)
    posterior = Normal(mean, (log_variance / 2).exp())
    divergence = kl_divergence(posterior, Normal(torch.zeros_like(mean), 1.0)).sum(1)
    expected = variance * (divergence - likelihood) / images[0].numel()
    torch.testing.assert_close(bound(images, decoded, mean, log_variance, variance), expected)


def test_it_learns_to_draw_what_it_has_seen() -> None:
    images, classes = two_patterns(32)
    vae = fresh()
    before = nearest(vae, images)
    trained(vae, images, classes, 150)
    assert nearest(vae, images) < 0.5 * before


@torch.no_grad()
def nearest(vae: VAE, images: Tensor) -> float:
    """Mean distance of samples to the nearest image."""
    samples = vae.sample(torch.zeros(64, dtype=torch.long), chance(9))
    return float(torch.cdist(samples.flatten(1), images.flatten(1)).amin(1).mean())


@torch.no_grad()
def test_a_conditional_one_draws_the_class_it_is_told() -> None:
    images, classes = two_patterns(32)
    vae = fresh(code=16)
    with torch.enable_grad():
        trained(vae, images, classes, 150)
    told = torch.arange(40) % 2
    means = torch.stack([images[classes == c].mean(0) for c in (0, 1)])
    distances = torch.cdist(vae.sample(told, chance(5)).flatten(1), means.flatten(1))
    assert (distances.argmin(1) == told).float().mean() > 0.9


def test_an_unconditional_one_does_not_read_the_class() -> None:
    vae, images = VAE((1, 16, 16), latent=4, width=4), torch.randn(3, 1, 16, 16)
    zeros, others = torch.zeros(3, dtype=torch.long), torch.tensor([5, 6, 7])
    assert torch.equal(vae.sample(zeros, chance()), vae.sample(others, chance()))
    assert torch.equal(vae.loss(images, zeros, chance()), vae.loss(images, others, chance()))


def test_no_two_classes_have_the_same_code_and_there_are_no_weights_for_a_class() -> None:
    vae = VAE((1, 16, 16), latent=4, width=4, code=64)
    codes = vae._codes(torch.arange(2000))
    distances = torch.cdist(codes, codes) + 100 * torch.eye(2000)
    assert distances.min() > 1.0


def test_all_randomness_comes_from_the_generator_it_is_given() -> None:
    vae, classes = VAE((1, 16, 16), latent=4, width=4), torch.zeros(5, dtype=torch.long)
    state = torch.get_rng_state()
    first = vae.sample(classes, chance(1))
    vae.loss(first, classes, chance(1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, vae.sample(classes, chance(1)))
    assert not torch.equal(first, vae.sample(classes, chance(2)))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no.such.module:Class", "cannot be imported"),
        ("torch.nn:NoSuchThing", "cannot be imported"),
        ("torch.nn:Linear", "is none"),
        ("mmcl_strategies.pseudo_replay.generator:ImageGenerator", "is none"),
        ("not a name", "cannot be imported"),
    ],
)
def test_what_is_no_generator_is_refused_by_its_name(name: str, sentence: str) -> None:
    with pytest.raises(MMCLError, match=f"dgr.generator.*{sentence}"):
        named_generator(name)
