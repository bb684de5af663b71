"""The missing share of a ball that the image cuts off, and unusual shapes."""

import numpy as np
import pytest

from custom_networks.labelmap.whole_liver import (
    MEAN,
    WHITENING,
    missing_share,
    shape_features,
    unusualness,
    why_incomplete,
    why_unusual,
)

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])
RADIUS = 70.0  # mm


def ball() -> np.ndarray:
    """A ball of 140 mm in 80 x 80 x 40 voxels of 2 x 2 x 4 mm."""
    x, y, z = np.ogrid[:80, :80, :40]
    away = ((x - 39.5) * 2.0) ** 2 + ((y - 39.5) * 2.0) ** 2 + ((z - 19.5) * 4.0) ** 2
    return np.asarray(away <= RADIUS**2)


def test_nothing_is_missing_if_the_organ_is_inside_the_image_or_absent() -> None:
    assert missing_share(ball(), AFFINE) == 0 and why_incomplete(ball(), AFFINE) is None
    assert missing_share(np.zeros((4, 4, 4), bool), AFFINE) == 0


@pytest.mark.parametrize("axis, end", [(0, 1), (1, -1), (2, 1), (2, -1)])
@pytest.mark.parametrize(("cut_mm", "least", "most"), [(8, 0.0, 0.03), (28, 0.06, 0.2), (70, 0.3, 0.7)])
def test_the_missing_share_of_a_cut_ball_is_about_that_of_its_cap(
    axis: int, end: int, cut_mm: float, least: float, most: float
) -> None:
    organ = np.moveaxis(ball(), axis, 0)[::end]
    start = int(np.flatnonzero(organ.any(axis=(1, 2)))[0])
    kept = organ[start + round(cut_mm / (2, 2, 4)[axis]) :][::end]
    seen = np.moveaxis(kept, 0, axis)
    true = 1 - seen.sum() / ball().sum()
    assert least <= missing_share(seen, AFFINE) <= most and least <= true <= most
    assert bool(why_incomplete(seen, AFFINE)) is (cut_mm > 8)


def test_the_reason_states_the_share() -> None:
    assert "% of the liver seems to lie outside the image" in str(why_incomplete(ball()[..., 15:], AFFINE))


def test_the_features_of_a_box_by_hand() -> None:
    box = np.zeros((40, 30, 20))
    box[10:30, 5:25, 4:12] = 1.0  # 60 x 60 x 48 mm in cells of 3 x 3 x 6 mm
    found = shape_features(box, (3.0, 3.0, 6.0))
    # Of n planes a hundredth at each end is left out; none of it lies up to the plane before them.
    ends = [np.interp([0.01, 0.99], np.linspace(0, 1, n + 1), np.arange(-1, n)) for n in (20, 20, 8)]
    extents = [high - low for low, high in ends]
    assert found[0] == pytest.approx(np.log(172.8))
    assert found[[1, 3, 5]] == pytest.approx(np.log(np.array(extents) * [3, 3, 6]))
    middles = [((n - 1) / 2 - low) / (high - low) for n, (low, high) in zip((20, 20, 8), ends)]
    assert found[[2, 4, 6]] == pytest.approx(middles)
    assert found[7] == pytest.approx(np.log(172800 / np.prod(np.array(extents) * [3, 3, 6])))


def test_unusualness_is_the_distance_of_features_from_the_usual_ones() -> None:
    organ = ball().astype(float)
    away = shape_features(organ, (2.0, 2.0, 4.0)) - MEAN
    covariance = np.linalg.inv(WHITENING.T @ WHITENING)
    assert unusualness(organ, (2.0, 2.0, 4.0)) == pytest.approx(np.sqrt(away @ np.linalg.solve(covariance, away)))
    assert np.allclose(WHITENING, np.tril(WHITENING)) and np.sqrt(np.diag(covariance)) == pytest.approx(
        [0.21, 0.14, 0.02, 0.11, 0.03, 0.13, 0.02, 0.12], abs=0.02
    )


def test_an_unusual_shape_has_a_reason_and_a_usual_one_has_none() -> None:
    organ = ball().astype(float)
    assert why_unusual(organ, (2.0, 2.0, 4.0), most=100.0) is None
    assert "shape is unusual" in str(why_unusual(organ, (2.0, 2.0, 4.0), most=0.1))
