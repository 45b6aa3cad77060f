"""The digest of weights changes with every weight, and with nothing else."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.models.digest import weights_digest


def test_equal_weights_have_equal_digests() -> None:
    model = tiny_clip()
    assert weights_digest(model) == weights_digest(tiny_clip()) == weights_digest(deepcopy(model).train())
    assert len(weights_digest(model)) == 16


@pytest.mark.parametrize("name", ["clip.logit_scale", "clip.visual.proj", "clip.token_embedding.weight"])
def test_every_weight_counts(name: str) -> None:
    model = tiny_clip()
    before = weights_digest(model)
    with torch.no_grad():
        model.get_parameter(name).view(-1)[-1:].nextafter_(torch.tensor([1e9]))
    assert weights_digest(model) != before


def test_shapes_types_and_buffers_count() -> None:
    layers = [nn.Linear(2, 3), nn.Linear(3, 2), nn.BatchNorm1d(2), nn.BatchNorm1d(2)]
    for layer in layers:
        layer.load_state_dict({name: torch.zeros_like(value) for name, value in layer.state_dict().items()})
    layers[3].running_var.fill_(1)  # type: ignore[union-attr,operator]
    assert len({*map(weights_digest, layers), weights_digest(layers[0].to(torch.bfloat16))}) == 5
