"""A linear layer stands behind the image tower, for rows that take a way; the others pass by, bit for bit."""

import math

import torch
from mmcl_strategies.parameter_efficient.linear_adapter import LinearAdapter
from torch import Tensor, nn

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.sites import Here

FEATURES = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


def passed(adapter: LinearAdapter, route: Route | None, features: Tensor = FEATURES) -> Tensor:
    inputs = Inputs({IMAGE: features}, {IMAGE: torch.ones(len(features), dtype=torch.bool)}, route=route)
    found: Tensor = adapter(Here(features, features, nn.Identity()), inputs)
    return found


def test_rows_off_the_plain_way_are_multiplied_and_plain_ones_stay_bit_for_bit() -> None:
    adapter = LinearAdapter(6)
    W = adapter.layer.weight
    route = Route(torch.tensor([0, PLAIN, 7, 7]), torch.tensor([1.0, 1.0, 0.4, 0.0]))
    found = passed(adapter, route)
    torch.testing.assert_close(found[[0, 2]], FEATURES[[0, 2]] @ W.T)
    assert torch.equal(found[[1, 3]], FEATURES[[1, 3]])
    torch.testing.assert_close(passed(adapter, Route.given(torch.zeros(4, dtype=torch.long))), FEATURES @ W.T)
    for way in (None, Route.plain(4)):
        assert passed(adapter, way) is FEATURES


def test_it_is_linear_in_the_lengths_of_features_and_has_no_bias() -> None:
    adapter, way = LinearAdapter(6), Route.given(torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(passed(adapter, way, 3 * FEATURES), 3 * passed(adapter, way))
    assert [name for name, _ in adapter.named_parameters()] == ["layer.weight"]


def test_it_begins_as_torch_draws_linear_layers() -> None:
    weight = LinearAdapter(100).layer.weight.detach()
    bound = 1 / math.sqrt(100)
    assert 0.98 * bound < float(weight.abs().max()) <= bound
    assert abs(float(weight.std()) - bound / math.sqrt(3)) < 0.01 * bound
    assert LinearAdapter(3, torch.float64).layer.weight.dtype == torch.float64
