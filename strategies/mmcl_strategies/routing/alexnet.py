"""AlexNet's convolutions as torchvision has them, up to the last one: the eyes of an observer that is no CLIP."""

from pathlib import Path
from urllib.error import URLError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from mmcl.errors import ConfigError

EMBEDDED = Path(__file__).parent / "glyph_alexnet.safetensors"
IMAGENET, GLYPH = "imagenet", "glyph"
LAST_CONVOLUTION = 11  # modules, without the ReLU and the pooling behind it
SMALLEST = 32  # pixels; with fewer the poolings leave nothing


class AtLeast(nn.Module):
    """Enlarges images ``[N, C, H, W]`` whose shorter side is less than so many pixels."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels

    def forward(self, images: Tensor) -> Tensor:
        """The same images, or larger ones."""
        shorter = min(images.shape[-2:])
        if shorter >= self.pixels:
            return images
        return functional.interpolate(images, scale_factor=self.pixels / shorter, mode="bilinear")


def convolutions(weights: str) -> nn.Sequential:
    """``[N, 3, H, W]`` -> ``[N, 256, h, w]``, 13 x 13 places for 224 x 224 pixels.

    Args:
        weights: ``imagenet`` (torchvision's, which it fetches unless its cache has them), ``glyph`` (embedded, trained
            on drawings of symbols), or a file with the state dictionary of torchvision's AlexNet.

    Raises:
        ConfigError: if there is no such file, or the weights cannot be fetched or are another network's.
    """
    from torchvision.models import alexnet

    layers = alexnet(weights=None).features[:LAST_CONVOLUTION]
    tensors = {name.removeprefix("features."): value for name, value in _read(weights).items()}
    wanted = layers.state_dict()
    if any(name not in tensors or tensors[name].shape != value.shape for name, value in wanted.items()):
        raise _wrong(weights, "it is not torchvision's AlexNet")
    layers.load_state_dict({name: tensors[name].float() for name in wanted})
    return nn.Sequential(AtLeast(SMALLEST), layers)


def _read(weights: str) -> dict[str, Tensor]:
    if weights == IMAGENET:
        from torchvision.models import AlexNet_Weights

        try:
            found: dict[str, Tensor] = AlexNet_Weights.IMAGENET1K_V1.get_state_dict(progress=False, check_hash=True)
        except (URLError, OSError, RuntimeError) as error:
            raise _wrong(weights, f"torchvision cannot fetch them ({error})") from error
        return found
    path = EMBEDDED if weights == GLYPH else Path(weights)
    try:
        return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise _wrong(weights, f"it cannot be read ({error})") from error


def _wrong(weights: str, what: str) -> ConfigError:
    return ConfigError(
        "ddas.weights",
        found=f"{weights!r}: {what}",
        allowed=f"{IMAGENET!r}, {GLYPH!r} for embedded editions, or a file with the weights of torchvision's AlexNet",
        remedy="Save torchvision.models.alexnet(weights='IMAGENET1K_V1').state_dict() where there is a network, and "
        f"name the file; or choose {GLYPH!r} for drawings.",
    )
