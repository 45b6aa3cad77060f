"""Queries: frozen features of images travel with the way of each row, for additions that are chosen by them."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.routing import Plain, Router


def asking(ids: Int[Tensor, " B"], inputs: Inputs, plain: Plain, beside: Sequence[str] = ()) -> Route:
    """Ways with the image features of the pre-trained model as queries; rows without an image are plain.

    Args:
        ids: the way of each row.
        inputs: the batch.
        plain: what the pre-trained model makes of it.
        beside: names of towers whose features follow those of the image, one after the other; zeros where a row has
            nothing that they read.
    """
    encoded = plain(inputs)
    image = encoded.features[IMAGE].pooled
    others = [encoded.features[name].pooled if name in encoded.features else torch.zeros_like(image) for name in beside]
    query = torch.cat([image, *others], dim=1) if others else image
    ways = torch.where(encoded.present[IMAGE], ids, PLAIN)
    return Route(ways, (ways != PLAIN).to(query.dtype), query)


class Queries(Router):
    """Sends every row the way of the latest experience, with its query: where all experiences share what is added.

    Args:
        granularity: ``batch`` where what a row gets on its way depends on the other rows of its batch.
        beside: towers, as wide as that of the images, whose features are a part of the query.
    """

    latest: Tensor

    def __init__(self, granularity: Literal["stream", "batch"] = "stream", beside: Sequence[str] = ()) -> None:
        super().__init__()
        self.granularity, self._beside = granularity, tuple(beside)
        self.register_buffer("latest", torch.tensor(PLAIN))

    def meet(self, arrival: Arrival) -> None:
        """The way of an experience is taken from now on."""
        self.latest.fill_(arrival.index)

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The same way for all; plain before the first experience."""
        return asking(self.latest.expand(inputs.batch_size), inputs, plain, self._beside)

    def told(self, ids: Tensor, inputs: Inputs, plain: Plain) -> Route:
        """Queries are asked for where the experience is known, too: they choose among what all share."""
        return asking(ids, inputs, plain, self._beside)
