"""Router: finds the way of each row through an adapted model where nobody says which experience it belongs to."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from mmcl.data.route import Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.backbone import Encoded

Plain = Callable[[Inputs], Encoded]


class Router(nn.Module, ABC):
    """Finds ways by what a row looks like to the pre-trained model; it is a part of the model and saved with it.

    Attributes:
        granularity: what is given a way of its own: each row, a batch as a whole, or the stream, one way for all.
    """

    granularity: Literal["sample", "batch", "stream"]

    @abstractmethod
    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The way of each row, without gradient.

        Args:
            inputs: the batch, without task ids.
            plain: what the pre-trained model, without anything that was added, makes of a batch; asked twice about the
                same one it answers without another pass.
        """

    def told(self, ids: Tensor, inputs: Inputs, plain: Plain) -> Route:
        """The way of each row, without gradient, where its experience is known.

        Taken in full, unless the router has more to say: what is added to a model may read the query of a way.

        Args:
            ids: ``int64[B]``, the experiences; ``PLAIN`` for those that have not been met.
            inputs: the batch.
            plain: what the pre-trained model makes of a batch.
        """
        return Route.given(ids)

    def meet(self, arrival: Arrival) -> None:
        """Make room for an experience; called once for each, before there is an optimiser for it."""
