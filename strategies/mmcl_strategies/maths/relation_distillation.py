"""Distillation losses on relations: how the samples of a batch lie to each other, not where each of them lies.

Every function takes raw features; whether it normalises them is part of its formula. The teacher is
constant. Divergences are ``KL(teacher || student)``, summed over the columns and averaged over the rows.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmcl_strategies.maths.distillation import soft_cross_entropy, unit_rows

Rows = Float[Tensor, "rows width"]
_OWN = -1000.0  # score of a sample with itself, before the division by the temperature


def cross_modal_divergence(
    student: Rows, student_other: Rows, teacher: Rows, teacher_other: Rows, temperature: float
) -> Float[Tensor, ""]:
    """Mean of both directions of the divergence between image-text similarity rows (CTP's cross-modality term).

    Args:
        student, teacher: one modality; cosines are taken.
        student_other, teacher_other: the other modality of the same samples.
        temperature: cosines are divided by it; there is no factor ``T^2``.
    """
    scores = unit_rows(student) @ unit_rows(student_other).T
    answer = unit_rows(teacher) @ unit_rows(teacher_other).T
    forward = soft_cross_entropy(scores, answer, temperature, divergence=True)
    return (forward + soft_cross_entropy(scores.T, answer.T, temperature, divergence=True)) / 2


def same_modality_divergence(
    student: Rows, teacher: Rows, temperature: float, *, mask_own: bool = True
) -> Float[Tensor, ""]:
    """Divergence between similarity rows within one modality (CTP's same-modality term, of one modality).

    A sample is most similar to itself whatever the model; unless ``mask_own`` takes these entries out, they dominate
    the softmax and little else is compared.
    """
    scores, answer = (unit_rows(rows) @ unit_rows(rows).T for rows in (student, teacher.detach()))
    if mask_own:
        own = torch.eye(len(scores), dtype=torch.bool, device=scores.device)
        scores, answer = scores.masked_fill(own, _OWN), answer.masked_fill(own, _OWN)
    return soft_cross_entropy(scores, answer, temperature, divergence=True)


def gram_mse(student: Rows, teacher: Rows) -> Float[Tensor, ""]:
    """Mean over all ``rows * rows`` entries of the squared difference of the matrices of cosines."""
    scores, answer = (unit_rows(rows) @ unit_rows(rows).T for rows in (student, teacher.detach()))
    return functional.mse_loss(scores, answer)


def distance_huber(student: Rows, teacher: Rows) -> Float[Tensor, ""]:
    """Relational distances (Park et al., CVPR 2019): mean over ``rows * rows`` of ``huber(d_s - d_t)``.

    Distances between raw features, divided by the mean of the positive ones; the gradient passes through that mean.
    """
    return functional.huber_loss(_relative_distances(student), _relative_distances(teacher.detach()))


def angle_huber(student: Rows, teacher: Rows) -> Float[Tensor, ""]:
    """Relational angles (Park et al., CVPR 2019): mean over ``rows^3`` of ``huber(psi_s - psi_t)``.

    ``psi_iab`` is the cosine of the angle at i between the raw features a and b, 0 where one of them is i itself.
    """
    return functional.huber_loss(_angles(student), _angles(teacher.detach()))


def _lengths(differences: Tensor) -> tuple[Tensor, Tensor]:
    """Lengths along the last axis and where they are positive; the gradient at 0 is 0, not infinite."""
    squares = differences.square().sum(dim=-1)
    positive = squares > 0
    return torch.where(positive, squares, 1.0).sqrt() * positive, positive


def _relative_distances(features: Tensor) -> Tensor:
    distances, positive = _lengths(features.unsqueeze(0) - features.unsqueeze(1))
    if not bool(positive.any()):
        return distances
    return distances / (distances.sum() / positive.sum())


def _angles(features: Tensor) -> Tensor:
    differences = features.unsqueeze(0) - features.unsqueeze(1)
    lengths, positive = _lengths(differences)
    directions = differences * (positive / torch.where(positive, lengths, 1.0)).unsqueeze(-1)
    return directions @ directions.transpose(1, 2)
