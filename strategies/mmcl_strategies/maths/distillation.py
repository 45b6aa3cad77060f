"""Distillation losses: logits of a classifier (LwF) and similarity rows of an image-text model (ZSCL and kin).

Teacher tensors carry no gradient. A loss in cross-entropy form exceeds its Kullback-Leibler form by the entropy of the
teacher, which has no gradient: same training, different logged value. The factor ``T^2`` is always a visible choice.
"""

from collections.abc import Sequence
from functools import reduce
from operator import add

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from mmcl.objectives.likelihoods import full_precision

# which columns are read: some, some that follow one another, or all
Columns = Int[Tensor, " chosen"] | slice | None
Scale = Float[Tensor, ""] | float


def soft_cross_entropy(
    student_logits: Float[Tensor, "rows classes"],
    teacher_logits: Float[Tensor, "rows known"],
    temperature: float = 1.0,
    *,
    columns: Columns = None,
    squared_temperature: bool = False,
    divergence: bool = False,
) -> Float[Tensor, ""]:
    """Mean over rows of ``-sum_c softmax(t/T)_c log softmax(s/T)_c`` (Hinton et al. 2015).

    Args:
        student_logits: s.
        teacher_logits: t, detached here; of the same classes, or of fewer where ``columns`` are among them.
        temperature: T.
        columns: those that enter both softmaxes; all when ``None``. No column gives 0.
        squared_temperature: multiply by ``T^2``, which keeps the size of the gradient independent of T.
        divergence: subtract the teacher's entropy, which gives the Kullback-Leibler form.
    """
    teacher_logits = teacher_logits.detach()
    if columns is not None:
        student_logits, teacher_logits = student_logits[:, columns], teacher_logits[:, columns]
    if student_logits.numel() == 0:
        return student_logits.sum()
    log_student = functional.log_softmax(student_logits / temperature, dim=1)
    log_teacher = functional.log_softmax(teacher_logits / temperature, dim=1)
    likeness = log_student - log_teacher if divergence else log_student
    loss = -(log_teacher.exp() * likeness).sum(dim=1).mean()
    return loss * temperature**2 if squared_temperature else loss


def together(columns: Int[Tensor, " chosen"], width: int) -> Columns:
    """Columns of ``width`` in a form that is read without a copy where there is one.

    ``None`` for all of them in order, a slice for some that follow one another, and others as they are.
    """
    listed = columns.tolist()
    first = listed[0] if listed else 0
    if listed != list(range(first, first + len(listed))):
        return columns
    return None if len(listed) == width else slice(first, first + len(listed))


def old_heads(head_of_class: Int[Tensor, " classes"], n_old: int) -> list[Int[Tensor, " _"]]:
    """The old columns of every head that has any, in order of head index.

    Args:
        head_of_class: the head each column belongs to; all equal for a single growing head.
        n_old: the first ``n_old`` columns are old classes.
    """
    heads = head_of_class[:n_old]
    return [torch.nonzero(heads == head).flatten() for head in torch.unique(heads)]


def head_distillation(
    student_logits: Float[Tensor, "batch classes"],
    teacher_logits: Float[Tensor, "batch known"],
    heads: Sequence[Int[Tensor, " _"] | slice | None],
    temperature: float = 2.0,
    *,
    squared_temperature: bool = False,
    divergence: bool = False,
) -> Float[Tensor, ""]:
    """LwF (Li and Hoiem 2016): one softmax per old head, terms summed over heads; 0 without old heads.

    Args:
        student_logits: of all classes.
        teacher_logits: of all classes or fewer; columns outside ``heads`` are never read.
        heads: the columns of each old head. One entry with all old classes is the single-head form.
        temperature, squared_temperature, divergence: as in ``soft_cross_entropy``.
    """
    terms = [
        soft_cross_entropy(
            student_logits,
            teacher_logits,
            temperature,
            columns=columns,
            squared_temperature=squared_temperature,
            divergence=divergence,
        )
        for columns in heads
    ]
    return reduce(add, terms) if terms else student_logits[:, :0].sum()


def unit_rows(features: Float[Tensor, "rows width"]) -> Float[Tensor, "rows width"]:
    """Rows divided by their Euclidean lengths; in float32 where they come in half precision."""
    return functional.normalize(full_precision(features), dim=-1)


def contrast_logits(
    features: Float[Tensor, "rows width"], keys: Float[Tensor, "keys width"], scale: Scale
) -> Float[Tensor, "rows keys"]:
    """Scaled cosines between features and keys, raw or of unit length."""
    return logits_by_unit_keys(features, unit_rows(keys), scale)


def logits_by_unit_keys(
    features: Float[Tensor, "rows width"], keys: Float[Tensor, "keys width"], scale: Scale
) -> Float[Tensor, "rows keys"]:
    """``contrast_logits`` of keys that have unit length already, as those have that serve many steps."""
    return scale * unit_rows(features) @ keys.T


def image_term(
    student_logits: Float[Tensor, "images texts"],
    teacher_logits: Float[Tensor, "images texts"],
    temperature: float,
    *,
    divergence: bool = False,
) -> Float[Tensor, ""]:
    """``T^2`` times the soft cross-entropy of every image over the texts, mean over images (ZSCL).

    Both logits are from ``contrast_logits``. With the teacher's text features on both sides, as in
    ZSCL, the student's text tower gets no gradient.
    """
    return soft_cross_entropy(
        student_logits, teacher_logits, temperature, squared_temperature=True, divergence=divergence
    )


def text_term(
    student_logits: Float[Tensor, "images texts"],
    teacher_logits: Float[Tensor, "images texts"],
    temperature: float,
    *,
    divergence: bool = False,
) -> Float[Tensor, ""]:
    """``T^2`` times the soft cross-entropy of every text over the images of the batch, mean over texts (ZSCL).

    Takes the same logits as ``image_term``; 0 for a single image.
    """
    return image_term(student_logits.T, teacher_logits.T, temperature, divergence=divergence)


def image_image_term(
    student: Float[Tensor, "images width"], teacher: Float[Tensor, "images width"], scale: Scale, temperature: float
) -> Float[Tensor, ""]:
    """``T^2`` times the soft cross-entropy of every image over the *other* images (an option of ZSCL's code).

    Args:
        student, teacher: raw image features.
        scale: logit scale, already exponentiated.
        temperature: T.
    """
    own = torch.eye(len(student), dtype=torch.bool, device=student.device)
    masked = [contrast_logits(rows, rows, scale).masked_fill(own, -1e4) for rows in (student, teacher.detach())]
    return image_term(masked[0], masked[1], temperature)
