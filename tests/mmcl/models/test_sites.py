"""Add-ons act at their block, know the batch, keep all names, and a copy of a model has its own."""

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.asked import Asked
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import PluginError
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Backbone
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.sites import AddOn, Attention, Here, Site
from mmcl.testing.encoded import encoded


class Shift(AddOn):
    """Mixes each channel with its neighbour, by one factor per experience."""

    def __init__(self) -> None:
        super().__init__()
        self.shifts = nn.ParameterList()
        self.seen: list[Inputs] = []

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        self.seen.append(inputs)
        value = here.value
        if inputs.task_ids is None or not len(self.shifts):
            return value
        return value + torch.stack(list(self.shifts))[inputs.task_ids].reshape(-1, 1, 1) * value.roll(1, -1)

    def meet(self, arrival: Arrival) -> None:
        self.shifts.append(nn.Parameter(torch.tensor(float(arrival.index))))


def images(rows: int = 2, task_ids: tuple[int, ...] = (0, 1)) -> Inputs:
    values = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)).expand(rows, -1, -1, -1)
    return Inputs({IMAGE: values}, {IMAGE: torch.ones(rows, dtype=torch.bool)}, task_ids=torch.tensor(task_ids))


def block_of(backbone: Backbone, tower: str) -> Site:
    return backbone.sites_of(tower, "block")[0]


def adapted() -> tuple[MultimodalModel, Shift]:
    model, addon = MultimodalModel(tiny_clip()).eval(), Shift()
    model.attach("shift", block_of(model.backbone, IMAGE), addon)
    return model, addon


def test_the_sites_of_open_clips_towers_are_those_of_their_residual_blocks() -> None:
    backbone = tiny_clip()
    kinds = ["tokens", "attention", "mlp", "units", "linear", "linear", "block"]
    assert [site.kind for site in backbone.sites(IMAGE)] == [*kinds, "outputs", "pooled"]
    assert [site.kind for site in backbone.sites(TEXT)] == kinds
    assert block_of(backbone, IMAGE).exit is not block_of(backbone, TEXT).exit


class Again(AddOn):
    """Computes an attention once more, from what has entered and with its mask."""

    def __init__(self, attention: Attention, masked: bool = True) -> None:
        super().__init__()
        self.attention, self.masked = attention, masked
        self.found: list[tuple[Tensor, Tensor]] = []

    def forward(self, here: Here, inputs: Inputs) -> Tensor:
        queries, keys, values = self.attention.project(here.module, here.entered)
        mask = here.mask if self.masked else None
        heads = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        again = self.attention.merge(here.module, heads)
        self.found.append((here.value, again))
        return again


@pytest.mark.parametrize("tower", [IMAGE, TEXT])
def test_an_attention_can_be_computed_again_from_its_queries_keys_and_values(tower: str) -> None:
    backbone = tiny_clip().eval()
    value = images()[IMAGE] if tower == IMAGE else backbone.tokenize(["a dog", "two cats and a bar"])
    with torch.no_grad():
        plain = encoded(backbone, tower, value).pooled
        (site,) = backbone.sites_of(tower, "attention")
        assert site.attention is not None
        addon = Again(site.attention)
        backbone.attach("again", site, addon)
        torch.testing.assert_close(encoded(backbone, tower, value).pooled, plain)
        addon.masked = False
        encoded(backbone, tower, value)
    (value, again), unmasked = addon.found
    torch.testing.assert_close(again, value)
    assert bool((unmasked[0] - unmasked[1]).abs().max() < 1e-5) is (tower == IMAGE), "texts do not look ahead"


@pytest.mark.parametrize("tower", [IMAGE, TEXT])
def test_the_queries_of_an_attention_can_be_computed_alone(tower: str) -> None:
    (site,) = tiny_clip().sites_of(tower, "attention")
    assert site.attention is not None
    nn.init.normal_(site.exit.in_proj_bias)  # type: ignore[arg-type]
    entered = torch.randn(2, 5, site.width, generator=torch.Generator().manual_seed(0))
    queries, keys, _ = site.attention.project(site.exit, entered)
    torch.testing.assert_close(site.attention.query(site.exit, entered), queries)
    assert not torch.allclose(queries, keys)


def test_an_attention_in_another_order_shows_no_way_to_compute_it_again() -> None:
    backbone = tiny_clip()
    backbone.clip.visual.transformer.resblocks[0].attn.batch_first = False  # type: ignore[union-attr, index]
    assert [site.attention for site in backbone.sites_of(IMAGE, "attention")] == [None]


