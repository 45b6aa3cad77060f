"""A sample takes the way of the experience that taught what plain CLIP takes it for, whatever was added."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmcl_strategies.parameter_efficient.moe_adapters import MoEAdapters
from mmcl_strategies.routing.votes import Granularity
from mmcl_strategies.routing.zero_shot_argmax import ZeroShot, ZeroShotArgmax
from torch import Tensor

import mmcl
from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.label_space import ClassLabel, LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded, Features
from mmcl.models.heads import TextHead
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.scenario import CIL, DIL, Scenario
from mmcl.testing.toy import toy_benchmark, toy_learner

NAMES = ("dog", "cat", "car", "boat", "unseen")
LABELS = tuple(ClassLabel(index, name, ("a photo of a {}.",)) for index, name in enumerate(NAMES))
HIDDEN = Scenario("MTIL", task_id_known_at_test=False, label_space_at_test="own", modalities_change=False)


def router(granularity: Granularity = "sample") -> ZeroShot:
    """Experience 3 has taught dogs and cats, experience 4 cars and boats."""
    made = ZeroShot(tiny_clip().eval(), granularity)
    for index, classes in ((3, LABELS[:2]), (4, LABELS[2:4])):
        made.meet(Arrival(index, LabelSpace(classes), frozenset({IMAGE})))
    return made


def looking_like(*names: str) -> Tensor:
    """Features of images that are nearest to the texts of these classes."""
    with torch.no_grad():
        texts = TextHead(tiny_clip().eval()).text_features(LabelSpace(LABELS))
    return 3 * texts[[NAMES.index(name) for name in names]]


@torch.no_grad()
def routed(of: ZeroShot, *names: str, asked: tuple[ClassLabel, ...] = LABELS, absent: tuple[int, ...] = ()) -> Route:
    features = looking_like(*names)
    present = torch.tensor([row not in absent for row in range(len(features))])
    encoded = Encoded({IMAGE: Features(features)}, {IMAGE: present}, torch.ones(()))
    route: Route = of(Inputs({IMAGE: features}, {IMAGE: present}, asked=Asked(LabelSpace(asked))), lambda _: encoded)
    return route


def test_each_row_takes_the_way_of_the_experience_that_taught_its_answer() -> None:
    route = routed(router(), "boat", "dog", "cat", "car")
    assert route.ids.tolist() == [4, 3, 3, 4]
    assert route.strength.tolist() == [1.0] * 4
    assert route.query is not None


def test_a_row_that_looks_like_a_class_nobody_taught_is_plain() -> None:
    route = routed(router(), "unseen", "dog")
    assert route.ids.tolist() == [PLAIN, 3]
    assert route.strength.tolist() == [0.0, 1.0]


def test_all_classes_met_compete_whatever_is_asked() -> None:
    assert routed(router(), "dog", "car", asked=LABELS[4:]).ids.tolist() == [3, 4]
    assert routed(router(), "unseen", asked=LABELS[:2]).ids.tolist() != [PLAIN], "nobody has told of this class"


def test_before_there_are_classes_and_without_an_image_every_row_is_plain() -> None:
    assert routed(ZeroShot(tiny_clip().eval()), "dog", "cat").ids.tolist() == [PLAIN, PLAIN]
    assert routed(router(), "dog", "cat", absent=(1,)).ids.tolist() == [3, PLAIN]
    assert routed(router("batch"), "dog", "cat", absent=(0, 1)).ids.tolist() == [PLAIN, PLAIN]


def test_a_batch_goes_where_most_of_its_rows_would() -> None:
    assert routed(router("batch"), "dog", "boat", "car").ids.tolist() == [4] * 3
    assert routed(router("batch"), "dog", "cat", "car", absent=(1,)).ids.tolist() == [3, PLAIN, 3]
    assert routed(router("batch"), "unseen", "unseen", "car").ids.tolist() == [PLAIN] * 3


def test_a_class_that_two_experiences_taught_stands_for_the_later_one() -> None:
    again = router()
    again.meet(Arrival(7, LabelSpace(LABELS[:1]), frozenset({IMAGE})))
    assert routed(again, "dog", "cat").ids.tolist() == [7, 3]


def test_a_copy_of_the_model_asks_its_own_backbone() -> None:
    model = MultimodalModel(tiny_clip()).eval()
    model.router = ZeroShot(model.backbone)
    model.router.meet(Arrival(0, LabelSpace(LABELS), frozenset({IMAGE})))
    copy = deepcopy(model)
    assert isinstance(copy.router, ZeroShot)
    assert copy.router._names._backbone[0] is copy.backbone
    assert not list(model.router.parameters())


def test_what_was_added_has_no_say_in_the_way() -> None:
    stream = toy_benchmark(HIDDEN)
    learner = toy_learner(stream, {"moe_adapters": MoEAdapters(experts=2), "zero_shot_argmax": ZeroShotArgmax()})
    learner.train(stream.train[0])
    batch = next(iter(learner.one_pass(stream.test[0].samples)))
    hidden = batch.inputs.replace(task_ids=None, route=None, asked=Asked(stream.label_space))
    ways = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in learner.model.named_parameters():
            if ".addons." in name:
                parameter.data.normal_(generator=generator)
        with torch.no_grad():
            route = learner.model.eval().encode(hidden).route
        assert route is not None
        ways.append(route.ids.tolist())
    assert ways[0] == ways[1] == ways[2]
    assert 0 in ways[0]


@pytest.mark.parametrize("granularity", ["sample", "batch"])
def test_a_run_with_additions_records_how_ways_were_found(
    granularity: Granularity, tmp_path: Path, cache: Path
) -> None:
    result = mmcl.run(
        benchmark=toy_benchmark(HIDDEN, experiences=2),
        strategies=[MoEAdapters(experts=2), ZeroShotArgmax(granularity=granularity)],
        training={"iterations": 2, "batch_size": 4},
        out=tmp_path / "run",
        quiet=True,
    )
    assert result.results["ways"] == f"per {granularity}"


@pytest.mark.parametrize(("scenario", "told"), [(DIL, True), (CIL, False)], ids=["domains", "classes"])
def test_where_experiences_share_their_classes_a_run_is_told(scenario: Scenario, told: bool) -> None:
    learner = toy_learner(toy_benchmark(scenario), {"zero_shot_argmax": ZeroShotArgmax()})
    for experience in list(toy_benchmark(scenario).train)[:2]:
        learner.train(experience)
    assert any("takes the way of the newest" in sentence for sentence in learner.remarks) is told


def test_images_that_cannot_be_compared_with_texts_are_refused() -> None:
    backbone = tiny_clip()
    backbone.towers = {**backbone.towers, TEXT: backbone.towers[TEXT]._replace(width=3)}
    with pytest.raises(CompositionError, match=r"features of \d+ numbers for images and 3 for texts"):
        toy_learner(toy_benchmark(CIL), {"zero_shot_argmax": ZeroShotArgmax()}, backbone=backbone)
