"""NIfTI: scaling, types, geometry, and refusals."""

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from custom_networks.errors import InputError
from custom_networks.io import read_label_map, read_volume

Write = Callable[..., Path]


def test_int16_is_read_unchanged(write_nifti: Write, hounsfield: np.ndarray, affine: np.ndarray) -> None:
    for name in ("ct.nii.gz", "ct.nii", "CT.NII.GZ"):
        volume = read_volume(write_nifti(hounsfield, name=name))
        assert volume.array.dtype == np.int16 and np.array_equal(volume.array, hounsfield)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-5)
        assert volume.notes == () and volume.source.name == name


@pytest.mark.parametrize(
    "stored, slope, inter, dtype, low, high",
    [
        (np.uint8, 5.0, -300.0, np.int16, -300, 400),  # the project's own compact CT: 0..140
        (np.int16, 2.0, -1024.0, np.int16, -1024, -744),
        (np.uint16, 1.0, -1024.0, np.int16, -1024, -884),
        (np.int16, 300.0, -1000.0, np.int32, -1000, 41000),
        (np.int16, 0.5, -200.0, np.float32, -200, -130),
        (">i2", 2.0, -400.0, np.int16, -400, -120),
    ],
)
def test_scaling_is_applied_and_whole_numbers_stay_integers(
    tmp_path: Path, stored: type, slope: float, inter: float, dtype: type, low: float, high: float
) -> None:
    raw = (np.arange(16 * 12 * 40) % 141).reshape(16, 12, 40).astype(np.dtype(stored).newbyteorder("="))
    header = nib.Nifti1Header(endianness=">" if stored == ">i2" else "<")
    header.set_data_dtype(np.dtype(stored))
    header.set_sform(np.eye(4), 1)
    header.set_data_shape(raw.shape)
    header.set_slope_inter(slope, inter)
    header["vox_offset"] = 352
    with gzip.open(tmp_path / "ct.nii.gz", "wb") as stream:
        stream.write(header.binaryblock + bytes(4) + raw.astype(np.dtype(stored)).tobytes(order="F"))
    array = read_volume(tmp_path / "ct.nii.gz").array
    assert array.dtype == dtype and array.dtype.isnative
    assert (array.min(), array.max()) == (low, high)
    np.testing.assert_array_equal(array, raw * slope + inter)


