"""KDR's card: what is stored and with what, which part learns when, and the two losses."""

import pytest
import torch
from mmcl_strategies.baselines.joint import Joint
from mmcl_strategies.distillation.zscl import ZSCL
from mmcl_strategies.replay.decomposed_head import DecomposedHead
from mmcl_strategies.replay.kdr import KDR, hardest_hinge, replay_divergence
from mmcl_strategies.replay.replay import Replay
from mmcl_strategies.shared.stored_features import drawn_slots
from torch import Tensor

from mmcl.build import surroundings
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, PluginError
from mmcl.learning.composition import check_composition
from mmcl.learning.learner import Learner
from mmcl.learning.strategy import StrategyPlugin
from mmcl.models.backbone import Backbone
from mmcl.streams.scenario import DIL, TIL
from mmcl.testing.encoded import encoded
from mmcl.testing.toy import toy_learner, toy_pairs, weights


def head_of(learner: Learner) -> DecomposedHead:
    assert isinstance(learner.model.head, DecomposedHead)
    return learner.model.head


def first_of(learner: Learner) -> Backbone:
    return learner.teacher("initial").model.backbone


def shared_of(learner: Learner, strategy: KDR) -> dict[str, Tensor]:
    """Shared features of all remembered pairs under the current model."""
    values = {name: torch.stack([r["inputs"][name] for r in strategy.state.records]) for name in (IMAGE, TEXT)}
    backbone = learner.model.backbone
    found: dict[str, Tensor] = head_of(learner).shared({n: encoded(backbone, n, v).pooled for n, v in values.items()})
    return {name: rows.detach() for name, rows in found.items()}


def test_features_are_stored_in_the_slot_of_their_pair_and_never_refreshed() -> None:
    benchmark, strategy = toy_pairs(TIL), KDR(samples=6)
    learner = toy_learner(benchmark, {"kdr": strategy}, lr=1e-2)
    learner.train(benchmark.train[0])
    first = {name: rows.clone() for name, rows in strategy.state.features.items()}
    for name, rows in shared_of(learner, strategy).items():
        torch.testing.assert_close(first[name], rows)
    learner.train(benchmark.train[1])
    now = shared_of(learner, strategy)
    for name in (IMAGE, TEXT):
        assert torch.equal(strategy.state.features[name][:6], first[name])
        assert not torch.allclose(now[name][:6], first[name])
        torch.testing.assert_close(strategy.state.features[name][6:], now[name][6:])


def test_replay_begins_with_the_second_experience_and_has_a_value() -> None:
    benchmark, strategy = toy_pairs(TIL), KDR(samples=6)
    learner = toy_learner(benchmark, {"kdr": strategy}, lr=1e-2)
    learner.train(benchmark.train[0])
    assert set(learner.loss_terms) == {"task"}
    learner.train(benchmark.train[1])
    assert float(learner.loss_terms["kdr/replay"].detach()) > 0


def test_the_replay_loss_is_zero_only_for_features_that_stayed() -> None:
    image, text, old_image, old_text = (torch.randn(4, 3, dtype=torch.float64) for _ in range(4))
    assert float(replay_divergence(image, text, image, text, 1.0)) == 0
    assert float(replay_divergence(image, text, old_image, old_text, 1.0)) > 0


def test_replay_is_new_against_old_over_the_images_of_each_text_and_a_mean_over_all_entries() -> None:
    image, text, old_image, old_text = (torch.randn(4, 3, dtype=torch.float64) for _ in range(4))
    new, old = (1 + image @ text.T) / 2, (1 + old_image @ old_text.T) / 2
    q, p = new.softmax(0), old.softmax(0)
    torch.testing.assert_close(replay_divergence(image, text, old_image, old_text, 1.0), (q * (q / p).log()).mean())
    torch.testing.assert_close(
        replay_divergence(image, text, old_image, old_text, 1.0, direction="old"), (p * (p / q).log()).mean()
    )
    scaled = replay_divergence(2 * image, text, old_image, old_text, 1.0)
    assert not torch.allclose(scaled, (q * (q / p).log()).mean())
    torch.testing.assert_close(
        replay_divergence(2 * image, text, old_image, old_text, 1.0, normalize=True),
        replay_divergence(image, text, old_image, old_text, 1.0, normalize=True),
    )


