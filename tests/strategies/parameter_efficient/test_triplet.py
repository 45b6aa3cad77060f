"""Each modality has prompts that it finds by itself, and matrices of low rank tie them together."""

from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import pytest
import torch
from mmcl_strategies.parameter_efficient.layer_prompts import LayerPrompts, in_slots
from mmcl_strategies.parameter_efficient.task_classifiers import TaskClassifiers
from mmcl_strategies.parameter_efficient.triplet import FUSION_ENCODER, QUESTIONS, Triplet
from mmcl_strategies.replay.replay import Replay
from mmcl_strategies.routing.modality_matching import ModalityMatching
from torch import Tensor
from torch.nn import functional

from mmcl.backbones.flava import Flava, tiny_flava
from mmcl.backbones.flava_backbone import FlavaBackbone
from mmcl.backbones.openclip import GlyphCLIP
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Batch, Inputs
from mmcl.errors import CompositionError
from mmcl.learning.compose import Surroundings
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL, Scenario
from mmcl.testing.toy import toy_learner, toy_questions, weights

TOWERS = (IMAGE, TEXT, "fusion")
SMALL: dict[str, Any] = {"general_length": 2, "expert_length": 3, "rank": 4, "lr": 0.03}
ROWS = ("what colour", "which shape", "how many", "what colour")
PARTS = [[0, 1, 2], [1, 1, 0], [PLAIN] * 3, [2, 0, 1]]  # a way through each tower, row by row


def triplet(**options: Any) -> Triplet:
    return Triplet(**{**SMALL, **options})


@dataclass(kw_only=True, eq=False)
class Step(StrategyPlugin):
    """Keeps what the last step was about, and the model as it was in it."""

    model: list[MultimodalModel] = field(default_factory=list, init=False)
    batch: list[Batch] = field(default_factory=list, init=False)
    fused: list[Tensor] = field(default_factory=list, init=False)

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.model, self.batch = [deepcopy(learner.model)], [learner.batch]

    def after_forward(self, learner: Learner, **_: object) -> None:
        self.fused = [learner.output.features["fusion"].detach()]


def begun(
    strategy: Triplet, *, experiences: int = 3, steps: int = 3, scenario: Scenario = CIL, **training: Any
) -> tuple[Learner, Benchmark]:
    stream = toy_questions(scenario, experiences)
    settings = {"schedule": "constant", "iterations": steps, **training}
    strategies: dict[str, StrategyPlugin] = {"it": strategy, "step": Step()}
    return toy_learner(stream, strategies, backbone=tiny_flava(), **settings), stream


def learned(strategy: Triplet, **setting: Any) -> Learner:
    learner, stream = begun(strategy, **setting)
    for experience in stream.train:
        learner.train(experience)
    learner.model.eval()
    return learner


@cache
def shared() -> Learner:
    """One that has learned, for tests that leave it as it is."""
    return learned(triplet())


