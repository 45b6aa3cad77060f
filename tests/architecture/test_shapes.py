"""Shapes that annotations of public maths state are checked in tests; ``test_import_weight``: and in tests alone."""

import pytest
import torch
from jaxtyping import TypeCheckError
from mmcl_strategies.architecture.hard_attention import gate
from mmcl_strategies.maths.distillation import contrast_logits

from mmcl.objectives.likelihoods import cross_entropy


def test_a_wrong_shape_or_kind_is_refused_where_it_enters() -> None:
    with pytest.raises(TypeCheckError, match="keys"):
        contrast_logits(torch.zeros(2, 3), torch.zeros(4, 5), 1.0)
    with pytest.raises(TypeCheckError, match="columns"):
        cross_entropy(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(TypeCheckError, match="embedding"):
        gate(torch.zeros(3, dtype=torch.long), 1.0)


def test_a_whole_number_is_welcome_where_a_float_is_annotated() -> None:
    assert gate(torch.zeros(3), 1).tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(TypeCheckError, match="float"):
        gate(torch.zeros(3), "1")  # type: ignore[arg-type]
