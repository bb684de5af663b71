"""Lesions of a label map drawn by a person: every component of tumor is a lesion, regardless of its size."""

import numpy as np
from scipy import ndimage

from custom_networks.labelmap.boxes import NOWHERE, box_around, moved_box
from custom_networks.labelmap.components import NEIGHBOURS_26
from custom_networks.labelmap.grid import voxel_mm3
from custom_networks.labelmap.labels import TUMOR, Floats, Labels, Numbers
from custom_networks.labelmap.lesions import FoundLesion, Lesions


def given_lesions(labels: Labels, affine: Floats) -> tuple[Numbers, tuple[FoundLesion, ...]]:
    """Return a map (i, j, k) of lesion numbers, 1 for the largest, and the lesions, without probability or confidence.

    Lesions are the connected components of tumor (26-neighbourhood).
    """
    organ = box_around(labels) or NOWHERE
    tight = box_around(labels[organ] == TUMOR)
    box = moved_box(tight, organ) if tight else NOWHERE
    numbers, count = ndimage.label(labels[box] == TUMOR, NEIGHBOURS_26)
    voxels = np.bincount(numbers.ravel(), minlength=count + 1)[1:].astype(np.float64)
    nothing = np.zeros(count)
    # Rounded as in `list_lesions`, so that lesions of equal volume get the same order.
    found = Lesions(box, numbers, np.round(voxels * voxel_mm3(affine), 6), nothing, nothing, nothing)
    ordered = found.largest_first(np.ones(count, bool))
    volumes = enumerate(ordered.volume_mm3.tolist(), start=1)
    return ordered.number_map(labels.shape), tuple(FoundLesion(number, mm3, None, None) for number, mm3 in volumes)
