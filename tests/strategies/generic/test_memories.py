"""What strategies keep: whole samples as the stream gives them, and what the model made of the plain ones, calmly."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from mmcl_strategies.maths.fisher.fisher_pass import FisherPass
from torch import Tensor

from mmcl.data.memory import Memory
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Batch, Sample
from mmcl.learning.learner import Learner
from mmcl.streams.experience import Experience
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_learner

from .record import recorded
from .towers import Towers, cropped_in_the_middle, tokens_of
from .variants import Variant, variants

FEATURES = {"rail"}  # keeps what the model made of each sample, and not the sample
KEEPING = [v for v in variants() if v.fresh().memory_budget().samples != 0 and v.name not in FEATURES]
REMEMBERED = [
    Variant("distill", {"kind": "feature", "teacher": "stored", "samples": 4, "per_experience": 3}),
    Variant("kdr", {"samples": 4}),
]


def records(value: Any) -> Iterator[dict[str, Any]]:
    """Everything in a state that is a sample kept by value."""
    if isinstance(value, Mapping):
        if "sample_id" in value:
            yield dict(value)
        else:
            for item in value.values():
                yield from records(item)
    elif isinstance(value, list):
        for item in value:
            yield from records(item)


def trained(variant: Variant, experiences: int = 1, **training: Any) -> tuple[Learner, Any, list[Experience]]:
    benchmark, strategy = variant.benchmark(), variant.fresh()
    learner = toy_learner(benchmark, {variant.name: strategy}, backbone=Towers(), **training)
    for experience in benchmark.train[:experiences]:
        learner.train(experience)
    return learner, strategy, list(benchmark.train)


def plain_features(learner: Learner, samples: list[Sample]) -> dict[str, Tensor]:
    """What the towers make of plain samples in evaluation mode."""
    backbone = learner.model.backbone
    modes = [module.training for module in backbone.modules()]
    backbone.eval()
    values = {IMAGE: torch.stack([cropped_in_the_middle(sample.inputs[IMAGE]) for sample in samples])}
    if TEXT in samples[0].inputs:
        values[TEXT] = torch.stack([tokens_of(sample.inputs[TEXT]) for sample in samples])
    with torch.no_grad():
        found = {name: encoded(backbone, name, value).pooled for name, value in values.items()}
    for module, mode in zip(backbone.modules(), modes, strict=True):
        module.training = mode
    return found


@pytest.mark.parametrize("variant", KEEPING, ids=str)
def test_memories_hold_the_samples_as_the_stream_gives_them(variant: Variant) -> None:
    record = recorded(variant)
    originals = {s.sample_id: s for experience in record.benchmark.train for s in experience.samples}  # type: ignore[attr-defined]
    kept = list(records(record.strategy.state_dict()))
    assert kept
    assert len({r["task_id"] for r in kept}) == 2
    for sample in (Memory(kept)[index] for index in range(len(kept))):
        original = originals[sample.sample_id]
        assert sample.inputs.keys() == original.inputs.keys()
        assert sample.inputs[IMAGE].tobytes() == original.inputs[IMAGE].tobytes()
        assert sample.inputs.get(TEXT) == original.inputs.get(TEXT)
        assert (sample.target, sample.task_id, sample.finished) == (original.target, original.task_id, False)


@pytest.mark.parametrize("variant", REMEMBERED, ids=str)
def test_stored_features_are_those_of_the_kept_samples_under_the_model_handed_over(variant: Variant) -> None:
    learner, strategy, _ = trained(variant)
    state = strategy.state
    found = plain_features(learner, [Memory(state.records)[index] for index in range(len(state.records))])
    if variant.name == "kdr":
        head: Any = learner.model.head
        found = {name: rows.detach() for name, rows in head.shared(found).items()}
    for name, rows in found.items():
        torch.testing.assert_close(state.features[name], rows)


@pytest.mark.parametrize("flip", [False, True])
def test_class_means_are_those_of_plain_exemplars(flip: bool) -> None:
    learner, strategy, _ = trained(Variant("icarl", {"flip": flip}), 2)
    memory = strategy._memory()
    samples = [memory[index] for index in range(len(memory))]
    views = [plain_features(learner, samples)[IMAGE]]
    if flip:
        learner.model.backbone.eval()
        images = torch.stack([cropped_in_the_middle(sample.inputs[IMAGE]) for sample in samples]).flip(-1)
        with torch.no_grad():
            views.append(encoded(learner.model.backbone, IMAGE, images).pooled)
    head: Any = learner.model.head
    for label in range(4):
        rows = torch.tensor([sample.target == label for sample in samples])
        units = torch.cat([view[rows] / view[rows].norm(dim=1, keepdim=True) for view in views])
        mean = units.mean(0)
        torch.testing.assert_close(head.means[label], mean / mean.norm(), rtol=1e-4, atol=1e-5)
        assert bool(head.held[label])


def test_exemplars_are_herded_by_plain_features() -> None:
    learner, strategy, (experience, _) = trained(Variant("icarl", {"size": 6}))
    samples = list(experience.samples)  # type: ignore[call-overload]
    rows = plain_features(learner, samples)[IMAGE].double()
    for label, lists in strategy.state.exemplars.items():
        own = [index for index, sample in enumerate(samples) if sample.target == label]
        units = rows[own] / rows[own].norm(dim=1, keepdim=True)
        total, taken = torch.zeros_like(units[0]), list[int]()
        for k in range(1, 4):
            gaps = [(units.mean(0) - (unit + total) / k).norm() for unit in units]
            best = min((index for index in range(len(own)) if index not in taken), key=lambda i: float(gaps[i]))
            taken.append(best)
            total = total + units[best]
        assert [r["sample_id"] for r in lists[0]] == [samples[own[index]].sample_id for index in taken]


def test_densities_have_the_moments_of_plain_features() -> None:
    learner, strategy, (experience, _) = trained(Variant("feature_replay", {"shrinkage": 0.0}))
    samples = list(experience.samples)  # type: ignore[call-overload]
    rows = plain_features(learner, samples)[IMAGE]
    assert {density["target"] for density in strategy.state.densities} == {0, 1}
    for density in strategy.state.densities:
        own = rows[torch.tensor([sample.target == density["target"] for sample in samples])]
        assert density["count"] == len(own)
        torch.testing.assert_close(density["means"][0], own.mean(0), rtol=1e-4, atol=1e-5)
        covariance = density["factors"][0] @ density["factors"][0].T
        torch.testing.assert_close(covariance, torch.cov(own.T, correction=0), rtol=1e-3, atol=1e-4)


def by_hand(learner: Learner, experience: Experience, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Mean over plain samples of the squared gradient of the log-likelihood, in evaluation mode."""
    learner.model.eval()
    samples = list(experience.samples)  # type: ignore[call-overload]
    space, total = experience.label_space, {name: torch.zeros_like(p) for name, p in parameters.items()}
    for sample in samples:
        backbone = learner.model.backbone
        image = encoded(backbone, IMAGE, cropped_in_the_middle(sample.inputs[IMAGE]).unsqueeze(0)).pooled
        names = encoded(backbone, TEXT, backbone.tokenize([label.name for label in space])).pooled
        unit_image, unit_names = (rows / rows.norm(dim=1, keepdim=True) for rows in (image, names))
        scores = (backbone.logit_scale * unit_image @ unit_names.T).log_softmax(1)[0]
        likelihood = scores[space.ids.index(sample.target)]
        gradients = torch.autograd.grad(likelihood, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, gradients, strict=True):
            total[name] += 0 if gradient is None else gradient.square() / len(samples)
    learner.model.train()
    return total


