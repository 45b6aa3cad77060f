"""Every row takes its own way through what was added to a model, and so do the prompts that it is compared with."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.heads import TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.routing import Plain, Router
from mmcl.models.sites import AddOn, Here

SPACE = LabelSpace.of(["alpha", "beta", "gamma"], templates=["a {}"])


class Shifts(AddOn):
    """Adds a vector per experience, as strongly as the route says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.vectors = width, nn.ParameterDict()

    def meet(self, arrival: Arrival) -> None:
        generator = torch.Generator().manual_seed(arrival.index)
        self.vectors[str(arrival.index)] = nn.Parameter(torch.randn(self.width, generator=generator))

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        route = inputs.route
        if route is None:
            return here.value
        value = here.value.clone()
        for id_, rows in route.ways():
            if id_ != PLAIN:
                added = route.strength[rows].reshape(-1, 1, 1) * self.vectors[str(id_)]
                value[rows] = here.value[rows] + added
        return value


class Brightest(Router):
    """Bright images are of experience 1, dark ones of 0, and those between are left plain."""

    granularity = "sample"

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bool] = []

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        self.asked.append(inputs.task_ids is None)
        query = plain(inputs).features[IMAGE].pooled
        assert plain(inputs).features[IMAGE].pooled is query, "one pass"
        mean = inputs[IMAGE].mean((1, 2, 3))
        ids = torch.where(mean > 0.5, 1, torch.where(mean < -0.5, 0, PLAIN))
        return Route(ids, torch.full((len(ids),), 0.5), query)


def images(*levels: float, task_ids: tuple[int, ...] | None = None) -> Inputs:
    values = torch.randn(len(levels), 3, 32, 32, generator=torch.Generator().manual_seed(1))
    values += torch.tensor(levels).reshape(-1, 1, 1, 1)
    present = torch.ones(len(levels), dtype=torch.bool)
    known = None if task_ids is None else torch.tensor(task_ids)
    return Inputs({IMAGE: values}, {IMAGE: present}, task_ids=known, asked=Asked(SPACE))


def routed(towers: tuple[str, ...] = (IMAGE, TEXT)) -> MultimodalModel:
    model = MultimodalModel(tiny_clip()).eval()
    model.router = Brightest()
    for tower in towers:
        (site,) = model.backbone.sites_of(tower, "block")
        model.attach("shifts", site, Shifts(site.width))
    for index in (0, 1):
        model.meet(Arrival(index, SPACE, frozenset({IMAGE})))
    return model


def test_a_row_with_the_plain_way_is_the_pretrained_models_bit_for_bit() -> None:
    plain = MultimodalModel(tiny_clip()).eval()
    with torch.no_grad():
        assert torch.equal(routed()(images(0.0, 0.1)).logits, plain(images(0.0, 0.1)).logits)  # type: ignore[arg-type]


def test_a_mixed_batch_equals_its_rows_one_by_one() -> None:
    model, batch = routed((IMAGE,)), images(2.0, 0.0, -2.0, 2.0)
    with torch.no_grad():
        together = model(batch).logits
        alone = torch.cat([model(batch.select(torch.tensor([row]))).logits for row in range(4)])  # type: ignore[misc]
    torch.testing.assert_close(together, alone)
    assert len({tuple(row.tolist()) for row in alone}) == 4


def test_the_way_is_given_where_the_task_is_known_and_found_where_it_is_not() -> None:
    model = routed()
    assert isinstance(model.router, Brightest)
    with torch.no_grad():
        given = model(images(2.0, 0.0, 0.0, task_ids=(0, 1, 7))).route
        assert given is not None
        assert given.ids.tolist() == [0, 1, PLAIN], "experience 7 has not been met"
        assert given.strength.tolist() == [1.0, 1.0, 1.0]
        assert model.router.asked == []
        found = model(images(2.0, 0.0, -2.0)).route
    assert found is not None
    assert found.ids.tolist() == [1, PLAIN, 0]
    assert model.router.asked == [True]
    assert found.query is not None
    assert not found.query.requires_grad


