"""The guard for auxiliary passes (Fisher, herding, prototypes, evaluation): they leave no trace."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def auxiliary_pass(model: nn.Module) -> Iterator[None]:
    """Run the body in evaluation mode; restore modes, buffers, gradients and torch's global generator afterwards."""
    modes = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    random_state = torch.get_rng_state()
    model.eval()
    for parameter in model.parameters():
        parameter.grad = None
    try:
        yield
    finally:
        torch.set_rng_state(random_state)
        for module, training in modes.items():
            module.training = training
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])
        for name, parameter in model.named_parameters():
            parameter.grad = gradients.get(name)