@pytest.mark.parametrize("name", ["ewc", "ewch", "online_ewc"])
def test_the_fisher_information_is_that_of_plain_samples_without_smoothing(name: str) -> None:
    learner, strategy, (experience, _) = trained(Variant(name, {"samples": None}), label_smoothing=0.3)
    parameters = dict(learner.model.shared_parameters())
    assert_close(strategy.state.fisher, by_hand(learner, experience, parameters))


def test_the_fisher_information_of_wise_ft_is_that_of_the_weights_handed_over() -> None:
    learner, strategy, (experience, _) = trained(Variant("wise_ft", {"fisher": True}))
    parameters = dict(learner.model.shared_parameters())
    assert_close(strategy.state.fisher, by_hand(learner, experience, parameters))


def assert_close(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= 5e-3 * float(value.norm()) + 1e-9, name


def merged(
    start: Mapping[str, Tensor], end: Mapping[str, Tensor], a: Any, b: Any, alpha: float, floor: float
) -> dict[str, Tensor]:
    found = {}
    for name, value in end.items():
        old, new = (1 - alpha) * a[name].clamp(min=floor), alpha * b[name].clamp(min=floor)
        found[name] = (old * start[name] + new * value) / (old + new)
    return found


@pytest.mark.parametrize("floor", [1e-8, 1.0])
def test_each_side_of_a_merge_is_weighed_by_its_own_fisher_information(floor: float) -> None:
    """Frozen weights have none; a tensor that is trained from the second experience on had none before."""
    learner, strategy, experiences = trained(Variant("wise_ft", {"fisher": True, "alpha": 0.7, "floor": floor}), 0)
    information, late = FisherPass("empirical", 500, 32, None, "none"), "backbone.text.leave.bias"
    ends: dict[str, Tensor] = {}
    ends_fisher: dict[str, Tensor] = {}
    plain = strategy.after_training_exp

    def shared() -> dict[str, Any]:
        return dict(learner.model.shared_parameters())

    def after(learner_: Learner, **options: Any) -> None:
        ends.update({name: parameter.detach().clone() for name, parameter in shared().items()})
        ends_fisher.update(information(learner_, shared()))
        plain(learner_, **options)

    strategy.after_training_exp = after
    start = {name: parameter.detach().clone() for name, parameter in shared().items()}
    learner.meet(experiences[0])
    learner.experience = experiences[0]
    learner.model.get_parameter(late).requires_grad_(False)
    fisher = information(learner, shared())
    for experience in experiences:
        learner.train(experience)
        expected, swapped = (
            merged(start, ends, *sides, 0.7, floor) for sides in ((fisher, ends_fisher), (ends_fisher, fisher))
        )
        for name, value in expected.items():
            torch.testing.assert_close(shared()[name].detach(), value, rtol=1e-4, atol=1e-6)
        if floor < 1:
            assert any(not torch.allclose(v, swapped[name], rtol=1e-3, atol=1e-5) for name, v in expected.items())
        learner.experience = experience  # what comes after it is over
        start = {name: parameter.detach().clone() for name, parameter in learner.model.named_parameters()}
        fisher = information(learner, shared())
        learner.model.get_parameter(late).requires_grad_(True)
        fisher.setdefault(late, torch.zeros_like(start[late]))


def test_the_fisher_information_of_some_samples_takes_random_ones_of_the_experience() -> None:
    learner, _, experiences = trained(Variant("ewc"), 0)
    chosen = []
    for experience in experiences:
        learner.meet(experience)
        learner.experience = experience
        ids: list[str] = []

        def one_pass(samples: Any, size: int | None = None, ids: list[str] = ids) -> Iterator[Batch]:
            for batch in type(learner).one_pass(learner, samples, size):
                ids.extend(batch.inputs.sample_ids)
                yield batch

        learner.one_pass = one_pass  # type: ignore[method-assign]
        FisherPass("batched", 4, 2, None, "none")(learner, dict(learner.model.shared_parameters()))
        order = [sample.sample_id for sample in experience.samples]  # type: ignore[attr-defined]
        found = [order.index(id_) for id_ in ids[-4:]]
        assert len(set(found)) == 4
        assert found != sorted(found)
        chosen.append(tuple(found))
    assert len(set(chosen)) == 2


@pytest.mark.parametrize("name", ["ewc", "ewch", "online_ewc"])
def test_a_fisher_information_is_bounded_and_then_divided_by_its_size(name: str) -> None:
    def fisher(**options: Any) -> dict[str, Tensor]:
        _, strategy, _ = trained(Variant(name, {"samples": None, **options}))
        found: dict[str, Tensor] = strategy.state.fisher
        return found

    plain = fisher()
    every = torch.cat([tensor.flatten() for tensor in plain.values()])
    limit = float(every.quantile(0.9))
    bounded = every.clamp(max=limit)
    for options, expected in (
        ({"fisher_clip": limit}, bounded),
        ({"normalise": "max"}, every / every.max()),
        ({"normalise": "l1_mean"}, every / every.mean()),
        ({"normalise": "l2"}, every / every.norm()),
        ({"fisher_clip": limit, "normalise": "l2"}, bounded / bounded.norm()),
    ):
        found = torch.cat([tensor.flatten() for tensor in fisher(**options).values()])
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    exact, batched = fisher(fisher="exact"), fisher(fisher="batched", batch_size=5)
    assert all(
        not torch.allclose(other[n], plain[n], rtol=1e-3)
        for other in (exact, batched)
        for n in ("backbone.image.5.weight",)
    )
