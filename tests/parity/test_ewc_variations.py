"""The recorded runs of the EWC family under other settings, against a loop written from the equations.

Every earlier experience has a penalty term of its own here, in the loss; the library holds all of them in one quadratic
and adds its gradient.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from .case import Case, Tolerance
from .runner import DATA, read, registry, run

KNOWN = registry()
TIL, CIL, DIL = range(3)
NAMES = [letter + number for number in "123" for letter in "Wb"]
Weights = list[Tensor]


def recorded(method: str, **changed: float) -> Case:
    arrays = read(DATA / method / "case_1.npz")
    arrays |= {name: np.array(value) for name, value in changed.items()}
    return Case(arrays, torch.float64, Tolerance(0.0, 0.0))


def scores(weights: Weights, images: Tensor) -> Tensor:
    w1, b1, w2, b2, w3, b3 = weights
    hidden = (images.flatten(1) @ w1.T + b1).relu()
    return (hidden @ w2.T + b2).relu() @ w3.T + b3


def exact_fisher(weights: Weights, images: Tensor, columns: slice) -> Weights:
    """``1/N sum_n sum_c p(c | x_n) (d log p(c | x_n) / d theta)^2``."""
    total = [torch.zeros_like(weight) for weight in weights]
    for image in images:
        log_p = scores(weights, image.unsqueeze(0))[0, columns].log_softmax(0)
        for value in log_p:
            gradients = torch.autograd.grad(value, weights, retain_graph=True)
            for entry, gradient in zip(total, gradients, strict=True):
                entry += value.detach().exp() * gradient.square() / len(images)
    return total


def by_the_equations(case: Case, gamma: float | None = None) -> dict[str, Tensor]:
    """Weights after every experience, and the Fisher of each but the last; with ``gamma`` those of online EWC."""
    weights = [case.leaf(f"in_{name}") for name in NAMES]
    sizes, counts = case.tensor("in_sizes").tolist(), case.tensor("in_classes").tolist()
    parts = zip(case.tensor("in_images").split(sizes), case.tensor("in_labels").split(sizes), strict=True)
    penalties: list[tuple[Weights, Weights]] = []
    history: dict[str, list[Tensor]] = {f"out_{kind}{name}": [] for kind in ("", "F_") for name in NAMES}
    for t, (images, labels) in enumerate(parts):
        first = case.setting("in_first_class", t)
        columns = slice(first if case.integer("hp_scenario") == TIL else 0, first + counts[t])
        optimizer = (torch.optim.Adam if case.integer("hp_adam") else torch.optim.SGD)(weights, lr=case.number("hp_lr"))
        for row in case.tensor("in_order")[t]:
            rows = row[row >= 0]
            loss = cross_entropy(scores(weights, images[rows])[:, columns], labels[rows] - columns.start)
            for fisher, anchor in penalties:
                for f, w, a in zip(fisher, weights, anchor, strict=True):
                    loss = loss + case.number("hp_strength") / 2 * (gamma or 1.0) * (f * (w - a).square()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        fisher, anchor = exact_fisher(weights, images, columns), [weight.detach().clone() for weight in weights]
        if gamma is not None:
            for old, _ in penalties:
                fisher = [gamma * o + f for o, f in zip(old, fisher, strict=True)]
            penalties = []
        penalties.append((fisher, anchor))
        for name, weight, f in zip(NAMES, anchor, fisher, strict=True):
            history[f"out_{name}"].append(weight)
            history[f"out_F_{name}"].append(f)
    return {name: torch.stack(values[:-1] if "_F_" in name else values) for name, values in history.items()}


@pytest.mark.parametrize("scenario", [TIL, CIL, DIL])
@pytest.mark.parametrize(("adam", "lr"), [(0, 0.1), (1, 0.01)], ids=["sgd", "adam"])
@pytest.mark.parametrize("method", ["run_ewc", "run_online_ewc"])
def test_run_follows_the_equations(method: str, adam: int, lr: float, scenario: int, tmp_path: Path) -> None:
    case = recorded(method, hp_adam=adam, hp_lr=lr, hp_scenario=scenario, hp_strength=50.0)
    if scenario == DIL:  # every experience brings the classes of the first one again
        first = case.arrays["in_first_class"]
        case.arrays["in_labels"] = case.arrays["in_labels"] - first.repeat(case.arrays["in_sizes"])
        case.arrays["in_first_class"] = np.zeros_like(first)
    gamma = case.number("hp_gamma") if method == "run_online_ewc" else None
    expected = {name: values.numpy() for name, values in by_the_equations(case, gamma).items()}
    (tmp_path / method).mkdir()
    np.savez(tmp_path / method / "case_1.npz", **{**case.arrays, **expected})
    run(tmp_path / method / "case_1.npz", KNOWN)


@pytest.mark.parametrize("method", ["run_ewc", "run_online_ewc"])
def test_equations_give_the_recorded_run(method: str) -> None:
    case = recorded(method)
    case.tolerance = Tolerance(1e-12, 0.0)
    for name, values in by_the_equations(case, case.number("hp_gamma") if "hp_gamma" in case.arrays else None).items():
        case.expect(name, values)
    case.require_all(case.names("out_"))
