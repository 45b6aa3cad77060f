"""Fine-tuning: train on each experience in turn and do nothing against forgetting.

Idea: the lower bound. Everything another strategy keeps, it keeps against this.
Kept between experiences: the weights.
"""

from dataclasses import dataclass

from mmcl.learning.strategy import StrategyPlugin


@dataclass(kw_only=True, eq=False)
class Finetune(StrategyPlugin):
    """Names the absence of a strategy, so that tables and run folders can say it."""
