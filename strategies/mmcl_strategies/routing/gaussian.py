"""Gaussian likelihood: a sample takes the way of the experience it is likeliest to be of, as strongly as it is likely.

Source: the distribution-aware calibration of Tang et al., "Mind the Interference", ECCV 2024 (DIKI), and released code.
"""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torch.nn import functional

from mmcl.data.modality import IMAGE
from mmcl.data.route import PLAIN, Route
from mmcl.data.sample import Inputs
from mmcl.models.arrival import Arrival
from mmcl.models.routing import Plain, Router
from mmcl_strategies.maths.gaussian import statistics
from mmcl_strategies.routing.votes import Granularity, majority


def unit(features: Float[Tensor, "*rows D"]) -> Float64[Tensor, "*rows D"]:
    """Rows of length 1, in double precision: a covariance of few samples is singular but for its jitter."""
    return functional.normalize(features.double(), dim=-1)


def log_densities(
    queries: Float[Tensor, "B D"], means: Float[Tensor, "S D"], factors: Float[Tensor, "S D D"]
) -> Float[Tensor, "B S"]:
    """``log N(f; mu_t, L_t L_t^T)`` of each query under each distribution.

    Args:
        queries: f.
        means: mu.
        factors: L, lower triangles.
    """
    away = (queries - means.unsqueeze(1)).mT  # [S, D, B]
    squares = torch.linalg.solve_triangular(factors, away, upper=False).square().sum(1)
    log_determinants = 2 * factors.diagonal(dim1=1, dim2=2).log().sum(1, keepdim=True)
    found: Tensor = -0.5 * (squares + log_determinants + means.shape[1] * math.log(2 * math.pi)).T
    return found


def strength_of(log_density: Float[Tensor, "*rows"], divisor: float) -> Float[Tensor, "*rows"]:
    """``sigmoid(log N / divisor - 1)``: how much of the additions a sample takes that is this likely."""
    return (log_density / divisor - 1).sigmoid()


class GaussianLikelihood(Router):
    """Sends a sample to the experience whose plain features it is likeliest to be drawn from.

    Rows without the modality take the plain way, and all do before anything has been learned. A batch as a whole goes
    where most of its rows would go, each with its own strength; class prompts have the mean of these.

    Args:
        width: D, of the features of the tower.
        granularity: whether each row is decided alone or a batch as a whole.
        divisor: of a log-density; by default D.
        jitter: least variance of an experience in any direction.
        tower: whose plain features are looked at.

    Attributes:
        means: ``float64[S, D]`` of the experiences met.
        factors: ``float64[S, D, D]``, lower triangles L with the covariance ``L L^T``.
        experiences: ``int64[S]``, their ids.
        learned: ``bool[S]``, which of them have been found; only these compete.
    """

    means: Tensor
    factors: Tensor
    experiences: Tensor
    learned: Tensor

    def __init__(
        self,
        width: int,
        *,
        granularity: Granularity = "sample",
        divisor: float | None = None,
        jitter: float = 1e-7,
        tower: str = IMAGE,
    ) -> None:
        super().__init__()
        self.granularity, self.jitter, self.tower = granularity, jitter, tower
        self.divisor = width if divisor is None else divisor
        self.register_buffer("means", torch.empty(0, width, dtype=torch.float64))
        self.register_buffer("factors", torch.empty(0, width, width, dtype=torch.float64))
        self.register_buffer("experiences", torch.empty(0, dtype=torch.long))
        self.register_buffer("learned", torch.empty(0, dtype=torch.bool))

    def meet(self, arrival: Arrival) -> None:
        """A place for the statistics of an experience."""
        width = self.means.shape[1]
        self.means = torch.cat([self.means, self.means.new_zeros(1, width)])
        self.factors = torch.cat([self.factors, torch.eye(width).to(self.factors).unsqueeze(0)])
        self.experiences = torch.cat([self.experiences, self.experiences.new_tensor([arrival.index])])
        self.learned = torch.cat([self.learned, self.learned.new_zeros(1)])

    @torch.no_grad()
    def learn(self, experience: int, features: Tensor) -> None:
        """Find mean and covariance of an experience that has been met; without samples it stays nobody's way.

        Args:
            experience: its id.
            features: ``[n, D]``, plain ones of its samples, of any length.
        """
        if not len(features):
            return
        (place,) = (self.experiences == experience).nonzero().flatten().tolist()
        mean, covariance = statistics(unit(features), self.jitter)
        self.means[place], self.factors[place] = mean, torch.linalg.cholesky(covariance)
        self.learned[place] = True

    def forward(self, inputs: Inputs, plain: Plain) -> Route:
        """The way and the strength of each row, with the features it was found by."""
        encoded = plain(inputs)
        if self.tower not in encoded.features:
            return Route.plain(inputs.batch_size, self.means.device)
        query, present = unit(encoded.features[self.tower].pooled), encoded.present[self.tower]
        if not bool(self.learned.any()):
            return Route.plain(len(query), query.device)._replace(query=query)
        densities = log_densities(query, self.means[self.learned], self.factors[self.learned])
        best, which = densities.max(1)
        ids = torch.where(present, self.experiences[self.learned][which], PLAIN)
        strength = torch.where(present, strength_of(best, self.divisor), 0.0)
        if self.granularity == "sample" or not bool(present.any()):
            return Route(ids, strength, query)
        ids = torch.where(present, majority(ids[present]), PLAIN)
        return Route(ids, strength, query, torch.where(present, strength[present].mean(), 0.0))
