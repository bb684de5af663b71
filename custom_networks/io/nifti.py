"""NIfTI through nibabel: the affine by its rules, the voxels in slabs that never become one float64 array."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import replace
from io import IOBase
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import NO_AFFINE
from custom_networks.io.slabs import slabs_of, volume_of
from custom_networks.io.volume import Volume

DISAGREEMENT_MM = 1.0


def read_nifti(path: Path, lowest: float | None) -> Volume:
    """Read a .nii or .nii.gz file with its scaling applied; values under `lowest` are set to it.

    Raises:
        InputError: no NIfTI, damaged or cut off, not 3D, no sform and no qform, or values that are no finite numbers.
    """
    image = _open_nifti(path)
    affine = coded_affine(image, path)
    slabs = _slabs_to_the_end(path, type(image))
    try:
        volume = volume_of(image.dataobj, affine, slabs, source=path, lowest=lowest)
    except InputError:
        raise
    except Exception as error:  # gzip, zlib, nibabel and NumPy each have their own for bytes that are not there
        raise InputError(
            f"{path} cannot be read to its end, it is damaged or incomplete ({one_line(error)}): copy it again."
        ) from error
    return replace(volume, notes=volume.notes + form_notes(image))


def nifti_geometry(path: Path) -> bytes:
    """Shape and affine as the header says them; InputError where it cannot be read."""
    image = _open_nifti(path)
    return repr((image.shape, np.asarray(image.affine, np.float64).tolist())).encode()


def _open_nifti(path: Path) -> nib.Nifti1Image:
    """The image with its header alone read; anything that nibabel takes for another format is refused."""
    try:
        image = nib.load(path)
    except Exception as error:  # arbitrary bytes: nibabel has no common error
        raise InputError(f"{path} is not a readable NIfTI file ({one_line(error)}): export the image again.") from error
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(f"{path} is not a NIfTI file but {type(image).__name__}: export the image again.")
    return image


def coded_affine(image: nib.Nifti1Image, path: Path) -> np.ndarray:
    """The (4, 4) RAS affine of the sform, else of the qform; InputError with neither: programs guess differently."""
    if not int(image.header["sform_code"]) and not int(image.header["qform_code"]):
        raise InputError(
            f"{path} {NO_AFFINE} (sform and qform codes are both 0, so its place and direction in the patient are "
            "unknown): export the image again with its geometry."
        )
    return np.asarray(image.affine, dtype=np.float64)


def form_notes(image: nib.Nifti1Image) -> tuple[str, ...]:
    """A note when sform and qform place a corner of the volume at different points: programs use one or the other."""
    sform, qform = image.header.get_sform(coded=True)[0], image.header.get_qform(coded=True)[0]
    if sform is None or qform is None or len(image.shape) < 3:
        return ()
    corners = np.array(np.meshgrid(*((0, size - 1) for size in image.shape[:3]))).reshape(3, -1)
    distance = np.linalg.norm((sform - qform)[:3] @ np.vstack([corners, np.ones(8)]), axis=0).max()
    if not distance > DISAGREEMENT_MM:
        return ()
    return (f"sform and qform differ by up to {distance:.1f} mm: the sform was used.",)


def _slabs_to_the_end(path: Path, image_class: type[nib.Nifti1Image]) -> Iterator[np.ndarray]:
    """The scaled voxels, a few slices at a time; then the rest of the file, so that gzip compares its checksum."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with cast(IOBase, opener(path, "rb")) as stream:
        voxels = cast(ArrayProxy, image_class.from_stream(stream).dataobj)
        yield from slabs_of(voxels.reshape(voxels.shape[:3]))
        while stream.read(1 << 20):
            continue
