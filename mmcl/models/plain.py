"""A plain image classifier behind the interface of a multimodal model."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor, nn

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.models.heads import Head
from mmcl.models.output import Output


class PlainBackbone(Backbone):
    """A network from images to one score per class id; the scores are the features.

    Args:
        network: ``[B, ...] -> [B, K]``. It is held, not copied.
        shape: of one image.
        outputs: K.
    """

    def __init__(self, network: nn.Module, shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.network = network
        self.specs = {IMAGE: ModalitySpec(shape)}
        self.preprocess_train = self.preprocess_eval = {}
        self.towers = {IMAGE: Tower(network, frozenset({IMAGE}), outputs)}
        self._scale = torch.ones(())

    def replace(self, network: nn.Module) -> None:
        """Hold another network, or the same one in another state."""
        self.network = network
        self.towers = {IMAGE: self.towers[IMAGE]._replace(module=network)}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """The scores of all classes."""
        return Features(self.network(inputs[name]))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """There is no text."""
        self._refuse("to read text")

    @property
    def logit_scale(self) -> Tensor:
        """One: the scores are what they are."""
        return self._scale

    def export(self, folder: Path) -> None:
        """The network is its owner's."""
        self._refuse("to be exported")

    def _refuse(self, wish: str) -> NoReturn:
        raise PluginError(
            f"network {type(self.network).__name__}",
            found=f"it is asked {wish}",
            allowed="to score images",
            remedy="Use a CLIP-like backbone, such as glyph-clip.",
        )


class ColumnHead(Head):
    """Reads the scores of a label space out of a network that scores all class ids."""

    def score(self, output: Output, inputs: Inputs, label_space: LabelSpace) -> Tensor:
        """The columns ``[B, C]`` of the fused ``[B, K]`` that belong to the classes."""
        if label_space.counted and len(label_space) == output.fused.shape[1]:
            return output.fused
        ids = torch.tensor(label_space.ids, device=output.fused.device)
        return output.fused.index_select(1, ids)
