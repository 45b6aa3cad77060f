"""The package agrees with numbers computed by an independent formulation."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcl.data.label_space import ClassLabel, LabelSpace

from mmcl_der.derpp import logits_term

HERE = Path(__file__).parent


@pytest.mark.parametrize("path", sorted(HERE.glob("case_*.npz")), ids=lambda path: path.stem)
def test_the_logits_term_and_its_gradient_agree(path: Path) -> None:
    with np.load(path, allow_pickle=False) as case:
        space = LabelSpace(tuple(ClassLabel(int(id_), str(id_)) for id_ in case["in_classes"]))
        logits = torch.from_numpy(case["in_logits"]).requires_grad_()
        columns = space.columns(torch.from_numpy(case["in_stored_ids"]))
        term = logits_term(logits, columns, torch.from_numpy(case["in_stored"]))
        term.backward()
        assert logits.grad is not None
        np.testing.assert_allclose(term.item(), case["out_term"], rtol=1e-12)
        np.testing.assert_allclose(logits.grad.numpy(), case["out_gradient"], rtol=1e-7, atol=1e-10)


def test_with_fixed_classes_it_is_the_mean_squared_error() -> None:
    logits, stored = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    columns = torch.arange(4).expand(3, 4)
    torch.testing.assert_close(logits_term(logits, columns, stored), torch.nn.functional.mse_loss(logits, stored))


def test_the_case_is_what_its_script_writes() -> None:
    expected = runpy.run_path(str(HERE / "make_case.py"))["arrays"]()
    with np.load(HERE / "case_1.npz", allow_pickle=False) as case:
        assert set(case.files) == set(expected)
        for name in case.files:
            np.testing.assert_allclose(case[name], expected[name], rtol=1e-12)
