"""A trunk of simple shapes, 360 x 280 x 200 mm, with liver, spine and aorta, and its mask, as files."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SHAPE, SPACING = (90, 70, 40), (4.0, 4.0, 5.0)
LIVER_ML = 4 / 3 * np.pi * 7.5 * 6.5 * 6.0  # of the ellipsoid below


@dataclass(frozen=True)
class Body:
    """HU and labels (i, j, k) to the patient's right, front and head, and the voxel size in mm."""

    hu: Array
    labels: Array
    spacing: tuple[float, float, float] = SPACING

    def with_hu(self, change: Array) -> "Body":
        """The same mask with other intensities."""
        return replace(self, hu=change)

    def part(self, *slices: slice) -> "Body":
        """A part of the volume."""
        return replace(self, hu=self.hu[slices], labels=self.labels[slices])

    def save(self, folder: Path, name: str = "ct") -> tuple[Path, Path]:
        """Write both as NIfTI; return the paths of CT and mask."""
        folder.mkdir(parents=True, exist_ok=True)
        affine = np.diag([*self.spacing, 1.0])
        affine[:3, 3] = -180, -140, -500
        paths = folder / f"{name}.nii.gz", folder / f"{name}_mask.nii.gz"
        for path, array in zip(paths, (self.hu, self.labels), strict=True):
            nib.save(nib.Nifti1Image(array, affine), path)
        return paths


def places() -> tuple[Array, Array, Array]:
    """Coordinates of the voxels relative to the middle of the trunk, mm."""
    axes = [(np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(SHAPE, SPACING, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return x, y, z


def body(
    liver_hu: float = 110,
    aorta_hu: float = 150,
    liver_mm: tuple[float, float, float] = (75, 65, 60),
    noise: float = 8,
) -> Body:
    """A portal venous scan of a healthy liver of 1225 ml with one lesion of 4 ml."""
    x, y, z = places()
    hu = np.full(SHAPE, -1000.0)
    hu[(x / 165) ** 2 + (y / 115) ** 2 < 1] = -100
    hu[(x / 145) ** 2 + (y / 95) ** 2 < 1] = 45
    hu[np.hypot(x, y + 65) < 20] = 260
    hu[np.hypot(x + 12, y + 22) < 12] = aorta_hu
    a, b, c = liver_mm
    liver = ((x - 65) / a) ** 2 + ((y - 10) / b) ** 2 + (z / c) ** 2 < 1
    lesion = (x - 70) ** 2 + (y - 10) ** 2 + z**2 < 10**2
    hu[liver], hu[lesion & liver] = liver_hu, liver_hu - 50
    grain = np.random.default_rng(0).normal(0, noise, SHAPE)
    labels = liver.astype(np.uint8) + (lesion & liver)
    return Body(np.rint(hu + grain).clip(-1024).astype(np.int16), labels.astype(np.uint8))
