"""A tower sees the rows that have what it reads, and no others."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE, TEXT, ModalitySpec
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.backbone import Backbone, Features, Tower
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Here
from mmcl.testing.toy.models import ImageTower


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


class Joint(Backbone):
    """A tower that reads image and text together, beside one of texts; notes what each of them is given."""

    def __init__(self) -> None:
        super().__init__()
        self.specs = {IMAGE: ModalitySpec((2,), fill=7.0), TEXT: ModalitySpec((2,))}
        self.layer = nn.Linear(2, 2)
        self.seen: list[tuple[str, Inputs]] = []
        reads = {"joint": frozenset({IMAGE, TEXT}), TEXT: frozenset({TEXT})}
        self.towers = {name: Tower(self.layer, read, 2) for name, read in reads.items()}

    def encode_tower(self, name: str, inputs: Inputs) -> Features:
        self.seen.append((name, inputs))
        return Features(self.layer(inputs[TEXT]))

    def tokenize(self, texts: Sequence[str]) -> torch.Tensor:
        return torch.zeros(len(texts), 2)

    @property
    def logit_scale(self) -> torch.Tensor:
        return torch.ones(())

    def export(self, folder: Path) -> None:
        """It is for tests only."""


def test_a_joint_tower_is_given_rows_that_have_anything_it_reads_and_the_others_have_zeros() -> None:
    has_image, has_text = torch.tensor([True, False, False]), torch.tensor([False, True, False])
    values = {IMAGE: torch.ones(3, 2), TEXT: torch.ones(3, 2)}
    backbone = Joint()
    encoded = backbone.encode(Inputs(values, {IMAGE: has_image, TEXT: has_text}), only=("joint",))
    ((_, given),) = backbone.seen
    assert given.present[IMAGE].tolist() == [True, False]
    assert given.present[TEXT].tolist() == [False, True]
    assert encoded.present["joint"].tolist() == [True, True, False]
    assert not encoded.features["joint"].pooled[2].any()
    assert encoded.features["joint"].pooled[:2].all()


def test_a_joint_tower_has_stand_ins_for_a_modality_that_the_batch_does_not_know() -> None:
    texts = Inputs({TEXT: torch.ones(3, 2)}, {TEXT: torch.ones(3, dtype=torch.bool)})
    backbone = Joint()
    backbone.encode(texts, only=("joint",))
    ((_, given),) = backbone.seen
    assert given[IMAGE].tolist() == [[7.0, 7.0]] * 3
    assert not given.present[IMAGE].any()


def test_texts_that_are_no_samples_pass_the_text_tower_alone() -> None:
    backbone = Joint()
    backbone.encode_texts(backbone.tokenize(["a"]))
    assert [name for name, _ in backbone.seen] == [TEXT]
