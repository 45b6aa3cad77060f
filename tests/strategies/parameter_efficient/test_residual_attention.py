"""A branch beside attention adds nothing at first, never moves what attention gives, and acts row by row."""

import sys
from typing import cast

import pytest
import torch
from mmcl_strategies.parameter_efficient.residual_attention import ResidualAttention, attend_to
from torch import Tensor, nn

from mmcl.backbones.open_clip_sites import merged, projected, queried
from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Backbone
from mmcl.models.sites import Attention, Here

LENGTH, WIDTH, HEADS = 3, 8, 2
TORCHS = Attention(queried, projected, merged)
towers = pytest.mark.parametrize("tower", [IMAGE, TEXT])


def branch(experiences: int = 3, values: bool = True) -> ResidualAttention:
    made = ResidualAttention(LENGTH, WIDTH, TORCHS)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for index in range(experiences):
            made.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
            made.prefixes[str(index)].data[1].normal_(std=float(values))
    return made


def attention() -> nn.MultiheadAttention:
    with torch.random.fork_rng():
        torch.manual_seed(2)
        made = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)
        nn.init.normal_(made.in_proj_bias)
        nn.init.normal_(made.out_proj.bias)
    return made


def tokens(rows: int, length: int = 5) -> Tensor:
    return torch.randn(rows, length, WIDTH, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def passed(made: ResidualAttention, ways: list[int], strength: list[float] | None = None) -> tuple[Tensor, Tensor]:
    """What attention gives, and what leaves the branch."""
    x, module = tokens(len(ways)), attention()
    ids = torch.tensor(ways)
    route = Route.given(ids) if strength is None else Route(ids, torch.tensor(strength))
    rows = Inputs({IMAGE: x}, {IMAGE: torch.ones(len(x), dtype=torch.bool)}, route=route)
    value, _ = module(x, x, x, need_weights=False)
    return value, made(Here(value, x, module), rows)


def branched(tower: str, values: bool = True, experiences: int = 3) -> tuple[Backbone, list[ResidualAttention]]:
    """A CLIP with branches in all blocks of a tower."""
    backbone = tiny_clip().eval()
    made = []
    for site in backbone.sites_of(tower, "attention"):
        made.append(ResidualAttention(LENGTH, site.width, TORCHS))
        backbone.attach("branches", site, made[-1])
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for index in range(experiences):
            backbone.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
        for each in made:
            for prefix in each.prefixes.values():
                prefix.data[1].normal_(std=float(values))
    return backbone, made


def inputs(tower: str, ids: list[int] | None, strength: list[float] | None = None) -> Inputs:
    rows = 4 if ids is None else len(ids)
    value = torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    if tower == TEXT:
        value = tiny_clip().tokenize(["alpha", "beta", "gamma", "delta"][:rows])
    route = None if ids is None else Route.given(torch.tensor(ids))
    if route is not None and strength is not None:
        route = route._replace(strength=torch.tensor(strength))
    return Inputs({tower: value}, {tower: torch.ones(rows, dtype=torch.bool)}, route=route)


@torch.no_grad()
def features(backbone: Backbone, batch: Inputs, tower: str) -> Tensor:
    return backbone.encode(batch).features[tower].pooled


def test_new_keys_are_uniform_and_new_values_nothing() -> None:
    made = ResidualAttention(40, 50, TORCHS, dtype=torch.float64)
    for index in (0, 1):
        made.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
    first, second = made.prefixes["0"].detach(), made.prefixes["1"].detach()
    assert first.shape == (2, 40, 50)
    assert first.dtype is torch.float64
    assert 0.99 < float(first[0].abs().max()) <= 1
    assert float(first[0].std()) == pytest.approx(3**-0.5, rel=0.05)
    assert not bool(first[1].any())
    assert not torch.equal(first[0], second[0])


@towers
def test_with_values_of_zero_everything_is_as_it_was_bit_for_bit_whatever_the_keys(tower: str) -> None:
    backbone, made = branched(tower, values=False)
    for each in made:
        for prefix in each.prefixes.values():
            prefix.data[0] *= 100
    batch = inputs(tower, [0, 1, 2, 0])
    assert torch.equal(features(backbone, batch, tower), features(tiny_clip().eval(), inputs(tower, None), tower))


@towers
def test_the_plain_way_and_rows_without_strength_are_the_pretrained_models_bit_for_bit(tower: str) -> None:
    backbone, _ = branched(tower)
    bare = features(tiny_clip().eval(), inputs(tower, None), tower)
    assert torch.equal(features(backbone, inputs(tower, None), tower), bare)
    assert torch.equal(features(backbone, inputs(tower, [PLAIN] * 4), tower), bare)
    assert torch.equal(features(backbone, inputs(tower, [0, 1, 2, 0], [0.0] * 4), tower), bare)
    among_others = features(backbone, inputs(tower, [1, PLAIN, 2, 0], [1.0, 1.0, 0.0, 0.5]), tower)
    assert torch.equal(among_others[1:3], bare[1:3])
    assert not torch.allclose(among_others[[0, 3]], bare[[0, 3]])


@towers
def test_a_mixed_batch_equals_its_rows_one_by_one(tower: str) -> None:
    backbone, _ = branched(tower)
    batch = inputs(tower, [2, PLAIN, 0, 2], [1.0, 1.0, 0.3, 0.6])
    together = features(backbone, batch, tower)
    alone = [features(backbone, batch.select(torch.tensor([row])), tower) for row in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))
    assert not torch.allclose(features(backbone, inputs(tower, [2] * 4), tower)[2:], together[2:])


