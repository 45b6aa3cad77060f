"""The Fisher estimators are exact per-sample quantities, on plain networks and on CLIP."""

from collections.abc import Callable, Iterable

import pytest
import torch
from mmcl_strategies.maths.fisher import estimators
from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
from torch import Tensor, nn

from mmcl.errors import DataError, PluginError, TrainingError

Batch = tuple[Tensor, Tensor]
LogProbs = Callable[[Batch], Tensor]
CLASSES = 5


def batches(inputs: Tensor, targets: Tensor, size: int) -> list[Batch]:
    return list(zip(inputs.split(size), targets.split(size), strict=True))


def of_targets(log_probs: LogProbs) -> LogProbs:
    return lambda batch: log_probs(batch).gather(1, batch[1][:, None])[:, 0]


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def one_by_one(parameters: dict[str, nn.Parameter], data: Iterable[Batch], log_prob: LogProbs) -> dict[str, Tensor]:
    """Brute force: one forward and one backward pass per sample."""
    samples = [(x[None], y[None]) for inputs, targets in data for x, y in zip(inputs, targets, strict=True)]
    totals = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for sample in samples:
        found = torch.autograd.grad(log_prob(sample).sum(), list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is not None:
                totals[name] += gradient.square() / len(samples)
    return totals


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    flat = [torch.cat([values[name].flatten() for name in expected]) for values in (found, expected)]
    assert float(torch.cosine_similarity(flat[0], flat[1], dim=0)) >= 0.9999
    for name, values in expected.items():
        error = float((found[name] - values).norm())
        assert error <= 1e-9 * float(values.norm()) + 1e-300, f"{name}: {error}"


def perceptron() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, CLASSES)).double()


def data(count: int = 12, *shape: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, *(shape or (6,)), generator=generator, dtype=torch.float64)
    return inputs, torch.randint(0, CLASSES, (count,), generator=generator)


def classify(model: nn.Module) -> LogProbs:
    return lambda batch: model(batch[0]).log_softmax(1)


