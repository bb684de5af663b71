"""Lesions: exact volumes, positions inside the liver, and HU that differ from it."""

import numpy as np
import pytest

from custom_networks.phantom.canvas import Grid
from custom_networks.phantom.lesions import CYST, KINDS, Sites, draw_lesions, draw_shape, find_sites, place


@pytest.mark.parametrize("kind", [*KINDS, CYST])
def test_a_shape_of_any_kind_has_the_volume_of_the_unit_ball(kind: str) -> None:
    rng = np.random.default_rng(5)
    axis = np.linspace(-2.4, 2.4, 80)  # another lattice than the one that set the level
    inside = draw_shape(rng, kind).field([axis] * 3) < 0
    volume = inside.sum() * (axis[1] - axis[0]) ** 3
    assert volume == pytest.approx(4 / 3 * np.pi, rel=0.05)
    assert inside[39:41, 39:41, 39:41].all(), "the centre lies inside"


def ball_site(radius: float) -> Sites:
    """Possible centres of lesions in a ball-shaped liver around the origin."""
    axis = np.arange(-radius, radius + 1, 2.0)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    depth = radius - np.linalg.norm(points, axis=1)
    return Sites(points[depth > 0], depth[depth > 0])


@pytest.mark.parametrize("seed", range(8))
def test_a_lesion_too_large_for_the_liver_is_made_smaller(seed: int) -> None:
    lesion = place(np.random.default_rng(seed), ball_site(12), "metastasis", 60.0, [])
    sticking_out = np.linalg.norm(lesion.centre_mm) + lesion.diameter_mm / 2 - 12
    assert 4 <= lesion.diameter_mm < 40
    assert sticking_out <= 0.36 * lesion.diameter_mm / 2, "at most the third of a radius that the outline may cut off"


@pytest.mark.parametrize("seed", range(4))
def test_eight_lesions_in_a_large_liver_do_not_touch(seed: int) -> None:
    tumors, cysts = draw_lesions(np.random.default_rng(seed), ball_site(70), 8)
    assert len(tumors) == 8 and len(cysts) <= 2
    lesions = tumors + cysts
    for index, one in enumerate(lesions):
        for other in lesions[:index]:
            apart = np.linalg.norm(np.subtract(one.centre_mm, other.centre_mm))
            assert apart >= (one.diameter_mm + other.diameter_mm) / 2


def test_sites_are_voxel_centres_in_world_coordinates_with_their_depth() -> None:
    grid = Grid((9, 9, 9), (3.0, 3.0, 3.0), (12.0, 12.0, -12.0))
    window = (slice(2, 7), slice(2, 7), slice(2, 7))
    sites = find_sites(grid, window, np.ones((5, 5, 5), bool))
    middle = np.flatnonzero((sites.points == 0).all(axis=1))
    assert len(sites.points) == 125
    assert sites.depth[middle] == pytest.approx([9.0])  # three voxels to the first one outside