def test_only_the_new_side_has_a_gradient() -> None:
    features = [torch.randn(4, 3, requires_grad=True) for _ in range(4)]
    replay_divergence(*features, 1.0).backward()
    assert all(rows.grad is not None for rows in features[:2])
    assert all(rows.grad is None for rows in features[2:])


def test_the_hinge_takes_the_hardest_negative_of_each_row_and_column_and_sums() -> None:
    image = torch.eye(3, dtype=torch.float64)
    text = torch.tensor([[1.0, 0.9, 0.1], [0.2, 1.0, 0.0], [0.0, 0.3, 1.0]], dtype=torch.float64)
    scores = image @ (text / text.norm(dim=1, keepdim=True)).T
    expected = 0.0
    for k in range(3):
        others = [j for j in range(3) if j != k]
        expected += max(max(0.0, 0.2 + float(scores[k, j] - scores[k, k])) for j in others)
        expected += max(max(0.0, 0.2 + float(scores[j, k] - scores[k, k])) for j in others)
    assert float(hardest_hinge(image, text, 0.2)) == pytest.approx(expected)
    assert float(hardest_hinge(image[:1], text[:1], 0.2)) == 0


def test_each_experience_has_a_private_part_and_only_the_current_one_learns() -> None:
    benchmark, strategy = toy_pairs(TIL), KDR(samples=4)
    learner = toy_learner(benchmark, {"kdr": strategy}, lr=1e-2)
    frozen = {name: value.clone() for name, value in first_of(learner).state_dict().items()}
    learner.train(benchmark.train[0])
    before = weights(learner)
    learner.train(benchmark.train[1])
    after = weights(learner)
    moved = {name for name, value in before.items() if not torch.equal(value, after[name])}
    assert not any(".private.0." in name for name in moved)
    assert {f"head.shared.{name}.weight" for name in ("image", "common")} <= moved
    assert any(name.startswith("backbone") for name in moved)
    assert {name.split(".")[2] for name in after if name.startswith("head.private.")} == {"0", "1"}
    begun = head_of(toy_learner(toy_pairs(TIL), {"kdr": KDR()}))
    assert len(begun.private) == 0
    for name, value in first_of(learner).state_dict().items():
        assert torch.equal(value, frozen[name])
    assert not any(parameter.requires_grad for parameter in first_of(learner).parameters())
    assert not any(module.training for module in first_of(learner).modules())


def test_the_backbone_as_it_was_is_the_learners_and_no_part_of_the_model() -> None:
    benchmark = toy_pairs(TIL)
    plain, learner = toy_learner(benchmark), toy_learner(benchmark, {"kdr": KDR(), "zscl": ZSCL()})
    head = sum(parameter.numel() for parameter in head_of(learner).parameters())
    assert head == sum(parameter.numel() for parameter in head_of(learner).shared.parameters())
    assert head + sum(p.numel() for p in plain.model.parameters()) == sum(p.numel() for p in learner.model.parameters())
    assert head_of(learner).first() is learner.teacher("initial").model.backbone


def test_an_earlier_private_part_learns_nothing_from_replayed_pairs_either() -> None:
    benchmark = toy_pairs(TIL)
    learner = toy_learner(benchmark, {"kdr": KDR(samples=4), "replay": Replay(size=8)}, lr=1e-2)
    learner.train(benchmark.train[0])
    before = {name: value.clone() for name, value in head_of(learner).private["0"].state_dict().items()}
    learner.train(benchmark.train[1])
    for name, value in head_of(learner).private["0"].state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("normalize", [False, True])