class TinyClip(nn.Module):
    """CLIP as a classifier over prompts: images in rows, prompts shared by the whole batch."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        vision = CLIPVisionCfg(layers=2, width=32, head_width=16, patch_size=8, image_size=16)
        self.clip = CLIP(16, vision, CLIPTextCfg(context_length=8, vocab_size=30, width=32, heads=2, layers=2))
        self.double().eval()
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
        prompts = torch.randint(1, 29, (CLASSES, 8))
        prompts[:, 6], prompts[:, 7] = 29, 0
        self.prompts = prompts

    def forward(self, images: Tensor) -> Tensor:
        texts = self.clip.encode_text(self.prompts, normalize=True)
        return self.clip.logit_scale.exp() * self.clip.encode_image(images, normalize=True) @ texts.T


@pytest.mark.parametrize("size", [1, 5, 12])
@pytest.mark.parametrize("aligned", [True, False])
def test_empirical_fisher_of_a_perceptron_equals_brute_force(size: int, aligned: bool) -> None:
    model = perceptron()
    given = batches(*data(), size)
    log_prob = of_targets(classify(model))
    found = estimators.empirical(trainable(model), given, log_prob, [model] if aligned else [])
    assert_same(found, one_by_one(trainable(model), given, log_prob))


@pytest.mark.parametrize("size", [4, CLASSES])
@pytest.mark.parametrize("aligned", ["image tower", "nothing", "everything, wrongly"])
def test_empirical_fisher_of_clip_equals_brute_force(size: int, aligned: str) -> None:
    """A batch as large as the number of prompts must not be mistaken for a row-aligned text tower."""
    model = TinyClip()
    given = batches(*data(10, 3, 16, 16), size)
    log_prob = of_targets(classify(model))
    roots = {"image tower": [model.clip.visual], "nothing": [], "everything, wrongly": [model]}[aligned]
    found = estimators.empirical(trainable(model), given, log_prob, roots)
    assert_same(found, one_by_one(trainable(model), given, log_prob))
    assert all(float(values.sum()) > 0 for values in found.values())


def test_image_tower_of_clip_needs_no_backward_pass_per_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    model = TinyClip()
    for parameter in [*model.clip.transformer.parameters(), *model.clip.parameters(recurse=False)]:
        parameter.requires_grad_(False)
    model.clip.token_embedding.requires_grad_(False)
    model.clip.ln_final.requires_grad_(False)
    backward, calls = torch.autograd.grad, []

    def counted(*arguments: object, **options: object) -> object:
        calls.append(1)
        return backward(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.autograd, "grad", counted)
    given = batches(*data(32, 3, 16, 16), 16)
    estimators.empirical(trainable(model), given, of_targets(classify(model)), [model.clip.visual])
    blocks = 2
    assert len(calls) == 2 * (1 + blocks) + 1


@pytest.mark.parametrize("build", [perceptron, TinyClip])
def test_exact_fisher_is_the_mean_over_labels_of_the_model(build: Callable[[], nn.Module]) -> None:
    model = build()
    inputs, targets = data(6, 3, 16, 16) if isinstance(model, TinyClip) else data(6)
    given, log_probs = batches(inputs, targets, 3), classify(model)
    aligned = [model.clip.visual] if isinstance(model, TinyClip) else [model]
    found = estimators.exact(trainable(model), given, log_probs, aligned)
    expected = {name: torch.zeros_like(parameter) for name, parameter in trainable(model).items()}
    for label in range(CLASSES):
        for x in inputs:
            value = log_probs((x[None], targets))[0, label]
            gradients = torch.autograd.grad(value, list(trainable(model).values()), allow_unused=True)
            for name, gradient in zip(expected, gradients, strict=True):
                if gradient is not None:
                    expected[name] += value.detach().exp() * gradient.square() / len(inputs)
    assert_same(found, expected)


def test_sampled_fisher_uses_one_drawn_label_per_sample() -> None:
    model = perceptron()
    inputs, targets = data()
    generator = torch.Generator().manual_seed(3)
    drawn: list[Tensor] = []

    def draw(log_probs: Tensor) -> Tensor:
        drawn.append(estimators.draw_labels(log_probs, generator))
        return drawn[-1]

    found = estimators.sampled(trainable(model), batches(inputs, targets, 5), classify(model), draw, [model])
    with_drawn = batches(inputs, torch.cat(drawn), 5)
    assert_same(found, estimators.empirical(trainable(model), with_drawn, of_targets(classify(model))))


def test_labels_are_drawn_from_the_model() -> None:
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3])
    drawn = estimators.draw_labels(probabilities.log().expand(20_000, 4), torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.bincount(minlength=4) / 20_000, probabilities, atol=0.02, rtol=0)


def test_duplicating_the_data_leaves_the_fisher_unchanged() -> None:
    model = perceptron()
    inputs, targets = data()
    log_prob = of_targets(classify(model))
    once = estimators.empirical(trainable(model), batches(inputs, targets, 4), log_prob, [model])
    twice = batches(inputs.repeat(2, 1), targets.repeat(2), 6)
    assert_same(estimators.empirical(trainable(model), twice, log_prob, [model]), once)


def test_fisher_does_not_depend_on_batch_size() -> None:
    model = perceptron()
    log_prob = of_targets(classify(model))
    sizes = [estimators.empirical(trainable(model), batches(*data(), size), log_prob, [model]) for size in (1, 5, 12)]
    assert_same(sizes[0], sizes[1])
    assert_same(sizes[0], sizes[2])


def test_default_estimator_differs_from_the_batched_one() -> None:
    model = perceptron()
    log_prob, given = of_targets(classify(model)), batches(*data(), 6)
    proper, averaged = (
        estimators.empirical(trainable(model), given, log_prob),
        estimators.batched(trainable(model), given, log_prob),
    )
    assert sum(float(values.sum()) for values in averaged.values()) < 0.7 * sum(float(v.sum()) for v in proper.values())
    single = batches(*data(), 1)
    assert_same(estimators.batched(trainable(model), single, log_prob), proper)


class Shared(nn.Module):
    """The same layer twice: its two contributions must be added before squaring."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.layer(x).tanh()))


class Tied(nn.Module):
    """A weight that is also used outside its module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).tanh() @ self.layer.weight)


class InPlace(nn.Module):
    """The output of a layer is overwritten."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(x).tanh_())


class Mixing(nn.Module):
    """Samples of a batch see each other, so nothing below is row-aligned."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.layer(x)
        return self.head(hidden.tanh() + 0.3 * hidden.mean(0))


class TokensFirst(nn.Module):
    """Rows ordered token by token, with as many tokens as samples."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        tokens = torch.stack([x * (1 + k) for k in range(len(x))])
        return self.head(self.layer(tokens).tanh().mean(0))


