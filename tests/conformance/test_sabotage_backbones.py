"""A backbone that breaks one promise fails the check of that promise, for that reason."""

import pytest

from mmcl.registry import BACKBONES
from mmcl.testing import BACKBONE_CHECKS, check_backbone
from mmcl.testing.promises.option_checks import OPTION_CHECKS

from .good_backbone import GoodBackbone, Together, plugin
from .sabotage import Sabotage, broken, require
from .wrong_backbones import READS_BOTH, WRONG_BACKBONES, of


@pytest.mark.parametrize("sabotage", WRONG_BACKBONES, ids=str)
def test_a_broken_promise_is_found(sabotage: Sabotage) -> None:
    require(sabotage, BACKBONES, BACKBONE_CHECKS)


def test_every_check_of_backbones_has_been_seen_to_fail() -> None:
    """Those of options are the same objects as for strategies, where they have been seen to fail."""
    own = {check.name for check in BACKBONE_CHECKS} - {check.name for check in OPTION_CHECKS}
    assert {sabotage.check for sabotage in WRONG_BACKBONES} == own


def test_the_backbone_that_is_sabotaged_is_a_good_one() -> None:
    assert broken(GoodBackbone, BACKBONES, BACKBONE_CHECKS) == {}
    check_backbone(GoodBackbone())


def test_a_tower_that_reads_image_and_text_together_keeps_every_promise() -> None:
    assert broken(plugin(of(Together), name="Joint", reads=READS_BOTH), BACKBONES, BACKBONE_CHECKS) == {}