def test_a_router_may_add_a_query_to_ways_that_are_known() -> None:
    class Asking(Brightest):
        def told(self, ids: Tensor, inputs: Inputs, plain: Plain) -> Route:
            return Route.given(ids)._replace(query=plain(inputs).features[IMAGE].pooled)

    model = routed()
    model.router = Asking()
    route = model(images(2.0, 0.0, task_ids=(1, 7))).route
    with torch.no_grad():
        bare = MultimodalModel(tiny_clip()).eval().encode(images(2.0, 0.0)).features[IMAGE]
    assert route is not None
    assert route.ids.tolist() == [1, PLAIN]
    assert route.query is not None
    assert torch.equal(route.query, bare)
    assert not route.query.requires_grad


def test_before_any_experience_every_way_is_plain() -> None:
    model, plain = MultimodalModel(tiny_clip()).eval(), MultimodalModel(tiny_clip()).eval()
    model.router = Brightest()
    batch = images(2.0, -2.0, task_ids=(0, 1))
    with torch.no_grad():
        output = model(batch)
        assert torch.equal(output.logits, plain(batch).logits)  # type: ignore[arg-type]
    assert output.route.ids.tolist() == [PLAIN, PLAIN]  # type: ignore[union-attr]


def test_prompts_take_the_way_of_each_row_at_its_strength_unless_the_route_says_another() -> None:
    model = routed((TEXT,))
    head = model.head
    assert isinstance(head, TextHead)
    batch = images(2.0, -2.0, 2.0)
    own = Route(torch.tensor([1, 0, 1]), torch.tensor([0.2, 1.0, 0.6]))
    common = own._replace(prompt_strength=torch.full((3,), 0.4))
    for route, strengths in ((own, own.strength.tolist()), (common, common.strength_of_prompts.tolist())):
        with torch.no_grad():
            output = model(batch.replace(route=route))
            expected = torch.cat(
                [
                    head.logits(output.fused[[row]], SPACE, (way, strength))
                    for row, (way, strength) in enumerate(zip((1, 0, 1), strengths, strict=True))
                ]
            )
        torch.testing.assert_close(output.logits, expected)
    with torch.no_grad():
        plain = head.text_features(SPACE)
        assert not torch.allclose(head.text_features(SPACE, (1, 0.4)), plain)
        assert torch.equal(head.text_features(SPACE, (PLAIN, 0.0)), plain)


def test_prompts_are_embedded_once_where_nothing_is_added_to_the_text_tower() -> None:
    model = routed((IMAGE,))
    assert model.backbone.adapted == {IMAGE}
    with torch.no_grad():
        output = model(images(2.0, -2.0))
        assert isinstance(model.head, TextHead)
        assert torch.equal(output.logits, model.head.logits(output.fused, SPACE))  # type: ignore[arg-type]


def test_a_copy_takes_its_own_ways() -> None:
    model = routed()
    copy = deepcopy(model)
    with torch.no_grad():
        before = copy(images(2.0)).logits
        for name, parameter in model.named_parameters():
            if "vectors" in name:
                parameter.add_(1.0)
        assert torch.equal(copy(images(2.0)).logits, before)  # type: ignore[arg-type]
        assert not torch.equal(model(images(2.0)).logits, before)  # type: ignore[arg-type]


def test_what_strategies_keep_in_a_model_is_saved_with_it_and_shared_by_nobody() -> None:
    model = routed()
    model.parts["mine"] = nn.Linear(2, 2)
    assert "parts.mine.weight" in model.state_dict()
    assert not [name for name, _ in model.shared_parameters() if name.startswith(("parts.", "router."))]


def test_a_frame_stands_in_place_of_the_templates() -> None:
    backbone = tiny_clip()
    framed, plain = TextHead(backbone, frame="x x {}."), TextHead(backbone)
    with torch.no_grad():
        found = framed.text_features(SPACE)
        assert torch.equal(found, plain.text_features(LabelSpace.of(SPACE.names, templates=["x x {}."])))


@pytest.mark.parametrize("query", [None, torch.arange(6.0).reshape(3, 2)])
def test_routes_are_chosen_and_joined_row_by_row(query: Tensor | None) -> None:
    route = Route(torch.tensor([1, PLAIN, 0]), torch.tensor([0.5, 0.0, 1.0]), query)
    again = route.select(torch.tensor([0])).followed_by(route.select(torch.tensor([1, 2]))).to("cpu")
    for one, other in zip(route, again, strict=True):
        assert (one is None and other is None) or torch.equal(one, other)  # type: ignore[arg-type]
    assert [(id_, rows.tolist()) for id_, rows in route.ways()] == [(PLAIN, [1]), (0, [2]), (1, [0])]
    ids, which = route.distinct()
    assert ids == [PLAIN, 0, 1]
    assert which.tolist() == [2, 0, 1]


