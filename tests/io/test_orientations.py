"""In the 48 axis-aligned orientations and in oblique ones, every format is read as the same volume."""

from itertools import permutations, product
from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from custom_networks.io.image_files import read_file

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
TURNS = {"straight": np.eye(3), "oblique": Rotation.from_euler("xyz", (8, -5, 12), degrees=True).as_matrix()}


def numbers(values: np.ndarray) -> str:
    return " ".join(map(repr, values.ravel().tolist()))


def write_all(folder: Path, array: np.ndarray, affine: np.ndarray) -> list[Path]:
    """Write an array as NIfTI, MetaImage and NRRD; the latter two in LPS and double precision."""
    lps, steps = LPS @ affine, np.linalg.norm(affine[:3, :3], axis=0)
    columns, origin, raw = lps[:3, :3].T, lps[:3, 3], array.tobytes(order="F")
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, 1)
    nib.save(image, folder / "ct.nii")
    meta = f"NDims = 3\nDimSize = {numbers(np.array(array.shape))}\nElementType = MET_SHORT\n"
    meta += f"TransformMatrix = {numbers(columns / steps[:, None])}\nOffset = {numbers(origin)}\n"
    meta += f"ElementSpacing = {numbers(steps)}\nElementDataFile = LOCAL\n"
    (folder / "ct.mha").write_bytes(meta.encode() + raw)
    vectors = " ".join(f"({numbers(column).replace(' ', ',')})" for column in columns)
    nrrd = f"NRRD0004\ntype: short\ndimension: 3\nspace: LPS\nsizes: {numbers(np.array(array.shape))}\n"
    nrrd += f"space directions: {vectors}\nspace origin: ({numbers(origin).replace(' ', ',')})\n"
    (folder / "ct.nrrd").write_bytes(f"{nrrd}endian: little\nencoding: raw\n\n".encode() + raw)
    return [folder / "ct.nii", folder / "ct.mha", folder / "ct.nrrd"]


@pytest.mark.parametrize("turn", list(TURNS))
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_every_orientation_is_the_same_in_all_formats(tmp_path: Path, order: tuple[int, ...], turn: str) -> None:
    array = np.arange(9 * 8 * 7, dtype=np.int16).reshape(9, 8, 7) - 1024
    for signs in product((1, -1), repeat=3):
        affine = np.eye(4)
        affine[:3, :3] = (TURNS[turn] @ np.diag(signs) * (2.1, 2.2, 2.3))[:, order]
        affine[:3, 3] = (-12.3456789, 98.7654321, -345.678912)
        for path in write_all(tmp_path, array, affine):
            volume = read_file(path, None)
            assert np.array_equal(volume.array, array)
            np.testing.assert_allclose(volume.affine, affine, rtol=0, atol=1e-4 if path.suffix == ".nii" else 1e-12)


TYPES = (np.uint8, np.uint16, np.int32, np.float32, np.float64)


@pytest.mark.parametrize(
    "name, dtype",
    [(f"ct.{ending}", np.int16) for ending in ("mha", "mhd", "nrrd", "nhdr")]
    + [(name, dtype) for name in ("ct.mha", "ct.nrrd") for dtype in TYPES],
)
def test_files_written_by_itk_are_read_as_by_itk(tmp_path: Path, name: str, dtype: type) -> None:
    array = np.random.default_rng(3).integers(0, 250, (7, 8, 9)).astype(dtype)
    image = itk.image_from_array(array)
    image.SetDirection(itk.matrix_from_array(np.ascontiguousarray(TURNS["oblique"])))
    image.SetSpacing([0.7123456789, 0.8, 2.9])
    image.SetOrigin([1.23456789, -200.1, 33.0])
    for compression in (False, True):
        itk.imwrite(image, str(tmp_path / name), compression=compression)
        volume, itks = read_file(tmp_path / name, None), itk.imread(str(tmp_path / name))
        assert np.array_equal(volume.array, itk.array_from_image(itks).T.astype(volume.array.dtype))
        columns = itk.array_from_matrix(itks.GetDirection()) * list(itks.GetSpacing())
        np.testing.assert_allclose(volume.affine[:3, :3], LPS[:3, :3] @ columns, rtol=0, atol=1e-12)
        np.testing.assert_allclose(volume.affine[:3, 3], LPS[:3, :3] @ list(itks.GetOrigin()), rtol=0, atol=1e-12)
