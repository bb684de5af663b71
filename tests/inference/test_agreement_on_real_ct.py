"""With the trained weights, tiles and crops of a real CT agree with its whole slices."""

from pathlib import Path

import nibabel as nib
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from custom_networks.inference import SliceStackInferer
from custom_networks.networks import ContextNet25D

pytestmark = pytest.mark.slow

WEIGHTS = Path(__file__).resolve().parents[2] / "bundle" / "models" / "model.pt"
SLICES = slice(15, 20)  # five slices through the liver


@pytest.fixture(scope="module")
def trained() -> ContextNet25D:
    if not WEIGHTS.is_file():
        pytest.skip(f"TRAINED WEIGHTS ABSENT: no {WEIGHTS}; train the bundle or fetch them to run this test")
    network = ContextNet25D()
    network.load_state_dict(torch.load(WEIGHTS, map_location="cpu", weights_only=True))
    return network.eval()


@pytest.fixture(scope="module")
def volume(shared_data: Path) -> Tensor:
    """Slices of a portal venous CT at 1.25 mm in-plane, intensities 0 to 1: `(1, 1, H, W, D)`."""
    image = nib.as_closest_canonical(nib.load(shared_data / "ct" / "full" / "cptac_c3l00189.nii.gz"))
    hounsfield = torch.from_numpy(image.get_fdata()[..., SLICES]).float().permute(2, 0, 1)[None]
    size = [round(n * float(mm) / 1.25) for n, mm in zip(image.shape[:2], image.header.get_zooms()[:2])]
    resampled = F.interpolate(hounsfield, size=size, mode="bilinear", antialias=True)
    return ((resampled.clip(-160, 240) + 160) / 400).permute(0, 2, 3, 1)[None]


def organ(volume: Tensor, network: ContextNet25D, **options: object) -> Tensor:
    """Whether each voxel is liver or tumor: `(H, W, D)`."""
    logits = SliceStackInferer(precision="float32", compact=False, **options)(volume, network)  # type: ignore[arg-type]
    return logits[0].argmax(0) > 0


def dice(a: Tensor, b: Tensor) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture(scope="module")
def whole(volume: Tensor, trained: ContextNet25D) -> Tensor:
    mask = organ(volume, trained)
    assert mask.sum() > 5 * 2000, "hardly any liver found: nothing to compare"
    return mask


def test_tiles_agree_with_whole_slices(volume: Tensor, trained: ContextNet25D, whole: Tensor) -> None:
    assert dice(organ(volume, trained, roi_size=(256, 256)), whole) >= 0.995


@pytest.mark.parametrize("grid, least", [(16, 0.995), (1, 0.99)])  # off the grid .9936: decision 0007
def test_a_crop_around_the_organ_agrees_with_whole_slices(
    grid: int, least: float, volume: Tensor, trained: ContextNet25D, whole: Tensor
) -> None:
    """A crop that starts at a multiple of the stride has the same deep pixels as the whole slice; others do not."""
    rows, columns = whole.any(dim=2).any(dim=1).nonzero(), whole.any(dim=2).any(dim=0).nonzero()
    margin = 24  # 30 mm
    starts = [max(0, int(along.min()) - margin) // grid * grid for along in (rows, columns)]
    box = tuple(slice(start, int(along.max()) + margin + 1) for start, along in zip(starts, (rows, columns)))
    crop = volume[:, :, box[0], box[1]]
    assert crop.shape[2] < volume.shape[2] and crop.shape[3] < volume.shape[3]
    assert dice(organ(crop, trained), whole[box]) >= least
