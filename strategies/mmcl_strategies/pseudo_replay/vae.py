"""A small convolutional variational autoencoder (Kingma and Welling 2014), optionally conditioned on the class."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmcl_strategies.pseudo_replay.generator import ImageGenerator

_INNERMOST = 8  # rows and columns of the smallest feature map, at most
_MULTIPLES_SEED = 0


class VAE(ImageGenerator):
    """Encoder of strided convolutions and a decoder that mirrors it; the prior is a standard normal.

    Args:
        shape: ``(C, H, W)`` of the images.
        latent: width of z.
        width: channels of the outermost feature map, a multiple of 4; they double inwards, up to four times.
        variance: of the pixel noise. The larger, the blurrier the images and the closer the posterior to the prior.
        code: width of the code that tells encoder and decoder the class; 0: unconditional. A class enters as a fixed
            code, so nothing grows with the number of classes.
    """

    def __init__(
        self, shape: Sequence[int], latent: int = 100, width: int = 32, variance: float = 4.0, code: int = 0
    ) -> None:
        super().__init__()
        channels, *sides = shape
        self.latent, self.variance = latent, variance
        sizes = [(sides[0], sides[1])]
        while max(sizes[-1]) > _INNERMOST:
            sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
        widths = [channels, *(width * min(2**level, 4) for level in range(len(sizes) - 1))]
        inner = (widths[-1], *sizes[-1])
        flat = inner[0] * inner[1] * inner[2]
        down: list[nn.Module] = []
        for outside, inside in pairwise(widths):
            down += [nn.Conv2d(outside, inside, 3, stride=2, padding=1), nn.GroupNorm(4, inside), nn.SiLU()]
        up: list[nn.Module] = []
        for size, (outside, inside) in reversed(list(zip(sizes, pairwise(widths), strict=False))):
            up += [nn.GroupNorm(4, inside), nn.SiLU(), nn.Upsample(size), nn.Conv2d(inside, outside, 3, padding=1)]
        self.encoder = nn.Sequential(*down, nn.Flatten())
        self.moments = nn.Linear(flat + code, 2 * latent)
        self.decoder = nn.Sequential(nn.Linear(latent + code, flat), nn.Unflatten(1, inner), *up)
        self.multiples: Tensor
        self.register_buffer("multiples", torch.rand(code, generator=torch.Generator().manual_seed(_MULTIPLES_SEED)))

    def loss(
        self, images: Float[Tensor, "N C H W"], classes: Int[Tensor, " N"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """Minus the evidence lower bound, see ``bound``, averaged over the images."""
        codes = self._codes(classes)
        mean, log_variance = self.moments(torch.cat([self.encoder(images), codes], dim=1)).chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator).to(mean.device)
        decoded = self.decoder(torch.cat([mean + (log_variance / 2).exp() * noise, codes], dim=1))
        return bound(images, decoded, mean, log_variance, self.variance).mean()

    def sample(self, classes: Int[Tensor, " N"], generator: torch.Generator) -> Float[Tensor, "N C H W"]:
        """Decoded draws from the prior, without pixel noise."""
        z = torch.randn(len(classes), self.latent, generator=generator).to(self.multiples.device)
        decoded: Tensor = self.decoder(torch.cat([z, self._codes(classes)], dim=1))
        return decoded

    def _codes(self, classes: Tensor) -> Tensor:
        """``[N, code]``: cosines of multiples of the class id, no two classes alike."""
        turns = (classes.to(self.multiples.device).unsqueeze(1) * self.multiples.double()).remainder(1.0)
        return (2 * torch.pi * turns).cos().to(self.multiples.dtype)


def bound(
    images: Float[Tensor, "N C H W"],
    decoded: Float[Tensor, "N C H W"],
    mean: Float[Tensor, "N latent"],
    log_variance: Float[Tensor, "N latent"],
    variance: float,
) -> Float[Tensor, " N"]:
    """``(|x - x'|^2 / 2 + variance * KL(posterior, prior)) / pixels``.

    Minus the evidence lower bound for normal pixel noise, without its constant and times the noise's variance, which
    keeps the size of the gradient independent of it.

    Args:
        images, decoded: x and x'.
        mean, log_variance: of the posterior.
        variance: of the pixel noise.
    """
    errors = (images - decoded).flatten(1).square().sum(1) / 2
    divergence = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1) / 2
    return (errors + variance * divergence) / images[0].numel()
