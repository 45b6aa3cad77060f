"""Every experience adds components of its own, all are weighed for each image, and those before are fixed."""

from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.coda_prompt import CODAPrompt
from mmcl_strategies.parameter_efficient.components import Components, orthogonality
from torch import nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.learner import Learner
from mmcl.models.plain import PlainBackbone
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

from .pools import (
    CLASSES,
    assert_a_mixed_batch_equals_its_rows,
    assert_plain_rows_are_those_of_the_pretrained_model,
    begun,
    features,
    images,
    learned,
    plain_features,
)

SMALL: dict[str, Any] = {"components": 2, "length": 4, "lr": 0.05}


def coda(**options: Any) -> CODAPrompt:
    return CODAPrompt(**{**SMALL, **options})


@cache
def shared() -> Learner:
    """One that has learned, for tests that leave it as it is."""
    return learned(coda())


def components_of(learner: Learner) -> Components:
    (components,) = [module for module in learner.model.modules() if isinstance(module, Components)]
    return components


def test_plain_rows_are_those_of_the_pretrained_model_bit_for_bit() -> None:
    assert_plain_rows_are_those_of_the_pretrained_model(shared())


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    assert_a_mixed_batch_equals_its_rows(shared())


def test_only_the_components_of_the_experience_and_units_move_and_all_that_is_before_stays_bit_for_bit() -> None:
    learner, stream = begun(coda())
    for experience in stream.train:
        learner.meet(experience)
        before = weights(learner)
        learner.train(experience)
        after = weights(learner)
        found = {name for name, value in after.items() if not torch.equal(value, before[name])}
        own = {name for name in before if name.endswith(f".{experience.index}")}
        assert len(own) == 3, "keys, attention and components"
        assert found == {*own, "head.weight", "head.bias"}
        first = experience.index * CLASSES
        assert torch.equal(after["head.weight"][:first], before["head.weight"][:first])
        trained = {id(p) for group in learner.optimizer.param_groups for p in group["params"]}
        named = dict(learner.model.named_parameters())
        assert trained == {id(named[name]) for name in found}


def test_components_of_earlier_experiences_take_part_and_later_ones_are_not_there() -> None:
    learner, stream = begun(coda())
    learner.train(stream.train[0])
    learner.model.eval()
    assert set(components_of(learner).keys) == {"0"}
    learner.train(stream.train[1])
    learner.model.eval()
    with_both = features(learner, images((1,) * 6))
    torch.testing.assert_close(features(learner, images((0,) * 6)), with_both)
    with torch.no_grad():
        components_of(learner).parts["0"].zero_()
    assert not torch.allclose(features(learner, images((1,) * 6)), with_both)


def test_the_query_is_the_plain_feature_whatever_the_components_are() -> None:
    learner = learned(coda())
    bare = plain_features(images())
    with torch.no_grad():
        for rows in components_of(learner).parts.values():
            rows.normal_()
    route = learner.model.encode(images()).route
    assert route is not None
    assert route.query is not None
    assert torch.equal(route.query, bare)


def test_prompts_stand_before_keys_and_values_of_the_attention_and_the_class_token_is_pooled() -> None:
    learner = shared()
    components = components_of(learner)
    clip: Any = tiny_clip().eval().clip
    block = clip.visual.transformer.resblocks[0]
    batch = images((2,) * 6)
    with torch.no_grad():
        prefix_keys, prefix_values = components.prefix(plain_features(batch))
        x = clip.visual._embeds(batch[IMAGE])
        queries, keys, values = nn.functional.linear(
            block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias
        ).chunk(3, 2)
        rows = []
        for row in range(6):
            k, v = torch.cat([prefix_keys[row], keys[row]]), torch.cat([prefix_values[row], values[row]])
            heads = [
                (queries[row, :, h : h + 16] @ k[:, h : h + 16].T / 4).softmax(1) @ v[:, h : h + 16] for h in (0, 16)
            ]
            rows.append(block.attn.out_proj(torch.cat(heads, 1)))
        x = x + torch.stack(rows)
        x = x + block.mlp(block.ln_2(x))
        expected = clip.visual.ln_post(x)[:, 0] @ clip.visual.proj
    torch.testing.assert_close(features(learner, batch), expected, rtol=1e-4, atol=1e-5)


def test_the_penalty_is_over_the_rows_of_all_experiences() -> None:
    components = components_of(shared())
    rows = [torch.cat(list(kind.values())) for kind in (components.keys, components.looks, components.parts)]
    assert [len(found) for found in rows] == [6, 6, 6]
    torch.testing.assert_close(components.penalty(), sum(map(orthogonality, rows), torch.zeros(())))


def test_without_a_weight_there_is_no_penalty() -> None:
    assert set(learned(coda(orthogonality=0.0), experiences=1).loss_terms) == {"task"}


@pytest.mark.parametrize("start", ["projected", "orthogonal"])
def test_components_begin_at_unit_length_and_orthogonal_within_the_first_experience(start: str) -> None:
    learner, stream = begun(coda(start=start))
    learner.meet(stream.train[0])
    for kind in (components_of(learner).keys, components_of(learner).looks, components_of(learner).parts):
        rows = kind["0"].detach().flatten(1)
        torch.testing.assert_close(rows @ rows.T, torch.eye(2), atol=1e-5, rtol=0)


@pytest.mark.parametrize(("start", "clear"), [("projected", False), ("orthogonal", True)])
def test_components_of_a_later_experience_are_clear_of_trained_ones_where_that_is_asked_for(
    start: str, clear: bool
) -> None:
    learner, stream = begun(coda(start=start))
    learner.meet(stream.train[0])
    kinds = [components_of(learner).keys, components_of(learner).looks, components_of(learner).parts]
    for kind in kinds:
        kind["0"].data += 0.3 * torch.randn(kind["0"].shape, generator=torch.Generator().manual_seed(0))
    learner.meet(stream.train[1])
    for kind in kinds:
        earlier, new = (kind[name].detach().flatten(1) for name in ("0", "1"))
        assert bool((new @ earlier.T).abs().max() < 1e-5) is clear
        assert bool((new @ earlier.T).abs().max() < 0.2), "projections on earlier rows are taken away in any case"


def test_prompts_stand_in_the_first_layers_alone() -> None:
    for layers, expected in ((1, [0]), (3, [0, 1, 2]), (9, [0, 1, 2, 3])):
        learner = toy_learner(toy_benchmark(CIL, 1), {"coda": coda(layers=layers)}, backbone=deep())
        sites = learner.model.backbone.sites_of(IMAGE, "attention")
        assert [site.layer for site in sites if hasattr(site.exit, "addons")] == expected


def deep() -> Any:
    """A miniature with four blocks."""
    backbone = tiny_clip()
    blocks: Any = backbone.clip.visual.transformer.resblocks  # type: ignore[union-attr]
    for _ in range(3):
        blocks.append(tiny_clip(1).clip.visual.transformer.resblocks[0])  # type: ignore[union-attr, index]
    return backbone


def test_an_odd_length_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"coda_prompt\.length: 5, which has no halves"):
        CODAPrompt(length=5)


def test_a_backbone_that_does_not_show_its_attention_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'attention'"):
        toy_learner(toy_benchmark(CIL), {"coda": coda()}, backbone=backbone)
    other = tiny_clip()
    other.clip.visual.transformer.resblocks[0].attn.batch_first = False  # type: ignore[union-attr, index]
    with pytest.raises(CompositionError, match="no attention of the backbone's tower 'image' says how it is computed"):
        toy_learner(toy_benchmark(CIL), {"coda": coda()}, backbone=other)
