"""Which parameters are trained, with which optimiser, at which rate."""

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import torch
from torch import nn

from mmcl.config import TrainingConfig
from mmcl.errors import ConfigError
from mmcl.learning.schedule import constant, warmup_cosine

SCHEDULES = {"cosine": warmup_cosine, "constant": constant}


def freeze(model: nn.Module, patterns: Iterable[str]) -> None:
    """Freeze every parameter whose name matches one of the glob patterns."""
    for name, parameter in model.named_parameters():
        if any(fnmatchcase(name, pattern) for pattern in patterns):
            parameter.requires_grad_(False)


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters that need a gradient."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def make_optimizer(model: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """A fresh optimiser over exactly the trainable parameters.

    Raises:
        ConfigError: if nothing is trainable.
    """
    parameters = list(trainable(model))
    if not parameters:
        raise ConfigError(
            "training.freeze",
            found=f"the patterns {list(training.freeze)} freeze every parameter",
            allowed="patterns that leave something to train",
            remedy="Remove a pattern, or use a strategy that adds parameters.",
        )
    if training.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay
        )
    return torch.optim.AdamW(parameters, lr=training.lr, betas=training.betas, weight_decay=training.weight_decay)


class LearningRate:
    """Sets the rate before each step of an experience, as a function of the step alone."""

    def __init__(self, optimizer: torch.optim.Optimizer, training: TrainingConfig, iterations: int) -> None:
        self.optimizer = optimizer
        self.training = training
        # the last step has rate 0, unless it is the only one
        self.last_step = max(iterations - 1, 1)
        self.schedule = SCHEDULES[training.schedule]

    def set(self, step: int) -> None:
        """Rate of step ``step``, counted from 0."""
        rate = self.schedule(step, self.training.lr, self.training.warmup, self.last_step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
