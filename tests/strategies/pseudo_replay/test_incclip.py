"""IncCLIP's reconstruction: hard but wrong texts, replayed pairs, and weights whose norms do not grow."""

import pytest
import torch
from mmcl_strategies.pseudo_replay.incclip import (
    IncCLIP,
    clip_norms,
    contrast_with_negatives,
    inverted,
    outside_band,
)
from torch import Tensor
from torch.nn import functional

from mmcl.backbones.openclip import tiny_clip
from mmcl.build import surroundings
from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import CompositionError, ConfigError
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.multimodal import MultimodalModel
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_benchmark, toy_learner, toy_pairs, weights


class Peek(StrategyPlugin):
    """Notes batches, terms and negatives."""

    def __init__(self, strategy: IncCLIP) -> None:
        self.strategy = strategy
        self.tasks: list[Tensor] = []
        self.terms: list[set[str]] = []
        self.negatives: list[Tensor | None] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        self.tasks.append(learner.batch.task_ids)
        self.terms.append(set(learner.loss_terms))
        self.negatives.append(self.strategy._negatives)


def trained(strategy: IncCLIP, experiences: int = 2, **training: object) -> tuple[Learner, Peek]:
    benchmark, peek = toy_pairs(experiences=experiences), Peek(strategy)
    learner = toy_learner(benchmark, {"incclip": strategy, "peek": peek}, **{"lr": 1e-2, **training})
    for experience in benchmark.train:
        learner.train(experience)
    return learner, peek


def test_a_batch_is_half_new_and_half_remembered_from_the_second_experience_on() -> None:
    _, peek = trained(IncCLIP(size=6))
    assert all(tasks.tolist() == [0] * len(tasks) for tasks in peek.tasks[:4])
    assert all(tasks.tolist() == [1] * 4 + [0] * 4 for tasks in peek.tasks[4:7])
    assert peek.terms[3] == {"task"}
    assert peek.terms[4] == {"task", "incclip/distillation"}


def test_the_memory_is_a_reservoir_over_everything_seen() -> None:
    counts = torch.zeros(2)
    for seed in range(40):
        benchmark, strategy = toy_pairs(pairs=4), IncCLIP(size=4, steps=1)
        learner = toy_learner(benchmark, {"incclip": strategy}, seed=seed, iterations=1)
        for experience in benchmark.train:
            learner.train(experience)
        assert len(strategy.state.records) == 4
        assert strategy.state.keys == sorted(strategy.state.keys, reverse=True)
        for record in strategy.state.records:
            counts[record["task_id"]] += 1
    # 160 places, each with an old pair with probability 1/2
    assert 55 < float(counts[0]) < 105


def test_negatives_are_made_once_an_experience_by_the_old_model() -> None:
    _, peek = trained(IncCLIP(size=6))
    assert peek.negatives[0] is None
    assert peek.negatives[4] is not None
    assert peek.negatives[4].shape == (6, 8, 16)
    assert all(negatives is peek.negatives[4] for negatives in peek.negatives[4:])
    assert not peek.negatives[4].requires_grad


def test_an_inverted_text_lies_in_the_band_below_the_true_pair() -> None:
    backbone, strategy = tiny_clip(), IncCLIP()
    model = MultimodalModel(backbone)
    backbone.requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    image = encoded(backbone, IMAGE, torch.randn(16, 3, 32, 32, generator=generator)).pooled
    start = backbone.token_embedding(torch.randint(2000, (16, 8), generator=generator))
    text = strategy._encoded(model, start.flip(0))
    options = {"margin": 0.1, "band": 0.1, "rate": 0.01}
    found = inverted(lambda e: strategy._encoded(model, e), start, image, text, steps=100, **options)  # type: ignore[arg-type]
    high = functional.cosine_similarity(image, text) - 0.1
    before, after = (
        outside_band(functional.cosine_similarity(image, strategy._encoded(model, e)), high - 0.1, high)
        for e in (start, found)
    )
    assert float((before > 0.01).float().mean()) > 0.5
    assert float((after < 0.01).float().mean()) > 0.9


def test_the_band_costs_nothing_inside_and_grows_on_both_sides() -> None:
    low, high = torch.tensor(0.2), torch.tensor(0.3)
    values = [float(outside_band(torch.tensor(s), low, high)) for s in (0.1, 0.2, 0.25, 0.3, 0.5)]
    assert values == pytest.approx([0.1, 0, 0, 0, 0.2])


