"""Measurements of balls and ellipsoids of known size, and of voxels counted by hand.

Tolerances on the grids below (docs/outputs.md has the errors): volume 5 %; diameters one pixel or 1 mm, whichever is
more; centroid 0.4 mm; extent one voxel; distance to the liver's surface up to 3/4 of a slice distance too small.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from shapes import LIVER_RADIUS, ORIENTATIONS, Ellipsoid, grid, measured, measured_labels, scene, truth

from custom_networks.errors import InputError
from custom_networks.report.measurements import Measurements, measure
from custom_networks.report.organ_region import organ_region

Array = npt.NDArray[Any]
BALL = Ellipsoid((8, 5, -3), (10, 10, 10))
TURNED = Ellipsoid((-10, 4, 6), (20, 12, 10), about_z=35, about_x=20)
SPACINGS = [(0.9, 0.9, 1.5), (0.8, 0.8, 5.0), (1.5, 1.0, 3.0)]
DIAGONAL = np.diag([2.0, 1.0, 5.0, 1.0])


def of_labels(labels: Array, hu: Array | None = None, affine: Array = DIAGONAL, **options: Any) -> Measurements:
    """Measurements of a label map with a probability of 0.8 everywhere."""
    probabilities = np.full((2, *labels.shape), 204, np.uint8)
    return measured_labels(labels, probabilities, affine, np.zeros(labels.shape) if hu is None else hu, **options)


def liver_block(*lesions: tuple[slice, slice, slice]) -> Array:
    """A liver of 20 x 20 x 8 voxels in an image of 30 x 30 x 12, with blocks of tumor."""
    labels = np.zeros((30, 30, 12), np.uint8)
    labels[5:25, 5:25, 2:10] = 1
    for lesion in lesions:
        labels[lesion] = 2
    return labels


@pytest.mark.parametrize(
    "shape, oblique, spacing, orientation",
    [
        *((shape, 12.0, spacing, "RAS") for shape in (BALL, TURNED) for spacing in SPACINGS),
        *((TURNED, 12.0, SPACINGS[0], orientation) for orientation in ORIENTATIONS if orientation != "RAS"),
        (BALL, 0.0, SPACINGS[1], "LPS, feet first"),
    ],
)
def test_a_known_shape_is_measured_within_the_stated_tolerance(
    shape: Ellipsoid, oblique: float, spacing: tuple[float, float, float], orientation: str
) -> None:
    affine, size = grid(spacing, orientation, oblique)
    axis = ORIENTATIONS[orientation][0].index(2)
    (lesion,), true = measured([shape], affine, size).lesions, truth(shape, affine, axis)
    pixel = max(1.0, spacing[0], spacing[1])
    assert lesion.volume_mm3 == pytest.approx(true.volume_mm3, rel=0.05)
    assert lesion.longest_mm == pytest.approx(true.longest_mm, abs=pixel)
    assert lesion.perpendicular_mm == pytest.approx(true.perpendicular_mm, abs=pixel)
    assert lesion.centroid == pytest.approx(true.centroid_lps, abs=0.4)
    assert (np.abs(np.array(lesion.extent_mm) - true.extent_mm) <= np.array(spacing) + 0.5).all()
    assert lesion.mean_hu == 60 and lesion.sd_hu == 0 and lesion.contrast_hu == -50
    if shape is BALL:
        assert lesion.surface_distance_mm is not None
        depth = LIVER_RADIUS - float(np.linalg.norm(shape.middle)) - 10
        assert -0.75 * spacing[2] <= lesion.surface_distance_mm - depth <= 0.1
    ends = [*lesion.longest_ends, *lesion.perpendicular_ends]
    assert np.linalg.norm(np.subtract(*ends[:2])) == pytest.approx(lesion.longest_mm)
    assert np.linalg.norm(np.subtract(*ends[2:])) == pytest.approx(lesion.perpendicular_mm)
    assert np.subtract(*ends[:2]) @ np.subtract(*ends[2:]) == pytest.approx(0, abs=1e-6)
    # The widest slice is the one through the middle, or its neighbour: distances along the slices' normal.
    normal = np.linalg.svd(np.delete(affine[:3, :3], axis, axis=1))[0][:, 2] * [-1, -1, 1]
    assert all(abs((np.array(end) - true.centroid_lps) @ normal) < spacing[2] for end in ends)


def test_the_order_of_voxels_changes_no_measurement() -> None:
    spacing = (0.9, 1.1, 2.0)
    affine, shape = grid(spacing, "RAS")
    labels, hu = scene([BALL, TURNED], affine, shape)
    one = of_labels(labels, hu, affine)
    flipped = affine @ np.array([[0, 0, -1.0, shape[0] - 1], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    other = of_labels(labels.transpose(2, 1, 0)[:, :, ::-1], hu.transpose(2, 1, 0)[:, :, ::-1], flipped)
    assert (one.liver_ml, one.tumor_ml) == pytest.approx((other.liver_ml, other.tumor_ml))
    for a, b in zip(one.lesions, other.lesions, strict=True):
        for name in ("volume_mm3", "longest_mm", "perpendicular_mm", "centroid", "extent_mm", "surface_distance_mm"):
            assert getattr(a, name) == pytest.approx(getattr(b, name)), name
        for name in ("id", "mean_hu", "slice_number", "slice_index", "confidence", "contrast_hu"):
            assert getattr(a, name) == pytest.approx(getattr(b, name)), name


def test_blocks_of_voxels_have_the_measurements_worked_by_hand() -> None:
    large, small = (slice(7, 11), slice(7, 13), slice(3, 6)), (slice(18, 20), slice(18, 20), slice(8, 9))
    labels = liver_block(large, small)
    hu = np.array([-50, 100, 40])[labels]
    hu[18:20, 18, 8] = 20  # half of the small one
    found = of_labels(labels, hu)
    assert found.liver_ml == pytest.approx(20 * 20 * 8 * 10 / 1000)
    assert found.tumor_ml == pytest.approx((4 * 6 * 3 + 4) * 10 / 1000)
    assert found.liver_without_tumor_ml == pytest.approx(32 - 0.76)
    assert found.burden_percent == pytest.approx(0.76 / 32 * 100)
    first, second = found.lesions
    assert (first.id, second.id) == (1, 2)
    assert (first.volume_mm3, second.volume_mm3) == pytest.approx((720, 40))
    assert first.extent_mm == pytest.approx((8, 6, 15))
    assert first.centroid == pytest.approx((-17, -9.5, 20))
    assert (second.slice_index, second.slice_number, second.slice_position_mm) == (8, 9, 40)
    assert (second.mean_hu, second.sd_hu) == pytest.approx((30, 10))
    assert (first.contrast_hu, second.contrast_hu) == pytest.approx((-60, -70))
    # Columns 5 and 6 of liver lie before the large lesion, 2 mm; slice 9 lies beyond the small one, 5 mm.
    assert (first.surface_distance_mm, second.surface_distance_mm) == pytest.approx((2, 5))
    assert first.confidence == first.mean_probability == pytest.approx(0.8)
    assert not found.calibrated and not found.touches_border and not first.touches_border
    expected = np.zeros(labels.shape, int)
    expected[large], expected[small] = 1, 2
    np.testing.assert_array_equal(found.lesion_map(), expected)


def test_slices_are_numbered_from_the_feet() -> None:
    lesion = (slice(18, 20), slice(18, 20), slice(8, 9))
    upside_down = DIAGONAL @ np.diag([1, 1, -1, 1])
    (found,) = of_labels(liver_block(lesion), affine=upside_down).lesions
    assert (found.slice_index, found.slice_number, found.slice_position_mm) == (8, 12 - 8, -40)


def test_parts_that_do_not_touch_within_a_slice_are_not_measured_across_the_gap() -> None:
    legs = [(slice(8, 10), slice(y, y + 3), slice(4, 6)) for y in (7, 18)]
    bridge = (slice(8, 10), slice(7, 21), slice(6, 7))
    (one,) = of_labels(liver_block(*legs, bridge)).lesions
    assert one.slice_index == 6 and one.longest_mm > 13
    (apart,) = of_labels(liver_block(*legs, (slice(8, 9), slice(9, 19), slice(6, 7)))).lesions
    assert apart.slice_index == 6 and apart.longest_mm < 10.5


def test_lesions_cut_by_the_image_are_flagged_and_its_border_is_no_surface() -> None:
    labels = np.ones((20, 20, 8), np.uint8)
    labels[0:3, 5:8, 2:4] = 2
    found = of_labels(labels)
    assert found.touches_border and found.lesions[0].touches_border
    assert found.lesions[0].surface_distance_mm is None
    labels[15:] = 0
    assert of_labels(labels).lesions[0].surface_distance_mm == pytest.approx((15 - 3) * 2)


def test_surface_distance_is_0_at_the_surface_and_contrast_needs_liver_around() -> None:
    at_surface = liver_block((slice(5, 8), slice(10, 13), slice(4, 6)))
    assert of_labels(at_surface).lesions[0].surface_distance_mm == 0
    alone = np.where(at_surface == 2, 2, 0).astype(np.uint8)
    assert of_labels(alone).lesions[0].contrast_hu is None


def test_contrast_ignores_other_lesions_and_blurred_edges() -> None:
    labels = liver_block((slice(10, 14), slice(8, 12), slice(4, 7)), (slice(10, 14), slice(17, 20), slice(4, 7)))
    hu = np.array([-50, 100, 40])[labels]
    blurred = np.zeros(labels.shape, bool)
    for columns in (slice(8, 12), slice(17, 20)):
        blurred[9:15, columns, 4:7] = True  # one row of 2 mm
        blurred[10:14, columns.start - 2 : columns.stop + 2, 4:7] = True  # two columns of 1 mm
    hu[blurred & (labels == 1)] = 0
    assert [lesion.contrast_hu for lesion in of_labels(labels, hu).lesions] == pytest.approx([-60, -60])
    hu[15, 8:12, 4:7] = 0  # 4 mm away
    assert (of_labels(labels, hu).lesions[0].contrast_hu or 0) > -60


def test_a_case_without_lesion_or_liver_is_measured() -> None:
    healthy = of_labels(liver_block())
    assert (healthy.lesions, healthy.tumor_ml, healthy.burden_percent) == ((), 0, 0)
    assert not healthy.lesion_map().any() and healthy.lesion_map().shape == (30, 30, 12)
    empty = of_labels(np.zeros((10, 10, 6), np.uint8))
    assert (empty.lesions, empty.liver_ml, empty.burden_percent) == ((), 0, None)
    assert not empty.touches_border and empty.lesion_map().shape == (10, 10, 6)


def test_the_confidence_is_calibrated_if_there_are_coefficients() -> None:
    labels = liver_block((slice(8, 10), slice(8, 10), slice(4, 5)))
    found = of_labels(labels, coefficients={"intercept": -1.0, "mean_probability": 2.5})
    assert found.calibrated
    assert found.lesions[0].confidence == pytest.approx(1 / (1 + np.exp(1 - 2.5 * 0.8)))
    assert found.lesions[0].mean_probability == pytest.approx(0.8)


def test_volumes_on_a_sheared_grid_use_the_volume_of_its_voxels() -> None:
    sheared = DIAGONAL.copy()
    sheared[1, 2] = 1.5
    found = of_labels(liver_block((slice(8, 10), slice(8, 10), slice(4, 5))), affine=sheared)
    assert found.lesions[0].volume_mm3 == pytest.approx(40)
    assert found.tumor_ml == pytest.approx(0.04)


def test_arrays_of_differing_shapes_are_refused() -> None:
    labels = liver_block()
    with pytest.raises(InputError, match=r"lesion numbers must be \(30, 30, 12\) .* got \(30, 30, 11\)"):
        organ_region(labels, labels[..., 1:], DIAGONAL)
    region = organ_region(labels, np.zeros_like(labels), DIAGONAL)
    with pytest.raises(InputError, match=r"the CT must be \(30, 30, 12\) .* got \(30, 12, 30\)"):
        measure(region, np.zeros((30, 12, 30)), [], calibrated=False)
