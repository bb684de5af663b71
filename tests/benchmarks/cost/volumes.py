"""Synthetic scans of any length, the same for every row and on every machine."""

import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt

from custom_networks.files import atomic_write
from custom_networks.phantom import make_phantom

SEED = 7
NOISE = 10  # HU, so that neighbouring pixels differ and the file is as hard to inflate as a real one


@dataclass(frozen=True)
class Scan:
    """A scan by its size: `slices` of `side` x `side` pixels, spacing in mm; the abdomen takes `abdomen` slices."""

    side: int
    slices: int
    spacing: tuple[float, float, float]
    abdomen: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels (i, j, k)."""
        return self.side, self.side, self.slices

    @property
    def name(self) -> str:
        """Name of the scan's file."""
        return f"scan_{self.side}x{self.side}x{self.slices}"

    def of_length(self, slices: int) -> "Scan":
        """The same body with fewer or more slices."""
        return replace(self, slices=slices)


MAIN = Scan(512, 130, (0.7, 0.7, 1.6), 130)
TINY = Scan(64, 12, (1.4, 1.4, 4.0), 12)


def abdomen(scan: Scan, folder: Path) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]:
    """HU and labels of the phantom at half the in-plane resolution, made once and kept in `folder`."""
    kept = folder / f"abdomen_{scan.side}_{scan.abdomen}.npz"
    if not kept.is_file():
        shape = (scan.side // 2, scan.side // 2, scan.abdomen)
        spacing = (2 * scan.spacing[0], 2 * scan.spacing[1], scan.spacing[2])
        phantom = make_phantom(SEED, shape=shape, spacing=spacing, lesions=4)
        with atomic_write(kept) as temporary, temporary.open("wb") as stream:
            np.savez_compressed(stream, image=phantom.image, label=phantom.label)
    with np.load(kept) as arrays:
        return arrays["image"], arrays["label"]


def write_scan(scan: Scan, folder: Path) -> Path:
    """Write a scan as .nii.gz (int16 HU) and its truth beside it (`_label`), unless they exist; return its path.

    A shorter scan is the middle of the phantom; in a longer one, the end slices are repeated on both sides, with
    independent noise. They contain no liver.
    """
    path = folder / f"{scan.name}.nii.gz"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    image, label = abdomen(scan, folder)
    before = (scan.slices - scan.abdomen) // 2
    source = np.clip(np.arange(scan.slices) - before, 0, scan.abdomen - 1)
    truth = np.array(label[:, :, source])
    truth[:, :, (source == 0) | (source == scan.abdomen - 1)] *= scan.slices <= scan.abdomen
    rng = np.random.default_rng(SEED)
    voxels = np.empty(scan.shape, np.int16, order="F")
    for k, s in enumerate(source):
        noise = NOISE * rng.standard_normal((scan.side, scan.side), dtype=np.float32)
        voxels[:, :, k] = image[:, :, s].repeat(2, 0).repeat(2, 1) + noise.astype(np.int16)
    save(folder / f"{scan.name}_label.nii.gz", truth.repeat(2, 0).repeat(2, 1), scan)
    save(path, voxels, scan)
    return path


def save(path: Path, voxels: npt.NDArray[np.generic], scan: Scan) -> None:
    """Write voxels (i, j, k) in the scanner's orientation: i to the left, j to the back, k to the head."""
    image = nib.Nifti1Image(voxels, np.diag([-scan.spacing[0], -scan.spacing[1], scan.spacing[2], 1.0]))
    image.header.set_xyzt_units("mm")
    with atomic_write(path) as temporary:  # at gzip's fastest, as exports are
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=1, mtime=0))
