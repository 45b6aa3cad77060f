"""hat and pnn_lateral, through the modules and the step of the strategies in ``mmcl_strategies.architecture``."""

from typing import cast

import torch
from mmcl_strategies.architecture.column import AdapterLateral, Column, LinearLateral
from mmcl_strategies.architecture.gate import Gate
from mmcl_strategies.architecture.gated_head import GatedHead, linear_stack
from mmcl_strategies.architecture.guard import guards
from mmcl_strategies.architecture.hard_attention import annealed, annealed_by_offset, sparsity
from mmcl_strategies.architecture.hat import HAT
from mmcl_strategies.architecture.progressive import Run
from torch import Tensor, nn

from mmcl.data.label_space import LabelSpace
from mmcl.learning.learner import Learner
from mmcl.models.arrival import Arrival
from mmcl.objectives.likelihoods import cross_entropy

from ..case import Case, Parity, Tolerance

_PRECISE = 18.0  # where s e is larger, the reference's own 1 - a has fewer than eight digits


def check_hat(case: Case) -> None:
    task, lr, strength = case.integer("task"), case.number("lr"), case.number("lamb")
    head, gates = network(case)
    hat = HAT(s_max=case.number("smax"), sparsity=strength)
    hat._gates, hat._guards = gates, guards(head.stack.links(), []) if case.integer("has_prev") else []
    learner = cast(Learner, None)  # these hooks do not ask the learner for anything
    for gate in gates:
        gate.active, gate.sharpness = task, case.number("s")
    for name, gate in zip("12", gates, strict=True):
        case.expect(f"mask{name}", gate.soft())
    logits = head.logits(case.tensor("x"), task)
    ce = cross_entropy(logits, case.tensor("y"))
    reg = sparsity([gate.soft() for gate in gates], [gate.used for gate in gates])
    loss = ce + hat.loss_terms(learner)["sparsity"]
    for name, value in (("logits", logits), ("ce", ce), ("reg", reg), ("loss", loss)):
        case.expect(name, value)
    loss.backward()

    weights = named(head, task)
    unsure = {name: imprecise(case, gate, task) for name, gate in zip("12", gates, strict=True)}
    for name in ("W1", "W2"):
        case.expect(f"raw_grad_{name}", weights[name].grad)
    for name, gate in zip("12", gates, strict=True):
        case.expect(f"raw_grad_e{name}", forgiving(case, f"raw_grad_e{name}", gate.embedding.grad, unsure[name]))
    for link, number in zip(head.stack.links(), "12", strict=True):
        for (_, factor), name in zip(link.factors(), "Wb", strict=True):
            case.expect(f"gradmask_{name}{number}", factor)

    hat.edit_gradient(learner)
    for name, gate in zip("12", gates, strict=True):
        case.expect(f"comp_grad_e{name}", forgiving(case, f"comp_grad_e{name}", gate.embedding.grad, unsure[name]))
    parameters = [parameter for parameter in head.parameters() if parameter.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(parameters, case.number("clip_norm"))
    lost = torch.stack([entries.any() for entries in unsure.values()]).any()
    case.expect("total_norm", forgiving(case, "total_norm", norm, lost))
    torch.optim.SGD(parameters, lr=lr).step()
    hat.after_update(learner)

    clipped = float(case.arrays["total_norm"]) > case.number("clip_norm")
    for name, value in weights.items():
        case.expect(f"new_{name}", forgiving(case, f"new_{name}", value, lost & clipped))
    for number, gate in zip("12", gates, strict=True):
        rows = torch.zeros(len(gate.tasks), gate.units, dtype=torch.bool)
        rows[task] = unsure[number] | (lost & clipped)
        embeddings = torch.stack(list(gate.embeddings))
        case.expect(f"new_e{number}", forgiving(case, f"new_e{number}", embeddings, rows))
        gate.finish(as_binary=False)
        case.expect(f"end_mask{number}", forgiving(case, f"end_mask{number}", gate.row(task), rows[task]))
        case.expect(f"cum{number}", forgiving(case, f"cum{number}", gate.used, rows[task]))
    (_, factor), *_ = head.stack.links()[1].factors()
    between = unsure["2"].unsqueeze(1) | unsure["1"] | (lost & clipped)
    case.expect("next_gradmask_W2", forgiving(case, "next_gradmask_W2", factor, between))
    check_schedules(case)
    case.require_all(expected_names(case))


def network(case: Case) -> tuple[GatedHead, list[Gate]]:
    """The head of the strategy with the weights of the case, its gates as earlier tasks have left them."""
    embeddings = [case.tensor("e1"), case.tensor("e2")]
    hidden, width = case.arrays["W1"].shape
    classes, smax = case.arrays["Wh"].shape[0], case.number("smax")
    stack = linear_stack(width, (hidden, hidden), 0.0, lambda units: Gate(units, s_max=smax, idle=1.0))
    head = GatedHead(stack).to(case.precision)
    for task in range(len(embeddings[0])):
        head.meet(Arrival(task, LabelSpace.of([str(c) for c in range(classes)]), frozenset({"image"})))
    head.to(case.precision)
    gates = [module for module in stack.modules() if isinstance(module, Gate)]
    with torch.no_grad():
        for gate, start, used in zip(gates, embeddings, ("prev1", "prev2"), strict=True):
            for embedding, row in zip(gate.embeddings, start, strict=True):
                embedding.copy_(row)
            gate.embeddings.requires_grad_(False)
            gate.embeddings[case.integer("task")].requires_grad_(True)
            gate.used.copy_(case.tensor(used))
        for name, parameter in named(head, case.integer("task")).items():
            parameter.copy_(case.tensor(name))
    head.outputs.requires_grad_(False)
    head.outputs[case.integer("task")].requires_grad_(True)
    return head, gates


def named(head: GatedHead, task: int) -> dict[str, Tensor]:
    layers = {"1": head.stack.layers[0].layer, "2": head.stack.layers[1].layer, "h": head.outputs[task]}
    return {f"{kind}{n}": getattr(m, attribute) for n, m in layers.items() for kind, attribute in KINDS}


KINDS = (("W", "weight"), ("b", "bias"))


def imprecise(case: Case, gate: Gate, task: int) -> Tensor:
    """Of which units the reference has lost the digits of the gradient."""
    return case.number("s") * gate.embeddings[task].detach() > _PRECISE


def forgiving(case: Case, name: str, actual: Tensor | None, unsure: Tensor) -> Tensor:
    """``actual`` with what is expected where the reference cannot know."""
    assert actual is not None
    return torch.where(unsure, case.tensor(name), actual.detach())


def check_schedules(case: Case) -> None:
    samples, size, smax = case.integer("n_samples"), case.integer("batch"), case.number("smax")
    batches = -(-samples // size)
    case.expect("s_schedule_paper", [annealed(batch, batches, smax) for batch in range(batches)])
    case.expect("s_schedule_code", [annealed_by_offset(batch * size, samples, smax) for batch in range(batches)])


def expected_names(case: Case) -> list[str]:
    given = {"W1", "b1", "W2", "b2", "Wh", "bh", "e1", "e2", "task", "prev1", "prev2", "has_prev", "x", "y", "s"}
    return sorted(set(case.arrays) - given - {"smax", "lamb", "lr", "clip_norm", "n_samples", "batch"})


def check_pnn_lateral(case: Case) -> None:
    columns = nn.ModuleList(column(case, k) for k in range(case.integer("n_columns"))).to(case.precision)
    for k, module in enumerate(columns):
        copy_column(case, k, module)
    columns[:-1].requires_grad_(False)
    x = case.tensor("x")
    run = Run(columns, {"x": x}, {"x": torch.ones(len(x), dtype=torch.bool)})
    last = len(columns) - 1
    scores = [run.scores(row) for row in (last, *range(last))]
    for k, out in zip((last, *range(last)), scores, strict=True):
        case.expect(f"out_c{k}", out)
        for number, activation in enumerate(run.activations[k], start=1):
            case.expect(f"act_c{k}_L{number}", activation)
    (scores[0] * case.tensor("R")).sum().backward()
    for name, parameter in slots(case, last, columns[last]).items():
        case.expect(f"grad_{name}", parameter.grad)
    assert all(parameter.grad is None for column in columns[:-1] for parameter in column.parameters())
    case.require_all([*case.names("act_"), *case.names("out_"), *case.names("grad_")])


def column(case: Case, k: int) -> Column:
    """A column of the sizes of the case."""
    layers = range(1, case.integer("n_layers") + 1)
    widths = [case.arrays[f"c{k}_L{i}_W"].shape[0] for i in layers]
    laterals: list[nn.Module] = []
    for i in layers[1:] if k else ():
        earlier = [case.arrays[f"c{j}_L{i - 1}_W"].shape[0] for j in range(k)]
        if case.integer("adapter"):
            laterals.append(LinearLateral(earlier, widths[i - 1]))
        else:
            width = case.arrays[f"c{k}_L{i}_V"].shape[0]
            laterals.append(AdapterLateral(earlier, width, widths[i - 1], alpha=0.01))
    return Column({"x": case.arrays["x"].shape[1]}, widths[:-1], widths[-1], laterals)


def slots(case: Case, k: int, module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of a column by the names of the case."""
    assert isinstance(module, Column)
    found: dict[str, nn.Parameter] = {}
    for i, layer in enumerate([module.projections["x"], *module.layers], start=1):
        found |= {f"c{k}_L{i}_W": layer.weight, f"c{k}_L{i}_b": layer.bias}
    for i, lateral in enumerate(module.laterals, start=2):
        if isinstance(lateral, AdapterLateral):
            found |= {f"c{k}_L{i}_V": lateral.V.weight, f"c{k}_L{i}_bV": lateral.V.bias}
            found |= {f"c{k}_L{i}_U": lateral.U.weight, f"c{k}_L{i}_bU": lateral.U.bias}
            found[f"c{k}_L{i}_alpha"] = lateral.alpha
        else:
            for j, layer in enumerate(lateral.U):
                found |= {f"c{k}_L{i}_lin{j}_W": layer.weight, f"c{k}_L{i}_lin{j}_b": layer.bias}
    return found


@torch.no_grad()
def copy_column(case: Case, k: int, module: nn.Module) -> None:
    parameters = slots(case, k, module)
    assert len(parameters) == len(list(module.parameters())) == len(case.names(f"c{k}_"))
    for name, parameter in parameters.items():
        assert parameter.shape == case.arrays[name].shape, name
        parameter.copy_(case.tensor(name))


_PRECISION = {torch.float64: Tolerance(1e-15, 1e-8), torch.float32: Tolerance(1e-6, 1e-4)}

PARITY = {
    "hat": Parity(check_hat, {torch.float64: Tolerance(1e-15, 1e-8), torch.float32: Tolerance(1e-7, 1e-3)}),
    "pnn_lateral": Parity(check_pnn_lateral, _PRECISION),
}
