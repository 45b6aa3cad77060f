"""Gated modules: a gate per experience, the paper's stack, and gates inside a backbone that follow each sample."""

import math

import pytest
import torch
from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.gated_addons import GatedAdapter, GatedUnits, attach_adapters, attach_to_units
from mmcl_strategies.architecture.gated_head import GatedHead, convolutional_stack, linear_stack
from mmcl_strategies.architecture.guard import Guard, guards
from mmcl_strategies.architecture.hat import HAT
from torch import Tensor, nn

from mmcl.backbones.openclip import tiny_clip
from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE, TEXT
from mmcl.data.sample import Inputs
from mmcl.errors import CompositionError, ConfigError
from mmcl.models.arrival import Arrival
from mmcl.models.multimodal import MultimodalModel
from mmcl.models.output import Output
from mmcl.models.plain import PlainBackbone


def gate(units: int, idle: float = 1.0) -> Gate:
    return Gate(units, s_max=400.0, idle=idle)


def closed(unit: int, of: Gate, task: int = 0) -> None:
    """Let an experience open all units but one."""
    with torch.no_grad():
        of.embeddings[of.tasks.index(task)].fill_(1.0)[unit] = -1.0
    of.begin(task)
    of.finish(as_binary=True)


def inputs(task_ids: list[int], values: Tensor | None = None) -> Inputs:
    images = torch.randn(len(task_ids), 3, 32, 32, generator=torch.Generator().manual_seed(0))
    value = images if values is None else values
    return Inputs({IMAGE: value}, {IMAGE: torch.ones(len(value), dtype=torch.bool)}, task_ids=torch.tensor(task_ids))


def test_a_gate_is_a_sigmoid_while_it_is_learned_and_constant_afterwards() -> None:
    layer = gate(4)
    layer.add(3)
    layer.begin(3)
    layer.sharpness = 2.0
    torch.testing.assert_close(layer.row(0), (2.0 * layer.embeddings[0]).sigmoid())
    assert layer.row(0).requires_grad
    layer.finish(as_binary=False)
    torch.testing.assert_close(layer.row(0), (400.0 * layer.embeddings[0].detach()).sigmoid())
    assert not layer.row(0).requires_grad
    assert not layer.used.requires_grad


def test_an_open_gate_has_a_slope_unless_the_released_one_is_wanted() -> None:
    slopes = {}
    for annealing in ("paper", "released"):
        layer = HAT(annealing=annealing)._gate(2)
        layer.add(0)
        layer.begin(0)
        with torch.no_grad():
            layer.embeddings[0].copy_(torch.tensor([0.05, -0.05]))  # s e is 20
        layer.soft().sum().backward()  # type: ignore[no-untyped-call]
        slopes[annealing] = layer.embedding.grad
    expected = torch.full((2,), 400 * math.exp(-20.0))
    torch.testing.assert_close(slopes["paper"], expected, rtol=1e-4, atol=0.0)
    torch.testing.assert_close(slopes["released"], expected * torch.tensor([0.0, 1.0]), rtol=1e-4, atol=0.0)


def test_what_is_used_is_the_largest_gate_of_all_finished_experiences() -> None:
    layer = gate(3)
    for task, embedding in enumerate(([1.0, -1.0, -1.0], [-1.0, -1.0, 1.0])):
        layer.add(task)
        assert layer.used.tolist() == ([0, 0, 0] if task == 0 else [1, 0, 0])
        with torch.no_grad():
            layer.embeddings[task].copy_(torch.tensor(embedding))
        layer.begin(task)
        layer.finish(as_binary=True)
    assert layer.used.tolist() == [1, 0, 1]


def test_a_new_experience_freezes_the_embeddings_of_earlier_ones() -> None:
    layer = gate(3)
    layer.add(0)
    layer.add(1)
    assert [embedding.requires_grad for embedding in layer.embeddings] == [False, True]


def test_embeddings_begin_normal_or_with_all_gates_open() -> None:
    torch.manual_seed(0)
    normal, opened = gate(2000), Gate(2000, s_max=400.0, idle=1.0, open_start=True)
    normal.add(0)
    opened.add(0)
    first, second = normal.embeddings[0].detach(), opened.embeddings[0].detach()
    assert abs(float(first.mean())) < 0.1
    assert abs(float(first.std()) - 1) < 0.1
    assert float(second.min()) >= 0
    assert 1.9 < float(second.max()) < 2


def test_each_sample_gets_the_gates_of_its_own_experience() -> None:
    layer = gate(2, idle=0.5)
    for task in (4, 7):
        layer.add(task)
        closed(0 if task == 4 else 1, layer, task)
    assert layer.of_samples(torch.tensor([7, 4, 9])).tolist() == [[1.0, 0.0], [0.0, 1.0], [0.5, 0.5]]


