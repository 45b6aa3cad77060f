"""Shapes that annotations of public maths state are checked in tests, and cost a run nothing."""

import subprocess
import sys

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


RUN = """
import inspect, sys
from mmcl.evaluation import retrieval
from mmcl.objectives import likelihoods
from mmcl_strategies.architecture import hard_attention
from mmcl_strategies.maths import distillation, quadratic
for module in (retrieval, likelihoods, hard_attention, distillation, quadratic):
    for name, function in inspect.getmembers(module, inspect.isfunction):
        assert "jaxtyping" not in function.__code__.co_filename, name
        assert "beartype" not in function.__code__.co_filename, name
print(sorted({"avalanche", "beartype", "jax", "typeguard"} & {name.partition(".")[0] for name in sys.modules}))
"""


def test_in_a_run_the_functions_are_called_as_they_are_written_and_no_checker_is_loaded() -> None:
    found = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=False)
    assert (found.stdout.strip(), found.stderr) == ("[]", "")
