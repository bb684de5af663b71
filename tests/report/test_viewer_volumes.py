"""Volumes for the page's viewer: correct HU at correct positions, small enough for a page."""

import base64
import gzip

import nibabel as nib
import numpy as np
import pytest
from nibabel.affines import apply_affine
from page_case import PageCase, case_of, page_case
from shapes import ORIENTATIONS, Ellipsoid

from custom_networks.report.page import viewer
from custom_networks.report.page.viewer import viewer_volumes


def decoded(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_lesions_keep_their_position_number_and_size(orientation: str) -> None:
    case = page_case([Ellipsoid((10, 5, 0), (9, 9, 9)), Ellipsoid((-12, 0, 5), (6, 6, 6))], orientation=orientation)
    labels = decoded(viewer_volumes(*case.parts).labels)
    voxels = np.asarray(labels.dataobj)
    assert np.unique(voxels).tolist() == [0, 1, 2, 3]
    for lesion in case.report["lesions"]:
        inside = np.argwhere(voxels == lesion["id"] + 1)
        assert apply_affine(labels.affine, inside).mean(axis=0) * [-1, -1, 1] == pytest.approx(
            lesion["centroid"], abs=1.0
        )
        volume = len(inside) * abs(np.linalg.det(labels.affine[:3, :3]))
        assert volume == pytest.approx(lesion["volume_mm3"], rel=0.15)


def test_the_viewers_hu_are_exact_within_the_window_and_clipped_outside() -> None:
    case = page_case()
    image = decoded(viewer_volumes(*case.parts).ct)
    hu, labels = np.asarray(image.dataobj), np.asarray(decoded(viewer_volumes(*case.parts).labels).dataobj)
    assert hu[labels == 1].max() == pytest.approx(110, abs=1) and np.median(hu[labels == 2]) == pytest.approx(60, abs=1)
    assert hu.min() >= -160 and image.header.get_zooms() == pytest.approx((1.5, 1.5, 4.0))


def noise(spacing: tuple[float, float, float], shape: tuple[int, int, int], liver: tuple[slice, ...]) -> PageCase:
    labels = np.zeros(shape, np.uint8)
    labels[liver] = 1
    hu = np.random.default_rng(0).integers(-160, 240, shape).astype(np.int16)
    return case_of(labels, hu, np.diag([*spacing, 1.0]))


def test_the_volumes_are_cropped_to_the_livers_surroundings_and_stay_in_place() -> None:
    case = noise((2.0, 2.0, 5.0), (120, 120, 40), (slice(50, 70), slice(50, 70), slice(15, 25)))
    volumes = viewer_volumes(*case.parts)
    image, labels = decoded(volumes.ct), decoded(volumes.labels)
    # The liver, 10 mm that are kept around it and a margin of 12 mm.
    assert np.array(image.shape) * image.header.get_zooms() == pytest.approx([84, 84, 100], abs=8)
    liver = np.argwhere(np.asarray(labels.dataobj) == 1)
    assert apply_affine(labels.affine, liver).mean(axis=0) == pytest.approx([119, 119, 97.5], abs=1)
    np.testing.assert_array_equal(image.affine, labels.affine)


def test_fine_pixels_become_coarser_and_thick_slices_stay() -> None:
    case = noise((0.5, 0.5, 5.0), (120, 120, 12), (slice(40, 80), slice(40, 80), slice(4, 8)))
    assert viewer_volumes(*case.parts).spacing == (0.75, 0.75, 5.0)


def test_a_volume_that_hardly_compresses_is_coarsened_until_it_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    case = noise((2.0, 2.0, 2.0), (60, 60, 60), (slice(20, 40),) * 3)
    monkeypatch.setattr(viewer, "MOST_CHARACTERS", 40_000)
    volumes = viewer_volumes(*case.parts)
    assert len(volumes.ct) <= 40_000 and volumes.spacing[0] > 2.0
    assert len(volumes.ct) > 20_000


def test_a_large_liver_is_coarsened_within_the_stated_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    case = noise((0.7, 0.7, 1.0), (90, 90, 90), (slice(10, 80),) * 3)
    fine = viewer_volumes(*case.parts).spacing
    assert fine == (0.75, 0.75, 1.25)
    monkeypatch.setattr(viewer, "MOST_VOXELS", 95_000)
    x, y, z = viewer_volumes(*case.parts).spacing
    assert x == y and 0.75 < x < 1.4 and 1.25 < z < 2.7


def test_without_a_liver_the_whole_image_is_shown_without_3d() -> None:
    empty = np.zeros((30, 20, 10), np.uint8)
    volumes = viewer_volumes(*case_of(empty, np.zeros(empty.shape, np.int16), np.diag([2.0, 2.0, 5.0, 1.0])).parts)
    assert decoded(volumes.ct).shape == (30, 20, 10) and volumes.solid == volumes.solid_lesions == ""
    assert not np.asarray(decoded(volumes.labels).dataobj).any()


def test_the_liver_in_3d_has_its_size_and_contains_the_lesions() -> None:
    case = page_case()
    volumes = viewer_volumes(*case.parts)
    body, lesions = decoded(volumes.solid), decoded(volumes.solid_lesions)
    voxel_ml = abs(np.linalg.det(body.affine[:3, :3])) / 1000
    assert (np.asarray(body.dataobj) > 127).sum() * voxel_ml == pytest.approx(case.measured.liver_ml, rel=0.06)
    assert np.unique(np.asarray(lesions.dataobj)).tolist() == [0, 2, 3]
