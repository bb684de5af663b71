"""NIfTI through nibabel: the affine by its rules, the voxels in slabs that never become one float64 array."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from io import IOBase
from pathlib import Path
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import NO_AFFINE, check_geometry, spatial_shape
from custom_networks.io.slabs import collect_slabs, slabs_of
from custom_networks.io.volume import Volume

DISAGREEMENT_MM = 1.0


def read_nifti(path: Path, lowest: float | None) -> Volume:
    """Read a .nii or .nii.gz file with its scaling applied; values under `lowest` are set to it.

    Raises:
        InputError: no NIfTI, damaged or cut off, not 3D, no sform and no qform, or values that are no finite numbers.
    """
    image = _open_nifti(path)
    return nifti_volume(image, _slabs_to_the_end(path, type(image)), path, lowest)


def nifti_geometry(path: Path) -> list[list[float]]:
    """The shape and the affine that the header says.

    Raises:
        InputError: it cannot be read.
    """
    image = _open_nifti(path)
    return [list(image.shape), *np.asarray(image.affine, np.float64).tolist()]


def nifti_volume(image: nib.Nifti1Image, slabs: Iterable[np.ndarray], path: Path, lowest: float | None) -> Volume:
    """An image, whose scaled voxels come as `slabs`, as a checked volume; `path` names it in errors.

    Raises:
        InputError: as `read_nifti`.
    """
    shape, notes = spatial_shape(image.shape, path)
    affine = _coded_affine(image, path)
    notes += check_geometry(shape, affine, path) + _form_notes(image, shape)
    dtype = cast(ArrayProxy, image.dataobj).dtype
    kind = dtype.kind
    if kind not in "iuf":
        raise InputError(f"{path} holds {dtype} voxels, plain numbers are needed: export the CT again.")
    whole = kind in "iu" and _scales_to_whole_numbers(image)
    try:
        array = collect_slabs(slabs, shape, whole_numbers=whole, lowest=lowest, source=path)
    except InputError:
        raise
    except Exception as error:  # gzip, zlib, nibabel and NumPy each have their own for bytes that are not there
        raise InputError(
            f"{path} cannot be read to its end, it is damaged or incomplete ({one_line(error)}): copy it again."
        ) from error
    return Volume(array, affine, notes, source=path)


def _open_nifti(path: Path) -> nib.Nifti1Image:
    """The image with its header alone read; anything that nibabel takes for another format is refused."""
    try:
        image = nib.load(path)
    except Exception as error:  # arbitrary bytes: nibabel has no common error
        raise InputError(f"{path} is not a readable NIfTI file ({one_line(error)}): export the image again.") from error
    if not isinstance(image, nib.Nifti1Image):
        raise InputError(f"{path} is not a NIfTI file but {type(image).__name__}: export the image again.")
    return image


def _coded_affine(image: nib.Nifti1Image, path: Path) -> np.ndarray:
    """The (4, 4) RAS affine of the sform, else of the qform; with neither, programs guess differently."""
    if not int(image.header["sform_code"]) and not int(image.header["qform_code"]):
        raise InputError(
            f"{path} {NO_AFFINE} (sform and qform codes are both 0, so its place and direction in the patient are "
            "unknown): export the image again with its geometry."
        )
    return np.asarray(image.affine, dtype=np.float64)


def _form_notes(image: nib.Nifti1Image, shape: tuple[int, int, int]) -> tuple[str, ...]:
    """A note when sform and qform place a corner of the volume at different points: programs use one or the other."""
    sform, qform = image.header.get_sform(coded=True)[0], image.header.get_qform(coded=True)[0]
    if sform is None or qform is None:
        return ()
    corners = np.array(np.meshgrid(*((0, size - 1) for size in shape))).reshape(3, -1)
    distance = np.linalg.norm((sform - qform)[:3] @ np.vstack([corners, np.ones(8)]), axis=0).max()
    if not distance > DISAGREEMENT_MM:
        return ()
    return (f"sform and qform differ by up to {distance:.1f} mm: the sform was used.",)


def _scales_to_whole_numbers(image: nib.Nifti1Image) -> bool:
    """Whether slope and intercept are whole numbers; nibabel moves them from the header to the array proxy."""
    return all(float(getattr(image.dataobj, name, 0)).is_integer() for name in ("slope", "inter"))


def scaled_slabs(image: nib.Nifti1Image) -> Iterator[np.ndarray]:
    """Yield the scaled voxels (i, j, n), a few slices at a time."""
    voxels = cast(ArrayProxy, image.dataobj)
    return slabs_of(voxels.reshape(image.shape[:3]))


def _slabs_to_the_end(path: Path, image_class: type[nib.Nifti1Image]) -> Iterator[np.ndarray]:
    """The slabs of a file, which is then read to its end, so that gzip compares its checksum."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with cast(IOBase, opener(path, "rb")) as stream:
        yield from scaled_slabs(image_class.from_stream(stream))
        while stream.read(1 << 20):
            continue
