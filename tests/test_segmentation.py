"""Two lines of Python give what the command line writes."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from custom_networks import segment
from custom_networks.errors import InputError, UsageError

STUB = {
    "network_def": {"_target_": "test_pipeline.ThresholdNetwork"},
    "handlers": [],
    "checkpoint": __file__,
    "device": "cpu",
    "precision": "float32",
}


@pytest.fixture
def scan(tmp_path: Path) -> tuple[Path, Any]:
    """A CT whose HU say what each voxel is, and its labels."""
    truth = np.zeros((64, 48, 20), dtype=np.uint8)
    truth[10:50, 8:40, 4:16] = 1
    truth[20:32, 16:28, 8:12] = 2
    hu = np.array([-120, 60, 220], dtype=np.int16)[truth]
    path = tmp_path / "scans" / "ct.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(hu, np.diag([1.25, 1.25, 3.0, 1.0])), path)
    return path, truth


def test_the_result_holds_masks_volumes_lesions_and_probabilities(scan: tuple[Path, Any], tmp_path: Path) -> None:
    path, truth = scan
    result = segment(path, probability=True, overrides=STUB)
    np.testing.assert_array_equal(result.labels, truth)
    np.testing.assert_array_equal(result.liver, truth > 0)
    np.testing.assert_array_equal(result.tumor, truth == 2)
    np.testing.assert_array_equal(result.lesion_map, truth == 2)
    np.testing.assert_array_equal(result.affine, np.diag([1.25, 1.25, 3.0, 1.0]))
    assert result.liver_ml == pytest.approx(40 * 32 * 12 * 1.25 * 1.25 * 3 / 1000)
    (lesion,) = result.lesions
    assert lesion.volume_mm3 == pytest.approx(12 * 12 * 4 * 1.25 * 1.25 * 3)
    assert lesion.mean_hu == 220 and lesion.contrast_hu == pytest.approx(160)
    assert lesion.centroid == pytest.approx((-25.5 * 1.25, -21.5 * 1.25, 9.5 * 3))
    assert result.tumor_probability is not None
    np.testing.assert_allclose(result.tumor_probability, truth == 2, atol=1 / 255)
    assert lesion.confidence == pytest.approx(1, abs=0.01)
    assert (result.case, result.notes, result.folder) == ("ct", (), None)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["ct.nii.gz"]


def test_a_folder_of_one_volume_is_that_volume_and_files_are_kept_on_request(
    scan: tuple[Path, Any], tmp_path: Path
) -> None:
    result = segment(scan[0].parent, tmp_path / "out", overrides=STUB)
    assert result.tumor_probability is None and result.folder == tmp_path / "out" / "ct"
    assert sorted(p.name for p in result.folder.iterdir()) == ["ct_seg.nii.gz", "lesions.csv", "report.json"]


def test_several_volumes_and_none_are_refused(scan: tuple[Path, Any], tmp_path: Path) -> None:
    (scan[0].parent / "b.nii").touch()
    with pytest.raises(UsageError, match="scans holds 2 volumes: give one of them"):
        segment(scan[0].parent, overrides=STUB)
    with pytest.raises(InputError, match="absent.nii"):
        segment(tmp_path / "absent.nii", overrides=STUB)
