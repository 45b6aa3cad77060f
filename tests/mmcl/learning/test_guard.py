"""An auxiliary pass leaves no trace, whatever its body does."""

import pytest
import torch
from torch import nn

from mmcl.learning.guard import auxiliary_pass


def network() -> nn.Sequential:
    """Half of it in evaluation mode; two of its parameters have a gradient."""
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 2))
    model.train()
    model[1].eval()
    for parameter in model[0].parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    return model


@pytest.mark.parametrize("fails", [False, True])
def test_modes_statistics_gradients_and_the_generator_are_as_before(fails: bool) -> None:
    model = network()
    modes = [module.training for module in model.modules()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    gradients = [parameter.grad for parameter in model.parameters()]
    state = torch.get_rng_state()
    try:
        with auxiliary_pass(model):
            assert not any(module.training for module in model.modules())
            assert all(parameter.grad is None for parameter in model.parameters())
            model.train()
            model(torch.randn(8, 3)).sum().backward()
            assert not torch.equal(dict(model.named_buffers())["1.running_mean"], buffers["1.running_mean"])
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    assert all(found.grad is before for found, before in zip(model.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), state)
