"""Nearest centroid: a sample takes the way of the experience that has the nearest centre of frozen features.

Source: Wang, Huang and Hong, "S-Prompts Learning with Pre-trained Transformers", NeurIPS 2022, section 3.3; code
iamwangyabin/S-Prompts. The paper says nearest neighbour; its code computes the L1 distance.
"""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.routing import Plain, Router
from mmcl_strategies.routing.votes import Granularity, majority

Metric = Literal["l1", "euclidean"]
NORMS: dict[Metric, float] = {"l1": 1.0, "euclidean": 2.0}

Start = Any  # K-means begins as scikit-learn's init says: a name, centres [K, D], or a function that makes them


def centroids(
    features: Float[Tensor, "n D"], clusters: int, *, seed: int, restarts: int = 10, start: Start = "k-means++"
) -> Float[Tensor, "K D"]:
    """Centres of features at unit length, by Lloyd's iterations in float64 until no sample changes sides.

    K is ``clusters``, or the number of distinct features where there are fewer. Centres are not normalised again.

    Args:
        features: of any length.
        clusters: K.
        seed: of the random choices.
        restarts: how often K-means runs; the run with the smallest sum of squares counts.
        start: where it begins.
    """
    from sklearn.cluster import KMeans

    unit = functional.normalize(features.double(), dim=-1)
    distinct = len(unit.unique(dim=0))
    means = KMeans(min(clusters, distinct), init=start, n_init=restarts, tol=0.0, random_state=seed)
    return torch.from_numpy(means.fit(unit.cpu().numpy()).cluster_centers_).to(features)


def distances(queries: Float[Tensor, "B D"], centres: Float[Tensor, "S K D"], metric: Metric) -> Float[Tensor, "B S"]:
    """How far each query is from the nearest centre of each experience; infinite where it has none.

    Args:
        queries: at unit length.
        centres: of each experience; NaN in places that hold none.
        metric: L1, as the authors' code has it, or Euclidean.
    """
    flat = centres.flatten(0, 1)
    found = torch.cdist(queries, flat, NORMS[metric], compute_mode="donot_use_mm_for_euclid_dist")
    return found.nan_to_num(nan=torch.inf, posinf=torch.inf).view(len(queries), *centres.shape[:2]).amin(2)


class NearestCentroid(Router):
    """Sends a sample to the experience of the nearest centre; to none while there are no centres, or no modality.

    A batch as a whole goes where most of its rows would go.

    Args:
        width: D, of the features of the tower.
        clusters: K, centres of each experience.
        metric: of the distance.
        granularity: whether each row is decided alone or a batch as a whole.
        tower: whose plain features are compared.
        dtype: of the centres.

    Attributes:
        centres: ``[S, K, D]`` of the experiences met.
        found: ``bool[S, K]``, which of them have been found; only these compete.
        experiences: ``int64[S]``, their ids.
        start: where K-means begins.
    """

    centres: Tensor
    found: Tensor
    experiences: Tensor

    def __init__(
        self,
        width: int,
        *,
        clusters: int = 5,
        metric: Metric = "l1",
        granularity: Granularity = "sample",
        tower: str = IMAGE,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.metric, self.granularity, self.tower = metric, granularity, tower
        self.start: Start = "k-means++"
        self.register_buffer("centres", torch.empty(0, clusters, width, dtype=dtype))
        self.register_buffer("found", torch.empty(0, clusters, dtype=torch.bool))
        self.register_buffer("experiences", torch.empty(0, dtype=torch.long))

    def meet(self, arrival: Arrival) -> None:
        """A place for the centres of an experience."""
        self.centres = torch.cat([self.centres, self.centres.new_zeros(1, *self.centres.shape[1:])])
        self.found = torch.cat([self.found, self.found.new_zeros(1, self.found.shape[1])])
        self.experiences = torch.cat([self.experiences, self.experiences.new_tensor([arrival.index])])

    def learn(self, experience: int, features: Float[Tensor, "n D"], *, seed: int, restarts: int = 10) -> None:
        """Find the centres of an experience that has been met; without samples it stays nobody's way.

        Args:
            experience: its id.
            features: plain ones of its samples.
            seed: of K-means.
            restarts: of K-means.
        """
        if not len(features):
            return
        (place,) = (self.experiences == experience).nonzero().flatten().tolist()
        found = centroids(features, self.centres.shape[1], seed=seed, restarts=restarts, start=self.start)
        self.centres[place, : len(found)] = found.to(self.centres)
        self.found[place] = torch.arange(self.found.shape[1], device=self.found.device) < len(found)

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The way of each row, at full strength, with the features it was found by."""
        encoded = plain(inputs)
        if self.tower not in encoded.features:
            return Route.plain(inputs.batch_size, self.centres.device)
        features, present = encoded.features[self.tower].pooled, encoded.present[self.tower]
        query = functional.normalize(features.to(self.centres.dtype), dim=-1)
        if not len(self.experiences):
            return Route.plain(len(query), query.device)._replace(query=query)
        competing = self.centres.masked_fill(~self.found.unsqueeze(2), torch.nan)
        nearest, which = distances(query, competing, self.metric).min(1)
        ids = torch.where(nearest.isfinite() & present, self.experiences[which], PLAIN)
        if self.granularity == "batch" and bool(present.any()):
            ids = torch.where(present, majority(ids[present]), PLAIN)
        return Route(ids, (ids != PLAIN).to(query.dtype), query)
