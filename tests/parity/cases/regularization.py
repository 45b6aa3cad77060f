"""ewc and online_ewc, through ``maths.fisher.estimators`` and ``maths.quadratic``."""

from collections.abc import Mapping

import torch
from mmcl_strategies.maths.fisher import estimators
from mmcl_strategies.maths.quadratic import (
    Separate,
    accumulate_separate,
    add_quadratic_gradient,
    class_weighted,
    decay_and_add,
    mean_fisher,
    move_centre,
    moving_average,
    quadratic_penalty,
    separate_penalty,
)
from torch import Tensor, nn

from ..case import Case, Parity, Tolerance

Batch = tuple[Tensor, Tensor]


def check_ewc(case: Case) -> None:
    check_fisher(case)
    check_penalties_of_grown_vector(case)
    check_penalties_of_added_parameters(case)
    case.require_all(case.names("F_") + case.names("penalty_") + case.names("grad_") + case.names("agg_"))


def classifier(case: Case) -> nn.Sequential:
    """``W2 tanh(W1 x + b1) + b2``."""
    hidden, width = case.arrays["W1"].shape
    classes = len(case.arrays["b2"])
    model = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, classes)).to(case.precision)
    with torch.no_grad():
        for parameter, name in zip(model.parameters(), ("W1", "b1", "W2", "b2"), strict=True):
            parameter.copy_(case.tensor(name))
    return model


def check_fisher(case: Case) -> None:
    model = classifier(case)
    parameters = dict(zip(("W1", "b1", "W2", "b2"), model.parameters(), strict=True))
    active, inputs = case.tensor("active_classes"), case.tensor("X")
    column = {int(label): position for position, label in enumerate(active)}
    true, drawn = (torch.tensor([column[int(label)] for label in case.tensor(name)]) for name in ("y", "y_sampled"))

    def log_probs(batch: Batch) -> Tensor:
        return model(batch[0])[:, active].log_softmax(1)

    def log_prob(batch: Batch) -> Tensor:
        return log_probs(batch).gather(1, batch[1][:, None])[:, 0]

    def batches(labels: Tensor, size: int) -> list[Batch]:
        return list(zip(inputs.split(size), labels.split(size), strict=True))

    given = case.integer("batch_size")
    for size in {1, given, len(inputs)}:
        for aligned in ([], [model]):
            compare(case, "F_emp", estimators.empirical(parameters, batches(true, size), log_prob, aligned))
            compare(case, "F_exact", estimators.exact(parameters, batches(true, size), log_probs, aligned))
            supplied = iter(drawn.split(size))
            samples = estimators.sampled(
                parameters, batches(true, size), log_probs, lambda _, rest=supplied: next(rest), aligned
            )
            compare(case, "F_samp", samples)
    compare(case, "F_batched", estimators.batched(parameters, batches(true, given), log_prob))


def compare(case: Case, prefix: str, estimate: Mapping[str, Tensor]) -> None:
    for name, values in estimate.items():
        case.expect(f"{prefix}_{name}", values)


def check_penalties_of_grown_vector(case: Case) -> None:
    """All weights in one vector, whose later entries were appended; not for parameters that came in elsewhere."""
    exists = case.tensor("exists").bool()
    lengths = exists.sum(1)
    if any(not row[:length].all() for row, length in zip(exists, lengths, strict=True)):
        return
    tasks = [
        ({"theta": importance[:length]}, {"theta": anchor[:length]})
        for importance, anchor, length in zip(case.tensor("fisher"), case.tensor("anchor"), lengths, strict=True)
    ]
    check_penalties(case, {"theta": torch.arange(exists.shape[1])}, tasks)


def check_penalties_of_added_parameters(case: Case) -> None:
    """Weights that appeared together are one parameter, absent from what is remembered of earlier tasks."""
    exists = case.tensor("exists").bool()
    patterns = [tuple(column.tolist()) for column in exists.T]
    entries = {str(p): torch.tensor([i for i, q in enumerate(patterns) if q == p]) for p in dict.fromkeys(patterns)}
    tasks = []
    for k, (importance, anchor) in enumerate(zip(case.tensor("fisher"), case.tensor("anchor"), strict=True)):
        present = {name: index for name, index in entries.items() if exists[k, index].all()}
        tasks.append(tuple({name: row[index] for name, index in present.items()} for row in (importance, anchor)))
    check_penalties(case, entries, tasks)


