"""kd_logits, kd_feature and kd_relation: the reusable losses."""

from collections.abc import Callable

import torch
from mmcl_strategies.maths import feature_distillation as feature
from mmcl_strategies.maths import relation_distillation as relation
from mmcl_strategies.maths.distillation import soft_cross_entropy, unit_rows
from torch import Tensor

from ..case import DEFAULT_TOLERANCES, Case, Parity


def check_logits(case: Case) -> None:
    student, teacher = case.leaf("in_student_logits"), case.tensor("in_teacher_logits")
    loss = soft_cross_entropy(
        student,
        teacher,
        case.number("hp_T"),
        columns=torch.nonzero(case.tensor("in_active_units")).flatten(),
        squared_temperature=bool(case.integer("hp_t2")),
        divergence=not case.integer("hp_form"),
    )
    case.expect("out_loss", loss)
    case.expect("out_grad_student_logits", torch.autograd.grad(loss, student)[0])
    case.require_all(case.names("out_"))


def check_feature(case: Case) -> None:
    student, teacher, temperature = case.leaf("in_student"), case.tensor("in_teacher"), case.number("hp_temp")
    kinds: list[Callable[[], Tensor]] = [
        lambda: feature.mean_squared(unit_rows(student), unit_rows(teacher)),
        lambda: feature.mean_squared(student, teacher),
        lambda: feature.cosine_distance(student, teacher),
        lambda: feature.dimension_divergence(student, teacher, temperature),
        lambda: feature.mean_distance(student, teacher),
    ]
    loss = kinds[case.integer("hp_kind")]()
    case.expect("out_loss", loss)
    case.expect("out_grad_student", torch.autograd.grad(loss, student)[0])
    case.require_all(case.names("out_"))


def check_relation(case: Case) -> None:
    student, other = case.leaf("in_student"), case.leaf("in_student_other")
    teacher, teacher_other = case.tensor("in_teacher"), case.tensor("in_teacher_other")
    temperature = case.number("hp_temp")
    kinds: list[Callable[[], Tensor]] = [
        lambda: relation.cross_modal_divergence(student, other, teacher, teacher_other, temperature),
        lambda: relation.same_modality_divergence(student, teacher, temperature),
        lambda: relation.gram_mse(student, teacher),
        lambda: relation.distance_huber(student, teacher),
        lambda: relation.angle_huber(student, teacher),
    ]
    loss = kinds[case.integer("hp_kind")]()
    case.expect("out_loss", loss)
    gradients = torch.autograd.grad(loss, [student, other], materialize_grads=True, allow_unused=True)
    case.expect("out_grad_student", gradients[0])
    case.expect("out_grad_student_other", gradients[1])
    case.require_all(case.names("out_"))


PARITY = {
    "kd_logits": Parity(check_logits, DEFAULT_TOLERANCES),
    "kd_feature": Parity(check_feature, DEFAULT_TOLERANCES),
    "kd_relation": Parity(check_relation, DEFAULT_TOLERANCES),
}
