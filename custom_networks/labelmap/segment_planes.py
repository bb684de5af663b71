"""Planes between Couinaud's segments, fitted to a network's output.

In the masks that the network was trained on, an axial plane separates segments 5 and 6 from 8 and 7, another axial
plane separates segment 3 from 2, and a coronal plane separates the right anterior segments 5 and 8 from the right
posterior segments 6 and 7. These planes lie at similar relative positions in every liver, so the position that fits the
network's output is moved towards the usual position. Vertical planes separate segment 4 from 2 (nearly) and from 5 and
8. Their directions differ little between livers, so only their positions are fitted.
"""

from typing import NamedTuple

import numpy as np

from custom_networks.labelmap.labels import Floats
from custom_networks.labelmap.whole_liver import extent


class Plane(NamedTuple):
    """A plane perpendicular to an axis.

    Attributes:
        low: segments on the low side of the axis (axis 1: posterior, axis 2: inferior).
        high: segments on the high side, in the order of their counterparts in `low`.
        axis: the axis, 0 to 2.
        usual: mean position in the 32 livers of the training set, as a share of the liver's extent
            (`tests/benchmarks/usual_planes.py`).
        weight: weight of the usual position relative to the fitted position, 0 to 1: the multiple of 0.1 with the least
            mean squared distance to the true plane in the cross-validation.
    """

    low: tuple[int, ...]
    high: tuple[int, ...]
    axis: int
    usual: float
    weight: float


class VerticalPlane(NamedTuple):
    """A plane parallel to the patient's z axis.

    Attributes:
        left: segments on the patient's left of the plane.
        right: segments on the patient's right of the plane.
        degrees: direction of the normal, close to the mean over the training set's livers; 0 points to the patient's
            right, 90 to the back.
        beside: further segments on the left, which are used to fit the plane but keep their shares.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    degrees: float
    beside: tuple[int, ...] = ()


PLANES = (
    Plane((7, 6), (8, 5), 1, 0.39, 0.5),
    Plane((5, 6), (8, 7), 2, 0.53, 0.1),
    Plane((3,), (2,), 2, 0.68, 0.4),
)
VERTICAL_PLANES = (VerticalPlane((2,), (4,), 21.0, beside=(3,)), VerticalPlane((4,), (5, 8), 52.0))


def with_planes(shares: np.ndarray, liver: np.ndarray, planes: tuple[Plane, ...] = PLANES) -> np.ndarray:
    """Separate segments by planes: first by the `VERTICAL_PLANES`, then by `planes`.

    The sum of the segments that a plane separates is kept. Each plane is placed where it agrees best with the shares,
    with cells weighted by the liver in them; those in `planes` are then moved towards their usual positions. The two
    cells next to a plane belong partly to both sides, so that linear interpolation finds the plane between them.

    Args:
        shares: (8, h, w, d) share of each segment in a cell, 0 to 1, oriented RAS.
        liver: (h, w, d) share of the liver in a cell, 0 to 1.
        planes: the planes perpendicular to an axis.

    Returns:
        The new shares (8, h, w, d), float32; without liver, a copy of the old ones.
    """
    parted = np.array(shares, np.float32)
    if not liver.any():
        return parted
    for vertical in VERTICAL_PLANES:
        _part_left_from_right(parted, liver, vertical)
    for plane in planes:
        cut, (first, last) = fitted_cut(parted, liver, plane), extent(liver, plane.axis)
        cut += plane.weight * (first + plane.usual * (last - first) - cut)
        ramp = _ramp(np.arange(liver.shape[plane.axis], dtype=np.float64) - cut)
        ramp = ramp.reshape([-1 if axis == plane.axis else 1 for axis in range(3)])
        for low, high in zip(plane.low, plane.high, strict=True):
            both = parted[low - 1] + parted[high - 1]
            parted[low - 1], parted[high - 1] = both * ramp, both * (1 - ramp)
    return parted


def fitted_cut(shares: np.ndarray, liver: np.ndarray, plane: Plane) -> float:
    """Return the position along its axis, in cells, where a plane agrees best with the shares.

    The arrays are those of `with_planes`.
    """
    lows, highs = (shares[[number - 1 for number in side]].sum(0) for side in (plane.low, plane.high))
    return _cut((liver * (lows - highs)).sum(tuple(axis for axis in range(3) if axis != plane.axis)))


def _part_left_from_right(shares: np.ndarray, liver: np.ndarray, plane: VerticalPlane) -> None:
    """Separate segments by a vertical plane, in place; segments on the same side keep their relative proportions."""
    left, right, beside = ([number - 1 for number in side] for side in (plane.left, plane.right, plane.beside))
    low, high = shares[left].sum(0), shares[right].sum(0)
    evidence = (liver * (low + shares[beside].sum(0) - high)).sum(2)
    ramp = _ramp(_vertical_plane(evidence, np.radians(plane.degrees)))[..., None]
    for side, before, after in ((left, low, ramp), (right, high, 1 - ramp)):
        proportions = np.where(before > 0, shares[side] / np.maximum(before, 1e-6), 1 / len(side))
        shares[side] = proportions * (low + high) * after


def _vertical_plane(evidence: Floats, angle: float) -> Floats:
    """Return the signed distance (h, w), in cells, to the vertical plane with the most evidence on its negative side.

    Args:
        evidence: (h, w), positive where the segments on the left prevail.
        angle: direction of the plane's normal in radians, measured as `degrees` of `VerticalPlane`.
    """
    right, front = np.indices(evidence.shape, float)
    along = right * np.cos(angle) - front * np.sin(angle)
    order = np.argsort(along, axis=None, kind="stable")
    sorted_along = along.ravel()[order]
    places = np.concatenate([[along.min() - 1], (sorted_along[1:] + sorted_along[:-1]) / 2, [along.max() + 1]])
    return np.asarray(along - places[np.argmax(np.concatenate([[0.0], np.cumsum(evidence.ravel()[order])]))])


def _ramp(distance: Floats) -> Floats:
    """Return the share, 1 to 0, of a plane's low side at a signed distance from the plane in cells."""
    return np.clip(0.5 - distance / 2, 0, 1)


def _cut(evidence: Floats) -> float:
    """Return the position, in cells, where evidence (n,) along an axis changes from positive to negative.

    It is interpolated between two cells. If the best cut is at an end of the axis, it is one cell beyond the end.
    """
    below = np.concatenate([[0.0], np.cumsum(evidence)])
    cut = int(np.argmax(2 * below - below[-1]))
    if cut in (0, len(evidence)):  # all evidence is on one side: one step beyond the end
        return float(cut - (cut == 0))
    if evidence[cut - 1] > 0 >= evidence[cut]:
        return cut - 1 + float(evidence[cut - 1] / (evidence[cut - 1] - evidence[cut]))
    return cut - 0.5
