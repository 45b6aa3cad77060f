"""CTP's card: what the momentum model is made of, the order of a step, and what the topology terms compare."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcl_strategies.distillation.ctp import CTP, enqueue, image_text_contrast, momentum_contrast, topology
from torch import Tensor
from torch.nn import functional

from mmcl.data.modality import IMAGE, TEXT
from mmcl.errors import ConfigError
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.teachers import compatible_update, momentum_update
from mmcl.streams.benchmark import Benchmark
from mmcl.testing.laboratory.nested import copied
from mmcl.testing.toy import toy_learner, toy_pairs, weights

Weights = dict[str, Tensor]


class Peek(StrategyPlugin):
    """Notes student, momentum model and queues at the moment of the losses, and the queues after the step."""

    def __init__(self, strategy: CTP) -> None:
        self.strategy = strategy
        self.students: list[Weights] = []
        self.averages: list[Weights] = []
        self.used: list[Weights] = []
        self.left: list[Weights] = []
        self.momentum_features: list[Weights] = []
        self.terms: list[set[str]] = []

    def before_backward(self, learner: Learner, **_: object) -> None:
        (policy,) = self.strategy.teachers - {"previous"}
        teacher = learner.teacher(policy)
        self.students.append(weights(learner))
        self.averages.append(copied(teacher.weights()))
        self.used.append(copied(self.strategy.state.queues))
        self.momentum_features.append(copied(teacher.model.encode(learner.batch.inputs).features))
        self.terms.append(set(learner.loss_terms))

    def after_training_iteration(self, learner: Learner, **_: object) -> None:
        self.left.append(copied(self.strategy.state.queues))


def trained(strategy: CTP, **training: object) -> tuple[Benchmark, Learner, Peek, list[Weights]]:
    benchmark, peek = toy_pairs(), Peek(strategy)
    learner = toy_learner(benchmark, {"ctp": strategy, "peek": peek}, lr=1e-2, **training)
    handed_over = [weights(learner)]
    for experience in benchmark.train:
        learner.train(experience)
        handed_over.append(weights(learner))
    return benchmark, learner, peek, handed_over


def test_previous_weights_are_mixed_in_at_every_step_from_the_second_experience_on() -> None:
    _, _, peek, handed_over = trained(CTP(queue=8, momentum=0.8, share=0.25, first_momentum=0.95))
    expected = handed_over[0]
    for student, average in zip(peek.students[:4], peek.averages[:4], strict=True):
        expected = momentum_update(expected, student, 0.95)
        assert all(torch.equal(average[name], value) for name, value in expected.items())
    expected = handed_over[1]  # begun anew as a copy of the student
    for student, average in zip(peek.students[4:], peek.averages[4:], strict=True):
        expected = compatible_update(expected, student, handed_over[1], 0.8, 0.25)
        assert all(torch.equal(average[name], value) for name, value in expected.items())


def test_a_step_uses_the_old_queue_and_then_enqueues_the_moved_models_features() -> None:
    _, _, peek, _ = trained(CTP(queue=8))
    for step in range(1, 8):
        for name in (IMAGE, TEXT):
            assert torch.equal(peek.used[step][name], peek.left[step - 1][name])
    begin = 0
    for step, features in enumerate(peek.momentum_features):
        for name in (IMAGE, TEXT):
            assert not torch.equal(peek.used[step][name], peek.left[step][name])
            new = functional.normalize(features[name], dim=1)
            torch.testing.assert_close(peek.left[step][name][:, [(begin + i) % 8 for i in range(4)]], new.T)
        begin += len(features[IMAGE])


def test_queues_begin_as_random_unit_columns_and_outlive_experiences() -> None:
    _, _, peek, _ = trained(CTP(queue=16))
    for queues in (peek.used[0], peek.used[4], peek.left[-1]):
        for name in (IMAGE, TEXT):
            torch.testing.assert_close(queues[name].norm(dim=0), torch.ones(16))
    assert not torch.equal(peek.used[0][IMAGE], peek.used[0][TEXT])
    # the second experience goes on with what the first one left
    assert torch.equal(peek.used[4][IMAGE], peek.left[3][IMAGE])


def test_topology_is_kept_from_the_second_experience_on() -> None:
    _, _, peek, _ = trained(CTP(queue=8))
    assert peek.terms[3] == {"task", "ctp/cmc"}
    assert peek.terms[4] == {"task", "ctp/cmc", "ctp/cross", "ctp/same"}


def test_the_temperature_is_fixed_and_takes_the_place_of_the_logit_scale() -> None:
    benchmark, learner, _, handed_over = trained(CTP(queue=8, temperature=0.2))
    name = "backbone.clip.logit_scale"
    assert torch.equal(handed_over[-1][name], handed_over[0][name])
    (batch,) = learner.one_pass(benchmark.train[0].samples, 100)
    learner.mbatch = batch
    learner.mb_output = learner.model.encode(batch.inputs)
    features = [functional.normalize(learner.output.features[name], dim=1) for name in (IMAGE, TEXT)]
    scores, right = features[0] @ features[1].T / 0.2, torch.arange(12)
    expected = (functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)) / 2
    torch.testing.assert_close(learner.task_loss(), expected)


def test_the_own_entry_takes_no_part_in_the_same_modality_term() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text, old = (torch.randn(5, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    _, same = topology(image, text, old, text, 0.07)
    unit, before = functional.normalize(image, dim=1), functional.normalize(old, dim=1)
    others = ~torch.eye(5, dtype=torch.bool)
    rows = [(m @ m.T)[others].reshape(5, 4) / 0.07 for m in (unit, before)]
    expected = functional.kl_div(rows[0].log_softmax(1), rows[1].log_softmax(1), reduction="batchmean", log_target=True)
    torch.testing.assert_close(same, expected / 2)


def test_topology_terms_are_means_over_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    image, text, old_image, old_text = (torch.randn(6, 4, generator=generator) for _ in range(4))
    cross, _ = topology(image, text, old_image, old_text, 0.5)
    twice = topology(*(torch.cat([rows, rows]) for rows in (image, text, old_image, old_text)), 0.5)[0]
    # the same rows again: every row has its columns doubled, which leaves its divergence as it was
    torch.testing.assert_close(twice, cross)


def test_momentum_features_get_no_gradient_and_the_right_column_is_the_own_one() -> None:
    features = torch.eye(4).requires_grad_()
    momentum = torch.eye(4).requires_grad_()
    queue = torch.zeros(4, 2)
    loss = momentum_contrast(features, features, momentum, momentum, queue, queue, 0.05)
    assert float(loss.detach()) < 1e-6
    loss.backward()
    assert momentum.grad is None
    assert float(image_text_contrast(torch.eye(4), torch.eye(4).flip(0), 0.05)) > 10


@given(st.integers(1, 5), st.integers(5, 9), st.integers(0, 8))
def test_the_queue_is_a_ring(rows: int, length: int, begin: int) -> None:
    queue, features = torch.zeros(3, length), torch.randn(rows, 3)
    new, end = enqueue(queue, features, begin % length)
    written = [(begin + i) % length for i in range(rows)]
    torch.testing.assert_close(new[:, written], functional.normalize(features, dim=1).T)
    assert not new[:, [i for i in range(length) if i not in written]].any()
    assert end == (begin % length + rows) % length
    assert not queue.any()


def test_a_queue_shorter_than_a_batch_keeps_its_last_rows() -> None:
    _, _, peek, _ = trained(CTP(queue=3))
    expected = functional.normalize(peek.momentum_features[-1][IMAGE][-3:], dim=1).T
    assert {tuple(c) for c in peek.left[-1][IMAGE].T.tolist()} == {tuple(c) for c in expected.T.tolist()}


@pytest.mark.parametrize(("name", "value"), [("temperature", 0.0), ("queue", 0), ("momentum", 1.5)])
def test_impossible_numbers_are_refused(name: str, value: float) -> None:
    with pytest.raises(ConfigError):
        CTP(**{name: value})  # type: ignore[arg-type]


def test_every_term_reads_the_model_that_the_definition_names() -> None:
    """Targets and positives of the contrast are the momentum model's, the topology is the previous model's."""
    strategy, steps = CTP(queue=8, cmc_weight=2.0, cross_weight=3.0, same_weight=5.0, momentum=0.5), list[int]()

    class Definition(StrategyPlugin):
        def before_backward(self, learner: Learner, **_: object) -> None:
            (policy,) = strategy.teachers - {"previous"}
            models = learner.model, learner.teacher(policy).model, learner.teacher("previous").model
            with torch.no_grad():
                (i, x), (im, xm), (ir, xr) = (
                    [functional.normalize(model.encode(learner.batch.inputs).features[n], dim=1) for n in (IMAGE, TEXT)]
                    for model in models
                )
            tau, right, own = 0.07, torch.arange(len(i)), torch.eye(len(i), dtype=torch.bool)

            def contrast(rows: Tensor, others: Tensor, queue: str) -> Tensor:
                columns = torch.cat([others.T, strategy.state.queues[queue]], dim=1)
                return functional.cross_entropy(rows @ columns / tau, right)

            def divergence(old: Tensor, new: Tensor) -> Tensor:
                p, q = ((scores / tau).log_softmax(1) for scores in (old, new))
                return functional.kl_div(q, p, reduction="batchmean", log_target=True)

            def within(old: Tensor, new: Tensor) -> Tensor:
                return divergence(*((rows @ rows.T).masked_fill(own, -1000) for rows in (old, new)))

            expected = {"ctp/cmc": 2.0 * (contrast(i, xm, TEXT) + contrast(x, im, IMAGE)) / 2}
            if learner.current is not learner.seen[0]:
                expected["ctp/cross"] = 3.0 * (divergence(ir @ xr.T, i @ x.T) + divergence(xr @ ir.T, x @ i.T)) / 2
                expected["ctp/same"] = 5.0 * (within(ir, i) + within(xr, x)) / 2
            assert expected.keys() == learner.loss_terms.keys() - {"task"}
            for name, value in expected.items():
                torch.testing.assert_close(learner.loss_terms[name].detach(), value, rtol=1e-4, atol=1e-5)
            steps.append(learner.step)

    benchmark = toy_pairs()
    learner = toy_learner(benchmark, {"ctp": strategy, "definition": Definition()}, lr=1e-2)
    for experience in benchmark.train:
        learner.train(experience)
    assert steps == [0, 1, 2, 3] * 2
