"""The multimodal model: how features of several modalities become one vector."""

import torch
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.fusion import MeanFusion
from mmcl.models.heads import LinearHead, TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Here


def test_the_mean_is_over_the_modalities_that_a_sample_has() -> None:
    images, texts = torch.tensor([[2.0, 4.0], [6.0, 8.0], [5.0, 5.0]]), torch.tensor([[4.0, 8.0]]).repeat(3, 1)
    present = {IMAGE: torch.tensor([True, True, False]), TEXT: torch.tensor([True, False, False])}
    fused = MeanFusion()({IMAGE: images, TEXT: texts}, present)
    assert fused.tolist() == [[3.0, 6.0], [6.0, 8.0], [0.0, 0.0]]


def test_one_modality_is_its_own_mean() -> None:
    image = torch.randn(2, 3)
    assert MeanFusion()({IMAGE: image}, {IMAGE: torch.tensor([True, False])}) is image


class Doubling(TextHead):
    """Compares samples by twice their features."""

    def embed(self, features: dict[str, Tensor], inputs: Inputs) -> dict[str, Tensor]:
        return {name: 2 * value for name, value in features.items()}


def test_samples_are_compared_and_fused_by_what_the_head_makes_of_their_features() -> None:
    model = MultimodalModel(tiny_clip())
    inputs = Inputs({IMAGE: torch.randn(2, 3, 32, 32)}, {IMAGE: torch.ones(2, dtype=torch.bool)})
    plain = model.encode(inputs)
    model.head = Doubling(model.backbone)
    doubled = model.encode(inputs)
    torch.testing.assert_close(doubled.features[IMAGE], 2 * plain.features[IMAGE])
    torch.testing.assert_close(doubled.fused, 2 * plain.fused)


class Shift(AddOn):
    """Moves what a block returns."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        return here.value + self.shift


def test_parameters_of_heads_and_add_ons_and_frozen_ones_are_not_shared() -> None:
    model = MultimodalModel(tiny_clip())
    trained = [name for name, _ in model.shared_parameters()]
    assert trained
    model.head = LinearHead(model.backbone.width)
    model.meet(Arrival(0, LabelSpace.of(["a", "b"]), frozenset({IMAGE})))
    model.attach("owner", model.backbone.sites_of(IMAGE, "block")[0], Shift())
    model.get_parameter(trained[0]).requires_grad_(False)
    assert [name for name, _ in model.shared_parameters()] == trained[1:]
