"""Parameters behind class prompts: exact without a backward pass per sample."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import torch
from mmcl_strategies.maths.fisher import estimators, shared_stage
from mmcl_strategies.maths.fisher.second_moment import SecondMoment
from mmcl_strategies.maths.fisher.shared_stage import Shared, without_faint_rows
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]
CLASSES, LENGTH = 5, 8


class PromptClassifier(nn.Module):
    """CLIP as a classifier over prompts; samples are images or texts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        vision = CLIPVisionCfg(layers=2, width=32, head_width=16, patch_size=8, image_size=16)
        text = CLIPTextCfg(context_length=LENGTH, vocab_size=30, width=32, heads=2, layers=2)
        self.clip = CLIP(16, vision, text)
        self.double().eval()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        self.prompts = torch.randint(1, 29, (CLASSES, LENGTH))
        for row, end in enumerate((3, 5, 4, 6, 3)):
            self.prompts[row, end], self.prompts[row, end + 1 :] = 29, 0
        self.given: Tensor | None = None
        self.embeddings = 0

    def embed(self) -> Tensor:
        self.embeddings += 1
        return self.clip.encode_text(self.prompts, normalize=True)

    @contextmanager
    def holding(self, features: Tensor) -> Iterator[None]:
        self.given = features
        yield
        self.given = None

    def log_probs(self, batch: Batch) -> Tensor:
        samples = batch[0]
        encode = self.clip.encode_image if samples.is_floating_point() else self.clip.encode_text
        texts = self.embed() if self.given is None else self.given
        return (self.clip.logit_scale.exp() * encode(samples, normalize=True) @ texts.T).log_softmax(1)

    def log_prob(self, batch: Batch) -> Tensor:
        return self.log_probs(batch).gather(1, batch[1][:, None])[:, 0]

    def shared(self, tolerance: float = 0.0) -> Shared:
        return Shared(self.embed, self.holding, [self.clip], tolerance)


def images(count: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 3, 16, 16, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, CLASSES, (count,), generator=generator)


def texts(count: int = 6) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(1, 29, (count, LENGTH), generator=generator)
    tokens[:, 5] = 29
    return tokens, torch.randint(0, CLASSES, (count,), generator=generator)


def batches(data: tuple[Tensor, Tensor], size: int) -> list[Batch]:
    return list(zip(data[0].split(size), data[1].split(size), strict=True))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def one_by_one(model: PromptClassifier, data: list[Batch]) -> dict[str, Tensor]:
    """Brute force: the whole model, forwards and backwards, for every sample."""
    samples = [(x[None], y[None]) for inputs, targets in data for x, y in zip(inputs, targets, strict=True)]
    totals = {name: torch.zeros_like(parameter) for name, parameter in trainable(model).items()}
    for sample in samples:
        found = torch.autograd.grad(model.log_prob(sample).sum(), list(trainable(model).values()), allow_unused=True)
        for name, gradient in zip(totals, found, strict=True):
            if gradient is not None:
                totals[name] += gradient.square() / len(samples)
    return totals


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-9) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        error = float((found[name] - values).norm())
        assert error <= tolerance * float(values.norm()) + 1e-300, f"{name}: {error / float(values.norm())}"


@pytest.mark.parametrize("size", [1, 5, 12])
def test_the_fisher_of_both_towers_equals_brute_force(size: int) -> None:
    model, given = PromptClassifier(), batches(images(), size)
    found = estimators.empirical(trainable(model), given, model.log_prob, [model.clip.visual], model.shared())
    assert_same(found, one_by_one(model, given))
    assert all(float(values.sum()) > 0 for values in found.values())


@pytest.mark.parametrize("frozen", ["clip.visual", "clip.transformer", "clip.token_embedding"])
def test_frozen_parts_make_no_difference_to_the_others(frozen: str) -> None:
    model, given = PromptClassifier(), batches(images(8), 4)
    model.get_submodule(frozen).requires_grad_(False)
    found = estimators.empirical(trainable(model), given, model.log_prob, [model.clip.visual], model.shared())
    assert_same(found, one_by_one(model, given))


def test_a_frozen_text_tower_is_embedded_once_and_has_no_fisher() -> None:
    model = PromptClassifier()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("visual" in name)
    given = batches(images(8), 4)
    expected = one_by_one(model, given)
    model.embeddings = 0
    found = estimators.empirical(trainable(model), given, model.log_prob, [model.clip.visual], model.shared())
    assert model.embeddings == 1
    assert_same(found, expected)


def test_texts_that_are_samples_too_are_still_exact() -> None:
    """Both uses of the text tower must be added before squaring."""
    model = PromptClassifier()
    given = [*batches(texts(), 3), *batches(images(4), 4)]
    towers = [model.clip.visual, model.clip.transformer]
    found = estimators.empirical(trainable(model), given, model.log_prob, towers, model.shared())
    assert_same(found, one_by_one(model, given))


@pytest.mark.parametrize("estimator", ["exact", "sampled"])
def test_other_estimators_do_not_depend_on_the_way(estimator: str) -> None:
    model, given = PromptClassifier(), batches(images(6), 3)

    def estimate(shared: Shared | None) -> dict[str, Tensor]:
        if estimator == "exact":
            return estimators.exact(trainable(model), given, model.log_probs, [model.clip.visual], shared)
        generator = torch.Generator().manual_seed(0)
        return estimators.sampled(
            trainable(model),
            given,
            model.log_probs,
            lambda table: estimators.draw_labels(table, generator),
            [model.clip.visual],
            shared,
        )

    assert_same(estimate(model.shared()), estimate(None))


def test_within_the_tolerance_the_fisher_is_the_same_at_fewer_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    model, given = PromptClassifier(), batches(images(200), 50)
    kept: list[int] = []
    rows: Callable[[SecondMoment], Tensor] = SecondMoment.rows

    class Counting(SecondMoment):
        def rows(self) -> Tensor:
            kept.append(len(rows(self)))
            return rows(self)

    monkeypatch.setattr(shared_stage, "SecondMoment", Counting)
    tolerance = Shared(model.embed, model.holding).tolerance
    coarse, fine = (
        estimators.empirical(trainable(model), given, model.log_prob, [model.clip.visual], model.shared(share))
        for share in (tolerance, 0.0)
    )
    for name, values in fine.items():
        assert float(torch.cosine_similarity(coarse[name].flatten(), values.flatten(), dim=0)) >= 0.9999
        assert float((coarse[name].sum() - values.sum()).abs()) <= 0.02 * float(values.sum()), name
    assert kept[0] < kept[1] <= CLASSES * 16


def test_prompts_are_embedded_once_for_all_batches() -> None:
    model = PromptClassifier()
    estimators.empirical(trainable(model), batches(images(), 3), model.log_prob, [model.clip.visual], model.shared())
    assert model.embeddings == 1


def test_faint_rows_of_a_direction_are_left_out_up_to_a_share_of_its_length() -> None:
    direction = torch.tensor([[3.0, 0.0], [0.1, 0.1], [0.0, 0.2], [0.0, 0.0]])
    total = float(direction.square().sum())
    assert torch.equal(without_faint_rows(direction, 0.0), direction)
    expected = torch.tensor([[3.0, 0.0], [0.0, 0.0], [0.0, 0.2], [0.0, 0.0]])
    assert torch.equal(without_faint_rows(direction, 0.03 / total), expected)
    assert torch.equal(without_faint_rows(direction, 1.0 - 1e-9)[0], direction[0])