def test_the_stack_is_the_papers_formula() -> None:
    torch.manual_seed(0)
    stack = linear_stack(5, (4, 3), 0.0, gate)
    for module in stack.modules():
        if isinstance(module, Gate):
            module.add(0)
            closed(1, module)
    value = torch.randn(2, 5)
    first, second = (layer.layer for layer in stack.layers)  # type: ignore[union-attr]
    hidden = torch.relu(first(value)) * torch.tensor([1.0, 0.0, 1.0, 1.0])  # type: ignore[operator]
    expected = torch.relu(second(hidden)) * torch.tensor([1.0, 0.0, 1.0])  # type: ignore[operator]
    assert torch.equal(stack(value, 0), expected)
    assert [(link.before, link.after) for link in stack.links()] == [
        (None, stack.layers[0].gate),
        (stack.layers[0].gate, stack.layers[1].gate),
    ]


def test_dropout_comes_before_the_gate_and_only_in_training() -> None:
    torch.manual_seed(0)
    stack = linear_stack(5, (400,), 0.5, gate)
    (layer,) = stack.layers
    layer.gate.add(0)  # type: ignore[operator, union-attr]
    value = torch.randn(1, 5)
    kept = (stack(value, 0) != 0).float().mean() / (stack.eval()(value, 0) != 0).float().mean()
    assert 0.3 < float(kept) < 0.7
    assert torch.equal(stack(value, 0), stack(value, 0))


def convolutions() -> GatedHead:
    torch.manual_seed(0)
    head = GatedHead(convolutional_stack((3, 32, 32), (4, 6), (8,), 0.0, gate), reads=IMAGE)
    head.meet(Arrival(0, LabelSpace.of(["a", "b"]), frozenset({IMAGE})))
    return head


def test_convolutions_read_the_images_themselves() -> None:
    head, batch = convolutions(), inputs([0, 0])
    scores = head.score(Output(torch.empty(0)), batch, LabelSpace.of(["a", "b"]))
    assert scores.shape == (2, 2)
    assert not torch.equal(
        scores, head.score(Output(torch.empty(0)), inputs([0, 0], batch[IMAGE] + 1), LabelSpace.of(["a", "b"]))
    )


def test_a_free_input_of_a_flattened_map_is_a_position_of_a_closed_channel() -> None:
    head, batch = convolutions(), inputs([0, 0])
    second, linear = head.stack.layers[1], head.stack.layers[2]
    closed(2, second.gate)  # type: ignore[arg-type]
    closed(0, linear.gate)  # type: ignore[arg-type]
    (weight, factor), *_ = head.stack.links()[2].factors()
    free = torch.nonzero(factor[1]).flatten()  # what feeds a unit that is needed
    assert len(free) == factor.shape[1] // 6
    before = head.logits(batch[IMAGE], 0)
    with torch.no_grad():
        weight[:, free] += 100.0
        assert torch.equal(head.logits(batch[IMAGE], 0), before)
        weight[:, free[0] - 1] += 100.0
    assert not torch.equal(head.logits(batch[IMAGE], 0), before)


def test_images_that_are_too_small_for_the_convolutions_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"nothing is left of an image of 8 pixels after 3 convolutions"):
        convolutional_stack((3, 8, 8), (4, 4, 4, 4), (8,), 0.0, gate)


def adapted(task_ids: tuple[int, ...] = ()) -> MultimodalModel:
    torch.manual_seed(0)
    model = MultimodalModel(tiny_clip()).eval()
    attach_adapters(model, lambda: gate(8, idle=0.0))
    for task in task_ids:
        model.meet(Arrival(task, LabelSpace.of([f"class {task}"], first_id=task), frozenset({IMAGE, TEXT})))
        for module in model.modules():
            if isinstance(module, GatedAdapter):
                nn.init.normal_(module.up.weight)
                closed(task, module.gate, task)
    return model


def test_an_adapter_begins_as_nothing() -> None:
    model, plain = adapted(), MultimodalModel(tiny_clip()).eval()
    model.meet(Arrival(0, LabelSpace.of(["a"]), frozenset({IMAGE, TEXT})))
    for module in model.modules():
        if isinstance(module, GatedAdapter):
            module.gate.begin(0)
    assert torch.equal(model.encode(inputs([0, 0])).features[IMAGE], plain.encode(inputs([0, 0])).features[IMAGE])


def test_samples_of_an_experience_that_has_not_been_learned_pass_by_the_adapters() -> None:
    model, plain = adapted((0,)), MultimodalModel(tiny_clip()).eval()
    features, expected = model.encode(inputs([0, 5])).features[IMAGE], plain.encode(inputs([0, 5])).features[IMAGE]
    torch.testing.assert_close(features[1], expected[1], rtol=0, atol=0)
    assert not torch.allclose(features[0], expected[0])


