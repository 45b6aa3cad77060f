"""Shapes that annotations of public maths state are checked in tests; ``test_import_weight``: and in tests alone."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from jaxtyping import TypeCheckError
from mmcl_strategies.architecture.hard_attention import gate
from mmcl_strategies.maths.distillation import contrast_logits
from mmcl_strategies.parameter_efficient.ridge import expanded
from mmcl_strategies.replay.nearest_mean import squared_distances
from mmcl_strategies.routing.centroids import distances

from mmcl.objectives.likelihoods import cross_entropy

ROOT = Path(__file__).parents[2]
FORMULAS = ("strategies/mmcl_strategies", "mmcl/objectives")


def shapeless(function: ast.FunctionDef) -> Iterator[str]:
    """What is a tensor, a union with one or a tuple of some, but does not say of which shape."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    for name, stated in (*((part.arg, part.annotation) for part in arguments), ("return", function.returns)):
        parts = [] if stated is None else [stated]
        for part in parts:
            if isinstance(part, ast.BinOp):
                parts += [part.left, part.right]
            elif isinstance(part, ast.Subscript) and ast.unparse(part.value) == "tuple":
                parts += part.slice.elts if isinstance(part.slice, ast.Tuple) else [part.slice]
            elif ast.unparse(part) in ("Tensor", "torch.Tensor"):
                yield f"{function.name}: {name}"


def test_every_public_formula_on_tensors_states_their_shapes() -> None:
    files = [file for folder in FORMULAS for file in sorted((ROOT / folder).rglob("*.py"))]
    found = [
        f"{file.relative_to(ROOT)}: {part}"
        for file in files
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
        for part in shapeless(node)
    ]
    assert len(files) > 60
    assert not found


def test_a_wrong_shape_or_kind_is_refused_where_it_enters() -> None:
    with pytest.raises(TypeCheckError, match="keys"):
        contrast_logits(torch.zeros(2, 3), torch.zeros(4, 5), 1.0)
    with pytest.raises(TypeCheckError, match="columns"):
        cross_entropy(torch.zeros(2, 3), torch.zeros(3, dtype=torch.long))
    with pytest.raises(TypeCheckError, match="embedding"):
        gate(torch.zeros(3, dtype=torch.long), 1.0)
    with pytest.raises(TypeCheckError, match="expansion"):
        expanded(torch.zeros(2, 3), torch.zeros(4, 2))
    with pytest.raises(TypeCheckError, match="centres"):
        distances(torch.zeros(2, 3), torch.zeros(1, 5, 4), "l1")
    with pytest.raises(TypeCheckError, match="means"):
        squared_distances(torch.zeros(2, 3), torch.zeros(5, 2), torch.ones(5, dtype=torch.bool))


def test_a_whole_number_is_welcome_where_a_float_is_annotated() -> None:
    assert gate(torch.zeros(3), 1).tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(TypeCheckError, match="float"):
        gate(torch.zeros(3), "1")  # type: ignore[arg-type]
