"""Fixed features: the refusal of company that would train what a strategy takes for frozen."""

from collections.abc import Collection

from torch import nn

from mmcl.errors import CompositionError
from mmcl.learning.strategy import Learner

_PARTS = ("backbone.", "fusion.")  # of a model, that features come from


def require_fixed_features(learner: Learner, who: str, own: Collection[nn.Parameter] = ()) -> None:
    """Refuse company that trains what the features come from.

    Args:
        learner: whose model is looked at.
        who: the strategy that asks.
        own: what it trains itself.

    Raises:
        CompositionError: naming what is trained.
    """
    mine = {id(parameter) for parameter in own}
    for name, parameter in learner.model.named_parameters():
        if parameter.requires_grad and name.startswith(_PARTS) and id(parameter) not in mine:
            raise CompositionError(
                f"strategy {who!r}",
                found=f"something beside it trains {name!r}, which the features come from",
                allowed="features that stay as they are",
                remedy="Leave out the strategy that trains it.",
            )
