"""A strategy whose card is not complete.

Paper: none.
Idea: nothing is said about what differs from the paper.
Equation: ``L = L_task``.
Kept between experiences: nothing.
"""

from dataclasses import dataclass

from mmcl.learning.strategy import StrategyPlugin


@dataclass(kw_only=True, eq=False)
class NothingAboutDeviations(StrategyPlugin):
    """Fine-tuning."""
