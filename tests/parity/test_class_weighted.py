"""Online EWC averaged by the share of classes, on a head that grows, against a loop written from PyCIL's algorithm.

There training sees the columns of the new classes only, the Fisher information all classes seen; it is capped, and the
rows of new units keep it as it is while those of old ones are mixed with what was remembered.
"""

import torch
from mmcl_strategies.regularization.online_ewc import OnlineEWC
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from mmcl.learning.learner import Learner
from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.scenario import CIL

from .case import Case, Tolerance
from .linear_layers import by_layer, network
from .runner import DATA, read
from .trajectory import recorded_stream

NAMES = ("W1", "b1", "W2", "b2", "fc_weight", "fc_bias")
STEPS, RATE, MOMENTUM, STRENGTH, CAP = 20, 0.2, 0.9, 300.0, 0.01


def scores(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    hidden = (images.flatten(1) @ weights["W1"].T + weights["b1"]).tanh()
    return (hidden @ weights["W2"].T + weights["b2"]) @ weights["fc_weight"].T + weights["fc_bias"]


def by_the_algorithm(case: Case) -> list[dict[str, Tensor]]:
    """The weights after every experience, each trained on all its samples at every step."""
    sizes, counts = case.tensor("in_sizes").tolist(), case.tensor("in_classes").tolist()
    parts = zip(case.tensor("in_images").split(sizes), case.tensor("in_labels").split(sizes), strict=True)
    weights = {name: case.tensor(f"in_{name}") for name in NAMES[:4]}
    fisher: dict[str, Tensor] = {}
    centre: dict[str, Tensor] = {}
    history = []
    for t, (images, labels) in enumerate(parts):
        known, seen = sum(counts[:t]), sum(counts[: t + 1])
        for name in NAMES[4:]:
            new = case.tensor(f"in_{name}")[known:seen]
            weights[name] = torch.cat([weights[name].detach(), new]) if t else new
        weights = {name: value.detach().clone().requires_grad_() for name, value in weights.items()}
        optimizer = torch.optim.SGD(weights.values(), lr=RATE, momentum=MOMENTUM)
        for _ in range(STEPS):
            loss = cross_entropy(scores(weights, images)[:, known:], labels - known)
            for name, anchor in centre.items():
                loss = loss + STRENGTH / 2 * (fisher[name] * (weights[name][: len(anchor)] - anchor).square()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        gradients = torch.autograd.grad(cross_entropy(scores(weights, images), labels), list(weights.values()))
        capped = {name: g.square().clamp(max=CAP) for name, g in zip(weights, gradients, strict=True)}
        for name, old in fisher.items():
            rows = slice(len(old))
            capped[name][rows] = known / seen * old + (1 - known / seen) * capped[name][rows]
        fisher, centre = capped, {name: value.detach().clone() for name, value in weights.items()}
        history.append(centre)
    return history


def test_rows_of_new_units_keep_their_fisher_and_all_classes_seen_compete_in_it() -> None:
    case = Case(read(DATA / "run_icarl" / "case_1.npz"), torch.float64, Tolerance(0.0, 0.0))
    ewc = OnlineEWC(
        strength=STRENGTH,
        recursion="class_weighted",
        fisher="batched",
        samples=None,
        batch_size=len(case.arrays["in_images"]),
        fisher_clip=CAP,
        fisher_over_seen=True,
    )
    learner = Learner(
        model=MultimodalModel(network(case, nn.Tanh)).to(case.precision),
        scenario=CIL,
        strategies={"online_ewc": ewc},
        training={
            "iterations": STEPS,
            "batch_size": len(case.arrays["in_images"]),
            "lr": RATE,
            "optimizer": "sgd",
            "momentum": MOMENTUM,
            "schedule": "constant",
            "own_classes": True,
        },
    )
    head = learner.model.head
    for experience, expected in zip(recorded_stream(case, CIL, {}).train, by_the_algorithm(case), strict=True):
        learner.meet(experience)
        new = list(experience.label_space.ids)
        with torch.no_grad():
            for name, units in head.named_parameters():
                units[new] = case.tensor(f"in_fc_{name}")[new]
        learner.train(experience)
        named = dict(learner.model.named_parameters())
        found = by_layer(case, named) | {f"fc_{name}": units for name, units in head.named_parameters()}
        for name, values in expected.items():
            torch.testing.assert_close(found[name], values, rtol=0.0, atol=1e-12)
