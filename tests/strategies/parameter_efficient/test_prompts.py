"""Prompts stand at their place, row by row, and plain rows know nothing of them."""

import sys
from functools import partial

import torch
from mmcl_strategies.parameter_efficient.prompts import Prompts, behind_class_token, in_place_of_words
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Backbone

LENGTH = 3


def prompted(tower: str, experiences: int = 3) -> tuple[Backbone, Prompts]:
    backbone = tiny_clip().eval()
    (site,) = backbone.sites_of(tower, "tokens")
    place = behind_class_token if tower == IMAGE else in_place_of_words
    prompts = Prompts(LENGTH, site.width, place=place, draw=nn.init.normal_, lengthens=tower == IMAGE)
    backbone.attach("prompts", site, prompts)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        for index in range(experiences):
            backbone.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
    return backbone, prompts


def inputs(tower: str, ids: list[int] | None) -> Inputs:
    rows = 4 if ids is None else len(ids)
    value = torch.randn(rows, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    if tower == TEXT:
        value = tiny_clip().tokenize([f"x x x {name}" for name in ("alpha", "beta", "gamma", "delta")[:rows]])
    route = None if ids is None else Route.given(torch.tensor(ids))
    return Inputs({tower: value}, {tower: torch.ones(rows, dtype=torch.bool)}, route=route)


@torch.no_grad()
def features(backbone: Backbone, tower: str, ids: list[int] | None) -> Tensor:
    return backbone.encode(inputs(tower, ids)).features[tower].pooled


def entering(backbone: Backbone, module: nn.Module, tower: str, ids: list[int]) -> Tensor:
    """What enters a module of a backbone."""
    seen: list[Tensor] = []
    handle = module.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    features(backbone, tower, ids)
    handle.remove()
    return seen[0]


def test_image_prompts_stand_between_class_token_and_patches_without_positions_before_the_first_norm() -> None:
    backbone, prompts = prompted(IMAGE)
    norm = backbone.clip.visual.ln_pre  # type: ignore[union-attr]
    plain = entering(backbone, norm, IMAGE, [PLAIN, PLAIN])  # type: ignore[arg-type]
    found = entering(backbone, norm, IMAGE, [2, 0])  # type: ignore[arg-type]
    expected = torch.stack([prompts.vectors["2"], prompts.vectors["0"]])
    assert torch.equal(found, torch.cat([plain[:, :1], expected, plain[:, 1:]], 1))


def test_text_prompts_stand_behind_the_start_and_get_the_positions_of_the_words_they_replace() -> None:
    backbone, prompts = prompted(TEXT)
    first = backbone.clip.transformer.resblocks[0]  # type: ignore[union-attr, index]
    positions = backbone.clip.positional_embedding  # type: ignore[union-attr]
    plain, found = (entering(backbone, first, TEXT, ids) for ids in ([PLAIN, PLAIN], [1, 0]))
    expected = plain.clone()
    expected[:, 1 : 1 + LENGTH] = torch.stack([prompts.vectors["1"], prompts.vectors["0"]]) + positions[1 : 1 + LENGTH]
    torch.testing.assert_close(found, expected)


def test_plain_rows_are_those_of_the_pretrained_model_bit_for_bit() -> None:
    for tower in (IMAGE, TEXT):
        backbone, _ = prompted(tower)
        bare = features(tiny_clip().eval(), tower, None)
        assert torch.equal(features(backbone, tower, None), bare)
        assert torch.equal(features(backbone, tower, [PLAIN] * 4), bare)
        weak = inputs(tower, [0, 1, 2, 0]).replace(route=Route(torch.tensor([0, 1, 2, 0]), torch.zeros(4)))
        with torch.no_grad():
            assert torch.equal(backbone.encode(weak).features[tower].pooled, bare)


def test_a_mixed_batch_equals_its_rows_one_by_one_plain_ones_among_them() -> None:
    for tower in (IMAGE, TEXT):
        backbone, _ = prompted(tower)
        batch = inputs(tower, [2, PLAIN, 0, 2])
        with torch.no_grad():
            together = backbone.encode(batch).features[tower].pooled
            alone = [backbone.encode(batch.select(torch.tensor([row]))).features[tower].pooled for row in range(4)]
        torch.testing.assert_close(together, torch.cat(alone))
        assert not torch.allclose(features(backbone, tower, [2, 2, 2, 2])[2], together[2])


def test_rows_that_lack_the_modality_and_plain_rows_may_stand_in_one_batch() -> None:
    backbone, _ = prompted(IMAGE)
    batch = inputs(IMAGE, [1, PLAIN, 0, 1]).replace(present={IMAGE: torch.tensor([True, True, False, True])})
    with torch.no_grad():
        found = backbone.encode(batch).features[IMAGE].pooled
        rest = backbone.encode(batch.select(torch.tensor([0, 1, 3]))).features[IMAGE].pooled
    assert found[2].tolist() == [0.0] * 16
    torch.testing.assert_close(found[[0, 1, 3]], rest)


def test_only_the_prompts_of_one_experience_learn() -> None:
    backbone, prompts = prompted(IMAGE)
    prompts.train_only(1)
    backbone.encode(inputs(IMAGE, [0, 1, 2, 1])).features[IMAGE].pooled.square().sum().backward()  # type: ignore[no-untyped-call]
    assert {name: vectors.grad is not None for name, vectors in prompts.vectors.items()} == {
        "0": False,
        "1": True,
        "2": False,
    }


def test_calls_grow_with_the_ways_in_a_batch_and_not_with_those_there_are() -> None:
    def calls(experiences: int, ids: list[int]) -> int:
        backbone, _ = prompted(IMAGE, experiences)
        events: list[str] = []
        sys.setprofile(lambda frame, event, argument: events.append(event))
        try:
            features(backbone, IMAGE, ids)
        finally:
            sys.setprofile(None)
        return sum(event.endswith("call") for event in events)

    assert calls(3, [2, 0, 2, 1]) == calls(300, [2, 0, 2, 1])
    assert calls(3, [1] * 40) == calls(3, [1] * 4)


def test_new_prompts_are_drawn_and_have_the_type_of_the_tower() -> None:
    draw = partial(nn.init.uniform_, a=-0.5, b=0.5)
    prompts = Prompts(50, 20, place=behind_class_token, draw=draw, lengthens=True, dtype=torch.float64)
    for index in (0, 1):
        prompts.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
    first, second = prompts.vectors["0"], prompts.vectors["1"]
    assert first.shape == (50, 20)
    assert first.dtype is torch.float64
    assert 0.45 < float(first.detach().abs().max()) <= 0.5
    assert not torch.equal(first, second)