def test_what_is_added_is_a_softmax_of_its_own_in_every_head_behind_the_output_projection() -> None:
    made, module, ways = branch(), attention(), [2, 0]
    value, found = passed(made, ways, [0.5, 1.0])
    x, d = tokens(2), WIDTH // HEADS
    W, b = cast(Tensor, module.in_proj_weight)[:WIDTH], module.in_proj_bias[:WIDTH]
    for row, (way, strength) in enumerate(zip(ways, [0.5, 1.0], strict=True)):
        K, V = made.prefixes[str(way)].detach()
        q = x[row] @ W.T + b
        heads = [
            (q[:, h : h + d] @ K[:, h : h + d].T / d**0.5).softmax(1) @ V[:, h : h + d] for h in range(0, WIDTH, d)
        ]
        added = strength * torch.cat(heads, 1) @ module.out_proj.weight.T
        torch.testing.assert_close(found[row] - value[row], added.detach())


def test_half_the_strength_is_half_of_what_is_added() -> None:
    value, whole = passed(branch(), [1, 1])
    _, half = passed(branch(), [1, 1], [0.5, 0.5])
    torch.testing.assert_close(half - value, (whole - value) / 2)


def test_every_token_attends_to_every_key_also_where_attention_is_causal() -> None:
    keys = torch.randn(1, LENGTH, WIDTH, generator=torch.Generator().manual_seed(0))
    values = torch.eye(LENGTH, WIDTH).unsqueeze(0)
    weights = attend_to(keys, values, tokens(1).unsqueeze(1))[0, 0, :, :LENGTH]
    assert bool((weights > 0).all())
    torch.testing.assert_close(weights.sum(1), torch.ones(5))
    backbone, made = branched(TEXT)
    first: list[Tensor] = []
    block = backbone.clip.transformer.resblocks[0]  # type: ignore[union-attr, index]
    handle = block.register_forward_hook(lambda _, arguments, returned: first.append(returned[:, 0]))  # type: ignore[operator]
    for last in (1.0, 9.0):
        made[0].prefixes["0"].data[:, -1] = last
        features(backbone, inputs(TEXT, [0] * 4), TEXT)
    handle.remove()
    assert not torch.allclose(*first), "the first token sees the last key"


def test_only_the_prefixes_of_one_experience_learn() -> None:
    backbone, made = branched(IMAGE)
    for each in made:
        each.train_only(1)
    backbone.encode(inputs(IMAGE, [0, 1, 2, 1])).features[IMAGE].pooled.square().sum().backward()  # type: ignore[no-untyped-call]
    for each in made:
        grads = {name: prefix.grad for name, prefix in each.prefixes.items()}
        assert [name for name, grad in grads.items() if grad is not None] == ["1"]
        assert bool(cast(Tensor, grads["1"])[0].any())
        assert bool(cast(Tensor, grads["1"])[1].any())


def test_calls_grow_with_the_ways_in_a_batch_and_not_with_those_there_are() -> None:
    def calls(experiences: int, ids: list[int]) -> int:
        backbone, _ = branched(IMAGE, experiences=experiences)
        events: list[str] = []
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            features(backbone, inputs(IMAGE, ids), IMAGE)
        finally:
            sys.setprofile(None)
        return sum(event.endswith("call") for event in events)

    assert calls(3, [2, 0, 2, 1]) == calls(300, [2, 0, 2, 1])
    assert calls(3, [1] * 40) == calls(3, [1] * 4)
