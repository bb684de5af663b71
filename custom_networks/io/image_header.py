"""Format-independent header of a volume file."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from nibabel.volumeutils import apply_read_scaling

from custom_networks.io.stored_voxels import StoredVoxels

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """Geometry of a volume, and where in its file or files the voxels are; they have not been read yet.

    Attributes:
        affine: (4, 4) float64, voxel index to RAS mm.
        voxels: location, shape and type of the voxels.
        slope: factor for the stored values.
        inter: offset added after multiplication by `slope`.
        notes: sentences about what was converted or dropped.
        nifti_geometry: NIfTI header fields that define the geometry, with lengths in mm; {} for other formats.
    """

    affine: np.ndarray
    voxels: StoredVoxels
    slope: float = 1.0
    inter: float = 0.0
    notes: tuple[str, ...] = ()
    nifti_geometry: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Sizes along (i, j, k)."""
        return self.voxels.shape

    @property
    def dtype(self) -> np.dtype:
        """Type of a stored voxel."""
        return self.voxels.dtype

    def slabs(self, allow_large: bool = False) -> Iterator[np.ndarray]:
        """Yield the scaled voxels (i, j, n), a few slices at a time; see `StoredVoxels.slabs`."""
        for slab in self.voxels.slabs(allow_large):
            yield apply_read_scaling(slab, np.float64(self.slope), np.float64(self.inter))
