"""Whole runs of icarl in the form with a softmax and distillation, through the learner.

Classes have the numbers of their units; an exemplar is called by its place in ``in_images``.
"""

from itertools import accumulate

import torch
from mmcl_strategies.replay.icarl import ICaRL
from mmcl_strategies.replay.nearest_mean import ExemplarHead
from torch import Tensor, nn

from mmcl.models.multimodal import MultimodalModel
from mmcl.streams.scenario import CIL

from ..case import STRICT, Case, Parity
from ..history import History
from ..linear_layers import by_layer, network
from ..trajectory import Answers, Run, recorded_stream


def check_icarl(case: Case) -> None:
    icarl = ICaRL(size=case.integer("hp_K"), loss="ce_kd", temperature=case.number("hp_T"), head_lr=None)
    run, found, answers = on_images(case, icarl), History(), Answers()
    head, classes = run.learner.model.head.to(case.precision), len(case.arrays["in_fc_weight"])
    assert isinstance(head, ExemplarHead)
    for experience in run.stream.train:
        run.learner.meet(experience)
        new = list(experience.label_space.ids)
        with torch.no_grad():
            for name, units in head.linear.named_parameters():
                units[new] = case.tensor(f"in_fc_{name}")[new]
        run.learner.train(experience)
        found.note("out_", by_layer(case, dict(run.learner.model.named_parameters())))
        rows = {"fc_weight": head.linear.weight, "fc_bias": head.linear.bias, "means": head.means}
        found.note("out_", {name: filled(values, classes, 0) for name, values in rows.items()})
        found.note("out_", {"exemplars": exemplars(case, icarl)})
        chosen = []
        for test in run.stream.test[: experience.index + 1]:
            run.learner.evaluate(test, answers)
            chosen += answers.classes
        found.note("out_", {"query_pred": filled(torch.cat(chosen), len(case.arrays["in_query"]), -1)})
    found.expect(case)
    case.require_all(case.names("out_"))


def on_images(case: Case, icarl: ICaRL) -> Run:
    """Gradient descent with momentum and decay; what is tested are the queries."""
    queries = case.tensor("in_query").split(case.arrays["in_query_sizes"].tolist())
    settings = {"lr": "lr", "weight_decay": "wd", "batch_size": "batch"}
    return Run(
        case,
        ("icarl", icarl),
        model=MultimodalModel(network(case, nn.Tanh)),
        stream=recorded_stream(case, CIL, {name: f"hp_{key}" for name, key in settings.items()}, queries),
        orders={"icarl": "in_order"},
        training={
            "epochs": case.integer("hp_epochs"),
            "optimizer": "sgd",
            "momentum": case.number("hp_momentum"),
            "schedule": "constant",
        },
    )


def exemplars(case: Case, icarl: ICaRL) -> Tensor:
    """``int64[C, M]``, the exemplars of every class in order of priority."""
    starts = [0, *accumulate(case.arrays["in_sizes"].tolist())]
    table = torch.full(case.arrays["out_exemplars"].shape[1:], -1)
    for label, visits in icarl.state.exemplars.items():
        for t, records in visits.items():
            places = [starts[t] + int(record["sample_id"].split("/")[1]) for record in records]
            table[label, : len(places)] = torch.tensor(places)
    return table


def filled(values: Tensor, length: int, value: int) -> Tensor:
    """The same with more rows."""
    rows = values.detach().new_full((length, *values.shape[1:]), value)
    rows[: len(values)] = values.detach()
    return rows


PARITY = {"run_icarl": Parity(check_icarl, STRICT)}
