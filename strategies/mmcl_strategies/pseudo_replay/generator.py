"""ImageGenerator: what deep generative replay asks of a generator; your own comes by ``dgr:generator=module:Class``."""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmcl.errors import ConfigError
from mmcl.registry import load_by_name


class ImageGenerator(nn.Module, ABC):
    """Learns to draw images as the backbone takes them: preprocessed.

    Its constructor takes the shape ``(C, H, W)`` alone. Everything it learns is in ``state_dict``. It is trained by one
    optimiser over all its parameters, and copied; the copy is frozen, in evaluation mode, and asked for samples.
    """

    @abstractmethod
    def loss(
        self, images: Float[Tensor, "N C H W"], classes: Int[Tensor, " N"], generator: torch.Generator
    ) -> Float[Tensor, ""]:
        """What is minimised, a mean over the images.

        Args:
            images: real ones, or samples of the previous generator.
            classes: global ids; unconditional generators do not read them.
            generator: source of all randomness, on the CPU.
        """

    @abstractmethod
    def sample(self, classes: Int[Tensor, " N"], generator: torch.Generator) -> Float[Tensor, "N C H W"]:
        """One image per entry of ``classes``; unconditional generators read its length alone."""


def named_generator(name: str) -> type[ImageGenerator]:
    """The class that ``package.module:Class`` stands for.

    Raises:
        PluginError: if it cannot be imported.
        ConfigError: if it is no complete generator.
    """
    found = load_by_name(name, "dgr.generator")
    if not (isinstance(found, type) and issubclass(found, ImageGenerator) and not found.__abstractmethods__):
        raise ConfigError(
            "dgr.generator",
            found=f"{name!r} is none",
            allowed="a class derived from ImageGenerator that defines 'loss' and 'sample'",
            remedy="Derive it from ImageGenerator.",
        )
    return found
