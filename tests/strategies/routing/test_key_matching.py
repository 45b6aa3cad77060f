"""A row goes where the nearest key is, and keys are drawn to the rows of their experience alone."""

import pytest
import torch
from mmcl_strategies.routing.key_matching import KeyMatching
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features

QUERIES = torch.tensor([[2.0, 0.1, 0.0], [0.1, 5.0, 0.0], [0.0, 3.0, 0.1], [9.0, 9.0, 9.0]])
PRESENT = torch.tensor([True, True, True, False])


def router(experiences: tuple[int, ...] = (0, 3), batchwise: bool = False) -> KeyMatching:
    made = KeyMatching(3, batchwise=batchwise)
    for place, index in enumerate(experiences):
        made.meet(Arrival(index, LabelSpace(), frozenset({IMAGE})))
        with torch.no_grad():
            made.keys[str(index)].copy_(7 * torch.eye(3)[place])
    return made


def inputs() -> Inputs:
    return Inputs({IMAGE: QUERIES}, {IMAGE: PRESENT})


def plain(inputs: Inputs) -> Encoded:
    return Encoded({IMAGE: Features(inputs[IMAGE])}, {IMAGE: PRESENT}, torch.ones(()))


def found(made: KeyMatching) -> Route:
    route = made(inputs(), plain)
    assert isinstance(route, Route)
    return route


def test_each_row_goes_to_the_experience_with_the_nearest_key() -> None:
    route = found(router())
    assert route.ids.tolist() == [0, 3, 3, PLAIN]
    assert route.strength.tolist() == [1.0, 1.0, 1.0, 0.0]
    assert route.query is QUERIES


def test_a_batch_may_vote() -> None:
    assert router().granularity == "sample"
    assert router(batchwise=True).granularity == "batch"
    assert found(router(batchwise=True)).ids.tolist() == [3, 3, 3, PLAIN]


def test_before_the_first_experience_all_rows_are_plain() -> None:
    route = found(router(()))
    assert route.ids.tolist() == [PLAIN] * 4
    assert not bool(route.taken.any())


def test_known_ways_keep_their_queries() -> None:
    route = router().told(torch.tensor([3, 0, 3, 0]), inputs(), plain)
    assert route.ids.tolist() == [3, 0, 3, PLAIN]
    assert route.query is QUERIES


def gradients(made: KeyMatching, ids: Tensor) -> dict[str, bool]:
    made.pull(QUERIES[:3], ids).backward()  # type: ignore[no-untyped-call]
    return {name: key.grad is not None and bool(key.grad.any()) for name, key in made.keys.items()}


def test_the_pull_is_the_mean_cosine_with_the_keys_of_the_ways() -> None:
    cosines = torch.nn.functional.normalize(QUERIES[:3], dim=1)
    expected = (cosines[0, 1] + cosines[1, 1] + cosines[2, 0]) / 3
    torch.testing.assert_close(router().pull(QUERIES[:3], torch.tensor([3, 3, 0])), expected)


@pytest.mark.parametrize(("way", "reached"), [(0, {"0": True, "3": False}), (3, {"0": False, "3": True})])
def test_only_the_keys_of_the_ways_are_drawn(way: int, reached: dict[str, bool]) -> None:
    assert gradients(router(), torch.full((3,), way)) == reached


def test_only_the_key_of_one_experience_learns() -> None:
    made = router()
    made.train_only(3)
    assert {name: key.requires_grad for name, key in made.keys.items()} == {"0": False, "3": True}


def test_keys_begin_uniform_between_minus_one_and_one() -> None:
    made = KeyMatching(2000, dtype=torch.float64)
    made.meet(Arrival(0, LabelSpace(), frozenset({IMAGE})))
    key = made.keys["0"].detach()
    assert key.dtype is torch.float64
    assert -1.0 <= float(key.min()) < -0.98
    assert 0.98 < float(key.max()) <= 1.0
