"""Each experience is met once, by the head and by every add-on, with its classes and modalities."""

from copy import deepcopy

from torch import Tensor

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.heads import LinearHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Here
from mmcl.streams.scenario import MDTIL
from mmcl.testing.toy import toy_benchmark, toy_learner

A, B = LabelSpace.of(["a"]), LabelSpace.of(["b"], first_id=1)


class Noting(LinearHead):
    """Notes whom it has met."""

    def __init__(self) -> None:
        super().__init__(16)
        self.met: list[tuple[int, tuple[str, ...], frozenset[str]]] = []

    def meet(self, arrival: Arrival) -> None:
        self.met.append((arrival.index, arrival.label_space.names, arrival.modalities))
        super().meet(arrival)


class Counting(AddOn):
    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[int] = []

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        return here.value

    def meet(self, arrival: Arrival) -> None:
        self.tasks.append(arrival.index)


def model() -> tuple[MultimodalModel, Noting, Counting]:
    head, addon = Noting(), Counting()
    made = MultimodalModel(tiny_clip(), head)
    made.attach("counting", made.backbone.sites_of(IMAGE, "block")[0], addon)
    return made, head, addon


def test_growing_twice_for_an_experience_is_growing_once() -> None:
    made, head, addon = model()
    for task, space in ((0, A), (1, B), (0, A), (1, B)):
        made.meet(Arrival(task, space, frozenset({IMAGE})))
    assert head.met == [(0, ("a",), {IMAGE}), (1, ("b",), {IMAGE})]
    assert addon.tasks == [0, 1]


def test_a_copy_goes_on_from_where_it_was_copied() -> None:
    made, _, addon = model()
    made.meet(Arrival(0, A, frozenset({IMAGE})))
    copy = deepcopy(made)
    made.meet(Arrival(1, B, frozenset({IMAGE})))
    copy.meet(Arrival(0, A, frozenset({IMAGE})))
    copy.meet(Arrival(1, B, frozenset({IMAGE})))
    (copied,) = [module for module in copy.modules() if isinstance(module, Counting)]
    assert copied.tasks == addon.tasks == [0, 1]


def test_a_learner_says_which_modalities_an_experience_has() -> None:
    learner, head = toy_learner(toy_benchmark(MDTIL)), Noting()
    learner.model.head = head
    for experience in toy_benchmark(MDTIL).train:
        learner.train(experience)
    assert [(task, modalities) for task, _, modalities in head.met] == [
        (0, {IMAGE}),
        (1, {TEXT}),
        (2, {IMAGE, TEXT}),
    ]
