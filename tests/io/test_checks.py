"""Each required property of a volume is checked and refused with its own message."""

from pathlib import Path

import numpy as np
import pytest

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import (
    check_ct_values,
    check_geometry,
    label_map,
    shear_degrees,
    spatial_shape,
)

SOURCE = Path("case.nii.gz")


def test_trailing_single_axes_are_dropped_with_a_note_and_other_ranks_refused() -> None:
    assert spatial_shape((4, 5, 6), SOURCE) == ((4, 5, 6), ())
    shape, notes = spatial_shape((4, 5, 6, 1, 1), SOURCE)
    assert shape == (4, 5, 6) and "4 x 5 x 6 x 1 x 1" in notes[0]
    with pytest.raises(InputError, match=r"case.nii.gz is 2D \(4 x 5\), but a 3D volume is needed"):
        spatial_shape((4, 5), SOURCE)
    with pytest.raises(InputError, match=r"is 4D \(4 x 5 x 6 x 2\), but one 3D volume is needed"):
        spatial_shape((4, 5, 6, 2), SOURCE)
    with pytest.raises(InputError, match=r"impossible size \(4 x -5 x 6\)"):
        spatial_shape((4, -5, 6), SOURCE)


def test_placeholder_affine_is_accepted_with_a_note() -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    (note,) = check_geometry((9, 9, 9), affine, SOURCE)
    assert "1 x 1 x 1 mm" in note and "check" in note
    affine[:3, 3] = (120, 90, -300)  # a scan that was resampled to 1 mm lies somewhere
    assert check_geometry((9, 9, 9), affine, SOURCE) == ()


def test_slices_are_counted_along_the_patients_z() -> None:
    check_geometry((5, 5, 5), np.eye(4), SOURCE)
    with pytest.raises(InputError, match="holds 4 slices, but at least 5 are needed"):
        check_geometry((9, 9, 4), np.eye(4), SOURCE)
    sagittal = np.eye(4)[:, [2, 0, 1, 3]]
    check_geometry((9, 4, 9), np.eye(4), SOURCE)
    with pytest.raises(InputError, match="holds 1 slice, but at least 5"):
        check_geometry((1, 9, 9), sagittal, SOURCE)


def test_thick_slices_must_be_axial() -> None:
    check_geometry((9, 9, 9), np.diag([0.8, 0.8, 5.0, 1.0]), SOURCE)
    check_geometry((9, 9, 9), np.diag([5.0, 5.0, 5.0, 1.0]), SOURCE)
    with pytest.raises(
        InputError, match="not hold axial slices: voxels measure 5 mm across the patient and 0.8 mm along"
    ):
        check_geometry((9, 9, 9), np.diag([0.8, 5.0, 0.8, 1.0]), SOURCE)


def test_an_unusable_affine_is_refused() -> None:
    broken = np.eye(4)
    broken[0, 3] = np.nan
    with pytest.raises(InputError, match=r"no usable affine \(it contains values that are not finite"):
        check_geometry((9, 9, 9), broken, SOURCE)
    with pytest.raises(InputError, match=r"no usable affine \(its spacing, 1 x 0 x 1 mm"):
        check_geometry((9, 9, 9), np.diag([1.0, 0.0, 1.0, 1.0]), SOURCE)
    flat = np.eye(4)
    flat[:3, 1] = [1, 0, 0]
    with pytest.raises(InputError, match=r"no usable affine \(its voxel axes lie in one plane"):
        check_geometry((9, 9, 9), flat, SOURCE)


def test_shear_is_noted_in_degrees_and_tiny_spacing_is_not_singular() -> None:
    sheared = np.eye(4)
    sheared[:3, 2] = [0, np.tan(np.radians(14)), 1]
    assert shear_degrees(sheared) == pytest.approx(14)
    assert "14.0 degrees" in check_geometry((9, 9, 9), sheared, SOURCE)[0]
    with pytest.raises(InputError, match="has a pixel size of 0.001 mm, but 0.05 to 10 mm is accepted"):
        check_geometry((9, 9, 9), np.diag([1e-3, 1e-3, 1e-3, 1.0]), SOURCE)


def test_values_must_be_hounsfield_units() -> None:
    check_ct_values(np.array([-101, 40], np.int16), SOURCE)
    with pytest.raises(InputError, match="is constant: every voxel is -1000"):
        check_ct_values(np.full(3, -1000, np.int16), SOURCE)
    with pytest.raises(
        InputError,
        match=r"intensities are not Hounsfield units \(the lowest value is 0, but air and fat lie below -100",
    ):
        check_ct_values(np.array([0, 255], np.uint8), SOURCE)


def test_labels_become_uint8_and_others_are_named() -> None:
    labels = label_map(np.array([0.0, 1.0, 2.0], np.float32), SOURCE)
    assert labels.dtype == np.uint8 and labels.tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="holds the labels 3, 7, but only 0"):
        label_map(np.array([0, 7, 3, 3], np.int16), SOURCE)
    with pytest.raises(InputError, match=r"holds the label 0\.5, but only 0"):
        label_map(np.array([0.5, 1], np.float32), SOURCE)
    with pytest.raises(InputError, match="holds the label -1, but only 0"):
        label_map(np.array([-1, 1], np.int16), SOURCE)
    with pytest.raises(InputError, match=r"holds the labels 3, 4, 5, 6, 7, \.\.\., but only 0"):
        label_map(np.arange(12, dtype=np.int16), SOURCE)


def test_library_errors_become_one_line() -> None:
    assert one_line("a\n  b\tc") == "a b c"
    assert len(one_line("x" * 999)) == 160