def test_a_frame_leaves_the_plain_way_to_the_templates() -> None:
    backbone = tiny_clip()
    framed, plain = TextHead(backbone, frame="x x {}."), TextHead(backbone)
    several = LabelSpace.of(SPACE.names, templates=["a {}", "the {}"])
    words = LabelSpace.of(SPACE.names, templates=["x x {}."])
    with torch.no_grad():
        for space in (SPACE, several):
            for way in ((PLAIN, 0.0), (PLAIN, 1.0), (0, 0.0)):
                assert torch.equal(framed.text_features(space, way), plain.text_features(space))
            assert torch.equal(framed.text_features(space, (0, 0.5)), plain.text_features(words))
    assert torch.equal(framed.text_features(several, (PLAIN, 0.0)), plain.text_features(several)), "with gradient"


def test_classes_are_alike_in_the_words_of_the_frame() -> None:
    backbone = tiny_clip()
    space = LabelSpace.of(["alpha beta", "alpha gamma", "delta"], templates=["{}"])
    assert TextHead(backbone).alike(space) == []
    long = TextHead(backbone, frame=f"{'x ' * 17}{{}}.")
    assert [[label.name for label in group] for group in long.alike(space)] == [["alpha beta", "alpha gamma"]]


def test_a_router_makes_room_for_every_experience_once() -> None:
    class Rooms(Brightest):
        def __init__(self) -> None:
            super().__init__()
            self.rooms: list[int] = []

        def meet(self, arrival: Arrival) -> None:
            self.rooms.append(arrival.index)

    model = MultimodalModel(tiny_clip())
    model.router = Rooms()
    for index in (0, 2, 0):
        model.meet(Arrival(index, SPACE, frozenset({IMAGE})))
    assert model.router.rooms == [0, 2]


def test_rows_are_taken_by_an_id_at_some_strength() -> None:
    route = Route(torch.tensor([0, 1, PLAIN]), torch.tensor([0.5, 0.0, 1.0]))
    assert route.taken.tolist() == [True, False, False]


def test_prompts_are_as_strong_as_the_rows_unless_the_route_says_so_and_that_goes_with_the_rows() -> None:
    own = Route.given(torch.tensor([0, 1]))._replace(strength=torch.tensor([0.5, 0.25]))
    common = own._replace(prompt_strength=torch.tensor([0.1, 0.2]))
    assert own.strength_of_prompts.tolist() == [0.5, 0.25]
    assert own.followed_by(own).prompt_strength is None
    for first, second, expected in (
        (common, own, [0.1, 0.2, 0.5, 0.25]),
        (own, common, [0.5, 0.25, 0.1, 0.2]),
    ):
        assert first.followed_by(second).strength_of_prompts.tolist() == pytest.approx(expected)
    assert common.select(torch.tensor([1])).strength_of_prompts.tolist() == pytest.approx([0.2])


class Longer(AddOn):
    """Repeats the first token of the rows that it takes, as often as the number of their experience says."""

    lengthens = True

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        route = inputs.route
        if route is None or not bool(route.taken.any()):
            return here.value
        first = here.value[:, :1] * (1 + route.ids.reshape(-1, 1, 1))
        return torch.cat([first, here.value], 1)


def test_plain_rows_pass_apart_from_those_that_an_addon_makes_longer() -> None:
    model = MultimodalModel(tiny_clip()).eval()
    (site,) = model.backbone.sites_of(IMAGE, "tokens")
    model.attach("longer", site, Longer())
    assert model.backbone.lengthened == {IMAGE}
    assert deepcopy(model).backbone.lengthened == {IMAGE}
    batch = images(0.0, 0.1, 0.2, 0.3).replace(route=Route.given(torch.tensor([PLAIN, 2, PLAIN, 0])))
    with torch.no_grad():
        together = model.encode(batch).features[IMAGE]
        alone = [model.encode(batch.select(torch.tensor([row]))).features[IMAGE] for row in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))