def check_penalties(
    case: Case, entries: Mapping[str, Tensor], tasks: list[tuple[dict[str, Tensor], dict[str, Tensor]]]
) -> None:
    theta, strength = case.tensor("theta"), case.number("lam")
    parameters = {name: theta[index].clone().requires_grad_() for name, index in entries.items()}

    def whole(values: Mapping[str, Tensor | None]) -> Tensor:
        """Named tensors put back into one vector, zeros where nothing is known."""
        vector = torch.zeros_like(theta)
        for name, tensor in values.items():
            if tensor is not None:
                vector[entries[name][: len(tensor)]] = tensor.detach()
        return vector

    def expect(name: str, penalty: Tensor, curvature: Mapping[str, Tensor], centre: Mapping[str, Tensor]) -> None:
        for parameter in parameters.values():
            parameter.grad = None
        add_quadratic_gradient(parameters, curvature, centre, strength)
        case.expect(f"penalty_{name}", strength * penalty)
        case.expect(f"grad_{name}", whole({key: parameter.grad for key, parameter in parameters.items()}))
        by_autograd = torch.zeros_like(theta)
        if penalty.requires_grad:
            found = torch.autograd.grad(strength * penalty, list(parameters.values()), allow_unused=True)
            by_autograd = whole(dict(zip(parameters, found, strict=True)))
        case.expect(f"grad_{name}", by_autograd)

    sums, summed, latest = Separate({}, {}, {}), {}, {}
    for importance, anchor in tasks:
        sums = accumulate_separate(sums, importance, anchor)
        summed = decay_and_add(summed, importance, 1.0)
        latest = move_centre(latest, anchor)
    case.expect("agg_F", whole(sums.fisher))
    case.expect("agg_Fa", whole({name: fisher * sums.centre[name] for name, fisher in sums.fisher.items()}))
    squares = [(fisher * sums.centre[name].square()).double().sum() for name, fisher in sums.fisher.items()]
    case.expect("agg_Faa", sum([*squares, *sums.constant.values()], torch.zeros((), dtype=torch.float64)))
    case.expect("anchor_last", whole(latest))
    expect("separate", separate_penalty(parameters, *sums), sums.fisher, sums.centre)
    expect("huszar", quadratic_penalty(parameters, summed, latest), summed, latest)


def check_online_ewc(case: Case) -> None:
    gamma, strength = case.number("gamma"), case.number("lam")
    theta = {"theta": case.leaf("theta")}
    decayed: dict[str, Tensor] = {}
    averaged: dict[str, Tensor] = {}
    weighted: dict[str, Tensor] = {}
    centre: dict[str, Tensor] = {}
    history: dict[str, list[Tensor]] = {"F_gamma": [], "F_mean": [], "F_class": [], "F_ema": []}
    before = 0
    for t, (values, anchor) in enumerate(zip(case.tensor("F_task"), case.tensor("anchor"), strict=True)):
        new, classes = {"theta": values}, int(case.arrays["n_classes"][t])
        decayed = decay_and_add(decayed, new, gamma)
        averaged = mean_fisher(averaged, new, t)
        weighted = class_weighted(weighted, new, before, classes, case.number("clip"))
        centre = move_centre(centre, {"theta": anchor})
        before += classes
        for name, state in (("F_gamma", decayed), ("F_mean", averaged), ("F_class", weighted)):
            history[name].append(state["theta"])
    moving: dict[str, Tensor] = {}
    for values in case.tensor("F_iter"):
        moving = moving_average(moving, {"theta": values}, case.number("alpha"))
        history["F_ema"].append(moving["theta"])
    for name, states in history.items():
        case.expect(name, torch.stack(states))
    variants = {"schwarz": (decayed, strength * gamma), "plain": (decayed, strength), "class": (weighted, strength)}
    for name, (curvature, factor) in variants.items():
        penalty = factor * quadratic_penalty(theta, curvature, centre)
        case.expect(f"penalty_{name}", penalty)
        case.expect(f"grad_{name}", torch.autograd.grad(penalty, theta["theta"])[0])
        theta["theta"].grad = None
        add_quadratic_gradient(theta, curvature, centre, factor)
        case.expect(f"grad_{name}", theta["theta"].grad)
    case.require_all([*history, *case.names("penalty_"), *case.names("grad_")])


PARITY = {
    "ewc": Parity(
        check_ewc, {torch.float64: Tolerance(0.0, 1e-8, floor=1.0), torch.float32: Tolerance(0.0, 1e-4, floor=1.0)}
    ),
    "online_ewc": Parity(
        check_online_ewc, {torch.float64: Tolerance(1e-15, 1e-8), torch.float32: Tolerance(1e-9, 1e-4)}
    ),
}
