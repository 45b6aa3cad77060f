"""Which parameters are trained, with which optimiser, at which rate."""

from collections.abc import Collection, Iterable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from mmcl.config import TrainingConfig
from mmcl.errors import ConfigError, nearest
from mmcl.learning.schedule import constant, cosine_by_epoch, cosine_by_step, ending_at, fallen, warmup_cosine

SCHEDULES = {
    "cosine": warmup_cosine,
    "cosine_by_epoch": cosine_by_epoch,
    "cosine_by_step": cosine_by_step,
    "constant": constant,
}


def freeze(model: nn.Module, patterns: Iterable[str], usual: Collection[str] = ()) -> None:
    """Freeze every parameter whose name matches one of the glob patterns.

    Args:
        model: what is trained.
        patterns: over names of parameters.
        usual: patterns that need not match anything: not every model has what is usually frozen.

    Raises:
        ConfigError: if another pattern matches nothing.
    """
    parameters = dict(model.named_parameters())
    parts = {part for name in parameters for part in name.split(".")}
    for pattern in patterns:
        matching = [name for name in parameters if fnmatchcase(name, pattern)]
        if not matching and pattern not in usual:
            raise ConfigError(
                "training.freeze",
                found=f"the pattern {pattern!r} matches no parameter",
                allowed="glob patterns such as '*visual*' over names of parameters",
                remedy=f"{nearest(pattern.strip('*'), parts)} The first name is {next(iter(parameters), '')!r}.",
            )
        for name in matching:
            parameters[name].requires_grad_(False)


def trainable(model: nn.Module) -> Iterator[nn.Parameter]:
    """Parameters that need a gradient."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def make_optimizer(
    model: nn.Module,
    training: TrainingConfig,
    rates: Iterable[tuple[nn.Parameter, float]] = (),
    *,
    idle: bool = False,
) -> torch.optim.Optimizer:
    """A fresh optimiser over exactly the trainable parameters, one group for each learning rate.

    Args:
        model: what is trained.
        training: its settings.
        rates: parameters with a rate of their own; the others have that of ``training``.
        idle: whether there may be nothing to train; then it moves nothing.

    Raises:
        ConfigError: if nothing is trainable.
    """
    own = {id(parameter): rate for parameter, rate in rates}
    by_rate: dict[float, list[nn.Parameter]] = {}
    for parameter in trainable(model):
        by_rate.setdefault(own.get(id(parameter), training.lr), []).append(parameter)
    groups = [{"params": parameters, "lr": rate} for rate, parameters in by_rate.items()]
    if not groups and idle:
        return idle_optimizer()
    if not groups:
        raise ConfigError(
            "training.freeze",
            found=f"the patterns {list(training.freeze)} freeze every parameter",
            allowed="patterns that leave something to train",
            remedy="Remove a pattern, or use a strategy that adds parameters.",
        )
    if training.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=training.lr, momentum=training.momentum, weight_decay=training.weight_decay)
    return torch.optim.AdamW(groups, lr=training.lr, betas=training.betas, weight_decay=training.weight_decay)


def idle_optimizer() -> torch.optim.Optimizer:
    """An optimiser that moves nothing."""
    return torch.optim.SGD([torch.zeros(())], lr=0.0)


def require_constant_rate(training: TrainingConfig) -> None:
    """Refuse a schedule of the training settings beside a scheduler that sets the rate too.

    Raises:
        ConfigError: if the rate is not constant.
    """
    if training.schedule != "constant" or training.warmup:
        raise ConfigError(
            "training.schedule",
            found=f"{training.schedule!r} with {training.warmup} warm-up steps, and a plugin that sets the rate too",
            allowed="'constant' without warm-up beside avalanche's LRSchedulerPlugin",
            remedy="Set training schedule='constant', warmup=0, or leave the plugin out.",
        )


def follow(scheduler: Any, optimizer: torch.optim.Optimizer) -> None:
    """Let one of torch's schedulers set the rate of ``optimizer``, from that optimiser's own rate on.

    An optimiser lives for one experience, a scheduler for the run.
    """
    idle = LambdaLR(optimizer, lambda _: 1.0)  # making a scheduler is how torch prepares an optimiser for any of them
    scheduler.optimizer, scheduler.base_lrs = optimizer, idle.base_lrs


class LearningRate:
    """Sets the rates before each step of an experience, as functions of the step alone, where they change.

    Args:
        optimizer: at the full rates.
        training: names the schedule.
        iterations: steps of the experience.
        epoch: steps of one epoch of it.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, training: TrainingConfig, iterations: int, epoch: int = 1
    ) -> None:
        self.optimizer = optimizer
        self.training = training
        self.epoch = epoch
        # the last step has the least rate, unless it is the only one
        self.last_step = max(iterations - 1, 1)
        self.schedule = SCHEDULES[training.schedule]
        self.peaks: list[float] = [group["lr"] for group in optimizer.param_groups]
        self.rates = self.peaks

    def set(self, step: int) -> None:
        """Rates of step ``step``, counted from 0."""
        rates = [self.schedule(step, peak, self.training.warmup, self.last_step, self.epoch) for peak in self.peaks]
        if self.training.lr_end and step >= self.training.warmup:
            rates = [ending_at(self.training.lr_end, *pair) for pair in zip(rates, self.peaks, strict=True)]
        if self.training.milestones:
            rates = [fallen(rate, step // self.epoch, self.training.milestones) for rate in rates]
        if rates == self.rates:
            return
        self.rates = rates
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