class Convolutional(nn.Module):
    """Convolutions (plain, strided, grouped), an embedding of repeated words and attention with a mask."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1, stride=2)
        self.second = nn.Conv2d(4, 4, 3, groups=2)
        self.words = nn.Embedding(3, 4)
        self.position = nn.Parameter(torch.randn(4, 4))
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        image = self.second(self.first(x[:, None]).relu()).relu().mean((2, 3))
        words = self.words(torch.tensor([0, 2, 2, 0]) + (x[:, 0, :4] > 0).long() * torch.tensor([1, 0, 0, 1]))
        words = words + self.position
        mask = torch.ones(4, 4, dtype=torch.bool).triu(1)
        attended, _ = self.attention(words, words, words, attn_mask=mask, need_weights=False)
        return self.head(torch.cat([image, attended.square().mean(1)], dim=1))


@pytest.mark.parametrize("kind", [Shared, Tied, InPlace, TokensFirst])
def test_modules_that_break_the_rules_are_still_exact(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    model = kind().double()
    given, log_prob = batches(*data(12), 6), of_targets(classify(model))
    found = estimators.empirical(trainable(model), given, log_prob, [model])
    if kind is TokensFirst:
        assert_same(found, estimators.empirical(trainable(model), given, log_prob))
    else:
        assert_same(found, one_by_one(trainable(model), given, log_prob))


def test_samples_that_see_each_other_are_never_taken_for_aligned_rows() -> None:
    torch.manual_seed(0)
    model = Mixing().double()
    given, log_prob = batches(*data(12), 6), of_targets(classify(model))
    found = estimators.empirical(trainable(model), given, log_prob, [model])
    assert_same(found, estimators.empirical(trainable(model), given, log_prob))


def test_convolution_embedding_and_attention_rules_are_exact() -> None:
    torch.manual_seed(0)
    model = Convolutional().double().eval()
    given, log_prob = batches(*data(10, 9, 9), 5), of_targets(classify(model))
    found = estimators.empirical(trainable(model), given, log_prob, [model])
    assert_same(found, one_by_one(trainable(model), given, log_prob))


def test_frozen_and_unused_parameters() -> None:
    model = perceptron()
    model[0].weight.requires_grad_(False)
    parameters = dict(model.named_parameters()) | {"unused": nn.Parameter(torch.ones(2, dtype=torch.float64))}
    found = estimators.empirical(parameters, batches(*data(), 4), of_targets(classify(model)), [model])
    assert "0.weight" not in found
    assert float(found["unused"].abs().sum()) == 0.0


def test_no_gradient_mode_or_random_state_is_changed() -> None:
    model = TinyClip()
    model.clip.transformer.train()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    modes = [module.training for module in model.modules()]
    random_state = torch.get_rng_state()
    given = batches(*data(4, 3, 16, 16), 2)
    with torch.no_grad():
        found = estimators.empirical(trainable(model), given, of_targets(classify(model)), [model.clip.visual])
        assert not torch.is_grad_enabled()
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(bool((parameter.grad == 0.5).all()) for parameter in model.parameters() if parameter.grad is not None)
    assert not any(module._forward_hooks for module in model.modules())
    assert not any(values.requires_grad for values in found.values())


def test_a_mean_in_place_of_a_likelihood_per_sample_is_an_error() -> None:
    model = perceptron()
    with pytest.raises(PluginError, match="one log-likelihood per sample"):
        estimators.empirical(trainable(model), batches(*data(), 4), lambda batch: model(batch[0]).mean())


def test_no_sample_is_an_error() -> None:
    with pytest.raises(DataError, match="no sample"):
        estimators.empirical(trainable(perceptron()), [], lambda batch: torch.zeros(0))


def test_a_class_that_does_not_compete_adds_nothing_to_the_exact_fisher() -> None:
    model = perceptron()
    active, absent = torch.arange(CLASSES - 1), torch.arange(CLASSES) == CLASSES - 1

    def masked(batch: Batch) -> Tensor:
        return model(batch[0]).masked_fill(absent, -torch.inf).log_softmax(1)

    def restricted(batch: Batch) -> Tensor:
        return model(batch[0])[:, active].log_softmax(1)

    given = batches(*data(), 4)
    assert_same(
        estimators.exact(trainable(model), given, masked, [model]),
        estimators.exact(trainable(model), given, restricted, [model]),
    )


def test_a_likelihood_that_is_not_finite_is_an_error() -> None:
    model = perceptron()
    with pytest.raises(TrainingError, match="not finite"):
        estimators.empirical(trainable(model), batches(*data(), 4), lambda batch: model(batch[0]).sum(1) * torch.inf)
