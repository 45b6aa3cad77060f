"""Heads: CLIP's text classifier, and one that grows."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.heads import LinearHead
from mmcl.models.multimodal import MultimodalModel

SPACE = LabelSpace.of(["alpha", "beta", "gamma"], templates=["{}", "a {}", "the sign {}"])


def inputs(count: int = 4, space: LabelSpace = SPACE) -> Inputs:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(count, 3, 32, 32, generator=generator)
    return Inputs({"image": images}, {"image": torch.ones(count, dtype=torch.bool)}, asked=Asked(space))


def test_templates_are_normalised_averaged_and_normalised_again() -> None:
    model = MultimodalModel(tiny_clip())
    rows = []
    for label in SPACE:
        found = model.backbone.encode_texts(model.backbone.tokenize(label.prompts))
        rows.append(functional.normalize(functional.normalize(found, dim=-1).mean(0), dim=-1))
    torch.testing.assert_close(model.head.text_features(SPACE), torch.stack(rows))


def test_logits_are_scaled_cosines() -> None:
    model = MultimodalModel(tiny_clip())
    output = model(inputs(space=SPACE.for_training))
    image = functional.normalize(output.features["image"], dim=-1)
    expected = model.backbone.logit_scale * image @ model.head.text_features(SPACE.for_training).T
    torch.testing.assert_close(output.logits, expected)


def test_logits_say_how_sure_a_head_is_by_their_softmax() -> None:
    model, asked = MultimodalModel(tiny_clip()), inputs()
    with torch.no_grad():
        trained, answered = model(asked), model.predict(asked)
    for output in (trained, answered):
        assert torch.equal(output.confidence(output.logits), output.logits.softmax(1))


def test_how_sure_an_answer_is_the_head_says() -> None:
    class Shares(LinearHead):
        """Has probabilities for scores."""

        def confidence(self, scores: Tensor) -> Tensor:
            return scores

    backbone = tiny_clip()
    model = MultimodalModel(backbone, Shares(backbone.width))
    model.meet(Arrival(0, SPACE, frozenset({IMAGE})))
    with torch.no_grad():
        trained, answered = model(inputs()), model.predict(inputs())
    assert torch.equal(answered.confidence(answered.logits), answered.logits)
    assert torch.equal(trained.confidence(trained.logits), trained.logits.softmax(1))


def test_kept_text_features_follow_the_weights() -> None:
    model = MultimodalModel(tiny_clip())
    with torch.no_grad():
        before = model.head.text_features(SPACE)
        assert model.head.text_features(SPACE) is before
        for parameter in model.parameters():
            parameter.add_(0.1)
        assert not torch.allclose(model.head.text_features(SPACE), before)


class Counts(nn.Module):
    """Counts its batches, as batch normalisation does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, value: Tensor) -> Tensor:
        self.count += 1
        return value


def with_frozen_texts(*further: nn.Module) -> tuple[MultimodalModel, list[int]]:
    """A model in training whose image tower alone is trained, and how many texts it has embedded each time."""
    backbone, embedded = tiny_clip(), list[int]()
    backbone.requires_grad_(False)
    backbone.towers[IMAGE].module.requires_grad_(True)
    backbone.clip.ln_final = nn.Sequential(backbone.clip.ln_final, *further)
    backbone.clip.transformer.register_forward_pre_hook(lambda _, arguments: embedded.append(len(arguments[0])))
    return MultimodalModel(backbone).train(), embedded


def test_while_no_text_tower_trains_prompts_are_embedded_once() -> None:
    model, embedded = with_frozen_texts()
    optimizer = torch.optim.SGD(model.backbone.towers[IMAGE].module.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(inputs()).logits.square().mean().backward()
        optimizer.step()
    assert embedded == [9]
    with torch.no_grad():
        model.backbone.clip.positional_embedding.mul_(2.0)
    model(inputs())
    assert embedded == [9, 9]


def test_prompts_are_embedded_in_every_step_once_the_text_tower_trains() -> None:
    model, embedded = with_frozen_texts()
    assert not model.head.text_features(SPACE).requires_grad
    model.backbone.clip.text_projection.requires_grad_(True)
    for _ in range(2):
        assert model.head.text_features(SPACE).requires_grad
    assert embedded == [9, 9, 9]


@pytest.mark.parametrize("further", [nn.Dropout(0.5), Counts()])
def test_a_frozen_text_tower_that_draws_or_counts_does_so_in_every_step(further: nn.Module) -> None:
    model, embedded = with_frozen_texts(further)
    first, second = model.head.text_features(SPACE), model.head.text_features(SPACE)
    assert embedded == [9, 9]
    assert torch.equal(first, second) is isinstance(further, Counts)


def test_a_copy_has_its_own_weights_in_backbone_and_head() -> None:
    model = MultimodalModel(tiny_clip())
    copy = deepcopy(model)
    expected = model(inputs()).logits
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
    torch.testing.assert_close(copy(inputs()).logits, expected)
    assert not torch.allclose(model(inputs()).logits, expected)


def test_a_linear_head_grows_and_keeps_its_units() -> None:
    head = LinearHead(5)
    head.meet(Arrival(0, LabelSpace.of(["a", "b"]), frozenset({"image"})))
    old = head.weight.detach().clone()
    head.meet(Arrival(1, LabelSpace.of(["c"], first_id=7), frozenset({"image"})))
    assert torch.equal(head.weight[:2], old)
    assert head.knows(LabelSpace.of(["c"], first_id=7))
    assert not head.knows(LabelSpace.of(["d"], first_id=9))
    features = torch.randn(3, 5)
    both = LabelSpace.of(["c"], first_id=7).union(LabelSpace.of(["a"]))
    torch.testing.assert_close(head.logits(features, both), features @ head.weight[[2, 0]].T + head.bias[[2, 0]])


def test_a_backbone_that_encodes_no_text_gets_a_linear_head() -> None:
    backbone = tiny_clip()
    del backbone.towers["text"]  # type: ignore[attr-defined]
    assert isinstance(MultimodalModel(backbone).head, LinearHead)


def test_features_in_half_precision_are_scored_as_the_weights_are() -> None:
    linear, text = LinearHead(16), MultimodalModel(tiny_clip()).head
    linear.meet(Arrival(0, SPACE, frozenset({"image"})))
    fused = torch.randn(3, 16).bfloat16()
    torch.testing.assert_close(linear.logits(fused, SPACE), linear.logits(fused.float(), SPACE))
    torch.testing.assert_close(text.logits(fused, SPACE), text.logits(fused.float(), SPACE))  # type: ignore[operator]
