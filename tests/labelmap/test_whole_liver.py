"""How much of a ball the image cuts off is told from what is seen of it."""

import numpy as np
import pytest

from custom_networks.labelmap.whole_liver import missing_share, why_incomplete

AFFINE = np.diag([2.0, 2.0, 4.0, 1.0])
RADIUS = 70.0  # mm


def ball() -> np.ndarray:
    """A ball of 140 mm in 80 x 80 x 40 voxels of 2 x 2 x 4 mm."""
    x, y, z = np.ogrid[:80, :80, :40]
    away = ((x - 39.5) * 2.0) ** 2 + ((y - 39.5) * 2.0) ** 2 + ((z - 19.5) * 4.0) ** 2
    return np.asarray(away <= RADIUS**2)


def test_nothing_is_missing_within_the_image_and_without_an_organ() -> None:
    assert missing_share(ball(), AFFINE) == 0 and why_incomplete(ball(), AFFINE) is None
    assert missing_share(np.zeros((4, 4, 4), bool), AFFINE) == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [1, -1])
@pytest.mark.parametrize(("cut_mm", "least", "most"), [(8, 0.0, 0.03), (28, 0.06, 0.17), (70, 0.3, 0.7)])
def test_a_cut_ball_misses_about_its_cap(axis: int, end: int, cut_mm: float, least: float, most: float) -> None:
    organ = np.moveaxis(ball(), axis, 0)[::end]
    start = int(np.flatnonzero(organ.any(axis=(1, 2)))[0])
    kept = organ[start + round(cut_mm / (2, 2, 4)[axis]) :][::end]
    seen = np.moveaxis(kept, 0, axis)
    true = 1 - seen.sum() / ball().sum()
    assert least <= missing_share(seen, AFFINE) <= most and least <= true <= most
    assert bool(why_incomplete(seen, AFFINE)) is (cut_mm > 8)


def test_the_reason_names_the_share() -> None:
    assert "% of the liver seems to lie outside of the image" in str(why_incomplete(ball()[..., 15:], AFFINE))
