"""What features come from may not be trained by somebody else; what only reads them may."""

import pytest
from mmcl_strategies.shared.fixed_features import require_fixed_features

from mmcl.errors import CompositionError
from mmcl.models.heads import LinearHead
from mmcl.streams.scenario import CIL
from mmcl.testing.toy import toy_benchmark, toy_learner


def test_a_trained_part_of_the_backbone_is_named_unless_it_is_ones_own() -> None:
    learner = toy_learner(toy_benchmark(CIL, 1))
    with pytest.raises(
        CompositionError, match=r"strategy 'it'.*trains 'backbone\.clip\..*', which the features come from"
    ):
        require_fixed_features(learner, "it")
    require_fixed_features(learner, "it", own=list(learner.model.backbone.parameters()))
    learner.model.backbone.requires_grad_(False)
    require_fixed_features(learner, "it")


def test_a_head_may_be_trained() -> None:
    stream = toy_benchmark(CIL, 1)
    learner = toy_learner(stream)
    learner.model.backbone.requires_grad_(False)
    learner.model.head = LinearHead(learner.model.backbone.width)
    learner.meet(stream.train[0])
    assert any(parameter.requires_grad for parameter in learner.model.head.parameters())
    require_fixed_features(learner, "it")
