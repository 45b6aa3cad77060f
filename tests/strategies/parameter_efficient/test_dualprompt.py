"""What experiences share and what is their own are prefixes of different layers, and keys find the experience."""

from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.dualprompt import DualPrompt
from mmcl_strategies.parameter_efficient.expert_prefixes import ExpertPrefixes
from mmcl_strategies.replay.replay import Replay
from mmcl_strategies.routing.key_matching import KeyMatching
from torch import nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE
from mmcl.errors import CompositionError
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

SMALL: dict[str, Any] = {"general_length": 2, "expert_length": 3, "lr": 0.05}


def dual(**options: Any) -> DualPrompt:
    return DualPrompt(**{**SMALL, **options})


@cache
def shared() -> Learner:
    """One that has learned, for tests that leave it as it is."""
    return learned(dual())


def prefixes_of(learner: Learner) -> list[ExpertPrefixes]:
    return [module for module in learner.model.modules() if isinstance(module, ExpertPrefixes)]


def test_plain_rows_are_those_of_the_pretrained_model_bit_for_bit() -> None:
    assert_plain_rows_are_those_of_the_pretrained_model(shared())


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    assert_a_mixed_batch_equals_its_rows(shared())


def test_experts_and_keys_of_earlier_experiences_stay_bit_for_bit_and_the_general_prefix_learns_on() -> None:
    learner, stream = begun(dual())
    for experience in stream.train:
        learner.meet(experience)
        before = weights(learner)
        learner.train(experience)
        after = weights(learner)
        found = {name for name, value in after.items() if not torch.equal(value, before[name])}
        own = {name for name in before if name.endswith(f".{experience.index}")}
        assert len(own) == 2, "an expert and a key"
        (general,) = [name for name in before if name.endswith(".general")]
        assert found == {*own, general, "head.weight", "head.bias"}
        first = experience.index * CLASSES
        assert torch.equal(after["head.weight"][:first], before["head.weight"][:first])


def test_samples_of_earlier_experiences_move_neither_their_experts_nor_their_keys() -> None:
    stream = toy_benchmark(CIL, 2, CLASSES)
    learner = toy_learner(stream, {"it": dual(), "replay": Replay(size=6)}, iterations=3)
    learner.train(stream.train[0])
    learner.meet(stream.train[1])
    before = weights(learner)
    learner.train(stream.train[1])
    moved = {name for name, value in weights(learner).items() if not torch.equal(value, before[name])}
    assert len([name for name in moved if name.endswith(".1")]) == 2
    assert not [name for name in moved if name.endswith(".0")]


def test_an_expert_begins_as_the_one_before_it_and_a_key_anew() -> None:
    learner, stream = begun(dual())
    learner.train(stream.train[0])
    learner.meet(stream.train[1])
    (prefixes,) = prefixes_of(learner)
    assert torch.equal(prefixes.experts["0"], prefixes.experts["1"])
    assert prefixes.experts["0"] is not prefixes.experts["1"]
    router = learner.model.router
    assert isinstance(router, KeyMatching)
    assert not torch.equal(router.keys["0"], router.keys["1"])


def test_the_way_in_training_is_that_of_the_experience_and_of_the_nearest_key_at_evaluation() -> None:
    learner = learned(dual())
    router = learner.model.router
    assert isinstance(router, KeyMatching)
    with torch.no_grad():
        router.keys["1"].copy_(plain_features(images())[0])
    hidden = learner.model.encode(images()).route
    told = learner.model.encode(images().with_task_ids(torch.full((6,), 2))).route
    assert hidden is not None
    assert told is not None
    assert int(hidden.ids[0]) == 1
    assert told.ids.tolist() == [2] * 6
    assert told.query is not None


