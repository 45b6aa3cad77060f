"""Whole runs of hat on its network of linear layers, through the learner.

Gates are annealed as in the authors' code, which never reaches ``s_max``: the option ``annealing="released"``.
"""

from math import prod

import torch
from mmcl_strategies.architecture.gated_head import GatedHead, GatedLayer
from mmcl_strategies.architecture.hat import HAT
from torch import nn

from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import PlainBackbone
from mmcl.streams.scenario import TIL

from ..case import STRICT, Case, Parity
from ..history import History
from ..linear_layers import put
from ..trajectory import Answers, Run, recorded_stream

NUMBERS = (1, 2)  # of the gated layers


def check_hat(case: Case) -> None:
    run, found = on_images(case), History()
    model, scores = run.learner.model, Answers()
    for t, experience in enumerate(run.stream.train):
        run.learner.meet(experience)
        put_in(case, model, t)
        run.learner.train(experience)
        for number, layer in zip(NUMBERS, gated_layers(model), strict=True):
            found.note(f"out_fc{number}_", dict(layer.layer.named_parameters()))
            found.note("out_", {f"cum{number}": layer.gate.used})
        for earlier, test in enumerate(run.stream.test[: t + 1]):
            run.learner.evaluate(test, scores)
            found.note("out_", {f"scores{earlier}": torch.cat(scores.scores)})
    found.expect(case)
    for number, layer in zip(NUMBERS, gated_layers(model), strict=True):
        case.expect(f"out_e{number}", torch.stack(list(layer.gate.embeddings)))
    for name, parameter in model.get_submodule("head.outputs").named_parameters():
        case.expect(f"out_last{name.replace('.', '_')}", parameter)
    case.require_all(case.names("out_"))


def on_images(case: Case) -> Run:
    """Plain gradient descent with clipping; what is tested are the first samples of each experience."""
    shape, shown = case.arrays["in_images"].shape[1:], case.arrays["out_scores0"].shape[1]
    parts = case.tensor("in_images").split(case.arrays["in_sizes"].tolist())
    settings = {"lr": "hp_lr", "batch_size": "hp_batch", "max_grad_norm": "hp_clip_norm"}
    hat = HAT(
        network="mlp",
        hidden=(case.integer("hp_hidden"),) * len(NUMBERS),
        lr=None,
        gate_lr=None,
        s_max=case.number("hp_smax"),
        sparsity=case.number("hp_lamb"),
        annealing="released",
    )
    return Run(
        case,
        ("hat", hat),
        model=MultimodalModel(PlainBackbone(nn.Flatten(), shape, prod(shape))),
        stream=recorded_stream(case, TIL, settings, [images[:shown] for images in parts]),
        training={
            "epochs": case.integer("hp_epochs"),
            "optimizer": "sgd",
            "momentum": 0.0,
            "schedule": "constant",
        },
    )


def put_in(case: Case, model: MultimodalModel, t: int) -> None:
    """What experience t brings, and before the first one the layers that all experiences share."""
    model.to(case.precision)
    put(
        model.get_submodule(f"head.outputs.{t}"),
        {name: case.tensor(f"in_last{t}_{name}") for name in ("weight", "bias")},
    )
    for number, layer in zip(NUMBERS, gated_layers(model), strict=True):
        put(layer.gate, {f"embeddings.{t}": case.tensor(f"in_e{number}")[t]})
        if t == 0:
            put(layer.layer, {name: case.tensor(f"in_fc{number}_{name}") for name in ("weight", "bias")})


def gated_layers(model: MultimodalModel) -> list[GatedLayer]:
    assert isinstance(model.head, GatedHead)
    return [layer for layer in model.head.stack.layers if isinstance(layer, GatedLayer)]


PARITY = {"run_hat": Parity(check_hat, STRICT)}
