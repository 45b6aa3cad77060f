"""metric_matrix and metric_mtil, through ``mmcl.evaluation.summaries`` and ``ResultMatrix``."""

import numpy as np
import torch

from mmcl.evaluation import summaries
from mmcl.evaluation.result_matrix import ResultMatrix

from ..case import Case, Parity, Tolerance


def check_matrix(case: Case) -> None:
    given = [case.arrays[name] for name in ("R", "R0", "b", "ref", "n_test")]
    for name, score in summaries.matrix_scores(*given).items():
        case.expect(f"out_{name}", score)
    case.require_all(case.names("out_"))

    R, zero_shot, chance, _, sizes = given
    matrix = ResultMatrix([f"task {j}" for j in range(R.shape[1])])
    matrix.set_zero_shot(zero_shot)
    for i, row in enumerate(R):
        matrix.set_row(i, row)
    stored = ResultMatrix.from_dict(matrix.to_dict())
    np.testing.assert_array_equal(stored.R, R)
    for name, score in stored.summary(sizes, chance).items():
        case.expect(f"out_{name}", score)


def check_mtil(case: Case) -> None:
    scores = summaries.mtil_scores(case.arrays["in_R"], case.arrays["in_order"])
    case.expect("out_transfer", scores.transfer)
    case.expect("out_avg", scores.average)
    case.expect("out_last", scores.last)
    case.expect("out_transfer_mean", scores.transfer_mean)
    case.expect("out_avg_mean", scores.average_mean)
    case.expect("out_last_mean", scores.last_mean)
    case.require_all(case.names("out_"))


PARITY = {
    "metric_matrix": Parity(check_matrix, {torch.float64: Tolerance(1e-9, 1e-9)}),
    "metric_mtil": Parity(check_mtil, {torch.float64: Tolerance(1e-9, 1e-7)}),
}
