"""The distance of a lesion from the liver's surface, and the liver tissue around a lesion."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import cKDTree

from custom_networks.labelmap.labels import LIVER, TUMOR, Floats, Labels, Mask

RING_GAP_MM = 2.0
RING_MM = 10.0


class Surface:
    """The surface of liver and lesions, represented by the background voxels that share a face with them.

    There is no surface where the array's border cuts the liver off.

    Args:
        labels: label map (i, j, k).
        to_mm: (3, 3); each column is the step in mm of one index.
    """

    def __init__(self, labels: Labels, to_mm: Floats) -> None:
        self._labels, self._to_mm = labels, to_mm

    @cached_property
    def _voxels(self) -> npt.NDArray[np.int64]:
        """Indices (n, 3) of the surface's voxels, computed on first use because most livers have no lesions."""
        return np.argwhere(ndimage.binary_dilation(self._labels > 0) & (self._labels == 0))

    @cached_property
    def _tree(self) -> cKDTree | None:
        return cKDTree(self._voxels @ self._to_mm.T) if len(self._voxels) else None

    def distance_mm(self, lesion: Mask, start: npt.ArrayLike = (0, 0, 0)) -> float | None:
        """Return the distance in mm from a lesion to the nearest background, or None if there is no surface.

        It is measured from face to face of the lesion voxel and the background voxel whose centres are closest, along
        the line between these centres, and is 0 if the two voxels share a face.

        Args:
            lesion: mask (i, j, k) with at least one voxel.
            start: index of the mask's first voxel in the label map.
        """
        if self._tree is None:
            return None
        # Only voxels on the lesion's own surface can be the nearest to anything outside it.
        voxels = np.argwhere(lesion & ~ndimage.binary_erosion(lesion)) + np.asarray(start)
        between_centres, nearest = self._tree.query(voxels @ self._to_mm.T)
        closest = int(between_centres.argmin())
        way = self._to_mm @ (self._voxels[nearest[closest]] - voxels[closest]) / between_centres[closest]
        # Subtract half a voxel at each end, along the connecting line, to measure from face to face.
        return max(0.0, float(between_centres[closest] - np.abs(way @ self._to_mm).max()))


def liver_around(labels: Labels, lesion: Mask, spacing: Sequence[float]) -> Mask:
    """Return a mask of the liver voxels within `RING_MM` of a lesion and more than `RING_GAP_MM` from every lesion.

    The gap leaves out edges blurred by partial volume, which are neither liver nor lesion.

    Args:
        labels: label map that extends `RING_MM` beyond the lesion, or to the border of the image.
        lesion: mask of the same shape.
        spacing: voxel spacing, mm; distances are measured between voxel centres.
    """
    near = ndimage.distance_transform_edt(~lesion, sampling=spacing) <= RING_MM
    clear = ndimage.distance_transform_edt(labels != TUMOR, sampling=spacing) > RING_GAP_MM
    return np.asarray((labels == LIVER) & near & clear)
