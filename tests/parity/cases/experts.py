"""Mixtures of experts beside an MLP, and which experts freeze."""

from collections.abc import Iterator

import torch
from mmcl_strategies.parameter_efficient.draws import Draws
from mmcl_strategies.parameter_efficient.experts import Mixture, MixtureShape
from mmcl_strategies.parameter_efficient.gating import activations, balance, expected_load
from torch import Tensor
from torch.nn import functional

from mmcl.data.label_space import LabelSpace
from mmcl.data.modality import IMAGE
from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.sites import Here

from ..case import DEFAULT_TOLERANCES, Case, Parity, Tolerance


def check_forward(case: Case) -> None:
    x, mixture = case.leaf("x"), mixture_of(case)
    ids = torch.zeros(len(x), dtype=torch.long)
    present = {IMAGE: torch.ones(len(x), dtype=torch.bool)}
    rows = Inputs({IMAGE: x}, present, route=Route.given(ids))
    choice = mixture.choice(x[:, 0], Route.given(ids))
    gates = choice.gates.dense(mixture.shape.experts)
    case.expect("gates", gates)
    case.expect("counts", activations(gates))
    case.expect("importance", gates.sum(0))
    case.expect("load", expected_load(choice))
    tolerance, case.tolerance = case.tolerance, Tolerance(1e-5, 1e-3)
    case.expect("balance_loss", balance(choice))
    case.tolerance = tolerance
    case.expect("block_out", x + mixture(Here(mlp(case, x), x, mixture), rows))
    y = mixture(Here(torch.zeros_like(x), x, mixture), rows)
    case.expect("y", y)
    (y * case.tensor("grad_y")).sum().backward()
    case.expect("grad_x", x.grad)
    gate = mixture.gates["0"]
    for name, parameter in (("grad_w_gate", gate.weight), ("grad_w_noise", gate.noise)):
        case.expect(name, torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    case.expect("grad_up_b", torch.stack([expert.up.bias.grad for expert in mixture.experts]))


class Recorded(Draws):
    """Noise that somebody else's program has drawn; nothing is dropped."""

    def __init__(self, values: Iterator[Tensor]) -> None:
        self.values = values

    def normal(self, like: Tensor) -> Tensor:
        return next(self.values)


def mixture_of(case: Case) -> Mixture:
    """With the experts, the gate and the draws of a case."""
    experts, bottleneck, width = case.arrays["down_w"].shape
    shape = MixtureShape(
        experts=experts,
        top_k=case.integer("top_k"),
        bottleneck=bottleneck,
        scale=case.number("scale"),
        dropout=0.0,
        noise_floor=case.number("noise_eps"),
        shared_gate=False,
    )
    mixture = Mixture(width, shape).to(case.precision).train(bool(case.integer("train")))
    mixture.meet(Arrival(0, LabelSpace(), frozenset({IMAGE})))
    mixture.to(case.precision).draws = Recorded(iter([case.tensor("noise")] * 3))
    with torch.no_grad():
        mixture.gates["0"].weight.copy_(case.tensor("w_gate"))
        mixture.gates["0"].noise.copy_(case.tensor("w_noise"))
        for e, expert in enumerate(mixture.experts):
            for part in ("down", "up"):
                getattr(expert, part).weight.copy_(case.tensor(f"{part}_w")[e])
                getattr(expert, part).bias.copy_(case.tensor(f"{part}_b")[e])
    return mixture


def mlp(case: Case, x: Tensor) -> Tensor:
    """The frozen MLP of CLIP with QuickGELU, behind its layer norm."""
    normed = functional.layer_norm(x, x.shape[-1:], case.tensor("ln2_w"), case.tensor("ln2_b"))
    hidden = functional.linear(normed, case.tensor("fc_w"), case.tensor("fc_b"))
    return functional.linear(hidden * torch.sigmoid(1.702 * hidden), case.tensor("proj_w"), case.tensor("proj_b"))


def check_freeze_rule(case: Case) -> None:
    gates, number = case.tensor("gates"), case.integer("k_freeze")
    tasks, _, blocks, _, experts = gates.shape
    shape = MixtureShape(experts, 1, 1, 1.0, 0.0, 0.0, False)
    mixtures = [Mixture(1, shape) for _ in range(blocks)]
    counts, frozen, trainable = [], [], []
    for task in range(tasks):
        for block, mixture in enumerate(mixtures):
            mixture.begin(task)
            trainable.append([all(p.requires_grad for p in expert.parameters()) for expert in mixture.experts])
            for step in gates[task, :, block]:
                mixture.counts += activations(step)
            counts.append(mixture.counts.clone())
            mixture.end(number)
            frozen.append(mixture.frozen.clone())
    size = (tasks, blocks, experts)
    case.expect("counts", torch.stack(counts).reshape(size))
    case.expect("frozen_after", torch.stack(frozen).long().reshape(size))
    case.expect("trainable_during", torch.tensor(trainable).long().reshape(size))


PARITY = {
    "moe_adapter_forward": Parity(
        check_forward, {torch.float64: Tolerance(1e-5, 1e-4), torch.float32: Tolerance(1e-5, 1e-4)}
    ),
    "moe_freeze_rule": Parity(check_freeze_rule, DEFAULT_TOLERANCES),
}
