"""Teachers have the weights that their policy says, at every moment, and equal policies share one copy."""

from dataclasses import dataclass, field
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from mmcl.errors import CompositionError, ConfigError, PluginError
from mmcl.learning.compose import Surroundings
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.teachers import (
    POLICIES,
    CompatibleMomentum,
    Interpolated,
    Momentum,
    Policy,
    compatible_update,
    momentum_update,
)
from mmcl.testing.toy import toy_benchmark, toy_learner, weights

Weights = dict[str, Tensor]


@dataclass(kw_only=True, eq=False)
class Reader(StrategyPlugin):
    """Notes the weights of student and teacher in every step, as the forward pass sees them."""

    policy: str | Policy
    seen: list[tuple[Weights, Weights]] = field(default_factory=list)

    @property
    def teachers(self) -> frozenset[str | Policy]:
        return frozenset({self.policy})

    def after_forward(self, learner: Learner, **_: object) -> None:
        self.seen.append((weights(learner), copied(learner.teacher(self.policy).weights())))


def copied(values: Weights) -> Weights:
    return {name: value.detach().clone() for name, value in values.items()}


def trained(policy: str | Policy, experiences: int = 2) -> tuple[Learner, Reader, list[Weights]]:
    reader, benchmark = Reader(policy=policy), toy_benchmark()
    learner = toy_learner(benchmark, {"reader": reader})
    handed_over = [weights(learner)]
    for experience in benchmark.train[:experiences]:
        learner.train(experience)
        handed_over.append(weights(learner))
    return learner, reader, handed_over


def equal(first: Weights, second: Weights) -> bool:
    return all(torch.equal(value, second[name]) for name, value in first.items())


def test_the_initial_teacher_never_changes() -> None:
    _, reader, handed_over = trained("initial")
    assert len(reader.seen) == 8
    assert all(equal(teacher, handed_over[0]) for _, teacher in reader.seen)


def test_the_previous_teacher_is_what_was_handed_over_last() -> None:
    _, reader, handed_over = trained("previous")
    assert all(equal(teacher, handed_over[step // 4]) for step, (_, teacher) in enumerate(reader.seen))


def test_an_interpolated_teacher_lies_between_the_initial_and_the_previous_one() -> None:
    _, reader, handed_over = trained(Interpolated(share=0.25))
    for step, (_, teacher) in enumerate(reader.seen):
        for name, value in teacher.items():
            expected = 0.75 * handed_over[0][name] + 0.25 * handed_over[step // 4][name]
            torch.testing.assert_close(value, expected)


def test_a_momentum_teacher_follows_before_the_forward_pass_and_begins_anew() -> None:
    _, reader, handed_over = trained(Momentum(rate=0.9))
    for experience in (0, 1):
        expected = handed_over[experience]
        for student, teacher in reader.seen[4 * experience : 4 * experience + 4]:
            expected = momentum_update(expected, student, 0.9)
            assert equal(teacher, expected)


def test_a_compatible_teacher_mixes_in_the_previous_weights_from_the_second_experience_on() -> None:
    _, reader, handed_over = trained(CompatibleMomentum(rate=0.8, share=0.5, first_rate=0.95))
    expected = handed_over[0]
    for student, teacher in reader.seen[:4]:
        expected = momentum_update(expected, student, 0.95)
        assert equal(teacher, expected)
    expected = handed_over[1]
    for student, teacher in reader.seen[4:]:
        expected = compatible_update(expected, student, handed_over[1], 0.8, 0.5)
        assert equal(teacher, expected)


def test_a_compatible_update_without_share_is_a_momentum_update() -> None:
    first, second, third = ({"w": torch.randn(3)} for _ in range(3))
    assert equal(compatible_update(first, second, third, 0.7, 0.0), momentum_update(first, second, 0.7))


def test_the_teacher_shares_no_storage_with_the_student_and_has_no_gradient() -> None:
    for policy in ("initial", "previous", Momentum(), CompatibleMomentum(), Interpolated()):
        learner, _, _ = trained(policy)
        for name, value in learner.teacher(policy).weights().items():
            assert value.data_ptr() != learner.model.get_parameter(name).data_ptr()
            assert not value.requires_grad
            assert value.grad is None


def test_equal_policies_share_one_copy_and_different_ones_do_not() -> None:
    benchmark = toy_benchmark()
    readers = {name: Reader(policy=Momentum(rate=rate)) for name, rate in (("a", 0.9), ("b", 0.9), ("c", 0.5))}
    learner = toy_learner(benchmark, readers)
    learner.train(benchmark.train[0])
    assert learner.teacher(Momentum(rate=0.9)) is learner.teacher(readers["a"].policy)
    assert learner.teacher(Momentum(rate=0.9)) is not learner.teacher(Momentum(rate=0.5))


def test_the_learner_says_which_teachers_were_asked_for_and_not_which_are_there() -> None:
    @dataclass(kw_only=True, eq=False)
    class Idle(StrategyPlugin):
        teachers: ClassVar[frozenset[str | Policy]] = frozenset({"initial"})

    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {"idle": Idle(), "reader": Reader(policy="previous")})
    learner.train(benchmark.train[0])
    assert learner.teachers_asked == {POLICIES["previous"]}
    with pytest.raises(PluginError):
        learner.teacher(Momentum())
    assert learner.teachers_asked == {POLICIES["previous"], Momentum()}


@pytest.mark.parametrize("policy", [Momentum, Interpolated])
def test_a_share_outside_0_to_1_is_refused(policy: type[Policy]) -> None:
    with pytest.raises(ConfigError, match="0 to 1"):
        policy(1.5)  # type: ignore[call-arg]


def test_a_teacher_nobody_declared_is_refused_with_those_that_were() -> None:
    learner, _, _ = trained(Momentum(rate=0.9))
    with pytest.raises(PluginError, match=r"teacher 'previous'.*momentum \(0.9\)"):
        learner.teacher("previous")


def test_an_unknown_policy_is_refused_before_anything_is_built() -> None:
    @dataclass(kw_only=True, eq=False)
    class Odd(StrategyPlugin):
        teachers: ClassVar[frozenset[str | Policy]] = frozenset({"ideal"})

    with pytest.raises(CompositionError, match="asks for the teacher 'ideal'"):
        check_composition([Odd()], ["odd"], Surroundings())
