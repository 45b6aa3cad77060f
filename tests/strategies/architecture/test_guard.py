"""What earlier experiences need of a parameter stays, and the rest is free."""

import torch
from mmcl_strategies.architecture.guard import Guard
from torch import nn


def stepped(guard: Guard, parameter: nn.Parameter) -> torch.Tensor:
    """The parameter after a step with momentum and decay that would move every entry."""
    optimizer = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=0.1)
    parameter.grad = torch.ones_like(parameter)
    guard.scale_gradient()
    optimizer.step()
    guard.put_back()
    return parameter.detach()


def test_the_rows_of_earlier_classes_stay_and_those_of_new_ones_learn() -> None:
    parameter = nn.Parameter(torch.arange(8.0).reshape(4, 2) + 1)
    before = parameter.detach().clone()
    after = stepped(Guard.of_rows(parameter, 3), parameter)
    assert torch.equal(after[:3], before[:3])
    assert bool((after[3:] < before[3:]).all())


def test_without_earlier_classes_every_row_learns() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    assert bool((stepped(Guard.of_rows(parameter, 0), parameter) < 1).all())
