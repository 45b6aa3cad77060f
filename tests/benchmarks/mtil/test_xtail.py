"""X-TAIL: few images of ten data sets, and every class of them competes from the first evaluation on."""

import random
from collections import Counter

import pytest
import torch
from mmcl_benchmarks.formats.labelled import Side
from mmcl_benchmarks.formats.shots import few
from mmcl_benchmarks.mtil.benchmark import MTIL
from mmcl_benchmarks.mtil.xtail import ORDERS, XTail

from mmcl.data.experience_data import ExperienceData
from mmcl.data.label_space import LabelSpace
from mmcl.errors import ConfigError, DataError
from mmcl.learning.competition import Competition
from mmcl.streams.benchmark import Benchmark
from mmcl.streams.scenario import CIL, HIDDEN_TIL, NAMED, TIL, XTAIL
from mmcl.testing.toy import toy_samples


@pytest.fixture(scope="module")
def edition(cache: object) -> Benchmark:
    return XTail(embedded=True).build()


def test_it_is_mtil_without_cifar100_and_with_few_images(edition: Benchmark) -> None:
    names = [data.name for data in edition.experiences]
    assert names == list(ORDERS[1]) == [name for name in ORDERS[1] if name != "CIFAR100"]
    assert len(names) == 10
    assert set(ORDERS[2]) == set(ORDERS[1])
    assert edition.metadata["samples"]["MNIST"] == [160, 200], "of ten classes with forty images"
    assert len(edition.label_space) == 652
    assert all(len(label.templates) == 1 for label in edition.label_space)


def test_all_classes_compete_for_every_test_set(edition: Benchmark) -> None:
    assert edition.scenario is XTAIL
    competition = Competition(edition.scenario, torch.device("cpu"), edition.label_space)
    competition.meet(edition.train[0])
    for experience in edition.test:
        assert competition.at_test(experience).ids == edition.label_space.ids
    assert edition.training["own_classes"], "and those of the day in training"


def test_shots_are_drawn_per_class_by_name_and_number() -> None:
    labels = [label for label in range(3) for _ in range(20)]
    side = Side([*labels, 3], files=[f"{position}.png" for position in range(61)])  # type: ignore[list-item]
    first, again, other = (few(side, 16, random.Random(name)) for name in ("a", "a", "b"))
    assert Counter(first.labels) == {0: 16, 1: 16, 2: 16, 3: 1}
    assert first.files == again.files != other.files
    assert list(first.files) == sorted(first.files, key=lambda file: int(str(file).split(".")[0]))


def test_another_draw_has_other_images_and_the_same_test_sets() -> None:
    one, two = (XTail(embedded=True, draw=draw, shots=2, experiences=2).build() for draw in (0, 1))
    assert one.metadata["samples"] == two.metadata["samples"]
    assert one.metadata["digest"] != two.metadata["digest"]


def two_sets(scenario_name: str) -> Benchmark:
    spaces = [LabelSpace.of(["rose", "sunflower"]), LabelSpace.of(["sunflower", "pizza"], first_id=2)]
    data = [
        ExperienceData(f"set {t}", toy_samples(list(s.ids), 2, t, 0), toy_samples(list(s.ids), 2, t, 1), s)
        for t, s in enumerate(spaces)
    ]
    return Benchmark(name="sets", edition="toy", scenario=NAMED[scenario_name], experiences=data)


def test_two_data_sets_may_know_the_same_word_where_all_compete_and_not_where_classes_arrive() -> None:
    assert len(two_sets("X-TAIL").label_space) == 4
    with pytest.raises(DataError, match="compete and are called"):
        two_sets(CIL.name)


def test_mtil_may_hide_the_task_and_keeps_its_candidates() -> None:
    assert MTIL(embedded=True).scenario is TIL
    hidden = MTIL(embedded=True, task_ids=False)
    assert hidden.scenario is HIDDEN_TIL
    assert not HIDDEN_TIL.task_id_known_at_test
    assert HIDDEN_TIL.label_space_at_test == "own"


def test_a_third_order_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"xtail\.order"):
        XTail(embedded=True, order=3)
