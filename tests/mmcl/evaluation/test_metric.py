"""What is counted over a test set, what guessing would score, and what a larger label space costs."""

from math import isnan

import pytest
import torch
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.sample import Batch, Inputs
from mmcl.evaluation.metric import AMONG_OWN, Accuracy
from mmcl.models.output import Output

SEEN = LabelSpace.of(["ant", "bee", "cat", "dog"], first_id=3)
OWN = SEEN.restrict([5, 6])


def counted(metric: Accuracy, logits: list[list[float]], targets: list[int], own: LabelSpace = OWN) -> Accuracy:
    metric.begin_set(own)
    for row, target in zip(logits, targets, strict=True):
        ids: Tensor = torch.tensor([target])
        batch = Batch(Inputs({"image": torch.zeros(1, 1)}, {}), ids, torch.zeros(1, dtype=torch.long))
        metric.update(Output(torch.empty(1, 0), logits=torch.tensor([row])), batch, SEEN)
    return metric


LOGITS = [[9.0, 0.0, 3.0, 1.0], [0.0, 0.0, 3.0, 9.0], [0.0, 5.0, 1.0, 2.0], [9.0, 0.0, 0.0, 1.0]]
TARGETS = [5, 6, 5, 6]


def test_the_answer_among_own_classes_is_read_from_the_same_scores() -> None:
    metric = counted(Accuracy(among_own=True), LOGITS, TARGETS)
    assert metric.compute() == 25.0
    assert metric.further() == {AMONG_OWN: 75.0}
    assert counted(metric, LOGITS[1:2], TARGETS[1:2]).further() == {AMONG_OWN: 100.0}


def test_where_only_own_classes_compete_both_are_one() -> None:
    metric = counted(Accuracy(among_own=True), LOGITS, TARGETS, SEEN)
    assert metric.further() == {AMONG_OWN: metric.compute()}


def test_it_is_counted_only_where_it_is_asked_for() -> None:
    assert counted(Accuracy(), LOGITS, TARGETS).further() == {}


def test_guessing_is_right_once_in_as_many_times_as_classes_compete() -> None:
    assert counted(Accuracy(), LOGITS, TARGETS).chance() == 25.0


def test_without_a_sample_nothing_is_known() -> None:
    metric = Accuracy(among_own=True)
    metric.begin_set(OWN)
    assert isnan(metric.compute())
    assert isnan(metric.chance())
    assert isnan(metric.further()[AMONG_OWN])


@pytest.mark.parametrize("targets", [[3], [4]])
def test_a_sample_of_a_class_that_is_not_its_own_counts_as_wrong_among_own(targets: list[int]) -> None:
    assert counted(Accuracy(among_own=True), LOGITS[:1], targets).further() == {AMONG_OWN: 0.0}
