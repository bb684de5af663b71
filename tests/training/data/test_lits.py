"""LiTS and MSD Task03_Liver by file names: patients with several scans, pairs of files, and lost geometry."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from custom_networks.errors import InputError
from custom_networks.training.data.lits import geometry_is_lost, known_patient, lits_cases, lits_number

OTHERS = ["dataset.json", "._volume-0.nii", "test-volume-3.nii", "volume-3.nrrd", "liver_x.nii.gz", "my_liver_3.nii.gz"]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("volume-0.nii", 0),
        ("segmentation-130.nii.gz", 130),
        ("liver_28.nii.gz", 28),
        *((name, None) for name in OTHERS),
    ],
)
def test_numbers_are_read_only_from_names_of_lits_and_msd(name: str, number: int | None) -> None:
    assert lits_number(Path("some where") / name) == number


def test_ten_of_131_scans_are_of_patients_with_several_scans() -> None:
    patients = {n: known_patient(f"liver_{n}.nii.gz") for n in range(131)}
    repeated = {n: patient for n, patient in patients.items() if patient}
    assert repeated == {
        **dict.fromkeys((0, 1), "lits-0-1"),
        **dict.fromkeys((6, 7, 8, 9, 10), "lits-6-10"),
        **dict.fromkeys((14, 15), "lits-14-15"),
    }
    assert all(known_patient(f"Training Batch 1/volume-{n}.nii") == patient for n, patient in patients.items())
    assert known_patient("lits000_ct.nii.gz") is None


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_pairs_are_found_by_number_in_any_folder_in_numeric_order(tmp_path: Path) -> None:
    touch(tmp_path, "Training Batch 1/volume-10.nii", "Training Batch 1/segmentation-10.nii")
    touch(tmp_path, "volume-9.nii.gz", "segmentations/segmentation-9.nii.gz", "volume-77.nii", "segmentation-78.nii")
    touch(tmp_path, *OTHERS, "._segmentation-9.nii", "liver_9.nii", "liver_9.nii.gz")
    items, alone = lits_cases(tmp_path)
    assert items == [
        {"image": "volume-9.nii.gz", "label": "segmentations/segmentation-9.nii.gz"},
        {"image": "Training Batch 1/volume-10.nii", "label": "Training Batch 1/segmentation-10.nii"},
    ]
    assert alone == ["volume-77.nii"]


def test_a_duplicate_number_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "volume-9.nii", "copy/volume-9.nii", "segmentation-9.nii")
    with pytest.raises(InputError, match="copy/volume-9.nii have the same LiTS number"):
        lits_cases(tmp_path)


@pytest.mark.parametrize(
    ("name", "spacing", "lost"),
    [
        ("volume-28.nii", (1, 1, 1), True),
        ("volume-47.nii", (-1, -1, 1), True),
        ("liver_28.nii", (1, 1, 1), True),
        ("volume-28.nii", (0.57, 0.57, 1.6), False),  # a corrected copy
        ("volume-27.nii", (1, 1, 1), False),  # no case of 3D-IRCADb
        ("volume-48.nii", (1, 1, 1), False),
        ("mine-28.nii", (1, 1, 1), False),
    ],
)
def test_scans_28_to_47_with_voxels_of_1_mm_have_lost_their_geometry(
    tmp_path: Path, name: str, spacing: tuple[float, ...], lost: bool
) -> None:
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.diag([*spacing, 1.0])), tmp_path / name)
    assert geometry_is_lost(tmp_path / name) is lost


def test_a_missing_file_is_left_to_the_reader_to_refuse(tmp_path: Path) -> None:
    assert not geometry_is_lost(tmp_path / "volume-28.nii")


def test_a_file_that_is_not_nifti_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "volume-28.nii").write_bytes(b"<html>not found</html>")
    with pytest.raises(InputError, match="volume-28.nii is not a readable NIfTI file") as error:
        geometry_is_lost(tmp_path / "volume-28.nii")
    assert "\n" not in str(error.value)
