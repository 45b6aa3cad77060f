"""Old and new classes whose names are close are pairs, and samples of the old one keep a margin."""

import pytest
import torch
from mmcl_strategies.parameter_efficient.confusable import hard_pairs, hinge, text_distances

OLD = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
NEW = torch.tensor([[0.8, 0.6], [1.0, 0.0], [-1.0, 0.0]])


def test_distances_are_euclidean_between_every_old_and_every_new_name() -> None:
    expected = [[(2 - 2 * 0.8) ** 0.5, 0.0, 2.0], [(2 - 2 * 0.6) ** 0.5, 2**0.5, 2**0.5]]
    torch.testing.assert_close(text_distances(OLD, NEW), torch.tensor(expected))


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [(0.0, []), (0.5, [[0, 1]]), (0.7, [[0, 0], [0, 1]]), (1.0, [[0, 0], [0, 1], [1, 0]])],
)
def test_pairs_are_those_below_the_threshold_row_by_row(threshold: float, expected: list[list[int]]) -> None:
    assert hard_pairs(text_distances(OLD, NEW), threshold).tolist() == expected


def test_the_hinge_is_the_mean_of_what_is_missing_to_the_margin() -> None:
    features = torch.tensor([[1.0, 0.0], [0.6, 0.8]], requires_grad=True)
    own, other = OLD[[0, 0]], OLD[[1, 1]]
    loss = hinge(features, own, other, margin=0.1)
    assert float(loss.detach()) == pytest.approx((0 + 0.1 - 0.6 + 0.8) / 2)
    loss.backward()  # type: ignore[no-untyped-call]
    assert features.grad is not None
    torch.testing.assert_close(features.grad, torch.tensor([[0.0, 0.0], [-0.5, 0.5]]))
