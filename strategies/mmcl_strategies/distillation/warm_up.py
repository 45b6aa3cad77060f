"""Warm-up: new units of a linear head learn before anything else does (Li and Hoiem, LwF)."""

from math import ceil

import torch
from torch import nn
from torch.nn import functional

from mmcl.learning.guard import auxiliary_pass
from mmcl.learning.optimizer import make_optimizer
from mmcl.learning.strategy import Learner
from mmcl.models.heads import LinearHead
from mmcl.objectives.likelihoods import cross_entropy


def train_new_units(learner: Learner, epochs: int) -> None:
    """Train the units of classes that come for the first time; trunk and old units stay bit for bit as they are.

    The trunk is in evaluation mode, the optimiser one of the training settings, at their full rate. Nothing happens in
    the first experience, which has no old answers, and with heads that have no new units: those made of text, say.

    Args:
        learner: with an experience that has begun.
        epochs: passes over its samples.
    """
    head, experience = learner.model.head, learner.current
    known = {id_ for met in learner.seen if met is not experience for id_ in met.label_space.ids}
    fresh = [id_ for id_ in experience.label_space.ids if id_ not in known]
    if not (epochs and known and fresh and isinstance(head, LinearHead) and head.weight.requires_grad):
        return
    rows = torch.tensor(head.units(experience.label_space.restrict(fresh)), device=learner.device)
    weight, bias = (nn.Parameter(old.detach()[rows].clone()) for old in (head.weight, head.bias))
    optimizer = make_optimizer(nn.ParameterList([weight, bias]), learner.config)
    steps = epochs * ceil(len(experience.samples) / learner.config.batch_size)
    with auxiliary_pass(learner.model):
        for on_cpu in learner.batches(experience.samples, steps, name="warm-up"):
            batch = on_cpu.to(learner.device)
            learner.consider(batch)
            with torch.no_grad():
                fused = learner.model.encode(batch.inputs).fused
            units = head.units(learner.label_space)
            every = [old.detach().index_copy(0, rows, new) for old, new in ((head.weight, weight), (head.bias, bias))]
            logits = functional.linear(fused.to(weight.dtype), every[0][units], every[1][units])
            columns = learner.label_space.columns(batch.labels)
            loss = cross_entropy(logits, columns, learner.allowed, learner.config.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        head.weight[rows], head.bias[rows] = weight, bias
