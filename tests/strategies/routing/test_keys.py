"""Keys are matched by cosine, chosen one by one or by vote, and drawn to who has chosen them."""

import torch
from mmcl_strategies.routing.keys import best, most_frequent, pull, similarities


def test_similarities_are_cosines_and_tiny_vectors_have_a_floor() -> None:
    queries, keys = torch.tensor([[3.0, 4.0], [1e-9, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, -5.0]])
    torch.testing.assert_close(similarities(queries, keys), torch.tensor([[0.6, -0.8], [1e-3, 0.0]]))


def test_the_best_come_first() -> None:
    assert best(torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]]), 2).tolist() == [[1, 2], [0, 1]]


def test_the_vote_takes_the_most_frequent_first_and_the_smaller_of_equals() -> None:
    assert most_frequent(torch.tensor([[3, 1], [1, 2], [2, 1]]), 5).tolist() == [[1, 2]] * 3
    assert most_frequent(torch.tensor([[4, 0], [0, 4]]), 5).tolist() == [[0, 4]] * 2


def test_the_pull_sums_over_the_chosen_keys_and_averages_over_rows() -> None:
    cosines, chosen = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.2, 0.1]]), torch.tensor([[1, 2], [0, 1]])
    torch.testing.assert_close(pull(cosines, chosen), torch.tensor((0.9 + 0.5 + 0.3 + 0.2) / 2))