def asked(parts: list[list[int]] | None = None, strength: float = 1.0) -> Inputs:
    images = torch.randn(len(ROWS), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    present = torch.ones(len(ROWS), dtype=torch.bool)
    inputs = Inputs(
        {IMAGE: images, TEXT: tiny_flava().tokenize(ROWS)},
        {IMAGE: present, TEXT: present},
        asked=Asked(LabelSpace.of([f"answer {number}" for number in range(6)])),
    )
    if parts is None:
        return inputs
    ways = torch.tensor(parts)
    return inputs.replace(route=Route(ways[:, 2], torch.full((len(ways),), strength), of_parts=ways))


@torch.no_grad()
def features(model: MultimodalModel, inputs: Inputs) -> dict[str, Tensor]:
    return model.encode(inputs).features


@torch.no_grad()
def plain_queries(inputs: Inputs) -> Tensor:
    """``[B, 3, W]`` of a model that nobody has touched."""
    found = tiny_flava().encode(inputs.replace(route=None, task_ids=None)).features
    return torch.stack([found[name].tokens[:, 0] for name in TOWERS], dim=1)  # type: ignore[index]


def router_of(model: MultimodalModel) -> ModalityMatching:
    assert isinstance(model.router, ModalityMatching)
    return model.router


def prompts_of(model: MultimodalModel) -> dict[str, list[tuple[int, LayerPrompts]]]:
    """Tower -> the layers that have prompts, and these."""
    found: dict[str, list[tuple[int, LayerPrompts]]] = {}
    for name in TOWERS:
        backbone = model.backbone
        entrances = [*backbone.sites_of(name, "tokens"), *backbone.sites_of(name, "block")[:-1]]
        held = [(layer, getattr(site.exit, "addons", {})) for layer, site in enumerate(entrances)]
        found[name] = [(layer, addons["triplet"]) for layer, addons in held if "triplet" in addons]
    return found


# What the model computes.


def test_plain_rows_are_those_of_the_pretrained_model_bit_for_bit() -> None:
    bare = features(MultimodalModel(tiny_flava()).eval(), asked())
    for parts, strength in (([[PLAIN] * 3] * 4, 1.0), ([[0] * 3] * 4, 0.0)):
        found = features(shared().model, asked(parts, strength))
        assert all(torch.equal(found[name], bare[name]) for name in TOWERS)
    prompted = features(shared().model, asked([[0] * 3] * 4))
    assert not any(torch.allclose(prompted[name], bare[name]) for name in TOWERS)


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    batch = asked(PARTS)
    together = features(shared().model, batch)
    for row in range(len(ROWS)):
        alone = features(shared().model, batch.select(torch.tensor([row])))
        for name in TOWERS:
            torch.testing.assert_close(alone[name][0], together[name][row])


def passed(encoder: Any, tokens: Tensor, prompts: list[LayerPrompts], way: int, layer_norm: Any) -> Tensor:
    """One sequence through two layers: general slots filled in both, those of the experience in the second."""
    first, second = prompts
    sequence = torch.cat([tokens[:1], first.general, tokens[1:]])
    sequence = encoder.layer[0](sequence.unsqueeze(0))[0][0]
    sequence = torch.cat([sequence[:1], second.general, second.experts[str(way)], sequence[3:]])
    return encoder.layer[1](sequence.unsqueeze(0))[0][0]


@pytest.mark.parametrize("row", [0, 1, 3])
def test_each_tower_has_the_prompts_of_its_own_way_in_slots_that_every_layer_fills_anew(row: int) -> None:
    batch, flava = asked(PARTS), tiny_flava().flava
    of = {name: [prompts for _, prompts in layers] for name, layers in prompts_of(shared().model).items()}
    ways = dict(zip(TOWERS, PARTS[row], strict=True))
    tokens = batch[TEXT][row : row + 1]
    with torch.no_grad():
        entering = {IMAGE: flava.image_model.embeddings(batch[IMAGE][row : row + 1])[0]}
        entering[TEXT] = flava.text_model.embeddings(tokens[:, : int((tokens != 0).sum())])[0]
        left = {}
        for name, model in ((IMAGE, flava.image_model), (TEXT, flava.text_model)):
            left[name] = passed(model.encoder, entering[name], of[name], ways[name], model.layernorm)
        fused = [flava.image_to_mm_projection(left[IMAGE]), flava.text_to_mm_projection(left[TEXT])]
        model = flava.multimodal_model
        sequence = torch.cat([model.cls_token[0], *fused])
        last = model.layernorm(passed(model.encoder, sequence, of["fusion"], ways["fusion"], model.layernorm))
        image = flava.image_projection(flava.image_model.layernorm(left[IMAGE])[0])
    found = features(shared().model, batch)
    torch.testing.assert_close(found["fusion"][row], last[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[IMAGE][row], image, rtol=1e-4, atol=1e-5)


def test_slots_stand_behind_the_first_token_general_ones_first_and_are_filled_anew_or_kept() -> None:
    tokens = torch.tensor([[[0.0], [10.0], [20.0]]])
    general, expert = torch.tensor([[[1.0]]]), torch.tensor([[[2.0], [3.0]]])
    whole = in_slots(in_slots(tokens, general, None, (0, 0)), None, expert, (1, 0))
    assert whole.flatten().tolist() == [0, 1, 2, 3, 10, 20]
    assert in_slots(whole, -general, None, (1, 2)).flatten().tolist() == [0, -1, 2, 3, 10, 20]
    assert in_slots(whole, None, -expert, (1, 2)).flatten().tolist() == [0, 1, -2, -3, 10, 20]


def deep(*layers: int) -> FlavaBackbone:
    """A miniature with so many layers in its towers."""
    backbone = tiny_flava()
    models: Any = (backbone.flava.image_model, backbone.flava.text_model, backbone.flava.multimodal_model)
    for model, count in zip(models, layers, strict=True):
        while len(model.encoder.layer) < count:
            model.encoder.layer.append(deepcopy(model.encoder.layer[0]))
        model.config.num_hidden_layers = count
    return backbone


@pytest.mark.parametrize(
    ("layers", "options", "general", "experts"),
    [
        ((12, 12, 6), {}, [0, 1, 2], [2, 3, 4, 5]),
        ((8, 4, 6), {}, [0, 1, 2], [2, 3]),
        ((2, 2, 2), {}, [0, 1], [1]),
        ((5, 5, 5), {"general_layers": 1, "expert_start": 3, "expert_layers": 1}, [0], [3]),
        ((4, 4, 4), {"general_layers": 2, "expert_start": 0, "expert_layers": 1}, [0, 1], [0]),
    ],
)
def test_general_prompts_are_in_the_first_layers_and_those_of_experiences_in_later_ones(
    layers: tuple[int, int, int], options: dict[str, int], general: list[int], experts: list[int]
) -> None:
    stream = toy_questions(CIL, 1)
    learner = toy_learner(stream, {"it": triplet(**options)}, backbone=deep(*layers), iterations=1)
    learner.train(stream.train[0])
    for name, found in prompts_of(learner.model).items():
        assert [layer for layer, prompts in found if len(prompts.general)] == general, name
        assert [layer for layer, prompts in found if prompts.experts] == experts, name
    sizes = learner.model.encode(asked()).tokens
    bare = {name: encoded.tokens.shape[1] for name, encoded in tiny_flava().encode(asked()).features.items()}  # type: ignore[union-attr]
    slots = SMALL["general_length"] + SMALL["expert_length"]
    assert sizes[IMAGE].shape[1] == bare[IMAGE] + slots
    assert sizes["fusion"].shape[1] == bare["fusion"] + 3 * slots


# What is trained.


def test_what_belongs_to_earlier_experiences_stays_bit_for_bit_and_what_all_share_learns_on() -> None:
    learner, stream = begun(triplet())
    for experience in stream.train:
        learner.meet(experience)
        before = weights(learner)
        learner.train(experience)
        after = weights(learner)
        found = {name for name, value in after.items() if not torch.equal(value, before[name])}
        now = str(experience.index)
        own = {name for name in before if ".experts." in name or name.startswith("router.keys.")}
        own |= {name for name in before if name.startswith("head.classifiers.")}
        own = {name for name in own if now in name.replace("parts.triplet", "").split(".")[-2:]}
        common = {n for n, value in before.items() if (n.endswith(".general") and len(value)) or n.startswith("parts.")}
        assert found == own | common
        assert {name.split(".")[0] for name in own} == {"backbone", "router", "head"}


def test_remembered_samples_pass_their_own_prompts_which_stay_as_they_are() -> None:
    stream = toy_questions(CIL, 2)
    strategies: dict[str, StrategyPlugin] = {"it": triplet(), "replay": Replay(size=8)}
    learner = toy_learner(stream, strategies, backbone=tiny_flava(), iterations=4, schedule="constant")
    learner.train(stream.train[0])
    before = weights(learner)
    learner.train(stream.train[1])
    after = weights(learner)
    first = [name for name in before if name.endswith(".experts.0") or name.startswith(("router.keys.0", "head.c"))]
    assert len(first) == 6
    assert all(torch.equal(before[name], after[name]) for name in first)


def test_prompts_of_an_experience_begin_as_those_of_the_one_before_and_keys_anew() -> None:
    learner, stream = begun(triplet())
    learner.train(stream.train[0])
    learner.meet(stream.train[1])
    for layers in prompts_of(learner.model).values():
        for _, prompts in layers:
            if prompts.experts:
                assert torch.equal(prompts.experts["0"], prompts.experts["1"])
                assert prompts.experts["0"] is not prompts.experts["1"]
    assert not torch.equal(router_of(learner.model).keys["0"], router_of(learner.model).keys["1"])


def matrices_of(model: MultimodalModel) -> list[Any]:
    return list(model.parts["triplet"].children())


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm()


@pytest.mark.parametrize("options", [{}, {"matching": 0.4, "interaction": 0.7, "stability": 0.9}])
def test_terms_are_those_of_their_definitions(options: dict[str, float]) -> None:
    strategy = triplet(**options)
    learner, stream = begun(strategy, steps=2, label_smoothing=0.1)
    ends: list[list[Tensor]] = []
    step: Any = learner.strategies["step"]
    for index, experience in enumerate(stream.train):
        learner.train(experience)
        terms = {name: value.detach() for name, value in learner.loss_terms.items()}
        ((model,), (batch,), (rows,)) = step.model, step.batch, step.fused
        with torch.no_grad():
            keys = router_of(model).keys[str(index)]
            expected = torch.zeros(())
            for row in plain_queries(batch.inputs):
                expected = expected - sum(unit(row[m]) @ unit(keys[m]) for m in range(3))
            torch.testing.assert_close(terms["it/matching"], strategy.matching * expected)
            agreements, now = torch.zeros(()), []
            layers = zip(*(prompts_of(model)[name] for name in TOWERS), strict=True)
            for matrix, of_layer in zip(matrices_of(model), layers, strict=True):
                parts = [[p.general, *([p.experts[str(index)]] if p.experts else [])] for _, p in of_layer]
                image, question, fusion = map(torch.cat, parts)
                w = [matrix.u[m] @ matrix.v[m].T for m in range(3)]
                pairs = zip(image, question, strict=True)
                wanted = torch.stack([w[0] @ i + w[1] @ q + w[2] @ (i * q) for i, q in pairs])
                agreements = agreements + unit(wanted.flatten()) @ unit(fusion.flatten())
                now.append(torch.stack(w))
            torch.testing.assert_close(terms["it/interaction"], -strategy.interaction * agreements)
            if not ends:
                assert "it/stability" not in terms
            else:
                moved = torch.stack([(a - b).square().sum() for a, b in zip(now, ends[-1], strict=True)]).sum()
                assert float(moved) > 0
                torch.testing.assert_close(terms["it/stability"], strategy.stability * moved)
            classifier: Any = model.head.classifiers[str(index)]  # type: ignore[union-attr,index]
            columns = batch.targets - 2 * index
            task = functional.cross_entropy(classifier(rows), columns, label_smoothing=0.1)
            torch.testing.assert_close(terms["task"], task)
            ends.append([matrix.whole.clone() for matrix in matrices_of(learner.model)])


def test_matrices_are_held_where_the_experience_before_has_left_them_and_not_where_they_began() -> None:
    learner, stream = begun(triplet(stability=1.0))
    strategy: Any = learner.strategies["it"]
    for experience in stream.train:
        learner.train(experience)
        for matrix, u, v in zip(matrices_of(learner.model), strategy.state.u, strategy.state.v, strict=True):
            assert torch.equal(matrix.u, u)
            assert torch.equal(matrix.v, v)
            assert matrix.u.data_ptr() != u.data_ptr()


def test_stability_pulls_matrices_back_to_those_of_the_experience_before() -> None:
    moved = []
    for stability in (0.0, 1000.0):
        learner, stream = begun(triplet(stability=stability), steps=8)
        learner.train(stream.train[0])
        before = [matrix.whole.detach().clone() for matrix in matrices_of(learner.model)]
        learner.train(stream.train[1])
        after = [matrix.whole.detach() for matrix in matrices_of(learner.model)]
        moved.append(float(sum((a - b).square().sum() for a, b in zip(after, before, strict=True))))
    assert moved[1] < 0.5 * moved[0]


def test_matrices_have_the_rank_of_the_option() -> None:
    for rank in (1, 3):
        learner, stream = begun(triplet(rank=rank), experiences=1)
        learner.train(stream.train[0])
        for matrix in matrices_of(learner.model):
            assert torch.linalg.matrix_rank(matrix.whole.detach()).tolist() == [rank] * 3
            # products keep about the length of what they are multiplied with
            assert 0.1 < float(matrix.whole.detach().square().sum((1, 2)).mean()) / 16 < 10


@pytest.mark.parametrize("term", ["matching", "interaction", "stability"])
def test_without_a_weight_there_is_no_term(term: str) -> None:
    strategy = triplet(**{term: 0.0})
    found = set(learned(strategy, experiences=2, steps=1).loss_terms)
    assert found == {"task", *(f"it/{name}" for name in {"matching", "interaction", "stability"} - {term})}
    assert term not in strategy.terms().loss


def test_keys_learn_by_matching_alone_and_prompts_of_image_and_question_by_all_else() -> None:
    learner, stream = begun(triplet(matching=0.0), experiences=1)
    learner.meet(stream.train[0])
    before = weights(learner)
    learner.train(stream.train[0])
    assert torch.equal(before["router.keys.0"], router_of(learner.model).keys["0"])


def test_the_network_is_the_one_that_is_evaluated_and_stays_frozen() -> None:
    learner, stream = begun(triplet(), experiences=1)
    bare = dict(tiny_flava().named_parameters())
    learner.train(stream.train[0])
    assert not any(module.training for module in learner.model.backbone.modules())
    for name, parameter in learner.model.backbone.named_parameters():
        if ".addons." not in name:
            assert torch.equal(parameter, bare[name])
            assert not parameter.requires_grad


def test_without_a_rate_of_its_own_it_has_that_of_the_training_settings() -> None:
    learner, stream = begun(triplet(lr=None), experiences=1)
    learner.train(stream.train[0])
    assert list(learner.strategies["it"].rates(learner)) == []
    own, _ = begun(triplet(), experiences=1)
    own.meet(stream.train[0])
    given = {id(parameter): rate for parameter, rate in own.strategies["it"].rates(own)}
    trained = [p for n, p in own.model.named_parameters() if not n.startswith("backbone") or ".addons." in n]
    assert given == {id(parameter): 0.03 for parameter in trained}


# Who finds the way, and who answers.


def test_queries_are_first_tokens_of_the_frozen_encoders_without_prompts() -> None:
    route = shared().model.encode(asked()).route
    assert route is not None
    torch.testing.assert_close(router_of(shared().model).queries(route), plain_queries(asked()))
    told = shared().model.encode(asked().with_task_ids(torch.tensor([2, 1, 0, 2]))).route
    assert told is not None
    assert told.ids.tolist() == [2, 1, 0, 2]
    assert told.of_parts is None


def test_each_modality_finds_its_experience_by_its_own_key() -> None:
    learner, queries = learned(triplet(), steps=1), plain_queries(asked())
    with torch.no_grad():
        for part, way in ((0, 1), (1, 2), (2, 0)):
            for index in range(3):
                sign = 1 if index == way else -1
                router_of(learner.model).keys[str(index)][part] = sign * queries[0, part]
    route = learner.model.encode(asked()).route
    assert route is not None
    assert route.of_parts is not None
    assert route.of_parts[0].tolist() == [1, 2, 0]
    assert int(route.ids[0]) == 0


def head(classes: dict[int, list[int]], width: int = 4) -> TaskClassifiers:
    made = TaskClassifiers(width, "fusion")
    for index, ids in classes.items():
        made._classes[str(index)] = ids
        made.classifiers[str(index)] = torch.nn.Linear(width, len(ids))
    return made


def scored(made: TaskClassifiers, ways: list[int], space: LabelSpace) -> tuple[Tensor, Tensor]:
    rows = torch.randn(len(ways), 4, generator=torch.Generator().manual_seed(0))
    output = Output(torch.zeros_like(rows), {"fusion": rows}, route=Route.given(torch.tensor(ways)))
    predicted = made.predict(output, asked(), space)
    for row, way in enumerate(ways):
        if way != PLAIN:
            classifier: Any = made.classifiers[str(way)]
            columns = [space.ids.index(id_) for id_ in made._classes[str(way)]]
            torch.testing.assert_close(predicted[row, columns], classifier(rows[row]))
    return made.score(output, asked(), space), predicted


def test_a_row_is_answered_by_the_classifier_of_its_way_and_never_with_a_class_that_this_does_not_know() -> None:
    made, space = head({0: [0, 1], 3: [4, 2]}), LabelSpace.of(list("abcde"))
    trained, predicted = scored(made, [3, 0, PLAIN, 3], space)
    assert predicted.argmax(1).tolist()[0] in (4, 2)
    assert predicted.argmax(1).tolist()[1] in (0, 1)
    assert predicted.softmax(1)[0, [0, 1, 3]].tolist() == [0.0] * 3
    assert predicted[2].tolist() == [0.0] * 5
    assert trained[0, [0, 1, 3]].tolist() == [0.0] * 3
    assert predicted.isfinite().all()
    assert predicted.half().isfinite().all()


def test_a_class_of_two_experiences_has_a_unit_in_each() -> None:
    learner = learned(triplet(), scenario=DIL, experiences=2, steps=2)
    classifiers: Any = learner.model.head.classifiers  # type: ignore[union-attr]
    assert [len(classifiers[str(index)].bias) for index in (0, 1)] == [2, 2]
    assert not torch.equal(classifiers["0"].weight, classifiers["1"].weight)
    made = head({0: [0, 1], 1: [0, 1]})
    assert made.knows(LabelSpace.of(["a", "b"]))
    assert not made.knows(LabelSpace.of(["a", "b", "c"]))
    assert not head({}).knows(LabelSpace.of(["a"]))


def test_the_classifier_is_that_of_the_way_of_the_fusion() -> None:
    batch, model = asked(PARTS), shared().model
    with torch.no_grad():
        output = model.predict(batch)
    assert output.logits is not None
    answers = output.logits.argmax(1).tolist()
    for row in (0, 1, 3):
        assert answers[row] // 2 == PARTS[row][2]


def test_questions_lead_to_their_experience_and_are_answered_better_than_by_chance() -> None:
    stream = toy_questions(CIL, 3, per_class=24)
    learner = toy_learner(
        stream, {"it": triplet(lr=0.06)}, backbone=tiny_flava(), iterations=80, batch_size=16, schedule="constant"
    )
    for experience in stream.train:
        learner.train(experience)
    right, count = 0, 0
    for experience in stream.test:
        (batch,) = learner.one_pass(experience.samples, len(experience.samples))
        inputs = batch.inputs.replace(asked=Asked(learner.label_space))
        with torch.no_grad():
            hidden = learner.model.encode(inputs.with_task_ids(None)).route
            told = learner.model.predict(inputs.with_task_ids(batch.task_ids)).logits
        assert hidden is not None
        assert hidden.of_parts is not None
        assert told is not None
        assert (hidden.of_parts[:, 1] == experience.index).all(), "the question says which experience it is"
        right += int((torch.tensor(learner.label_space.ids)[told.argmax(1)] == batch.targets).sum())
        count += len(batch.targets)
    assert right > 0.7 * count


def test_hundreds_of_experiences_can_be_learned() -> None:
    stream = toy_questions(CIL, 200, per_class=1)
    learner = toy_learner(stream, {"it": triplet()}, backbone=tiny_flava(), iterations=1)
    for experience in stream.train:
        learner.meet(experience)
        if experience.index % 40 == 39:
            learner.train(experience)
    route = learner.model.eval().encode(asked()).route
    assert route is not None
    assert len(router_of(learner.model).keys) == 200
    assert learner.model.head.knows(learner.label_space)


# Where it is refused.


def test_it_asks_for_an_encoder_of_both_and_for_samples_that_have_both() -> None:
    both, one = frozenset({IMAGE, TEXT}), frozenset({IMAGE})
    assert FUSION_ENCODER.met(Surroundings(towers=Flava().reads))
    assert not FUSION_ENCODER.met(Surroundings(towers=GlyphCLIP().reads))
    assert QUESTIONS.met(Surroundings(scenario=TIL, modalities=both))
    assert QUESTIONS.met(Surroundings()) is None
    assert not QUESTIONS.met(Surroundings(scenario=TIL, modalities=one))
    assert not QUESTIONS.met(Surroundings(scenario=MDTIL, modalities=both))


def test_encoders_of_unlike_widths_inside_are_refused() -> None:
    backbone = tiny_flava()
    sites = backbone.sites

    def narrower(tower: str) -> Any:
        return [site._replace(width=8) if tower == TEXT else site for site in sites(tower)]

    backbone.sites = narrower  # type: ignore[method-assign]
    with pytest.raises(CompositionError, match=r"tokens of the widths 16 \(image\), 8 \(text\), 16 \(fusion\)"):
        toy_learner(toy_questions(CIL, 1), {"it": triplet()}, backbone=backbone)


def test_a_backbone_without_places_for_prompts_is_refused() -> None:
    backbone = tiny_flava()
    backbone.sites = lambda tower: []  # type: ignore[method-assign]
    with pytest.raises(CompositionError, match="tower 'image' shows no site of kind 'tokens'"):
        toy_learner(toy_questions(CIL, 1), {"it": triplet()}, backbone=backbone)
