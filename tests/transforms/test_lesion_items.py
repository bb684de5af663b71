"""Items that the bundle's steps pass on for measuring: on any file's grid, as whole numbers."""

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose, SaveImaged

from custom_networks.labelmap.lesions import FoundLesion

Array = npt.NDArray[Any]
CONFIG = Path(__file__).resolve().parents[2] / "bundle" / "configs" / "inference.json"
SHAPE = (40, 36, 12)
MM = np.array([2.0, 2.0, 5.0])
LARGE, SMALL = (slice(12, 18), slice(12, 18), slice(4, 7)), (slice(24, 28), slice(20, 24), slice(6, 8))
EVERY_ORDER = ["RAS", "LPS", "LAI", "SRP", "ASL"]


def truth() -> Array:
    """Map of the numbers of two lesions of 108 and 32 voxels, in RAS order."""
    numbers = np.zeros(SHAPE, np.uint8)
    numbers[LARGE], numbers[SMALL] = 1, 2
    return numbers


def reordered(array: Array, order: str, oblique: float = 0.0) -> nib.Nifti1Image:
    """Convert an array in RAS order to an image with the voxel axes `order`, rotated about x by some degrees."""
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(x=np.radians(oblique)) * MM
    codes = [nib.orientations.axcodes2ornt(tuple(axes)) for axes in ("RAS", order)]
    return nib.Nifti1Image(array, affine).as_reoriented(nib.orientations.ornt_transform(*codes))


def steps(**ids: Any) -> tuple[Compose, list[Any]]:
    """Preprocessing of inference.json, and its postprocessing without the saving steps."""
    parser = ConfigParser(json.loads(CONFIG.read_text(encoding="utf-8")))
    parser.update({"confidence_coefficients": None, "bundle_root": str(CONFIG.parents[1]), **ids})
    after = parser.get_parsed_content("postprocessing").transforms
    return parser.get_parsed_content("preprocessing"), [one for one in after if not isinstance(one, SaveImaged)]


def answered(folder: Path, order: str, oblique: float = 0.0, **ids: Any) -> tuple[dict[str, Any], nib.Nifti1Image]:
    """The data after all steps for a CT whose HU determine its labels, with a network that labels by HU; and the CT."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[4:34, 4:30, 2:10] = 1
    labels[truth() > 0] = 2
    hu = (np.array([-100, 40, 160], np.int16)[labels] + np.arange(SHAPE[0], dtype=np.int16)[:, None, None]).copy()
    ct = reordered(hu, order, oblique)
    nib.save(ct, folder / "ct.nii.gz")
    before, after = steps(**ids)
    data = before({"image": str(folder / "ct.nii.gz"), "case": "ct"})
    seen = data["image"].as_tensor()[0]
    organ, tumor = seen > 0.4, seen > 0.75
    scores = torch.stack([~organ, organ & ~tumor, tumor]).to(torch.uint8) * 255
    data["pred"] = MetaTensor(scores)
    return dict(Compose(after)(data)), ct


@pytest.mark.parametrize("order, oblique", [*((order, 0.0) for order in EVERY_ORDER), ("SRP", 12.0)])
def test_lesion_numbers_on_the_files_grid_are_whole_numbers(tmp_path: Path, order: str, oblique: float) -> None:
    data, ct = answered(tmp_path, order, oblique, keep_for_measuring=True, spacing=2.0)
    assert (data["lesion_numbers"].dtype, data["pred"].dtype) == (torch.uint8, torch.uint8)
    expected = np.asarray(reordered(truth(), order, oblique).dataobj)
    np.testing.assert_array_equal(data["lesion_numbers"][0].numpy(), expected)
    np.testing.assert_array_equal(data["pred"][0].numpy() == 2, expected > 0)
    assert data["probabilities"].shape == (2, *ct.shape) and data["probabilities"].dtype == torch.uint8
    for key in ("pred", "lesion_numbers", "probabilities"):
        np.testing.assert_allclose(data[key].affine.numpy(), ct.affine, atol=1e-6)
    assert data["lesions"] == (
        FoundLesion(1, pytest.approx(108 * 20), 1.0, 1.0),
        FoundLesion(2, pytest.approx(32 * 20), 1.0, 1.0),
    )


def test_another_pixel_size_finds_the_same_lesions(tmp_path: Path) -> None:
    data, _ = answered(tmp_path, "LPS", keep_for_measuring=True, spacing=1.25)
    assert set(np.unique(data["lesion_numbers"])) == {0, 1, 2}


def test_only_the_label_map_is_kept_unless_a_caller_measures(tmp_path: Path) -> None:
    data, _ = answered(tmp_path, "LPS", spacing=2.0)
    assert set(data) == {"image", "case", "pred"}