def test_a_mixed_batch_is_encoded_as_each_experience_alone() -> None:
    model, batch = adapted((0, 1)), inputs([0, 1, 0])
    together = model.encode(batch).features[IMAGE]
    for task in (0, 1):
        rows = torch.nonzero(torch.tensor([0, 1, 0]) == task).flatten()
        alone = model.encode(batch.select(rows)).features[IMAGE]
        torch.testing.assert_close(together[rows], alone)
    same = model.encode(inputs([0, 0, 0], batch[IMAGE])).features[IMAGE]
    assert not torch.allclose(same[1], together[1])


def test_class_prompts_pass_by_the_adapters() -> None:
    plain, space = MultimodalModel(tiny_clip()).eval(), LabelSpace.of(["a", "b"])
    with torch.no_grad():
        found = adapted((0,)).head.text_features(space)  # type: ignore[operator]
        assert torch.equal(found, plain.head.text_features(space))  # type: ignore[operator]


def test_gates_in_the_transformer_are_on_the_hidden_units_of_every_block_but_the_prompts() -> None:
    torch.manual_seed(0)
    model, plain = MultimodalModel(tiny_clip()).eval(), MultimodalModel(tiny_clip()).eval()
    attach_to_units(model, gate)
    (addon,) = [module for module in model.modules() if isinstance(module, GatedUnits)]
    block = model.backbone.sites_of(IMAGE, "block")[0].exit
    assert addon.gate.units == block.mlp.c_fc.out_features  # type: ignore[union-attr]
    assert [link.layer for link in addon.links()] == [block.mlp.c_fc, block.mlp.c_proj]  # type: ignore[union-attr]
    assert torch.equal(model.encode(inputs([0])).features[IMAGE], plain.encode(inputs([0])).features[IMAGE])
    model.meet(Arrival(0, LabelSpace.of(["a"]), frozenset({IMAGE, TEXT})))
    closed(3, addon.gate)
    before = model.encode(inputs([0])).features[IMAGE]
    assert not torch.allclose(before, plain.encode(inputs([0])).features[IMAGE])
    with torch.no_grad():
        block.mlp.c_fc.weight[3] += 100.0  # type: ignore[index, union-attr]
        block.mlp.c_proj.weight[:, 3] += 100.0  # type: ignore[index, union-attr]
    assert torch.equal(model.encode(inputs([0])).features[IMAGE], before)


@pytest.mark.parametrize("attach", [attach_adapters, attach_to_units])
def test_a_backbone_without_blocks_is_refused(attach: object) -> None:
    model = MultimodalModel(PlainBackbone(nn.Linear(4, 3), (4,), 3))
    with pytest.raises(CompositionError, match=r"'hat'.*tower 'image' has no blocks"):
        attach(model, lambda units=8: gate(units))  # type: ignore[operator]


def test_an_mlp_of_another_make_is_refused() -> None:
    model = MultimodalModel(tiny_clip())
    model.backbone.sites_of(IMAGE, "block")[0].exit.mlp = nn.Sequential(nn.Linear(32, 32))
    with pytest.raises(CompositionError, match=r"'image' has blocks without a site 'units'"):
        attach_to_units(model, gate)


def test_a_guard_scales_the_gradient_and_puts_back_what_must_not_move() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 2.0, 3.0]))
    guard = Guard(parameter, torch.tensor([0.0, 0.5, 1.0]))
    parameter.grad = torch.ones(3)
    guard.scale_gradient()
    assert parameter.grad.tolist() == [0.0, 0.5, 1.0]
    with torch.no_grad():
        parameter += 1
    guard.put_back()
    assert parameter.tolist() == [1.0, 3.0, 4.0]


def test_a_parameter_without_a_free_entry_gets_no_gradient_at_all() -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.ones(3)
    Guard(parameter, torch.zeros(3)).scale_gradient()
    assert parameter.grad is None


def test_nothing_is_guarded_where_nothing_is_used() -> None:
    stack = linear_stack(5, (4, 3), 0.0, gate)
    assert guards(stack.links(), []) == []
    closed_layer = stack.layers[0].gate
    closed_layer.add(0)  # type: ignore[operator, union-attr]
    closed(0, closed_layer)  # type: ignore[arg-type]
    assert {id(guard.parameter) for guard in guards(stack.links(), [])} == {
        id(parameter)
        for parameter in stack.layers[0].layer.parameters()  # type: ignore[union-attr]
    }  # a weight into the second layer has a free end: its unit is used by nobody


def test_the_text_towers_own_samples_are_adapted() -> None:
    model = adapted((0,))
    tokens = model.backbone.tokenize(["a b", "c"])
    batch = Inputs({TEXT: tokens}, {TEXT: torch.ones(2, dtype=torch.bool)}, task_ids=torch.tensor([0, 3]))
    plain = MultimodalModel(tiny_clip()).eval().encode(batch).features[TEXT]
    found = model.encode(batch).features[TEXT]
    assert not torch.allclose(found[0], plain[0])
    torch.testing.assert_close(found[1], plain[1], rtol=0, atol=0)
