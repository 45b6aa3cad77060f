"""A variational autoencoder of the features of one class (Kingma and Welling 2014); its decoder is all that is kept.

Kept as plain tensors, float32: ``mean`` and ``scale [W]``, by which features are standardised for the fit, the weights
and biases of the decoder, and ``noise [W]``, the standard deviation around what it decodes, in standardised units.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from mmcl.learning.seeding import seeded
from mmcl_strategies.pseudo_replay.density import Density

HIDDEN = (512, 256)  # of the encoder, mirrored by the decoder (CGIL)
_BATCH, _RATE = 128, 1e-3
_FIRST_NOISE, _LEAST_NOISE = -2.0, -4.0  # logarithms; noise as large as the spread would leave z nothing to explain


def fit_vae(samples: Float[Tensor, "N W"], latent: int, steps: int, seed: int) -> Density:
    """The density of ``samples``, raw features; at least one.

    Args:
        samples: on any device; the fit is made on the CPU.
        latent: width of z.
        steps: of Adam, on at most 128 samples each.
        seed: of weights, noise and batches.
    """
    points = samples.detach().cpu().float()
    mean, scale = points.mean(0), points.std(0, correction=0).clamp(min=1e-6)
    standard, width = (points - mean) / scale, points.shape[1]
    with seeded(seed), torch.enable_grad():
        encoder = _layers([width, *HIDDEN, 2 * latent])
        decoder = _layers([latent, *reversed(HIDDEN), width])
        log_noise = nn.Parameter(torch.full((width,), _FIRST_NOISE))
        parameters = [*encoder.parameters(), *decoder.parameters(), log_noise]
        optimizer = torch.optim.Adam(parameters, lr=_RATE)
        for _ in range(steps):
            chosen = standard[torch.randperm(len(standard))[:_BATCH]]
            middle, log_variance = _forward(list(encoder.parameters()), chosen).chunk(2, dim=1)
            z = middle + (log_variance / 2).exp() * torch.randn_like(middle)
            loss = bound(chosen, _forward(list(decoder.parameters()), z), log_noise, middle, log_variance).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            log_noise.data.clamp_(min=_LEAST_NOISE)
    decoded = {f"decoder{number}": tensor.detach() for number, tensor in enumerate(decoder.parameters())}
    return {"mean": mean, "scale": scale, "noise": log_noise.detach().exp(), **decoded}


def draw_vae(density: Mapping[str, Any], generator: torch.Generator) -> Float[Tensor, " W"]:
    """One sample of a density, of which more may be recorded; its tensors and the generator are on the CPU."""
    parameters = [density[f"decoder{number}"] for number in range(2 * (len(HIDDEN) + 1))]
    z = torch.randn(1, parameters[0].shape[1], generator=generator)
    noise = density["noise"] * torch.randn(len(density["noise"]), generator=generator)
    sample: Tensor = density["mean"] + density["scale"] * (_forward(parameters, z)[0] + noise)
    return sample


def bound(
    samples: Float[Tensor, "N W"],
    decoded: Float[Tensor, "N W"],
    log_noise: Float[Tensor, " W"],
    mean: Float[Tensor, "N latent"],
    log_variance: Float[Tensor, "N latent"],
) -> Float[Tensor, " N"]:
    """Minus the evidence lower bound, up to a constant.

    Args:
        samples, decoded: what is there, and what comes of its z.
        log_noise: logarithm of the standard deviation of normal noise.
        mean, log_variance: of the posterior.
    """
    errors = ((samples - decoded) / log_noise.exp()).square() / 2 + log_noise
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
    return errors.sum(1) + divergence.sum(1)


def _layers(widths: list[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(widths))


def _forward(parameters: list[Tensor], value: Tensor) -> Tensor:
    """Linear layers with ReLU between them, from their weights and biases in turn."""
    for number in range(0, len(parameters), 2):
        value = functional.linear(value if number == 0 else value.relu(), parameters[number], parameters[number + 1])
    return value
