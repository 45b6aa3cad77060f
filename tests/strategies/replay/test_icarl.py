"""iCaRL: exemplars in order of priority, answers of the previous model, nearest means that follow the network."""

import io
from collections import Counter
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcl_strategies.distillation.lwf import LwF
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.replay.icarl import ICaRL, icarl_losses, next_exemplars
from mmcl_strategies.replay.nearest_mean import ExemplarHead, exemplar_features, mirrored, prototype, squared_distances
from torch.nn import functional

from mmcl.data.asked import AnswerKind, Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.memory import Memory
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.data.selection import herding
from mmcl.errors import CompositionError, ConfigError
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.weights import model_tensors, restore_model
from mmcl.models.arrival import Arrival
from mmcl.models.output import Output
from mmcl.streams.scenario import CIL, DIL, MDTIL, TIL
from mmcl.testing.toy import toy_benchmark, toy_learner, weights
from mmcl.testing.toy.models import ImageTower

SPACE = LabelSpace.of(["a", "b", "c"], first_id=5)


class Watch(StrategyPlugin):
    """Notes what a learner trains on."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.tasks: list[list[int]] = []

    def before_forward(self, learner: Learner, **_: object) -> None:
        self.ids += learner.batch.inputs.sample_ids
        self.tasks.append(learner.batch.task_ids.tolist())


def learned(strategy: ICaRL, scenario: object = CIL, experiences: int = 3, **training: object) -> Learner:
    benchmark = toy_benchmark(scenario, experiences=experiences)  # type: ignore[arg-type]
    learner = toy_learner(benchmark, {"icarl": strategy}, **training)
    for experience in benchmark.train:
        learner.train(experience)
    return learner


def head(learner: Learner) -> ExemplarHead:
    assert isinstance(learner.model.head, ExemplarHead)
    return learner.model.head


def ids(strategy: ICaRL) -> dict[int, list[str]]:
    """class -> sample ids of its exemplars, the best first, one experience after the other."""
    return {
        label: [record["sample_id"] for items in lists.values() for record in items]
        for label, lists in strategy.state.exemplars.items()
    }


@torch.no_grad()
def features_now(learner: Learner, samples: object) -> torch.Tensor:
    """Fused features of a data set under the network as it is, computed without the strategy."""
    model = deepcopy(learner.model).eval()
    return torch.cat([model.encode(batch.inputs).fused for batch in learner.one_pass(samples)])  # type: ignore[arg-type]


# Exemplars.


def test_exemplars_are_herded_with_the_new_network_and_stay_in_that_order() -> None:
    strategy = ICaRL(size=10)
    learner = learned(strategy, experiences=1, lr=1e-2)
    samples = learner.seen[0].samples
    features = features_now(learner, samples).double()
    for label, own in ((0, range(8)), (1, range(8, 16))):
        rows = list(own)
        assert ids(strategy)[label] == [f"0/{rows[i]}" for i in herding(features[rows], 5)]


@pytest.mark.parametrize("normalise_mean", [False, True])
def test_herding_follows_the_mean_at_unit_length_on_request(
    normalise_mean: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other features take the place of the network's, which lie too close together to tell."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(16, 6, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1]).repeat_interleave(8)
    monkeypatch.setattr(ICaRL, "_features", lambda *_: (features, labels))
    monkeypatch.setattr(ICaRL, "_means", lambda *_: {})
    strategy = ICaRL(fixed_per_class=4, normalise_mean=normalise_mean)
    learned(strategy, experiences=1)
    own = [herding(rows, 4, unit_mean=normalise_mean) for rows in features.split(8)]
    other = [herding(rows, 4, unit_mean=not normalise_mean) for rows in features.split(8)]
    assert [ids(strategy)[label] for label in (0, 1)] == [[f"0/{8 * c + i}" for i in own[c]] for c in (0, 1)]
    assert own != other


def test_old_lists_lose_their_tail_and_nothing_else() -> None:
    strategy, lists = ICaRL(size=12), []
    benchmark = toy_benchmark(CIL)
    learner = toy_learner(benchmark, {"icarl": strategy})
    for experience in benchmark.train:
        learner.train(experience)
        lists.append(ids(strategy))
    assert [len(found[0]) for found in lists] == [6, 3, 2]
    assert [len(found[2]) for found in lists[1:]] == [3, 2]
    for before, after in pairwise(lists):
        for label, items in before.items():
            assert after[label] == items[: len(after[label])]


@given(
    sizes=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=12), min_size=1, max_size=5),
    budget=st.integers(0, 30),
)
@settings(deadline=None)
def test_the_budget_is_never_exceeded_and_a_quota_is_never_given_to_another_class(
    sizes: list[list[int]], budget: int
) -> None:
    """Classes may return, in any order and number."""
    kept: dict[int, dict[int, list[int]]] = {}
    seen: set[int] = set()
    for experience, labels in enumerate(sizes):
        seen |= set(labels)
        features = torch.randn(len(labels), 3, generator=torch.Generator().manual_seed(experience))
        quota = budget // len(seen)
        before = kept
        kept = next_exemplars(kept, quota, experience, features, torch.tensor(labels), take=lambda i: i)
        held = {label: [item for items in lists.values() for item in items] for label, lists in kept.items()}
        assert sum(map(len, held.values())) <= budget
        assert all(len(items) <= quota for items in held.values())
        for label, lists in before.items():
            for visit, items in lists.items():
                assert kept[label][visit] == items[: len(kept[label][visit])]


def test_the_quota_counts_the_new_classes_and_the_old_lists_are_cut_before_new_ones_are_made() -> None:
    alive: list[int] = []
    old = {0: {0: list(range(6))}, 1: {0: list(range(6))}}

    def take(index: int) -> int:
        alive.append(index)
        return index

    kept = next_exemplars(old, 12 // 4, 1, torch.randn(10, 3), torch.tensor([2] * 5 + [3] * 5), take)
    assert kept[0] == {0: [0, 1, 2]}
    assert len(alive) == 6
    assert old[0] == {0: list(range(6))}


def test_a_class_with_fewer_samples_than_its_quota_keeps_all_of_them() -> None:
    kept = next_exemplars({}, 5, 0, torch.randn(9, 3), torch.tensor([0] * 2 + [1] * 7), take=lambda i: i)
    assert sorted(kept[0][0]) == [0, 1]
    assert len(kept[1][0]) == 5


def test_a_fixed_number_per_class_does_not_shrink() -> None:
    strategy = ICaRL(size=4, fixed_per_class=3)
    learned(strategy)
    assert {label: len(items) for label, items in ids(strategy).items()} == dict.fromkeys(range(6), 3)
    assert strategy.memory_budget().samples is None
    assert ICaRL(size=4).memory_budget().samples == 4


def test_exemplars_are_whole_samples_and_not_features() -> None:
    strategy = ICaRL(size=18)
    learner = learned(strategy, MDTIL)
    samples = learner.seen[2].samples
    memory = Memory([record for label in (4, 5) for record in strategy.state.exemplars[label][2]])
    assert len(memory) == 6
    for kept in (memory[i] for i in range(6)):
        original = samples[int(kept.sample_id.split("/")[1])]
        assert kept.inputs.keys() == original.inputs.keys()
        assert all(torch.equal(value, original.inputs[name]) for name, value in kept.inputs.items())
    assert {frozenset(memory[i].inputs) for i in range(6)} <= {
        frozenset({IMAGE}),
        frozenset({TEXT}),
        frozenset({IMAGE, TEXT}),
    }


def test_a_class_that_returns_keeps_a_list_of_every_experience() -> None:
    strategy = ICaRL(size=12)
    learned(strategy, DIL)
    assert {
        label: {visit: len(items) for visit, items in lists.items()}
        for label, lists in strategy.state.exemplars.items()
    } == {label: {0: 2, 1: 2, 2: 2} for label in (0, 1)}


# Means and the decision.


def test_all_means_follow_the_network_those_of_old_classes_too() -> None:
    strategy, benchmark = ICaRL(size=12), toy_benchmark(CIL)
    learner = toy_learner(benchmark, {"icarl": strategy}, lr=1e-2)
    learner.train(benchmark.train[0])
    first = head(learner).means[0].clone()
    learner.train(benchmark.train[1])
    for label, lists in strategy.state.exemplars.items():
        unit = functional.normalize(features_now(learner, Memory([r for v in lists.values() for r in v])), dim=1)
        torch.testing.assert_close(head(learner).means[label], functional.normalize(unit.mean(0), dim=0))
    assert not torch.allclose(head(learner).means[0], first, atol=1e-3)


def test_exemplars_and_means_are_taken_in_evaluation_mode() -> None:
    """The tower has dropout and batch statistics."""
    strategy, benchmark = ICaRL(size=10), toy_benchmark(CIL, experiences=1)
    learner = toy_learner(benchmark, {"icarl": strategy}, lr=1e-2, backbone=ImageTower())
    learner.train(benchmark.train[0])
    features = features_now(learner, benchmark.train[0].samples)
    for label, own in ((0, list(range(8))), (1, list(range(8, 16)))):
        order = [own[i] for i in herding(features[own].double(), 5)]
        assert ids(strategy)[label] == [f"0/{row}" for row in order]
        unit = functional.normalize(features[order], dim=1)
        torch.testing.assert_close(head(learner).means[label], functional.normalize(unit.mean(0), dim=0))


def test_features_are_normalised_before_they_are_averaged_and_the_mean_again() -> None:
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    longer = features * torch.tensor([[1.0], [100.0], [3.0], [0.1], [7.0]])
    torch.testing.assert_close(prototype(longer), prototype(features))
    torch.testing.assert_close(prototype(features).norm(), torch.tensor(1.0, dtype=torch.float64))
    assert not torch.allclose(prototype(longer), functional.normalize(longer.mean(0), dim=0), atol=0.1)


def test_the_nearest_mean_answers_and_the_units_are_trained() -> None:
    module = ExemplarHead(2)
    module.meet(Arrival(0, SPACE, frozenset({IMAGE})))
    module.place(SPACE, {5: torch.tensor([1.0, 0.0]), 6: torch.tensor([0.0, 1.0])})
    with torch.no_grad():
        module.linear.weight.copy_(torch.tensor([[0.0, 1.0], [1.0, 0.0], [9.0, 9.0]]))
        module.linear.bias.zero_()
    output, inputs = Output(fused=torch.tensor([[3.0, 0.1], [0.1, 3.0]])), Inputs({}, {})
    assert module.predict(output, inputs, SPACE).argmax(1).tolist() == [0, 1]
    assert module.score(output, inputs, SPACE).argmax(1).tolist() == [2, 2]
    assert module.predict(output, inputs, SPACE.restrict([6, 7])).argmax(1).tolist() == [0, 0]


def test_a_class_without_exemplars_is_never_the_answer() -> None:
    far = torch.tensor([[-1.0, 0.0]])
    distances = squared_distances(far, torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.tensor([True, False]))
    assert distances[0, 0] == pytest.approx(4, rel=1e-6)
    assert distances[0, 1] == torch.inf


def test_nothing_is_known_before_an_experience_has_been_met() -> None:
    benchmark = toy_benchmark(CIL)
    learner = toy_learner(benchmark, {"icarl": ICaRL()})
    assert not learner.model.head.knows(benchmark.test[0].label_space)
    learner.train(benchmark.train[0])
    assert learner.model.head.knows(benchmark.test[0].label_space)
    assert not learner.model.head.knows(benchmark.test[1].label_space)


def test_while_no_class_has_exemplars_the_units_answer() -> None:
    learner = learned(ICaRL(size=0), experiences=1, iterations=40, lr=1e-2)
    assert not head(learner).held.any()
    assert learner.evaluate(toy_benchmark(CIL, experiences=1).test[0], Accuracy()) > 90


@pytest.mark.parametrize("scenario", [CIL, TIL, DIL, MDTIL])
@pytest.mark.parametrize("loss", ["bce", "ce_kd"])
def test_every_experience_is_learned_and_none_forgotten(scenario: object, loss: str) -> None:
    learner = learned(ICaRL(size=30, loss=loss), scenario, iterations=40, lr=3e-3)
    benchmark = toy_benchmark(scenario)  # type: ignore[arg-type]
    assert all(learner.evaluate(experience, Accuracy()) > 85 for experience in benchmark.test)


def test_the_decision_changes_the_answers_and_not_the_training() -> None:
    by_mean, by_unit = (learned(ICaRL(decision=decision)) for decision in ("nearest_mean", "network"))
    assert all(torch.equal(value, weights(by_unit)[name]) for name, value in weights(by_mean).items())
    assert torch.equal(head(by_mean).means, head(by_unit).means)
    asked = Asked(LabelSpace.of(["a", "b"]))
    inputs = next(by_mean.one_pass(by_mean.seen[0].samples)).inputs.replace(asked=asked)
    with torch.no_grad():
        assert torch.equal(by_unit.model.predict(inputs).logits, by_unit.model(inputs).logits)  # type: ignore[arg-type]
        assert (by_mean.model.predict(inputs).logits <= 0).all()  # type: ignore[operator]


# Batches.


def test_new_samples_and_exemplars_are_mixed_without_oversampling() -> None:
    benchmark, watch = toy_benchmark(CIL), Watch()
    learner = toy_learner(benchmark, {"icarl": ICaRL(size=8), "watch": watch}, iterations=12, batch_size=4)
    learner.train(benchmark.train[0])
    watch.ids.clear()
    watch.tasks.clear()
    learner.train(benchmark.train[1])
    assert Counter(Counter(watch.ids).values()) == {2: 24}  # 16 new and 8 exemplars, two passes
    replayed = [sum(task == 0 for task in tasks) for tasks in watch.tasks]
    assert sum(replayed) == 16
    assert len(set(replayed)) > 1


def test_an_epoch_is_a_pass_over_new_samples_and_exemplars() -> None:
    benchmark, watch = toy_benchmark(CIL), Watch()
    benchmark.training.pop("iterations")
    learner = toy_learner(benchmark, {"icarl": ICaRL(size=8), "watch": watch}, epochs=3, batch_size=5)
    for experience in benchmark.train[:2]:
        learner.train(experience)
    assert len(watch.tasks) == 3 * 4 + 3 * 5
    assert Counter(Counter(watch.ids[3 * 16 :]).values()) == {3: 24}


# The loss.


def test_the_first_experience_learns_labels_alone() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    columns = torch.tensor([2, 0, 0, 1])
    found = icarl_losses(logits, columns, torch.full_like(logits, 7.0), torch.zeros(3, dtype=torch.bool))
    expected = functional.binary_cross_entropy(
        logits.sigmoid(), functional.one_hot(columns, 3).float(), reduction="none"
    )
    torch.testing.assert_close(found, expected)


def test_old_columns_follow_the_previous_model_even_for_exemplars_of_old_classes() -> None:
    answers = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    old = torch.tensor([True, True, False, False])
    logits = answers.clone().requires_grad_()
    icarl_losses(logits, torch.tensor([0, 3]), answers, old).sum().backward()
    assert logits.grad is not None
    assert torch.allclose(logits.grad[:, :2], torch.zeros(2, 2), atol=1e-6)  # the exemplar's label plays no part
    torch.testing.assert_close(logits.grad[0, 2:], answers[0, 2:].sigmoid())
    torch.testing.assert_close(logits.grad[1, 2:], answers[1, 2:].sigmoid() - torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize("loss", ["bce", "ce_kd"])
@pytest.mark.parametrize("scenario", [CIL, TIL])
def test_a_step_has_the_loss_of_the_definition(scenario: object, loss: str) -> None:
    class Definition(StrategyPlugin):
        checked = 0

        def after_forward(self, learner: Learner, **_: object) -> None:
            batch, fused = learner.batch, learner.output.fused
            new, units = learner.current.index * 2, head(learner).linear  # type: ignore[union-attr]
            teacher = learner.teacher("previous").model
            with torch.no_grad():
                answers = functional.linear(
                    teacher.encode(batch.inputs).fused, teacher.head.linear.weight, teacher.head.linear.bias
                )[:, :new]
            logits = functional.linear(fused, units.weight, units.bias)
            if loss == "bce":
                targets = functional.one_hot(batch.targets, logits.shape[1]).float()
                targets[:, :new] = answers.sigmoid()
                self.expected = functional.binary_cross_entropy(logits.sigmoid(), targets)
                return
            if scenario is TIL:
                own = torch.arange(logits.shape[1]) // 2 == batch.task_ids.unsqueeze(1)
                self.expected = functional.cross_entropy(logits.masked_fill(~own, -1e9), batch.targets)
                parts = [slice(k, k + 2) for k in range(0, new, 2)]
            else:
                self.expected = functional.cross_entropy(logits, batch.targets)
                parts = [slice(0, new)] if new else []
            for part in parts:
                soft = (answers[:, part] / 2).softmax(1)
                self.expected = self.expected - (soft * (logits[:, part] / 2).log_softmax(1)).sum(1).mean()

        def after_backward(self, learner: Learner, **_: object) -> None:
            torch.testing.assert_close(learner.loss_terms["task"], self.expected)
            self.checked += 1

    definition, benchmark = Definition(), toy_benchmark(scenario)  # type: ignore[arg-type]
    learner = toy_learner(
        benchmark, {"icarl": ICaRL(size=12, loss=loss), "definition": definition}, iterations=5, lr=1e-2
    )
    for experience in benchmark.train:
        learner.train(experience)
    assert definition.checked == 15


def test_the_label_of_a_class_that_returns_is_learned_again() -> None:
    strategy, benchmark = ICaRL(size=8), toy_benchmark(DIL, experiences=2)
    learner = toy_learner(benchmark, {"icarl": strategy}, iterations=1)
    for experience in benchmark.train:
        learner.train(experience)
    assert strategy._old == []


# Modalities and options.


def test_only_images_are_mirrored_and_only_their_width() -> None:
    values = {IMAGE: torch.arange(12.0).reshape(1, 1, 3, 4), TEXT: torch.arange(5).reshape(1, 5)}
    turned = mirrored(Inputs(values, dict.fromkeys(values, torch.ones(1, dtype=torch.bool))))
    assert torch.equal(turned[TEXT], values[TEXT])
    assert torch.equal(turned[IMAGE][0, 0, 0], torch.tensor([3.0, 2.0, 1.0, 0.0]))


def test_flip_averages_the_means_of_both_views_and_leaves_texts_alone() -> None:
    plain, flipped = learned(ICaRL(size=18), MDTIL), learned(ICaRL(size=18, flip=True), MDTIL)
    assert all(torch.equal(value, weights(flipped)[name]) for name, value in weights(plain).items())
    images, texts = [0, 1], [2, 3]
    torch.testing.assert_close(head(plain).means[texts], head(flipped).means[texts])
    assert not torch.allclose(head(plain).means[images], head(flipped).means[images], atol=1e-4)
    assert torch.equal(head(plain).held, head(flipped).held)


def test_a_sample_is_described_by_what_is_present() -> None:
    learner = learned(ICaRL(size=18), MDTIL)
    (batch,) = learner.one_pass(learner.seen[2].samples, 100)
    with torch.no_grad():
        output = learner.model.encode(batch.inputs)
    only_text = ~batch.inputs.present[IMAGE]
    assert only_text.any()
    torch.testing.assert_close(output.fused[only_text], output.features[TEXT][only_text])  # type: ignore[index]
    chosen = exemplar_features(output, IMAGE)
    torch.testing.assert_close(chosen[~only_text], output.features[IMAGE][~only_text])
    torch.testing.assert_close(chosen[only_text], output.features[TEXT][only_text])
    assert exemplar_features(output, "fused") is output.fused


def test_one_modality_may_stand_for_all() -> None:
    fused, image = learned(ICaRL(size=18), MDTIL), learned(ICaRL(size=18, exemplar_feature=IMAGE), MDTIL)
    torch.testing.assert_close(head(fused).means[:2], head(image).means[:2])
    assert not torch.allclose(head(fused).means[4:], head(image).means[4:], atol=1e-3)


def test_new_units_may_learn_at_a_rate_of_their_own() -> None:
    def moved(head_lr: float | None) -> tuple[torch.Tensor, torch.Tensor]:
        benchmark = toy_benchmark(CIL)
        learner = toy_learner(benchmark, {"icarl": ICaRL(head_lr=head_lr)}, iterations=1, warmup=0, lr=1e-3)
        learner.meet(benchmark.train[0])
        before = weights(learner)
        learner.train(benchmark.train[0])
        after = weights(learner)
        steps = [
            (after[name] - before[name]).abs().max() for name in ("head.linear.weight", "backbone.clip.visual.proj")
        ]
        return steps[0], steps[1]

    for head_lr, expected in ((None, 1e-3), (0.1, 0.1)):
        units, backbone = moved(head_lr)
        assert float(units) == pytest.approx(expected, rel=0.01)  # the first step of AdamW is the rate
        assert float(backbone) == pytest.approx(1e-3, rel=0.01)


def test_options_that_mean_nothing_are_refused() -> None:
    for options, sentence in (
        ({"size": -1}, "0 or more"),
        ({"loss": "mse"}, "'bce' or 'ce_kd'"),
        ({"decision": "vote"}, "'nearest_mean' or 'network'"),
        ({"temperature": 0.0}, "above 0"),
        ({"fixed_per_class": -2}, r"0 or more, up to 1e\+09 or none"),
        ({"head_lr": 0.0}, "above 0, up to 1000 or none"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            ICaRL(**options)
    with pytest.raises(ConfigError, match=r"icarl.exemplar_feature.*'sound'"):
        toy_learner(toy_benchmark(CIL), {"icarl": ICaRL(exemplar_feature="sound")})


def test_streams_without_classes_are_refused() -> None:
    with pytest.raises(CompositionError, match="experiences with classes"):
        check_composition([ICaRL()], ["icarl"], Surroundings(answers=AnswerKind.PARTNER))


# Surroundings.


def test_the_passes_at_the_end_leave_no_trace_but_the_means() -> None:
    benchmark = toy_benchmark(CIL)
    learner = toy_learner(benchmark, {"icarl": ICaRL(size=8)})
    before = torch.get_rng_state()
    learner.train(benchmark.train[0])
    assert torch.equal(torch.get_rng_state(), before)
    assert learner.model.training
    assert all(not buffer.requires_grad for buffer in learner.model.buffers())


@pytest.mark.parametrize("loss", ["bce", "ce_kd"])
def test_it_trains_in_half_precision(loss: str) -> None:
    learner = learned(ICaRL(size=8, loss=loss), precision="bf16")
    assert head(learner).held.all()
    assert head(learner).means.dtype == torch.float32
    assert learner.evaluate(toy_benchmark(CIL).test[0], Accuracy()) >= 0


def test_it_composes_with_penalties_and_distillation_and_each_of_them_acts() -> None:
    runs = {}
    for name, others in (("icarl", {}), ("ewc", {"ewc": EWC(strength=1e4)}), ("lwf", {"lwf": LwF()})):
        benchmark = toy_benchmark(CIL)
        learner = toy_learner(benchmark, {"icarl": ICaRL(size=8), **others}, lr=1e-2)
        for experience in benchmark.train:
            learner.train(experience)
        runs[name] = weights(learner)
        assert all(bool(value.isfinite().all()) for value in runs[name].values())
        assert head(learner).held.all()
    for name in ("ewc", "lwf"):
        assert any(not torch.equal(value, runs["icarl"][key]) for key, value in runs[name].items())


def test_exemplars_and_means_are_those_of_the_weights_that_are_handed_over() -> None:
    benchmark, strategy = toy_benchmark(CIL), ICaRL(size=8)
    learner = toy_learner(benchmark, {"icarl": strategy, "zscl": ZSCL(average_every=1)}, lr=1e-2)
    learner.train(benchmark.train[0])
    samples = benchmark.train[0].samples
    features = features_now(learner, samples)
    for label, own in ((0, list(range(8))), (1, list(range(8, 16)))):
        order = herding(features[own].double(), 4)
        assert ids(strategy)[label] == [f"0/{own[i]}" for i in order]
        unit = functional.normalize(features[[own[i] for i in order]], dim=1)
        torch.testing.assert_close(head(learner).means[label], functional.normalize(unit.mean(0), dim=0))


@pytest.mark.parametrize(
    "strategy",
    [ICaRL(size=9), ICaRL(size=9, loss="ce_kd", flip=True), ICaRL(fixed_per_class=2)],
    ids=["bce", "ce_kd", "fixed"],
)
@pytest.mark.parametrize("scenario", [CIL, DIL, MDTIL])
def test_a_restart_changes_nothing(strategy: ICaRL, scenario: object) -> None:
    benchmark = toy_benchmark(scenario)  # type: ignore[arg-type]
    unbroken = learned(replace(strategy), scenario)
    before = toy_learner(benchmark, {"icarl": (kept := replace(strategy))})
    for experience in benchmark.train[:2]:
        before.train(experience)
    stream = io.BytesIO()
    torch.save([kept.state_dict(), model_tensors(before.model, before.untouched)], stream)
    stream.seek(0)
    state, tensors = torch.load(stream, weights_only=True)
    after = toy_learner(benchmark, {"icarl": (fresh := replace(strategy))})
    for experience in benchmark.train[:2]:
        after.meet(experience)
    after.untouched = restore_model(after.model, tensors)
    fresh.load_state_dict(state)
    first = benchmark.test[0]
    assert after.evaluate(first, Accuracy()) == before.evaluate(first, Accuracy())
    assert torch.equal(head(after).means, head(before).means)
    after.train(benchmark.train[2])
    assert all(torch.equal(value, weights(after)[name]) for name, value in weights(unbroken).items())
    assert torch.equal(head(after).means, head(unbroken).means)
    assert ids(fresh) == ids(unbroken.strategies["icarl"])  # type: ignore[arg-type]
