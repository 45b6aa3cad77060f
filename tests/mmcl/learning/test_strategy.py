"""The base class of strategies shows what they may override."""

from mmcl.learning.strategy import StrategyPlugin
from mmcl.learning.timeline import TIMELINE


def test_every_hook_is_there_with_a_sentence_in_the_order_of_time() -> None:
    written = [name for name in vars(StrategyPlugin) if name in TIMELINE]
    assert written == list(TIMELINE)
    assert all(len((getattr(StrategyPlugin, name).__doc__ or "").split()) > 3 for name in TIMELINE)
