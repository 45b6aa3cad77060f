"""MTIL with few shots: so many images of every class in either order, the same ones every time, and whole test sets."""

from collections import Counter

import pytest
from mmcl_benchmarks.mtil.benchmark import MTIL, ORDERS

import mmcl
from mmcl.data.experience_data import ExperienceData
from mmcl.errors import ConfigError
from mmcl.streams.benchmark import Benchmark


@pytest.fixture(scope="module")
def whole(cache: object) -> Benchmark:
    return MTIL(embedded=True).build()


@pytest.fixture(scope="module")
def few(cache: object) -> Benchmark:
    return MTIL(embedded=True, shots=4).build()


def ids(data: ExperienceData) -> list[str]:
    return [data.train[index].sample_id for index in range(len(data.train))]


def test_every_class_has_so_many_images_and_the_test_sets_are_whole(few: Benchmark, whole: Benchmark) -> None:
    for part, data in zip(few.experiences, whole.experiences, strict=True):
        count = Counter(part.train[index].target for index in range(len(part.train)))
        available = Counter(data.train[index].target for index in range(len(data.train)))
        assert count == {label: min(4, number) for label, number in available.items()}, part.name
        assert set(count) == set(part.label_space.ids)
        assert set(ids(part)) < set(ids(data))
        assert len(part.test) == len(data.test)
    assert few.label_space == whole.label_space


def test_more_shots_than_there_are_images_are_all_of_them(whole: Benchmark) -> None:
    many = MTIL(embedded=True, shots=16).build()
    samples = {name: train for name, (train, _) in many.metadata["samples"].items()}
    assert samples == {name: train for name, (train, _) in whole.metadata["samples"].items()} | {"MNIST": 160}


def test_images_of_a_data_set_are_the_same_in_both_orders_and_in_a_shorter_stream(few: Benchmark) -> None:
    other = MTIL(embedded=True, shots=4, order=2, experiences=3).build()
    assert [data.name for data in other.experiences] == list(ORDERS[2][:3])
    drawn = {data.name: ids(data) for data in few.experiences}
    assert all(ids(data) == drawn[data.name] for data in other.experiences)
    assert ids(MTIL(embedded=True, shots=4, experiences=1).build().experiences[0]) == drawn["Aircraft"]


def test_another_draw_has_other_images(few: Benchmark) -> None:
    other = MTIL(embedded=True, shots=4, draw=1).build()
    assert other.metadata["samples"] == few.metadata["samples"]
    assert all(other.metadata["digest"][name] != few.metadata["digest"][name] for name in few.metadata["digest"])


def test_a_draw_without_shots_has_no_effect_and_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"mtil\.draw.*together with shots.*benchmark\.shots=16"):
        MTIL(embedded=True, draw=1)
    with pytest.raises(ConfigError, match=r"mtil\.shots.*1 or more"):
        MTIL(embedded=True, shots=0)


def test_results_say_how_many_images_were_drawn(few: Benchmark, whole: Benchmark) -> None:
    assert few.metadata | {"samples": 0, "digest": 0} == {
        "convention": "zscl",
        "order": 1,
        "shots": 4,
        "draw": 0,
        "synthetic": True,
        "samples": 0,
        "digest": 0,
    }
    assert not {"shots", "draw"} & whole.metadata.keys()
    assert few.training == whole.training, "the embedded edition has settings of its own"


def test_shots_are_an_option_of_the_command_line() -> None:
    assert mmcl.explain(["finetune"], benchmark="mtil:shots=16,order=2").refusal is None
