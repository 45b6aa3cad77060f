"""Whole runs of ewc and online_ewc on a network with one column per class id, through the learner."""

import torch
from mmcl_strategies.regularization.ewc import EWC
from mmcl_strategies.regularization.online_ewc import OnlineEWC
from torch import Tensor, nn

from mmcl.models.multimodal import MultimodalModel
from mmcl.models.plain import ColumnHead
from mmcl.streams.scenario import CIL, DIL, TIL

from ..case import STRICT, Case, Parity
from ..history import History
from ..linear_layers import by_layer, network
from ..trajectory import Run, recorded_stream


def check_ewc(case: Case) -> None:
    """The state holds the sum over experiences; a Fisher is the difference that one of them makes."""
    ewc = EWC(strength=case.number("hp_strength"), fisher="exact", samples=None)
    for name, total in learned(case, ("ewc", ewc)).items():
        case.expect(f"out_F_{name}", total.diff(dim=0, prepend=torch.zeros_like(total[:1])))
    case.require_all(case.names("out_"))


def check_online_ewc(case: Case) -> None:
    gamma = case.number("hp_gamma")
    ewc = OnlineEWC(strength=case.number("hp_strength"), gamma=gamma, fisher="exact", samples=None)
    for name, running in learned(case, ("online_ewc", ewc)).items():
        case.expect(f"out_F_{name}", running)
    case.require_all(case.names("out_"))


def learned(case: Case, strategy: tuple[str, EWC | OnlineEWC]) -> dict[str, Tensor]:
    """Train and compare the weights; the Fisher ``[T - 1, ...]`` that the state holds before each later experience."""
    run, weights, fisher = on_scores(case, strategy), History(), History()
    for _ in run.experiences():
        weights.note("out_", by_layer(case, dict(run.learner.model.named_parameters())))
        fisher.note("", by_layer(case, strategy[1].state.fisher))
    weights.expect(case)
    return {name: torch.stack(values[:-1]) for name, values in fisher.values.items()}


def on_scores(case: Case, strategy: tuple[str, EWC | OnlineEWC]) -> Run:
    """Adam without decay, or plain gradient descent; at a constant rate."""
    optimizer = {"optimizer": "adamw"} if case.integer("hp_adam") else {"optimizer": "sgd", "momentum": 0.0}
    return Run(
        case,
        strategy,
        model=MultimodalModel(network(case, nn.ReLU), ColumnHead()),
        stream=recorded_stream(case, (TIL, CIL, DIL)[case.integer("hp_scenario")], {"lr": "hp_lr"}),
        training={"schedule": "constant", **optimizer},
    )


PARITY = {"run_ewc": Parity(check_ewc, STRICT), "run_online_ewc": Parity(check_online_ewc, STRICT)}
