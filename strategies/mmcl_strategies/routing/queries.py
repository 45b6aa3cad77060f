"""Queries: frozen features of images travel with the way of each row, for additions that are chosen by them."""

from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.routing import Plain, Router


def asking(ids: Int[Tensor, " B"], inputs: Inputs, plain: Plain) -> Route:
    """Ways with the image features of the pre-trained model as queries; rows without an image are plain.

    Args:
        ids: the way of each row.
        inputs: the batch.
        plain: what the pre-trained model makes of it.
    """
    encoded = plain(inputs)
    query = encoded.features[IMAGE].pooled
    ways = torch.where(encoded.present[IMAGE], ids, PLAIN)
    return Route(ways, (ways != PLAIN).to(query.dtype), query)


class Queries(Router):
    """Sends every row the way of the latest experience, with its query: where all experiences share what is added.

    Args:
        granularity: ``batch`` where what a row gets on its way depends on the other rows of its batch.
    """

    latest: Tensor

    def __init__(self, granularity: Literal["stream", "batch"] = "stream") -> None:
        super().__init__()
        self.granularity = granularity
        self.register_buffer("latest", torch.tensor(PLAIN))

    def meet(self, arrival: Arrival) -> None:
        """The way of an experience is taken from now on."""
        self.latest.fill_(arrival.index)

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The same way for all; plain before the first experience."""
        return asking(self.latest.expand(inputs.batch_size), inputs, plain)

    def told(self, ids: Tensor, inputs: Inputs, plain: Plain) -> Route:
        """Queries are asked for where the experience is known, too: they choose among what all share."""
        return asking(ids, inputs, plain)
