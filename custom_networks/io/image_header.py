"""The checked header of a volume file, independent of its format."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from nibabel.volumeutils import apply_read_scaling

from custom_networks.io.stored_voxels import StoredVoxels

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class ImageHeader:
    """The geometry of one file and where its voxels are stored; the voxels themselves have not been read yet.

    Attributes:
        affine: (4, 4) float64, voxel index to patient coordinates in mm, RAS+.
        voxels: where the voxels are stored, with their shape and type.
        slope: factor for the stored values.
        inter: offset added after that.
        notes: what was converted or dropped, one sentence each.
        nifti_geometry: the fields of a NIfTI header that give the volume's position, lengths in mm; {} for other
            formats.
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
        """The scaled voxels (i, j, n), a few slices at a time: see `StoredVoxels.slabs`."""
        for slab in self.voxels.slabs(allow_large):
            yield apply_read_scaling(slab, np.float64(self.slope), np.float64(self.inter))
