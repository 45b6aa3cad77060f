"""Toy streams and models that train in a fraction of a second, with the real classes in miniature. For tests only."""

from mmcl.testing.toy.learner import toy_learner, weights
from mmcl.testing.toy.questions import toy_questions
from mmcl.testing.toy.streams import NAMES, toy_benchmark, toy_pairs, toy_samples

__all__ = ["NAMES", "toy_benchmark", "toy_learner", "toy_pairs", "toy_questions", "toy_samples", "weights"]
