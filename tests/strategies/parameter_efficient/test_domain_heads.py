"""Every experience has units of its own, and a row is scored by those of its way."""

import torch
from mmcl_strategies.parameter_efficient.domain_heads import DomainHeads
from torch import Tensor

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.heads import LinearHead
from mmcl.models.output import Output

FIRST, SECOND = LabelSpace.of(["alpha", "beta"]), LabelSpace.of(["gamma", "delta", "beta 2"], first_id=2)
FEATURES = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))


def heads(*spaces: LabelSpace, dtype: torch.dtype = torch.float32) -> DomainHeads:
    found = DomainHeads(LinearHead(4), 4, dtype)
    for index, space in enumerate(spaces):
        found.meet(Arrival(index, space, frozenset({IMAGE})))
    return found


def scored(head: DomainHeads, route: Route | None, space: LabelSpace) -> Tensor:
    present = {IMAGE: torch.ones(len(FEATURES), dtype=torch.bool)}
    with torch.no_grad():
        return head.score(Output(FEATURES, route=route), Inputs({IMAGE: FEATURES}, present), space)


def test_rows_are_scored_by_the_units_of_their_way() -> None:
    head = heads(FIRST, FIRST)
    route = Route(torch.tensor([1, 0, PLAIN, 1, 0]), torch.tensor([1.0, 0.3, 1.0, 1.0, 0.0]))
    found = scored(head, route, FIRST)
    first, second = (FEATURES @ head.units[s].weight.T + head.units[s].bias for s in ("0", "1"))  # type: ignore[operator]
    torch.testing.assert_close(found[[0, 3]], second[[0, 3]])
    torch.testing.assert_close(found[1], first[1])
    plain = head.plain.score(Output(FEATURES), Inputs({IMAGE: FEATURES}, {}), FIRST)
    assert torch.equal(found[[2, 4]], plain[[2, 4]])
    for way in (None, Route.plain(5)):
        assert torch.equal(scored(head, way, FIRST), plain)


def test_classes_that_an_experience_does_not_have_come_last_in_it_and_columns_are_those_of_the_question() -> None:
    head = heads(FIRST, SECOND)
    space = SECOND.restrict([3, 2]).followed_by(FIRST.restrict([0]))
    found = scored(head, Route.given(torch.tensor([1, 0, 1, 0, 0])), space)
    own = head.units["1"](FEATURES).detach()
    columns = [SECOND.ids.index(id_) if id_ in SECOND.ids else None for id_ in space.ids]
    lowest = torch.finfo(torch.float32).min
    for row in (0, 2):
        expected = [lowest if column is None else float(own[row, column]) for column in columns]
        torch.testing.assert_close(found[row], torch.tensor(expected))
    assert found[1].argmax() == space.ids.index(0)
    assert bool(found.softmax(1).isfinite().all())
    nothing = scored(head, Route.given(torch.zeros(5, dtype=torch.long)), SECOND)
    torch.testing.assert_close(nothing.softmax(1), torch.full((5, 3), 1 / 3))


def test_only_the_units_of_the_experience_are_trained_and_what_scores_plain_rows_is_not() -> None:
    head = heads(FIRST, FIRST, FIRST)
    head.train_only(1)
    assert [name for name, p in head.named_parameters() if p.requires_grad] == ["units.1.weight", "units.1.bias"]


def test_it_knows_what_it_has_units_for_and_before_that_what_the_plain_head_knows() -> None:
    head = DomainHeads(LinearHead(4), 4)
    head.plain.meet(Arrival(0, FIRST, frozenset({IMAGE})))
    assert head.knows(FIRST)
    assert not head.knows(SECOND)
    head = heads(FIRST, SECOND)
    assert head.knows(FIRST.followed_by(SECOND))
    assert not head.knows(LabelSpace.of(["alpha", "other"], first_id=7))


def test_units_begin_as_torch_draws_them_in_the_precision_of_the_model() -> None:
    head = heads(FIRST, dtype=torch.float64)
    weight = head.units["0"].weight
    assert isinstance(weight, Tensor)
    assert weight.dtype == torch.float64
    assert 0 < float(weight.detach().abs().max()) <= 0.5
    assert "units.0.bias" in dict(head.named_parameters())
