"""Read a mask drawn or corrected by a person from NIfTI, NRRD, MetaImage or DICOM SEG."""

from hashlib import sha256
from pathlib import Path

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from custom_networks.errors import InputError
from custom_networks.io.dicom.seg_file import is_seg, read_seg
from custom_networks.io.files import MEDICAL_SUFFIXES, medical_suffix, regular_file
from custom_networks.io.image_files import existing, read_label_map
from custom_networks.io.volume import Volume
from custom_networks.labelmap.labels import Labels

SAME_GRID = 0.05  # voxels; affines may have been stored in single precision


def read_mask(path: str | Path, ct: Volume, allow_large: bool = False) -> tuple[Labels, str]:
    """Read a mask on the grid of its CT; return its labels (0 background, 1 liver, 2 tumor) and the file's SHA-256.

    The file's axes may be flipped or permuted, but its voxels must coincide with those of the CT. The labels have the
    axes and the shape of the CT. `allow_large` lifts the memory limits.

    Raises:
        InputError: the file cannot be read, is on another grid, or contains other labels.
    """
    path = existing(Path(path).expanduser())
    if medical_suffix(path):
        labels = on_grid_of(ct, read_label_map(path, allow_large=allow_large))
    elif is_seg(regular_file(path)):
        labels = read_seg(path, ct.affine, ct.array.shape)
    else:
        raise InputError(
            f"{path} is neither a DICOM SEG nor a label map: give a SEG of liver and tumors, or a "
            f"{', '.join(MEDICAL_SUFFIXES)} file."
        )
    with path.open("rb") as stream:
        return labels, sha256(stream.read()).hexdigest()


def on_grid_of(ct: Volume, mask: Volume) -> Labels:
    """Reorder the labels of a mask to the CT's axes; raises InputError if the two grids do not coincide."""
    turn = ornt_transform(io_orientation(mask.affine), io_orientation(ct.affine))
    labels = apply_orientation(mask.array, turn)
    affine = mask.affine @ inv_ornt_aff(turn, mask.array.shape)
    corners = np.array([[0, 0, 0, 1], [*(size - 1 for size in labels.shape), 1]]).T
    both = np.hstack([corners, np.vstack([np.eye(3) * np.array(labels.shape), np.ones(3)])])
    off = float(np.abs(np.linalg.solve(ct.affine, affine @ both) - both).max())
    if labels.shape != ct.array.shape or off > SAME_GRID:
        size, wanted = (" x ".join(map(str, shape)) for shape in (labels.shape, ct.array.shape))
        raise InputError(
            f"{mask.source} lies on another grid than {ct.source} ({size} voxels instead of {wanted}, up to {off:.2g} "
            "voxels off): save the mask on the CT's own grid, in 3D Slicer with the CT as reference volume."
        )
    return np.ascontiguousarray(labels)
