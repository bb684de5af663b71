"""Label maps in the input's format: ITK reads the same physical space as for the input."""

from pathlib import Path

import itk
import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from custom_networks.io import read_label_map
from custom_networks.transforms.save import write_label_map
from custom_networks.transforms.save_as_input import write_as_input

LABELS = (np.arange(16 * 12 * 8) % 3).reshape(16, 12, 8).astype(np.uint8)


def oblique() -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", (5, -7, 11), degrees=True).as_matrix() * [0.7123456789, 0.8, 3.1]
    affine[:3, 3] = (-182.123456789, 190.987654321, -393.1357911)
    return affine


@pytest.mark.parametrize("given, ending", [(".mha", ".mha"), (".mhd", ".mha"), (".nrrd", ".nrrd"), (".nhdr", ".nrrd")])
def test_itk_reads_the_same_labels_in_double_precision(tmp_path: Path, given: str, ending: str) -> None:
    name = write_as_input(LABELS, oblique(), tmp_path, "ct_seg", given)
    assert name == f"ct_seg{ending}"
    image = itk.imread(str(tmp_path / name))
    assert np.array_equal(itk.array_from_image(image).T, LABELS)
    columns = itk.array_from_matrix(image.GetDirection()) * list(image.GetSpacing())
    np.testing.assert_allclose(np.diag([-1, -1, 1]) @ columns, oblique()[:3, :3], rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.array(image.GetOrigin()) * [-1, -1, 1], oblique()[:3, 3], rtol=0, atol=1e-12)
    volume = read_label_map(tmp_path / name)
    assert np.array_equal(volume.array, LABELS)
    np.testing.assert_allclose(volume.affine, oblique(), rtol=0, atol=1e-12)


def test_other_inputs_have_no_second_file(tmp_path: Path) -> None:
    assert write_as_input(LABELS, oblique(), tmp_path, "ct_seg", ".nii.gz") is None
    assert list(tmp_path.iterdir()) == []


def test_sform_and_qform_of_a_nifti_input_are_kept_with_their_codes(tmp_path: Path) -> None:
    image = nib.Nifti1Image(LABELS, None)
    image.header.set_sform(oblique(), 2)
    image.header.set_qform(np.diag([-0.7, 0.8, 3, 1]), 3)
    nib.save(image, tmp_path / "ct.nii")
    volume = read_label_map(tmp_path / "ct.nii")
    write_label_map(volume.array, volume.affine, tmp_path / "seg.nii.gz", nifti_geometry=volume.nifti_geometry)
    before, after = nib.load(tmp_path / "ct.nii").header, nib.load(tmp_path / "seg.nii.gz").header
    for form in ("get_sform", "get_qform"):
        (expected, code), (found, kept) = getattr(before, form)(coded=True), getattr(after, form)(coded=True)
        assert kept == code and np.array_equal(found, expected)
    assert after.get_xyzt_units()[0] == "mm"
