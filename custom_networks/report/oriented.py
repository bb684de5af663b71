"""A case reoriented for display, with its axes as close as possible to the patient's right, anterior and superior."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from custom_networks.io.volume import Volume
from custom_networks.labelmap.boxes import Box
from custom_networks.labelmap.labels import Floats, Labels, Numbers
from custom_networks.report.measurements import Measurements
from custom_networks.report.organ_region import RAS_TO_LPS, OrganRegion

Point = tuple[float, float, float]


@dataclass(frozen=True, eq=False)
class OrientedCase:
    """Reoriented views (not copies) of a case's arrays.

    Attributes:
        hu: (x, y, z) whole image in HU.
        labels: (x, y, z) labels in `box`: 0 background, 1 liver, 2 tumor.
        numbers: (x, y, z) lesion ids in `box`, 0 outside lesions.
        box: position of labels and numbers in the image.
        affine: (4, 4) affine, index (x, y, z) to RAS mm.
        spacing: distances between voxels along x, y and z, in mm.
        slice_axis: the axis perpendicular to the slices; 2 for axial slices.
    """

    hu: npt.NDArray[np.generic]
    labels: Labels
    numbers: Numbers
    box: Box
    affine: Floats
    spacing: Floats
    slice_axis: int

    def index_of(self, place: Point) -> Floats:
        """Return the fractional voxel index (3,) of a point in LPS mm."""
        ras = np.append(np.asarray(place) * RAS_TO_LPS, 1.0)
        return np.asarray(np.linalg.solve(self.affine, ras)[:3])


def oriented(ct: Volume, region: OrganRegion, measured: Measurements) -> OrientedCase:
    """Reorient a CT, its liver region and its lesions to the axes closest to the patient's."""
    orientation = io_orientation(ct.affine)
    axes = np.argsort(orientation[:, 0])  # file axes that correspond to x, y and z
    sides = [
        slice(size - part.stop, size - part.start) if flip < 0 else part
        for part, size, flip in zip(region.box, region.shape, orientation[:, 1], strict=True)
    ]
    hu, labels, numbers = (apply_orientation(a, orientation) for a in (ct.array, region.labels, measured.numbers))
    x, y, z = (sides[axis] for axis in axes)
    return OrientedCase(
        hu=hu,
        labels=labels,
        numbers=numbers,
        box=(x, y, z),
        affine=ct.affine @ inv_ornt_aff(orientation, ct.array.shape),
        spacing=np.asarray(ct.spacing)[axes],
        slice_axis=int(orientation[ct.slice_axis, 0]),
    )
