"""Towers for windows of sensors, as somebody may write them for a CLIP that is there already."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mmcl.data.modality import ACCELERATION, GYROSCOPE, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.models.backbone import Backbone, BackbonePlugin, Features, Tower

STEPS, AXES = 8, 3


def window(value: Any) -> Tensor:
    """A window as the towers take it."""
    return torch.as_tensor(value, dtype=torch.float32).reshape(STEPS, AXES)


class Windows(Backbone):
    """A linear layer for each sensor."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.specs = {name: ModalitySpec((STEPS, AXES)) for name in (ACCELERATION, GYROSCOPE)}
        self.preprocess_train = self.preprocess_eval = dict.fromkeys(self.specs, window)
        self.sensors = nn.ModuleDict({name: nn.Linear(STEPS * AXES, width) for name in self.specs})
        self.towers = {name: Tower(layer, frozenset({name}), width) for name, layer in self.sensors.items()}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        """Features of windows."""
        return Features(self.sensors[name](inputs[name].flatten(1)))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """It reads no text."""
        raise NotImplementedError

    @property
    def logit_scale(self) -> Tensor:
        """One."""
        return torch.ones(())

    def export(self, folder: Path) -> None:
        """Its weights."""
        folder.mkdir(parents=True)
        torch.save(self.state_dict(), folder / "windows.pt")


@dataclass(kw_only=True)
class SensorWindows(BackbonePlugin):
    """Sensor windows of eight steps, with random weights."""

    modalities: ClassVar[frozenset[str]] = frozenset({ACCELERATION, GYROSCOPE})

    width: int = 128

    def build(self) -> Windows:
        """The towers."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Windows(self.width)

    def miniature(self) -> Windows:
        """They are small."""
        return self.build()
