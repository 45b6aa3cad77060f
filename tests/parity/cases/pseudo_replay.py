"""dgr_loss, through the formulas of deep generative replay and of feature replay."""

import torch
from mmcl_strategies.pseudo_replay.dgr import hard_replay_loss, hard_targets, soft_replay_loss
from mmcl_strategies.pseudo_replay.weights import by_classes, by_experiences, old_factor
from torch import Tensor
from torch.nn import functional

from ..case import Case, Parity, Tolerance


def check_dgr_loss(case: Case) -> None:
    new, labels = case.leaf("logits_new"), case.tensor("y_new")
    replayed, teacher = case.leaf("logits_replay"), case.tensor("teacher_replay")
    columns = torch.arange(teacher.shape[1])
    anything = teacher.numel() > 0

    weights = by_experiences(case.integer("n_context"), anything)
    case.expect("ratio", weights.new)
    loss_new = functional.cross_entropy(new, labels)
    hard = hard_replay_loss(replayed, teacher, columns)
    soft = soft_replay_loss(replayed, teacher, columns, case.number("kd_T"))
    case.expect("loss_new", loss_new)
    case.expect("loss_replay_hard", hard)
    case.expect("loss_replay_soft", soft)
    if teacher.shape[1]:
        case.expect("y_replay_hard", hard_targets(teacher, columns))

    for kind, loss in (("hard", hard), ("soft", soft)):
        total = weights.new * loss_new + weights.replayed * loss
        case.expect(f"total_{kind}", total)
        to_new, to_replayed = torch.autograd.grad(total, [new, replayed], retain_graph=True)
        case.expect("grad_new", to_new)
        case.expect(f"grad_replay_{kind}", to_replayed)

    case.expect("total_unweighted_soft", loss_new + soft)
    case.expect("total_concat", plain_mean(new, labels, replayed, teacher, columns))

    generator = weights.new * case.number("gen_loss_new") + weights.replayed * case.number("gen_loss_replay")
    case.expect("gen_total", generator)

    sizes = case.integer("gfr_first_classes"), case.integer("gfr_classes_per_task"), case.integer("gfr_task")
    factor = old_factor(*sizes)
    case.expect("gfr_old_factor", factor)
    by_class = by_classes(factor)
    case.expect("gfr_total", by_class.new * loss_new + by_class.replayed * hard)

    compared = {"ratio", "loss_new", *case.names("loss_replay"), *case.names("total_"), *case.names("grad_")}
    case.require_all([*compared, "gen_total", "gfr_old_factor", "gfr_total"])


def plain_mean(new: Tensor, labels: Tensor, replayed: Tensor, teacher: Tensor, columns: Tensor) -> Tensor:
    """What a concatenated batch gives: the ratio is that of the sizes, whatever has been seen."""
    if teacher.numel() == 0:
        return functional.cross_entropy(new, labels)
    targets = torch.cat([labels, hard_targets(teacher, columns)])
    return functional.cross_entropy(torch.cat([new, replayed]), targets)


PARITY = {
    "dgr_loss": Parity(check_dgr_loss, {torch.float64: Tolerance(1e-12, 1e-8), torch.float32: Tolerance(1e-6, 1e-4)})
}
