"""Fine-tuning: train on each experience in turn and do nothing against forgetting.

Paper: none.
Idea: the lower bound. Everything another strategy keeps, it keeps against this.
Equation: ``L = L_task``.
Kept between experiences: the weights.
Deviations: none.
"""

from dataclasses import dataclass

from mmcl.learning.strategy import StrategyPlugin


@dataclass(kw_only=True, eq=False)
class Finetune(StrategyPlugin):
    """Names the absence of a strategy, so that tables and run folders can say it."""