def test_padding_is_clipped_to_air(write_nifti: Write, hounsfield: np.ndarray) -> None:
    padded = hounsfield.copy()
    padded[0] = -3024
    array = read_volume(write_nifti(padded)).array
    assert array.min() == -1024 and np.array_equal(array[1:], hounsfield[1:])


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 2.4)] * 3),  # thicker voxels must lie along z, see test_checks.py
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    flip=st.booleans(),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_oblique_affine_is_read_exactly(
    write_nifti: Write,
    hounsfield: np.ndarray,
    angles: tuple[float, ...],
    spacing: tuple[float, ...],
    origin: tuple[float, ...],
    flip: bool,
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * spacing
    affine[:3, 3] = origin
    if flip:
        affine[:3, 0] *= -1
    affine = affine.astype(np.float32).astype(np.float64)  # what a NIfTI header can hold
    volume = read_volume(write_nifti(hounsfield, affine, name="oblique.nii"))
    assert volume.affine.dtype == np.float64 and np.array_equal(volume.affine, affine)
    assert np.array_equal(volume.array, hounsfield)


def test_a_trailing_single_axis_is_dropped_with_a_note(write_nifti: Write, hounsfield: np.ndarray) -> None:
    volume = read_volume(write_nifti(hounsfield[..., np.newaxis]))
    assert volume.array.shape == hounsfield.shape and "Trailing axes" in volume.notes[0]


@pytest.mark.parametrize(
    "shape, sentence",
    [
        ((16, 12), r"is 2D \(16 x 12\)"),
        ((16, 12, 8, 2), r"is 4D \(16 x 12 x 8 x 2\)"),
        ((16, 12, 4), "holds 4 slices, but at least 5"),
    ],
)
def test_other_shapes_are_refused(write_nifti: Write, shape: tuple[int, ...], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_volume(write_nifti(np.zeros(shape, np.int16)))


def test_values_that_cannot_be_ct_are_refused(write_nifti: Write, hounsfield: np.ndarray) -> None:
    broken = hounsfield.astype(np.float32)
    broken[3, 3, 3] = np.nan
    with pytest.raises(InputError, match="values that are not finite numbers"):
        read_volume(write_nifti(broken))
    with pytest.raises(InputError, match="is constant: every voxel is -1000"):
        read_volume(write_nifti(np.full_like(hounsfield, -1000)))
    with pytest.raises(InputError, match=r"not Hounsfield units \(the lowest value is 0"):
        read_volume(write_nifti(hounsfield + 1024))
    with pytest.raises(InputError, match="holds complex64 voxels, but integers or real numbers are needed"):
        read_volume(write_nifti(hounsfield.astype(np.complex64)))


def test_without_sform_and_qform_a_file_is_refused(write_nifti: Write, hounsfield: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"no usable affine \(neither sform nor qform is set"):
        read_volume(write_nifti(hounsfield, sform_code=0, qform_code=0))


def test_qform_alone_is_enough_and_an_invalid_one_is_refused(
    write_nifti: Write, hounsfield: np.ndarray, affine: np.ndarray
) -> None:
    volume = read_volume(write_nifti(hounsfield, sform_code=0))
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    path = write_nifti(hounsfield, sform_code=0, name="ct.nii")
    content = bytearray(path.read_bytes())
    content[256:264] = np.ones(2, np.float32).tobytes()  # quatern_b, quatern_c: longer than a unit quaternion
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not a readable NIfTI file"):
        read_volume(path)


def test_singular_sform_is_refused(write_nifti: Write, hounsfield: np.ndarray) -> None:
    path = write_nifti(hounsfield, name="ct.nii")
    content = bytearray(path.read_bytes())
    content[280:296] = bytes(16)  # srow_x
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"no usable affine \(its spacing, 0 x 0.7 x 3 mm"):
        read_volume(path)


def test_sform_and_qform_that_disagree_are_noted(write_nifti: Write, hounsfield: np.ndarray) -> None:
    (note,) = read_volume(write_nifti(hounsfield, qoffset_z=-90)).notes
    assert note == "sform and qform differ by up to 10.0 mm: the sform was used."


@pytest.mark.parametrize("name", ["ct.nii", "ct.nii.gz"])
def test_truncated_and_text_files_are_refused(write_nifti: Write, hounsfield: np.ndarray, name: str) -> None:
    path = write_nifti(hounsfield, name=name)
    whole = path.read_bytes()
    for kept in (len(whole) - 1, len(whole) * 2 // 3):
        path.write_bytes(whole[:kept])
        with pytest.raises(InputError, match="damaged or incomplete"):
            read_volume(path)
    for content in (b"", b"hello\n", whole[:100]):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a readable NIfTI file") as caught:
            read_volume(path)
        assert "\n" not in str(caught.value)


def test_a_flipped_byte_inside_gzip_is_detected(write_nifti: Write, hounsfield: np.ndarray) -> None:
    path = write_nifti(hounsfield)
    content = bytearray(path.read_bytes())
    content[-8] ^= 1  # the checksum: the data alone would decode
    path.write_bytes(content)
    with pytest.raises(InputError, match="damaged or incomplete"):
        read_volume(path)


def test_a_label_map_is_uint8_and_may_be_constant_and_other_labels_are_refused(
    write_nifti: Write, hounsfield: np.ndarray
) -> None:
    labels = (np.arange(hounsfield.size) % 3).reshape(hounsfield.shape)
    for dtype in (np.uint8, np.int16, np.float32, np.float64):
        volume = read_label_map(write_nifti(labels.astype(dtype)))
        assert volume.array.dtype == np.uint8 and np.array_equal(volume.array, labels)
    assert not read_label_map(write_nifti(np.zeros_like(hounsfield))).array.any()
    with pytest.raises(InputError, match="holds the label 3, but only 0"):
        read_label_map(write_nifti((labels + 1).astype(np.uint8)))
    with pytest.raises(InputError, match="holds 4 slices"):
        read_label_map(write_nifti(labels[..., :4].astype(np.uint8)))
