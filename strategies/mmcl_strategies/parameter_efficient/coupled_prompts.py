"""Coupled prompts: vectors of every layer of a text tower, and those of the image tower as their linear image.

Source: D'Alessandro et al., "Multimodal Parameter-Efficient Few-Shot Class Incremental Learning", ICCVW 2023
(CPE-CLIP), and released code.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from mmcl.data.sample import Inputs
from mmcl.models.sites import AddOn, Here
from mmcl_strategies.parameter_efficient.prompts import Tokens, Vectors, in_place_of_words, where_taken


def behind_all(tokens: Tokens, prompts: Vectors) -> Float[Tensor, "B L+P W"]:
    """``[class, patches, prompts]``; prompts have no positions, and later ones stand behind earlier ones."""
    return torch.cat([tokens, prompts], dim=1)


class CoupledPrompts(nn.Module):
    """The prompts of both towers, layer by layer.

    Args:
        layers: N, of either tower that have prompts, from the first.
        length: P, vectors in a layer.
        text: W, width of the text tower.
        image: V, width of the image tower.
        dtype: of the towers.

    Attributes:
        language: G, ``[N, P, W]``; Xavier-uniform, with the fans that torch finds in three axes.
        to_vision: A, from W to V, the same in all layers.
    """

    def __init__(self, layers: int, length: int, text: int, image: int, *, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.language = nn.Parameter(nn.init.xavier_uniform_(torch.empty(layers, length, text, dtype=dtype)))
        self.to_vision = nn.Linear(text, image, dtype=dtype)

    def vision(self, layer: int) -> Float[Tensor, "P V"]:
        """A G of a layer, what the image tower gets; the text tower gets G itself."""
        found: Tensor = self.to_vision(self.language[layer])
        return found


class LanguagePrompts(AddOn):
    """Overwrites the words behind the start of a text with the prompts of a layer: there are never more of them.

    Args:
        prompts: of both towers. They are a part of the add-on of layer 0, and the others refer to them.
        layer: that reads what leaves the site next.
    """

    def __init__(self, prompts: CoupledPrompts, layer: int) -> None:
        super().__init__()
        self._shared, self._layer = [prompts], layer
        if layer == 0:
            self.prompts = prompts

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L, W]``; rows on the plain way keep their words."""
        (prompts,) = self._shared
        return where_taken(
            here.value,
            inputs.route,
            lambda value, _: in_place_of_words(value, _for_rows(prompts.language[self._layer], value)),
        )


class VisionPrompts(AddOn):
    """Appends the prompts of a layer to the tokens of an image; those of earlier layers stay, as blocks have left them.

    Args:
        prompts: of both towers.
        layer: that reads what leaves the site next.
    """

    lengthens = True

    def __init__(self, prompts: CoupledPrompts, layer: int) -> None:
        super().__init__()
        self._shared, self._layer = [prompts], layer

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        """``[B, L + P, V]``; all rows take a way or none does."""
        (prompts,) = self._shared
        return where_taken(
            here.value, inputs.route, lambda value, _: behind_all(value, _for_rows(prompts.vision(self._layer), value))
        )


def _for_rows(prompts: Float[Tensor, "P W"], tokens: Tokens) -> Vectors:
    """The same prompts for every row, in the precision of the tokens."""
    return prompts.to(tokens.dtype).expand(len(tokens), -1, -1)