def test_embeddings_of_real_tokens_encode_as_their_text() -> None:
    backbone, strategy = tiny_clip(), IncCLIP()
    model = MultimodalModel(backbone)
    tokens = backbone.tokenize(["star circle", "dot line"])
    length = int((tokens[0] != 0).sum()) - 2
    embeddings = backbone.token_embedding(tokens)[:, 1 : 1 + length]
    torch.testing.assert_close(strategy._encoded(model, embeddings), encoded(backbone, TEXT, tokens).pooled)


def test_negatives_are_further_columns_of_the_images_only() -> None:
    image, text, negatives = (torch.randn(n, 4, dtype=torch.float64) for n in (3, 3, 5))
    scale, right = torch.tensor(7.0, dtype=torch.float64), torch.arange(3)
    i, x, n = (functional.normalize(rows, dim=1) for rows in (image, text, negatives))
    expected = functional.cross_entropy(7 * i @ torch.cat([x, n]).T, right) + functional.cross_entropy(
        7 * x @ i.T, right
    )
    torch.testing.assert_close(contrast_with_negatives(image, text, negatives, scale), expected / 2)
    plain = contrast_with_negatives(image, text, negatives[:0], scale)
    assert float(plain) < float(expected / 2)


def test_remembered_pairs_and_no_others_are_distilled_in_both_directions() -> None:
    strategy, values = IncCLIP(size=6, strength=3.0, temperature=5.0), list[float]()

    class Definition(StrategyPlugin):
        def before_backward(self, learner: Learner, **_: object) -> None:
            rows = learner.batch.task_ids != learner.current.index  # type: ignore[union-attr]
            if not bool(rows.any()):
                return
            models, scores = (learner.model, learner.teacher("previous").model), []
            with torch.no_grad():
                for model in models:
                    features = model.encode(learner.batch.inputs).features
                    image, text = (functional.normalize(features[name][rows], dim=1) for name in (IMAGE, TEXT))
                    scores.append(model.backbone.logit_scale * image @ text.T / 5)
            expected = torch.zeros(())
            for new, old in (scores, [table.T for table in scores]):
                p, q = old.log_softmax(1), new.log_softmax(1)
                expected += 3.0 * 25 / 2 * functional.kl_div(q, p, reduction="batchmean", log_target=True)
            found = learner.loss_terms["incclip/distillation"].detach()
            torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
            values.append(float(found))

    benchmark = toy_pairs()
    learner = toy_learner(benchmark, {"incclip": strategy, "definition": Definition()}, lr=1e-2)
    for experience in benchmark.train:
        learner.train(experience)
    assert len(values) == 4
    assert max(values) > 1e-3


def test_the_current_text_tower_learns_from_negatives() -> None:
    strategy = IncCLIP(size=6)
    learner, _ = trained(strategy)
    assert strategy._negatives is not None
    learner.optimizer.zero_grad()
    strategy._encoded(learner.model, strategy._negatives).sum().backward()
    assert learner.model.get_parameter("backbone.clip.text_projection").grad is not None


@pytest.mark.parametrize("clipping", [True, False])
def test_no_weight_matrix_grows_beyond_its_norm_at_the_start_of_the_experience(clipping: bool) -> None:
    benchmark = toy_pairs()
    learner = toy_learner(benchmark, {"incclip": IncCLIP(norm_clipping=clipping)}, lr=1e-2)
    before = weights(learner)
    learner.train(benchmark.train[0])
    matrices = {name: value for name, value in weights(learner).items() if value.ndim > 1}
    grown = {name for name, value in matrices.items() if float(value.norm()) > float(before[name].norm()) * (1 + 1e-5)}
    assert bool(grown) is not clipping
    assert any(not torch.equal(value, before[name]) for name, value in matrices.items())


def test_clipping_keeps_the_direction() -> None:
    weight = torch.nn.Parameter(torch.tensor([[3.0, 4.0]]))
    clip_norms({"w": weight}, {"w": torch.tensor(2.5)})
    assert weight.tolist() == [[1.5, 2.0]]
    clip_norms({"w": weight}, {"w": torch.tensor(9.0)})
    assert weight.tolist() == [[1.5, 2.0]]


def test_classes_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(CompositionError, match="needs pairs"):
        check_composition([IncCLIP()], ["incclip"], surroundings(benchmark=toy_benchmark()))
    with pytest.raises(ConfigError, match=r"incclip.length"):
        IncCLIP(length=0)
