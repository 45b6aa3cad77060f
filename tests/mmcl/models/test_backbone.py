"""A tower sees the rows that have what it reads, and no others."""

import pytest
import torch
from torch import nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Here
from mmcl.testing.models import ImageTower


def mixed(fill: float = 0.0, rows: int = 4, whole: frozenset[str] | None = None) -> Inputs:
    """Images in the even rows, texts in the odd ones."""
    images = torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    images[1::2] = fill
    tokens = tiny_clip().tokenize(["a b", "star", "c", "dot circle"])[:rows]
    even = torch.arange(rows) % 2 == 0
    return Inputs({IMAGE: images, TEXT: tokens}, {IMAGE: even, TEXT: ~even}, task_ids=torch.arange(rows), whole=whole)


def test_rows_that_lack_what_a_tower_reads_have_zeros_and_the_others_what_they_have_alone() -> None:
    backbone, made = tiny_clip().eval(), mixed()
    with torch.no_grad():
        features = backbone.encode(made).features[IMAGE].pooled
        alone = backbone.encode(made.select(made.present[IMAGE])).features[IMAGE].pooled
    assert torch.equal(features[0::2], alone)
    assert not features[1::2].any()


def test_what_stands_in_for_them_leaves_no_trace_in_statistics_and_gradients() -> None:
    traces = []
    for fill in (0.0, 1e6):
        torch.manual_seed(0)  # of the dropout
        tower = ImageTower()
        inputs = mixed(fill)
        only = inputs.replace(values={IMAGE: inputs[IMAGE]}, present={IMAGE: inputs.present[IMAGE]})
        tower.encode(only).features[IMAGE].pooled.sum().backward()
        norm = tower.layers[0]
        assert isinstance(norm, nn.BatchNorm2d)
        traces.append((norm.running_mean, norm.weight.grad))
    for one, other in zip(*traces, strict=True):
        assert torch.equal(one, other)  # type: ignore[arg-type]


def test_a_modality_that_no_row_has_gives_its_tower_no_gradient_and_no_statistics() -> None:
    tower, inputs = ImageTower(), mixed()
    nobody = inputs.replace(
        values={IMAGE: inputs[IMAGE]}, present={IMAGE: torch.zeros(4, dtype=torch.bool)}, whole=frozenset()
    )
    before = {name: value.clone() for name, value in tower.named_buffers()}
    features = tower.encode(nobody).features[IMAGE].pooled
    assert features.shape == (4, tower.width)
    assert not features.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in tower.named_buffers())


def test_a_batch_that_is_known_to_be_whole_is_encoded_as_it_is() -> None:
    backbone, made = tiny_clip().eval(), mixed()
    images = made.having(IMAGE)
    assert images is not None
    with torch.no_grad():
        looked = backbone.encode(images.replace(whole=None)).features[IMAGE].pooled
        known = backbone.encode(images).features[IMAGE].pooled
    assert torch.equal(looked, known)


class Rows(AddOn):
    """Notes whose rows pass."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[list[int]] = []

    def forward(self, here: Here, inputs: Inputs) -> torch.Tensor:
        assert inputs.task_ids is not None
        assert len(here.value) == len(here.entered) == len(inputs.task_ids)
        self.seen.append(inputs.task_ids.tolist())
        return here.value


def test_add_ons_are_told_the_rows_that_pass() -> None:
    model, rows = MultimodalModel(tiny_clip()), Rows()
    for tower in (IMAGE, TEXT):
        model.attach("rows", model.backbone.sites_of(tower, "mlp")[0], rows)
    model.encode(mixed())
    assert rows.seen == [[0, 2], [1, 3]]


def test_towers_of_different_widths_have_none_in_common() -> None:
    backbone = tiny_clip()
    backbone.towers = {**backbone.towers, TEXT: backbone.towers[TEXT]._replace(width=7)}
    with pytest.raises(PluginError, match=r"widths image: 16, text: 7"):
        _ = backbone.width
