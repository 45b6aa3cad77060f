"""Which classes compete, in a batch and at test time."""

import gc
import weakref

import pytest
import torch

from mmcl.data.collate import concatenate
from mmcl.data.label_space import LabelSpace
from mmcl.evaluation.metric import Accuracy
from mmcl.learning.competition import Competition
from mmcl.models.heads import TextHead
from mmcl.streams.scenario import CIL, DIL, TIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner

CPU = torch.device("cpu")


def met(scenario: Scenario, count: int) -> Competition:
    competition = Competition(scenario, CPU)
    for experience in toy_benchmark(scenario, 3).train[:count]:
        assert competition.meet(experience)
        assert not competition.meet(experience)
    return competition


def prompts(space: LabelSpace) -> set[int]:
    return {len(label.templates) for label in space}


def test_a_batch_of_one_experience_has_its_classes_alone_and_no_mask() -> None:
    space, allowed = met(TIL, 3).in_batch(torch.tensor([1, 1, 1]), own=True)
    assert space.ids == (2, 3)
    assert allowed is None


def test_each_row_of_a_mixed_batch_has_the_classes_of_its_own_experience() -> None:
    space, allowed = met(TIL, 3).in_batch(torch.tensor([2, 0, 2]), own=True)
    assert space.ids == (0, 1, 4, 5)
    assert allowed is not None
    assert allowed.tolist() == [[False, False, True, True], [True, True, False, False], [False, False, True, True]]


def test_all_classes_seen_compete_where_the_scenario_does_not_tell_the_experience() -> None:
    competition = met(CIL, 2)
    space, allowed = competition.in_batch(torch.tensor([1, 1]), own=False)
    assert (space.ids, allowed) == ((0, 1, 2, 3), None)
    assert competition.in_batch(torch.tensor([0, 1]), own=False)[0] is space
    competition.meet(toy_benchmark(CIL, 3).train[2])
    assert competition.in_batch(torch.tensor([1, 1]), own=False)[0].ids == (0, 1, 2, 3, 4, 5)


def test_training_reads_one_prompt_and_a_test_all_of_them() -> None:
    for scenario in (CIL, DIL, TIL):
        competition = met(scenario, 2)
        assert prompts(competition.in_batch(torch.tensor([0]), own=scenario is TIL)[0]) == {1}
        assert prompts(competition.label_space_of(1)) == {1}
        assert prompts(competition.at_test(toy_benchmark(scenario, 3).test[0])) == {2}


@pytest.mark.parametrize(
    ("count", "index", "expected"), [(1, 0, (0, 1)), (2, 0, (0, 1, 2, 3)), (1, 2, (0, 1, 4, 5)), (0, 1, (2, 3))]
)
def test_at_test_the_classes_seen_and_its_own_compete(count: int, index: int, expected: tuple[int, ...]) -> None:
    assert met(CIL, count).at_test(toy_benchmark(CIL, 3).test[index]).ids == expected


def test_more_classes_compete_at_test_as_more_are_seen() -> None:
    benchmark, competition, found = toy_benchmark(CIL, 3), Competition(CIL, CPU), []
    for experience in benchmark.train:
        competition.meet(experience)
        found.append(competition.at_test(benchmark.test[0]).ids)
        assert competition.at_test(benchmark.test[0]) is competition.at_test(benchmark.test[0])
    assert found == [(0, 1), (0, 1, 2, 3), (0, 1, 2, 3, 4, 5)]


def test_unions_that_another_experience_has_outgrown_are_dropped() -> None:
    competition, benchmark = Competition(CIL, CPU), toy_benchmark(CIL, 3)
    alive = []
    for experience in benchmark.train:
        competition.meet(experience)
        for test in benchmark.test:
            alive.append(weakref.ref(competition.at_test(test)))
        alive.append(weakref.ref(competition.in_batch(torch.tensor([0]), own=False)[0]))
        alive.append(weakref.ref(competition.in_batch(torch.tensor([0, experience.index]), own=True)[0]))
    gc.collect()
    unions = {id(space) for reference in alive if (space := reference()) is not None and len(space) == 6}
    outgrown = [space for reference in alive if (space := reference()) is not None and len(space) == 4]
    assert len(unions) == 2  # with the prompts of training, and with all
    assert [space.ids for space in outgrown] == [(0, 1, 4, 5)]  # the mixed batch just asked for


def test_a_row_of_evaluations_embeds_the_union_of_all_classes_once(monkeypatch: pytest.MonkeyPatch) -> None:
    benchmark = toy_benchmark(CIL, 4)
    learner = toy_learner(benchmark)
    for experience in benchmark.train[:3]:
        learner.meet(experience)
    sizes: list[int] = []
    embed = TextHead._embed

    def counting(self: TextHead, space: LabelSpace, way: None) -> torch.Tensor:
        sizes.append(len(space))
        return embed(self, space, way)

    monkeypatch.setattr(TextHead, "_embed", counting)
    with learner.evaluating():
        scores = [learner.evaluate(experience, Accuracy()) for experience in benchmark.test]
    assert sizes == [6, 2]
    assert learner.model.training
    sizes.clear()
    assert [learner.evaluate(experience, Accuracy()) for experience in benchmark.test] == scores
    assert sizes == [6, 6, 6, 6, 2]


def test_at_test_only_its_own_classes_compete_where_the_experience_is_known() -> None:
    assert met(TIL, 3).at_test(toy_benchmark(TIL, 3).test[1]).ids == (2, 3)


def test_the_likelihood_of_a_sample_does_not_depend_on_whose_samples_are_in_its_batch() -> None:
    benchmark = toy_benchmark(TIL, 2)
    learner = toy_learner(benchmark)
    learner.model.eval()
    batches = []
    for experience in benchmark.train:
        learner.meet(experience)
        batches.extend(learner.one_pass(experience.samples, 3))
    first, last = batches[0], batches[-1]
    assert {*first.task_ids.tolist()} != {*last.task_ids.tolist()}
    with torch.no_grad():
        apart = torch.cat([learner.log_likelihood(first), learner.log_likelihood(last)])
        together = learner.log_likelihood(concatenate(first, last))
        table = learner.log_probabilities(concatenate(first, last))
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(table.exp().sum(1), torch.ones(len(table)))
    assert torch.isinf(table).sum(1).tolist() == [2] * len(table)
