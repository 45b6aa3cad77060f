"""One set of deep prompts serves both towers and all experiences, and moves less the fewer classes are new."""

from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.coupled_prompts import CoupledPrompts, LanguagePrompts, VisionPrompts
from mmcl_strategies.parameter_efficient.cpe_clip import CPECLIP, session_multiplier
from mmcl_strategies.routing.latest import Latest
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.heads import TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import PlainBackbone
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

from .pools import (
    CLASSES,
    SPACE,
    features,
    images,
    moved,
)

LAYERS = 3


def deep() -> Any:
    """A miniature with as many blocks in either tower."""
    backbone = tiny_clip()
    for seed in range(1, LAYERS):
        other: Any = tiny_clip(seed).clip
        backbone.clip.visual.transformer.resblocks.append(other.visual.transformer.resblocks[0])  # type: ignore[union-attr, operator]
        backbone.clip.transformer.resblocks.append(other.transformer.resblocks[0])  # type: ignore[union-attr, operator]
    return backbone


def begun(
    experiences: int = 3, steps: int = 3, others: dict[str, StrategyPlugin] | None = None, **options: Any
) -> tuple[Learner, Benchmark]:
    stream = toy_benchmark(CIL, experiences, CLASSES)
    strategies = {"it": CPECLIP(**{"lr": 0.05, **options}), **(others or {})}
    return toy_learner(stream, strategies, backbone=deep(), schedule="constant", iterations=steps), stream


def learned(**setting: Any) -> Learner:
    learner, stream = begun(**setting)
    for experience in stream.train:
        learner.train(experience)
    learner.model.eval()
    return learner


@cache
def shared() -> Learner:
    """One that has learned, for tests that leave it as it is."""
    return learned()


def prompts_of(learner: Learner) -> CoupledPrompts:
    (prompts,) = [module for module in learner.model.modules() if isinstance(module, CoupledPrompts)]
    return prompts


@torch.no_grad()
def bare(inputs: Inputs) -> tuple[Tensor, Tensor]:
    """Features and scores of the pre-trained model, which nobody has touched."""
    output = MultimodalModel(deep()).eval()(inputs.replace(route=None))
    return output.features[IMAGE], output.logits


def entering(learner: Learner, tower: str, way: int) -> list[Tensor]:
    """What each block of a tower reads."""
    seen: list[Tensor] = []
    blocks = [site.entry for site in learner.model.backbone.sites_of(tower, "block")]
    handles = [block.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0])) for block in blocks]
    with torch.no_grad():
        learner.model(images((way,) * 6))
    for handle in handles:
        handle.remove()
    return seen


def test_plain_rows_are_those_of_the_pretrained_model_bit_for_bit_with_its_templates() -> None:
    found, scores = bare(images())
    for batch in (images((PLAIN,) * 6), images((0,) * 6, strength=0.0)):
        with torch.no_grad():
            output = shared().model(batch)
        assert torch.equal(output.features[IMAGE], found)
        assert torch.equal(output.logits, scores)
    assert not torch.allclose(features(shared(), images((0,) * 6)), found)


def test_before_anything_is_learned_answers_are_those_of_the_pretrained_model() -> None:
    learner, _ = begun()
    learner.model.eval()
    with torch.no_grad():
        assert torch.equal(learner.model(images()).logits, bare(images())[1])


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    learner, ids = shared(), (0, PLAIN, 2, 1, PLAIN, 2)
    batch = images(ids)
    alone = [features(learner, batch.select(torch.tensor([row]))) for row in range(6)]
    torch.testing.assert_close(features(learner, batch), torch.cat(alone))
    with torch.no_grad():
        scores = [learner.model(batch.select(torch.tensor([row]))).logits for row in range(6)]
        torch.testing.assert_close(learner.model(batch).logits, torch.cat(scores))