def test_each_row_has_the_general_prefix_and_its_own_expert_before_keys_and_values() -> None:
    learner = shared()
    (prefixes,) = prefixes_of(learner)
    clip: Any = tiny_clip().eval().clip
    block = clip.visual.transformer.resblocks[0]
    ids = (0, 1, 2, 2, 1, 0)
    batch = images(ids)
    with torch.no_grad():
        x = clip.visual._embeds(batch[IMAGE])
        queries, keys, values = nn.functional.linear(
            block.ln_1(x), block.attn.in_proj_weight, block.attn.in_proj_bias
        ).chunk(3, 2)
        rows = []
        for row, way in enumerate(ids):
            expert = prefixes.experts[str(way)]
            k = torch.cat([prefixes.general[0], expert[0], keys[row]])
            v = torch.cat([prefixes.general[1], expert[1], values[row]])
            heads = [
                (queries[row, :, h : h + 16] @ k[:, h : h + 16].T / 4).softmax(1) @ v[:, h : h + 16] for h in (0, 16)
            ]
            rows.append(block.attn.out_proj(torch.cat(heads, 1)))
        x = x + torch.stack(rows)
        x = x + block.mlp(block.ln_2(x))
        expected = clip.visual.ln_post(x)[:, 0] @ clip.visual.proj
    torch.testing.assert_close(features(learner, batch), expected, rtol=1e-4, atol=1e-5)


def deep(blocks: int) -> Any:
    """A miniature with so many blocks."""
    backbone = tiny_clip()
    for _ in range(blocks - 1):
        block = tiny_clip(1).clip.visual.transformer.resblocks[0]  # type: ignore[union-attr, index]
        backbone.clip.visual.transformer.resblocks.append(block)  # type: ignore[union-attr, operator]
    return backbone


@pytest.mark.parametrize(
    ("blocks", "layers", "general", "experts"),
    [
        (8, (2, 3), [0, 1], [2, 3, 4]),
        (4, (2, 3), [0, 1], [2, 3]),
        (1, (2, 3), [0], [0]),
        (6, (1, 4), [0], [1, 2, 3, 4]),
    ],
)
def test_general_prefixes_stand_in_the_first_layers_and_experts_behind_them(
    blocks: int, layers: tuple[int, int], general: list[int], experts: list[int]
) -> None:
    strategy, stream = dual(general_layers=layers[0], expert_layers=layers[1]), toy_benchmark(CIL, 1)
    learner = toy_learner(stream, {"dual": strategy}, backbone=deep(blocks))
    learner.meet(stream.train[0])
    found: dict[str, list[int]] = {"general": [], "experts": []}
    for site in learner.model.backbone.sites_of(IMAGE, "attention"):
        if hasattr(site.exit, "addons"):
            prefixes: Any = site.exit.addons["dualprompt"]  # type: ignore[index]
            found["general"] += [site.layer] if prefixes.general.numel() else []
            found["experts"] += [site.layer] if prefixes.experts else []
    assert found == {"general": general, "experts": experts}


def test_prefixes_begin_uniform_between_minus_one_and_one_with_the_lengths_of_the_options() -> None:
    stream = toy_benchmark(CIL, 1)
    learner = toy_learner(stream, {"dual": dual(general_length=40, expert_length=50)})
    learner.meet(stream.train[0])
    (prefixes,) = prefixes_of(learner)
    assert prefixes.general.shape == (2, 40, 32)
    assert prefixes.experts["0"].shape == (2, 50, 32)
    for part in (prefixes.general.detach(), prefixes.experts["0"].detach()):
        assert -1.0 <= float(part.min()) < -0.98
        assert 0.98 < float(part.max()) <= 1.0


def test_without_a_weight_there_is_no_pull() -> None:
    assert set(learned(dual(pull=0.0), experiences=1).loss_terms) == {"task"}


@pytest.mark.parametrize("batchwise", [False, True])
def test_a_run_says_whether_ways_were_found_by_samples_or_by_batches(batchwise: bool) -> None:
    learner, _ = begun(dual(batchwise=batchwise))
    assert learner.model.router is not None
    assert learner.model.router.granularity == ("batch" if batchwise else "sample")


def test_a_backbone_that_does_not_show_its_attention_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'attention'"):
        toy_learner(toy_benchmark(CIL), {"dual": dual()}, backbone=backbone)
