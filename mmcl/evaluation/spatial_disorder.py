"""Spatial disorder: how the features of the same pairs of images and texts turn between two checkpoints of a model.

Ni et al., "Continual Vision-Language Representation Learning with Off-Diagonal Information", ICML 2023 (Mod-X). A
modality that turns as a whole keeps its topology; two modalities that turn differently lose their alignment. Rotation
(RAM in the paper) and the angles within a modality (SAM) are the paper's; the means, the bins as numbers, and the
three quantities marked "ours" are not. All in float64; angles in degrees.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float64
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import pdist

from mmcl.errors import DataError

Array = NDArray[np.float64]
Angles = Float64[Array, " n"]  # in degrees, one of each pair


class Pairs(NamedTuple):
    """Features ``[n, D]`` of the same n pairs under one checkpoint; rows need not have unit length."""

    image: ArrayLike
    text: ArrayLike


class Bins(NamedTuple):
    """Edges of the histograms in degrees; the last bin includes its upper edge."""

    rotation: Sequence[float] = (0.0, 15.0, 20.0, 25.0, 30.0, 180.0)
    topology: Sequence[float] = (0.0, 5.0, 10.0, 15.0, 20.0, 180.0)


@dataclass(frozen=True)
class Movement:
    """What has become of the space of one modality.

    Attributes:
        rotation: mean angle between a vector and itself, in degrees.
        rotation_shares: of the pairs, by bin.
        topology_change: mean change of the angle between two vectors, in degrees.
        topology_shares: of the pairs of vectors, by bin.
        residual: relative residual after the best orthogonal map; 0 is a pure rotation.
    """

    rotation: float
    rotation_shares: tuple[float, ...]
    topology_change: float
    topology_shares: tuple[float, ...]
    residual: float

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Movement":
        """The inverse of ``dataclasses.asdict``."""
        lists: dict[str, Any] = {name: tuple(stored[name]) for name in ("rotation_shares", "topology_shares")}
        return cls(**{**stored, **lists})


@dataclass(frozen=True)
class Disorder:
    """What has become of both spaces, and of the pairs across them.

    Attributes:
        image: of the images.
        text: of the texts.
        deviation: mean difference between how far the image and the text of a pair have turned, in degrees.
        pair_angle_change: mean change of the angle between the image and the text of a pair, in degrees.
        forgotten: share of the images that found their own text before and do not now.
        learned: the reverse.
    """

    image: Movement
    text: Movement
    deviation: float
    pair_angle_change: float
    forgotten: float
    learned: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Disorder":
        """The inverse of ``to_dict``."""
        both = {name: Movement.from_dict(stored[name]) for name in ("image", "text")}
        return cls(**{**stored, **both})


def disorder(earlier: Pairs, later: Pairs, texts: ArrayLike | None = None, bins: Bins | None = None) -> Disorder:
    """All quantities between two checkpoints.

    Args:
        earlier: of the first one.
        later: the same pairs under the second one.
        texts: ``int[n]``, which text each pair has, where several share one; by default each has its own.
        bins: of the histograms.

    Raises:
        DataError: if the features do not belong together, or some have no direction.
    """
    image, text = angles(earlier.image, later.image), angles(earlier.text, later.text)
    before, after = finds_own_text(earlier, texts), finds_own_text(later, texts)
    return Disorder(
        image=movement(earlier.image, later.image, bins),
        text=movement(earlier.text, later.text, bins),
        deviation=_mean(deviation(image, text)),
        pair_angle_change=_mean(pair_angle_change(earlier, later)),
        forgotten=_mean(before & ~after),
        learned=_mean(after & ~before),
    )


def movement(earlier: ArrayLike, later: ArrayLike, bins: Bins | None = None) -> Movement:
    """The quantities of one modality, from its features ``[n, D]`` under two checkpoints."""
    edges = bins or Bins()
    rotation, topology = angles(earlier, later), topology_change(earlier, later)
    return Movement(
        rotation=_mean(rotation),
        rotation_shares=tuple(shares(rotation, edges.rotation).tolist()),
        topology_change=_mean(topology),
        topology_shares=tuple(shares(topology, edges.topology).tolist()),
        residual=procrustes_residual(earlier, later),
    )


def angles(first: ArrayLike, second: ArrayLike) -> Angles:
    """Angle between row i of both: of one modality under two checkpoints, its rotation (RAM)."""
    one, other = _together(first, second)
    return _angles_of_chords(np.linalg.norm(other - one, axis=1))


def topology_change(earlier: ArrayLike, later: ArrayLike) -> Float64[Array, " pairs"]:
    """How much the angle between two rows has changed (SAM): pairs i < j, row by row."""
    one, other = _together(earlier, later)
    return np.abs(_angles_of_chords(pdist(other)) - _angles_of_chords(pdist(one)))


def deviation(image_rotation: Angles, text_rotation: Angles) -> Angles:
    """Inter-modal deviation ``|RAM_image - RAM_text|`` of each pair."""
    return np.abs(image_rotation - text_rotation)


def pair_angle_change(earlier: Pairs, later: Pairs) -> Angles:
    """Angle between image and text, later minus earlier (ours): above 0, alignment was lost."""
    return angles(later.image, later.text) - angles(earlier.image, earlier.text)


def finds_own_text(pairs: Pairs, texts: ArrayLike | None = None) -> Bool[NDArray[np.bool_], " n"]:
    """Whether each image is closest to its own text (first of equals); its changes are ours.

    Args:
        pairs: the features.
        texts: as for ``disorder``: any pair that shares the text will do.
    """
    image, text = _together(pairs.image, pairs.text)
    owner = np.arange(len(text)) if texts is None else np.asarray(texts)
    found: NDArray[np.bool_] = owner[(image @ text.T).argmax(axis=1)] == owner
    return found


def procrustes_residual(earlier: ArrayLike, later: ArrayLike) -> float:
    """``min_R |A R - B|_F / |B|_F`` over orthogonal R, of unit rows (ours): 0 for a pure rotation."""
    one, other = _together(earlier, later)
    turned = one @ orthogonal_procrustes(one, other)[0]
    return float(np.linalg.norm(turned - other) / np.linalg.norm(other))


def shares(values: Float64[Array, " N"], edges: Sequence[float] | Array) -> Float64[Array, " bins"]:
    """Share of the values in each bin, 0 if there is no value.

    Raises:
        DataError: if the edges do not rise.
    """
    if len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise DataError(
            "bins of spatial disorder",
            found=f"the edges {list(edges)}",
            allowed="two or more, each above the one before",
            remedy="Sort them and leave repeated ones out.",
        )
    return np.histogram(values, edges)[0] / max(len(values), 1)


def _together(first: ArrayLike, second: ArrayLike) -> tuple[Array, Array]:
    """Both with rows of unit length."""
    one, other = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != other.shape or one.ndim != 2 or not one.size:
        raise DataError(
            "spatial disorder",
            found=f"features of the shapes {one.shape} and {other.shape}",
            allowed="two matrices [n, D] of the same shape, with at least one row",
            remedy="Encode the same pairs with both, by models of one width.",
        )
    lengths = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (one, other)]
    if not all((np.isfinite(length) & (length > 0)).all() for length in lengths):
        raise DataError(
            "spatial disorder",
            found="features that are zero or not finite",
            allowed="vectors with a direction",
            remedy="Lower the learning rate if training has diverged, or do without the probe.",
        )
    return one / lengths[0], other / lengths[1]


def _angles_of_chords(lengths: Array) -> Array:
    """Angles between unit vectors at these distances; the arc cosine would lose half the digits of small angles."""
    degrees: Array = np.degrees(2 * np.arcsin(np.minimum(lengths / 2, 1)))
    return degrees


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if values.size else 0.0