def test_cosines_of_remembered_pairs_ignore_lengths_and_inner_products_do_not(normalize: bool) -> None:
    benchmark, strategy = toy_pairs(TIL), KDR(samples=6, normalize=normalize)
    learner = toy_learner(benchmark, {"kdr": strategy})
    for experience in benchmark.train[:2]:
        learner.train(experience)
    before = strategy.loss_terms(learner)["replay"].detach()
    with torch.no_grad():
        for parameter in head_of(learner).shared.common.parameters():
            parameter.mul_(3)
    after = strategy.loss_terms(learner)["replay"].detach()
    assert float(before) > 0
    assert torch.allclose(after, before, rtol=1e-4) is normalize


def test_every_row_goes_through_the_part_of_its_own_experience() -> None:
    benchmark = toy_pairs(TIL)
    learner = toy_learner(benchmark, {"kdr": KDR(samples=4)})
    for experience in benchmark.train:
        learner.train(experience)
    (batch,) = learner.one_pass(benchmark.test[0].samples, 100)
    embedded = []
    for tasks in (torch.zeros(12), torch.ones(12), torch.arange(12) % 2, torch.full((12,), -1)):
        inputs = batch.inputs.with_task_ids(tasks.long())
        embedded.append(learner.model.encode(inputs).features[IMAGE].detach())
    rows = torch.arange(12)
    torch.testing.assert_close(embedded[2], torch.stack(embedded[:2])[rows % 2, rows])
    assert not torch.allclose(embedded[0], embedded[1])
    backbone = encoded(learner.model.backbone, IMAGE, batch.inputs[IMAGE]).pooled.detach()
    torch.testing.assert_close(embedded[3], backbone)


def test_the_same_slot_numbers_are_drawn_in_every_earlier_experience() -> None:
    tasks = [0] * 10 + [1] * 10 + [2] * 3
    slots = drawn_slots(tasks, 4, torch.Generator().manual_seed(0))
    numbers = [[slot - start for slot in slots if tasks[slot] == task] for task, start in ((0, 0), (1, 10), (2, 20))]
    assert len(numbers[0]) == 4
    assert numbers[0] == numbers[1]
    assert numbers[2] == [number for number in numbers[0] if number < 3]
    assert drawn_slots([], 4, torch.Generator()) == []


def test_the_objective_is_the_hinge_on_the_embeddings() -> None:
    seen: list[tuple[Tensor, Tensor]] = []

    class Peek(StrategyPlugin):
        def before_backward(self, learner: Learner, **_: object) -> None:
            features = learner.output.features
            seen.append((learner.loss_terms["task"], hardest_hinge(features[IMAGE], features[TEXT], 0.3)))

    benchmark = toy_pairs(TIL)
    learner = toy_learner(benchmark, {"kdr": KDR(margin=0.3), "peek": Peek()})
    learner.train(benchmark.train[0])
    for task, expected in seen:
        assert torch.equal(task, expected)


def test_without_the_task_id_at_test_it_is_refused() -> None:
    with pytest.raises(CompositionError, match="task id at test"):
        check_composition([KDR()], ["kdr"], surroundings(benchmark=toy_pairs(DIL)))
    check_composition([KDR()], ["kdr"], surroundings(benchmark=toy_pairs(TIL)))
    benchmark = toy_pairs(TIL)
    learner = toy_learner(benchmark, {"kdr": KDR()})
    learner.train(benchmark.train[0])
    (batch,) = learner.one_pass(benchmark.test[0].samples, 100)
    with pytest.raises(PluginError, match="without a task id"):
        learner.model.encode(batch.inputs.with_task_ids(None))


def test_the_whole_stream_at_once_would_leave_all_private_parts_but_the_last_untrained() -> None:
    with pytest.raises(CompositionError, match="one after the other"):
        check_composition([Joint(), KDR()], ["joint", "kdr"], surroundings(benchmark=toy_pairs(TIL)))


def test_classes_are_not_scored() -> None:
    learner = toy_learner(toy_pairs(TIL), {"kdr": KDR()})
    with pytest.raises(PluginError, match="pairs to compare"):
        head_of(learner).score(learner.model.encode(empty()), empty(), LabelSpace())


def empty() -> Inputs:
    return Inputs({IMAGE: torch.zeros(1, 3, 32, 32)}, {IMAGE: torch.ones(1, dtype=torch.bool)}, task_ids=torch.zeros(1))
