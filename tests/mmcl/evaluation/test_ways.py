"""Of every test set a run tells how many samples took the way of their own experience, and how many the plain one."""

import torch
from mmcl_strategies.routing.latest import Latest

from mmcl.data.route import PLAIN, Route
from mmcl.evaluation.ways import OWN_WAY, PLAIN_WAY, WayTally, how_found
from mmcl.testing.toy import toy_benchmark, toy_learner


def test_ways_are_counted_over_batches_against_the_true_experience() -> None:
    tally = WayTally()
    assert tally.shares() == {}
    tally.update(Route.given(torch.tensor([0, 1, PLAIN])), torch.tensor([0, 0, 2]))
    tally.update(Route.given(torch.tensor([2])), torch.tensor([2]))
    assert tally.shares() == {OWN_WAY: 50.0, PLAIN_WAY: 25.0}
    tally.reset()
    tally.update(None, torch.tensor([0]))
    assert tally.shares() == {}


def test_how_ways_are_found_is_said_where_there_are_any() -> None:
    assert how_found(None, task_ids_known=True) is None
    assert how_found(Latest(), task_ids_known=True) == "given"
    assert how_found(Latest(), task_ids_known=False) == "per stream"


def test_a_learner_counts_anew_for_every_test_set() -> None:
    benchmark = toy_benchmark()
    learner = toy_learner(benchmark, {})
    learner.model.router = Latest()
    learner.train(benchmark.train[0])
    shares = []
    for test in benchmark.test:
        learner.evaluate(test, benchmark.metric)
        shares.append(learner.ways.shares())
    assert shares == [{OWN_WAY: 100.0, PLAIN_WAY: 0.0}, *[{OWN_WAY: 0.0, PLAIN_WAY: 100.0}] * 2]