def test_texts_on_several_ways_equal_themselves_one_by_one() -> None:
    backbone, ids = shared().model.backbone, torch.tensor([0, PLAIN, 1, 0])
    tokens = backbone.tokenize([f"X X {name}." for name in SPACE.names[:4]])
    route = images((0,) * 6).route
    assert route is not None
    route = route.select(torch.arange(4))._replace(ids=ids)
    with torch.no_grad():
        together = backbone.encode_texts(tokens, route)
        alone = [backbone.encode_texts(tokens[[row]], route.select(torch.tensor([row]))) for row in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_nothing_pretrained_moves_and_what_is_added_does_not_grow() -> None:
    learner, stream = begun()
    sizes = set()
    for experience in stream.train:
        learner.meet(experience)
        before = weights(learner)
        learner.train(experience)
        assert moved(learner, before) == {name for name in before if "addons.it" in name or "addons.cpe_clip" in name}
        sizes.add(sum(value.numel() for value in weights(learner).values()))
    assert len(sizes) == 1


def test_images_see_prompts_of_all_layers_so_far_at_their_end_and_texts_those_of_one() -> None:
    learner, rows = shared(), slice(-2, None)
    prompts = prompts_of(learner)
    plain, found = entering(learner, IMAGE, PLAIN), entering(learner, IMAGE, 0)
    assert [block.shape[1] for block in plain] == [5] * LAYERS
    assert [block.shape[1] for block in found] == [5 + 2 * (layer + 1) for layer in range(LAYERS)]
    norm: Any = learner.model.backbone.clip.visual.ln_pre  # type: ignore[union-attr]
    with torch.no_grad():
        for layer, block in enumerate(found):
            own = prompts.vision(layer)
            torch.testing.assert_close(block[0, rows], own if layer else norm(own))
    torch.testing.assert_close(found[0][:, :5], plain[0])
    texts = entering(learner, TEXT, 0)
    positions: Any = learner.model.backbone.clip.positional_embedding  # type: ignore[union-attr]
    for layer, block in enumerate(texts):
        assert block.shape[1] == 20
        own = prompts.language[layer].detach() + (0 if layer else positions[1:3].detach())
        torch.testing.assert_close(block[:, 1:3], own.expand(len(block), -1, -1))


def test_words_behind_prompts_have_the_positions_behind_them_and_are_pooled_there() -> None:
    learner, name = shared(), SPACE.names[0]
    clip: Any = deep().eval().clip
    tokens = learner.model.backbone.tokenize([f"{name}."])
    prompts = prompts_of(learner)
    with torch.no_grad():
        x = clip.token_embedding(tokens)
        length = int((tokens[0] == 2).int().argmax()) + 1
        x = torch.cat([x[:, :1], prompts.language[:1], x[:, 1:length]], 1)
        x = x + clip.positional_embedding[: length + 2]
        mask = torch.full((length + 2, length + 2), -torch.inf).triu(1)
        for layer, block in enumerate(clip.transformer.resblocks):
            x = torch.cat([x[:, :1], prompts.language[[layer]], x[:, 3:]], 1) if layer else x
            x = block(x, attn_mask=mask)
        expected = nn.functional.normalize(clip.ln_final(x)[:, length + 1] @ clip.text_projection, dim=1)
        head = learner.model.head
        assert isinstance(head, TextHead)
        found = head.text_features(SPACE, (0, 1.0))[:1]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_without_the_map_images_have_its_bias_alone_whatever_the_prompts_are() -> None:
    learner = learned()
    prompts = prompts_of(learner)
    found = []
    with torch.no_grad():
        prompts.to_vision.weight.zero_()
        for _ in range(2):
            found.append(features(learner, images((0,) * 6)))
            prompts.language.normal_()
        assert torch.equal(found[0], found[1])
        prompts.to_vision.bias.normal_()
        assert not torch.allclose(features(learner, images((0,) * 6)), found[0])


def test_every_layer_of_the_prompts_has_gradient_from_both_towers() -> None:
    learner = shared()
    prompts = prompts_of(learner)
    batch = images((0,) * 6)
    tokens = learner.model.backbone.tokenize([f"X X {name}." for name in SPACE.names])
    outputs = learner.model.encode(batch).features[IMAGE], learner.model.backbone.encode_texts(tokens, batch.route)
    for output in outputs:
        (gradient,) = torch.autograd.grad(output.square().sum(), [prompts.language])
        assert bool(gradient.abs().sum((1, 2)).all())


def test_the_loss_does_not_depend_on_the_scores_of_earlier_classes() -> None:
    class Spoilt(StrategyPlugin):
        def __init__(self, shift: float) -> None:
            self.shift, self.tasks, self.columns = shift, [], set()  # type: ignore[var-annotated]

        def after_forward(self, learner: Learner, **_: object) -> None:
            assert learner.output.logits is not None
            self.columns.add(learner.output.logits.shape[1])
            if learner.current.index:
                learner.output.logits[:, :CLASSES] += self.shift

        def before_backward(self, learner: Learner, **_: object) -> None:
            self.tasks.append(float(learner.loss_terms["task"].detach()))

    found = []
    for shift in (0.0, 50.0):
        spoilt = Spoilt(shift)
        learned(experiences=2, others={"spoilt": spoilt})
        found.append(spoilt.tasks)
        assert spoilt.columns == {CLASSES, 2 * CLASSES}
    assert found[0] == found[1]


class Gradients(StrategyPlugin):
    """Notes the gradient of the loss, what the optimiser is given, and the rate."""

    def __init__(self) -> None:
        self.ratios: list[set[float]] = []
        self.seen: set[float] = set()

    def after_backward(self, learner: Learner, **_: object) -> None:
        self.of_loss = [parameter.grad.clone() for parameter in prompts_of(learner).parameters()]  # type: ignore[union-attr]

    def before_update(self, learner: Learner, **_: object) -> None:
        given = [parameter.grad for parameter in prompts_of(learner).parameters()]
        ratios = [(g.norm() / old.norm()) for g, old in zip(given, self.of_loss, strict=True)]  # type: ignore[union-attr]
        self.ratios.append({round(float(ratio), 4) for ratio in ratios})
        self.seen |= {group["lr"] for group in learner.optimizer.param_groups}


@pytest.mark.parametrize(("scaled", "expected"), [(True, [{1.0}, {0.5}, {0.3333}]), (False, [{1.0}] * 3)])
def test_gradients_and_not_rates_shrink_with_the_share_of_new_classes(scaled: bool, expected: list[set[float]]) -> None:
    gradients = Gradients()
    learned(steps=1, others={"gradients": gradients}, scaled=scaled)
    assert gradients.ratios == expected
    assert gradients.seen == {0.05}


@pytest.mark.parametrize(("optimizer", "scaled", "said"), [("adamw", True, 1), ("sgd", True, 0), ("adamw", False, 0)])
def test_a_run_says_that_adam_divides_the_multiplier_out(optimizer: str, scaled: bool, said: int) -> None:
    stream = toy_benchmark(CIL, 3, CLASSES)
    learner = toy_learner(stream, {"it": CPECLIP(scaled=scaled)}, optimizer=optimizer, iterations=1)
    for experience in stream.train:
        learner.train(experience)
    assert sum("adamw divides them by their size again" in remark for remark in learner.remarks) == said


def test_the_multiplier_is_the_share_of_the_newest_and_one_in_the_first_session() -> None:
    assert session_multiplier([60]) == 1
    assert session_multiplier([60, 5]) == 5 / 65
    assert session_multiplier([60, *[5] * 8]) == 0.05


def test_prompts_begin_xavier_uniform_over_three_axes() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prompts = CoupledPrompts(12, 2, 512, 768)
    assert float(prompts.language.detach().abs().max()) == pytest.approx((6 / (14 * 512)) ** 0.5, rel=1e-3)
    assert sum(parameter.numel() for parameter in prompts.parameters()) == 406_272


@pytest.mark.parametrize(("depth", "expected"), [(1, 1), (2, 2), (12, LAYERS)])
def test_prompts_stand_in_the_first_layers_of_both_towers(depth: int, expected: int) -> None:
    learner, _ = begun(depth=depth)
    assert len(prompts_of(learner).language) == expected
    for kind in (LanguagePrompts, VisionPrompts):
        assert len([module for module in learner.model.modules() if isinstance(module, kind)]) == expected


def test_the_network_is_in_evaluation_mode() -> None:
    class Modes(StrategyPlugin):
        def before_forward(self, learner: Learner, **_: object) -> None:
            assert not any(module.training for module in learner.model.backbone.modules())

    learned(experiences=1, others={"modes": Modes()})


def test_a_hundred_experiences_are_learned_with_one_set_of_prompts() -> None:
    stream = toy_benchmark(CIL, 100, 1, per_class=1)
    learner = toy_learner(stream, {"it": CPECLIP()}, iterations=1)
    before = {name: value.shape for name, value in weights(learner).items()}
    for experience in stream.train:
        learner.train(experience)
    assert {name: value.shape for name, value in weights(learner).items()} == before


def test_prompts_without_room_beside_the_names_are_refused() -> None:
    learner, stream = begun(length=18)
    with pytest.raises(ConfigError, match=r"cpe_clip\.length: 18 words, and the class .* leaves room for 17"):
        learner.train(stream.train[0])


def test_a_backbone_that_does_not_show_its_tokens_or_pools_all_of_them_is_refused() -> None:
    backbone = PlainBackbone(nn.Flatten(), (3, 32, 32), 3 * 32 * 32)
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind"):
        toy_learner(toy_benchmark(CIL), {"it": CPECLIP()}, backbone=backbone)
    other = tiny_clip()
    other.clip.visual.pool_type = "avg"  # type: ignore[union-attr]
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'outputs'"):
        toy_learner(toy_benchmark(CIL), {"it": CPECLIP()}, backbone=other)


def test_a_router_of_somebody_else_stays() -> None:
    class Own(StrategyPlugin):
        def adapt_model(self, learner: Learner) -> None:
            self.router = learner.model.router = Latest()

    own, stream = Own(), toy_benchmark(CIL, 1)
    assert toy_learner(stream, {"own": own, "it": CPECLIP()}).model.router is own.router


@pytest.mark.parametrize(("lr", "rate"), [(0.5, 0.5), (None, 1e-3)])
def test_all_that_is_trained_has_the_rate_of_the_option(lr: float | None, rate: float) -> None:
    gradients = Gradients()
    learned(experiences=1, others={"gradients": gradients}, lr=lr)
    assert gradients.seen == {rate}
