"""NRRD and MetaImage: the same patient coordinates as for a NIfTI of the same array, and refusals."""

from collections.abc import Callable
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest

from custom_networks.errors import InputError
from custom_networks.io import read_label_map, read_volume

NAMES = ["ct.nrrd", "ct.nhdr", "ct.mha", "ct.mhd"]
NRRD_TYPES = {
    "int8": "int8",
    "int16": "int16",
    "uint16": "uint16",
    "int32": "int32",
    "int64": "int64",
    "float32": "float",
}


@pytest.fixture
def oblique(write_nifti: Callable[..., Path], hounsfield: np.ndarray, affine: np.ndarray) -> Path:
    """A NIfTI rotated by 20 degrees about z and by 10 degrees about x."""
    turned = affine.copy()
    turned[:3, :3] = nib.eulerangles.euler2mat(z=np.radians(20), x=np.radians(10)) @ affine[:3, :3]
    return write_nifti(hounsfield, turned, name="ct.nii")


@pytest.mark.parametrize("name", NAMES)
def test_an_nrrd_or_metaimage_file_equals_the_nifti_of_the_same_array(oblique: Path, name: str) -> None:
    itk.imwrite(itk.imread(str(oblique)), str(oblique.with_name(name)), compression=name == "ct.nrrd")
    expected, volume = read_volume(oblique), read_volume(oblique.with_name(name))
    assert volume.array.dtype == np.int16 and np.array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-4)


def write_nrrd(
    path: Path, array: np.ndarray, space: str = "space: RAS\n", directions: str = "(0.7,0,0) (0,0.8,0) (0,0,3)"
) -> Path:
    """A raw NRRD written by hand; array (i, j, k)."""
    sizes = " ".join(map(str, array.shape))
    header = f"NRRD0004\ntype: {NRRD_TYPES[array.dtype.name]}\ndimension: 3\n{space}sizes: {sizes}\n"
    header += f"space directions: {directions}\nspace origin: (10,20,30)\n" if directions else ""
    path.write_bytes(f"{header}endian: little\nencoding: raw\n\n".encode() + array.tobytes(order="F"))
    return path


@pytest.mark.parametrize("space, signs", [("RAS", (1, 1)), ("left-anterior-superior", (-1, 1)), ("LPS", (-1, -1))])
def test_each_nrrd_space_is_converted_to_ras(
    tmp_path: Path, hounsfield: np.ndarray, space: str, signs: tuple[int, int]
) -> None:
    volume = read_volume(write_nrrd(tmp_path / "ct.nrrd", hounsfield, f"space: {space}\n"))
    expected = np.array([[0.7, 0, 0, 10], [0, 0.8, 0, 20], [0, 0, 3, 30], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, np.diag([*signs, 1, 1]) @ expected, atol=1e-9)


@pytest.mark.parametrize("stored", list(NRRD_TYPES))
def test_every_number_type_is_read_and_integers_stay_integers(tmp_path: Path, stored: str) -> None:
    labels = (np.arange(16 * 12 * 8) % 3).reshape(16, 12, 8).astype(stored)
    volume = read_label_map(write_nrrd(tmp_path / "label.nrrd", labels))
    assert volume.array.dtype == np.uint8 and np.array_equal(volume.array, labels)
    if stored not in ("uint16", "int8"):
        image = read_volume(write_nrrd(tmp_path / "ct.nrrd", (labels * 100 - 150).astype(stored)))
        assert image.array.dtype == (np.float32 if stored == "float32" else np.int16) and image.array.min() == -150


def test_headers_without_geometry_are_refused(tmp_path: Path, hounsfield: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"no usable affine \(its header has no valid 'space'\)"):
        read_volume(write_nrrd(tmp_path / "a.nrrd", hounsfield, "space dimension: 3\n"))
    with pytest.raises(InputError, match=r"no usable affine \(its header has no valid 'space directions'\)"):
        read_volume(write_nrrd(tmp_path / "b.nrrd", hounsfield, directions=""))
    path = tmp_path / "c.mha"
    header = b"ObjectType = Image\nNDims = 3\nDimSize = 16 12 8\nElementType = MET_SHORT\n%sElementDataFile = LOCAL\n"
    path.write_bytes(header % b"" + hounsfield.tobytes(order="F"))
    with pytest.raises(InputError, match="its header has no valid 'ElementSpacing'"):
        read_volume(path)
    path.write_bytes(header % b"ElementSpacing = 1 1 3\n" + hounsfield.tobytes(order="F"))
    with pytest.raises(InputError, match="its header has no valid 'TransformMatrix'"):
        read_volume(path)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_truncated_and_text_files_are_refused_in_one_line(oblique: Path, name: str) -> None:
    path = oblique.with_name(name)
    itk.imwrite(itk.imread(str(oblique)), str(path))
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match="is damaged or incomplete") as caught:
        read_volume(path)
    assert "\n" not in str(caught.value) and "0x" not in str(caught.value)
    path.write_text("hello\n")
    with pytest.raises(InputError, match=f"is not a readable {path.suffix[1:].upper()} file"):
        read_volume(path)


def test_missing_data_file_of_a_detached_header_is_refused(oblique: Path) -> None:
    path = oblique.with_name("ct.mhd")
    itk.imwrite(itk.imread(str(oblique)), str(path))
    path.with_suffix(".raw").unlink()
    with pytest.raises(InputError, match="ct.mhd is damaged or incomplete"):
        read_volume(path)


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_other_shapes_are_refused(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    itk.imwrite(itk.image_from_array(np.zeros((12, 16), np.int16)), path)
    with pytest.raises(InputError, match=r"is 2D \(16 x 12\)"):
        read_volume(path)
    itk.imwrite(itk.image_from_array(np.zeros((2, 8, 12, 16), np.int16)), path)
    with pytest.raises(InputError, match=r"is 4D \(16 x 12 x 8 x 2\)"):
        read_volume(path)
    itk.imwrite(itk.image_from_array(np.zeros((8, 12, 16, 3), np.uint8), is_vector=True), path)
    with pytest.raises(InputError, match="holds 3 values per voxel, but one is needed"):
        read_volume(path)
    itk.imwrite(itk.image_from_array(np.zeros((4, 12, 16), np.int16)), path)
    with pytest.raises(InputError, match="holds 4 slices, but at least 5"):
        read_volume(path)
