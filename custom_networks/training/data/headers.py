"""Read NIfTI headers before training starts, without loading voxels."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from custom_networks.errors import InputError


def nifti_grid(path: str | Path) -> tuple[tuple[int, ...], np.ndarray] | None:
    """Shape and affine (4, 4; voxel indices to RAS mm) from a NIfTI file's header; None for other and missing files.

    The checks of `custom_networks.io` are made later, when the case is loaded.

    Raises:
        InputError: the file has a NIfTI suffix but cannot be read as NIfTI.
    """
    path = Path(path)
    if not (path.name.lower().endswith((".nii", ".nii.gz")) and path.is_file()):
        return None
    try:
        image: Any = nib.load(path)
    except Exception as error:  # nibabel has no common error for arbitrary bytes
        raise InputError(f"{path} is not a readable NIfTI file ({error}): copy it again.") from error
    return tuple(int(size) for size in image.shape), np.asarray(image.affine, dtype=np.float64)