def test_the_first_of_the_outputs_is_pooled() -> None:
    class Second(AddOn):
        def forward(self, here: Here, inputs: Inputs) -> Tensor:
            return here.value.roll(-1, 1)

    backbone = tiny_clip().eval()
    (site,) = backbone.sites_of(IMAGE, "outputs")
    seen: list[Tensor] = []
    handle = site.exit.register_forward_hook(lambda *arguments: seen.append(arguments[2]))
    with torch.no_grad():
        encoded(backbone, IMAGE, images()[IMAGE])
        handle.remove()
        backbone.attach("second", site, Second())
        found = encoded(backbone, IMAGE, images()[IMAGE]).pooled
    torch.testing.assert_close(found, seen[0][:, 1] @ backbone.clip.visual.proj)  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(("setting", "value"), [("pool_type", "avg"), ("final_ln_after_pool", True), ("attn_pool", 1)])
def test_a_tower_that_pools_otherwise_shows_no_outputs(setting: str, value: object) -> None:
    backbone = tiny_clip()
    vars(backbone.clip.visual)[setting] = value
    assert backbone.sites_of(IMAGE, "outputs") == []


def test_an_addon_acts_sample_by_sample() -> None:
    model, _ = adapted()
    plain = model.encode(images()).features[IMAGE]
    for task in (0, 1):
        model.meet(Arrival(task, LabelSpace.of([f"class {task}"], first_id=task), frozenset({IMAGE, TEXT})))
    with torch.no_grad():
        shifted = model.encode(images()).features[IMAGE]
    torch.testing.assert_close(shifted[0], plain[0])  # experience 0 adds 0
    assert not torch.allclose(shifted[1], plain[1])


def test_class_prompts_are_no_samples() -> None:
    model, addon = adapted()
    model.attach("text", block_of(model.backbone, TEXT), addon)
    model(images().replace(asked=Asked(LabelSpace.of(["a", "b"]))))
    assert [inputs.task_ids is None for inputs in addon.seen] == [False, True]
    assert len(addon.seen[1][TEXT]) == 2


def test_attaching_renames_no_parameter_of_the_backbone() -> None:
    before = {name for name, _ in MultimodalModel(tiny_clip()).named_parameters()}
    model, _ = adapted()
    model.meet(Arrival(0, LabelSpace.of(["a"]), frozenset({IMAGE, TEXT})))
    after = {name for name, _ in model.named_parameters()}
    assert after - before == {"backbone.clip.visual.transformer.resblocks.0.addons.shift.shifts.0"}
    assert before < after


def test_parameters_of_addons_are_not_shared() -> None:
    model, _ = adapted()
    model.meet(Arrival(0, LabelSpace.of(["a"]), frozenset({IMAGE, TEXT})))
    assert not any("addons" in name for name, _ in model.shared_parameters())


def test_a_copy_uses_its_own_addons() -> None:
    model, addon = adapted()
    model.meet(Arrival(0, LabelSpace.of(["a"]), frozenset({IMAGE, TEXT})))
    copy = deepcopy(model)
    before = copy.encode(images(task_ids=(0, 0))).features[IMAGE]
    with torch.no_grad():
        addon.shifts[0].fill_(5.0)
    torch.testing.assert_close(copy.encode(images(task_ids=(0, 0))).features[IMAGE], before)
    copy.meet(Arrival(1, LabelSpace.of(["b"], first_id=1), frozenset({IMAGE, TEXT})))
    assert len(addon.shifts) == 1


def test_owners_act_in_the_order_of_attachment() -> None:
    model, first = adapted()
    calls: list[str] = []

    class Named(AddOn):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def forward(self, here: Here, inputs: Inputs) -> Tensor:
            calls.append(self.name)
            return here.value

    for name in ("b", "a"):
        model.attach(name, block_of(model.backbone, IMAGE), Named(name))
    model.encode(images())
    assert calls == ["b", "a"]
    assert len(first.seen) == 1


def test_the_batch_is_forgotten_after_the_pass() -> None:
    model, _ = adapted()
    model.encode(images())
    holder = block_of(model.backbone, IMAGE).exit.addons
    assert holder.inputs is holder.entered is holder.mask is None  # type: ignore[union-attr]


def test_a_place_that_is_no_site_of_the_backbone_is_refused() -> None:
    backbone = tiny_clip()
    site = block_of(backbone, IMAGE)
    with pytest.raises(PluginError, match="add-on of 'shift': a site of kind 'block' that is not one of"):
        backbone.attach("shift", site._replace(exit=nn.Identity()), Shift())
