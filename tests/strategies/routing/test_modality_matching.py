"""Each tower sends a row where its own nearest key is, and the last one says which way the row has taken."""

import torch
from mmcl_strategies.routing.modality_matching import ModalityMatching
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features

TOWERS = (IMAGE, TEXT, "fusion")
NEAREST = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])  # of each row, the place of its key
THERE = torch.tensor([True, True, True, True, False])


def router(experiences: tuple[int, ...] = (0, 3)) -> ModalityMatching:
    made = ModalityMatching(TOWERS, 2)
    for place, index in enumerate(experiences):
        made.meet(Arrival(index, LabelSpace(), frozenset({IMAGE, TEXT})))
        with torch.no_grad():
            made.keys[str(index)].copy_(7 * torch.eye(2)[place].expand(3, -1))
    return made


def inputs() -> Inputs:
    return Inputs({IMAGE: torch.zeros(5, 2), TEXT: torch.zeros(5, 2)}, {IMAGE: THERE, TEXT: THERE})


def plain(asked: Inputs) -> Encoded:
    """First tokens that point at keys, behind pooled features and before other tokens that do not."""
    wrong = torch.full((5, 1, 2), torch.nan)
    first = 0.1 + torch.eye(2)[NEAREST]
    features = {
        name: Features(wrong[:, 0], torch.cat([first[:, place : place + 1], wrong], dim=1))
        for place, name in enumerate(TOWERS)
    }
    return Encoded(features, {IMAGE: torch.ones(5).bool(), TEXT: THERE, "fusion": THERE}, torch.ones(()))


def found(made: ModalityMatching) -> Route:
    route = made(inputs(), plain)
    assert isinstance(route, Route)
    return route


def cosine(one: Tensor, other: Tensor) -> float:
    return float(one @ other / one.norm() / other.norm())


def test_each_tower_finds_the_experience_of_its_own_nearest_key() -> None:
    route = found(router())
    assert route.of_parts is not None
    assert route.of_parts.tolist() == [[0, 0, 0], [3, 0, 0], [0, 3, 0], [0, 0, 3], [PLAIN] * 3]
    assert [route.through(part).ids.tolist()[:4] for part in range(3)] == [[0, 3, 0, 0], [0, 0, 3, 0], [0, 0, 0, 3]]


def test_the_way_of_a_row_is_that_of_the_last_tower_and_plain_where_something_is_missing() -> None:
    route = found(router())
    assert route.ids.tolist() == [0, 0, 0, 3, PLAIN]
    assert route.strength.tolist() == [1.0, 1.0, 1.0, 1.0, 0.0]


def test_a_known_way_is_that_of_all_towers_with_the_queries_of_each() -> None:
    made = router()
    route = made.told(torch.tensor([3, 0, 3, PLAIN, 0]), inputs(), plain)
    assert route.of_parts is None
    assert all(route.through(part).ids.tolist() == [3, 0, 3, PLAIN, PLAIN] for part in range(3))
    assert torch.equal(made.queries(route), 0.1 + torch.eye(2)[NEAREST])


def test_keys_are_drawn_in_each_tower_to_the_rows_of_their_way_by_a_sum_over_rows() -> None:
    made = router()
    route = made.told(torch.tensor([3, 0, 3, PLAIN, 0]), inputs(), plain)
    queries = made.queries(route)
    pairs = [(row, way, part) for row, way in ((0, "3"), (1, "0"), (2, "3")) for part in range(3)]
    expected = sum(cosine(queries[row, part], made.keys[way][part].detach()) for row, way, part in pairs)
    torch.testing.assert_close(made.matching(route).detach(), torch.tensor(expected))


def test_the_keys_of_one_experience_learn() -> None:
    made = router()
    made.train_only(3)
    assert [key.requires_grad for key in made.keys.values()] == [False, True]


def test_keys_begin_uniform_between_minus_one_and_one() -> None:
    made = ModalityMatching(TOWERS, 500)
    made.meet(Arrival(0, LabelSpace(), frozenset({IMAGE})))
    keys = made.keys["0"].detach()
    assert keys.shape == (3, 500)
    assert -1 <= float(keys.min()) < -0.98
    assert 0.98 < float(keys.max()) <= 1


def test_before_the_first_experience_and_without_a_tower_all_rows_are_plain() -> None:
    assert found(router(())).ids.tolist() == [PLAIN] * 5
    route = router()(inputs(), lambda asked: Encoded({}, {}, torch.ones(())))
    assert route.ids.tolist() == [PLAIN] * 5


def test_ways_of_parts_are_selected_moved_and_joined_with_those_that_have_none() -> None:
    route = found(router())
    assert route.of_parts is not None
    some = route.to("cpu").select(torch.tensor([3, 1]))
    assert some.of_parts is not None
    assert some.of_parts.tolist() == [[0, 0, 3], [3, 0, 0]]
    given = Route.given(torch.tensor([7]))
    for joined, expected in (
        (some.followed_by(given), [[0, 0, 3], [3, 0, 0], [7, 7, 7]]),
        (given.followed_by(some), [[7, 7, 7], [0, 0, 3], [3, 0, 0]]),
    ):
        assert joined.of_parts is not None
        assert joined.of_parts.tolist() == expected
    assert given.followed_by(given).of_parts is None
