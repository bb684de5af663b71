"""Strict reader for NIfTI headers: nibabel decodes them, but values that it would guess or repair are refused."""

import gzip
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import NO_AFFINE, spatial_shape
from custom_networks.io.header_fields import not_readable, unit_note
from custom_networks.io.image_header import ImageHeader
from custom_networks.io.stored_voxels import StoredVoxels

DISAGREEMENT_MM = 1.0
UNIT_BITS = 0x07
UNITS = {0: ("", 1.0), 1: ("metres", 1000.0), 2: ("", 1.0), 3: ("micrometres", 1e-3)}
PLACING = (
    *("sform_code", "qform_code", "pixdim", "quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y"),
    *("qoffset_z", "srow_x", "srow_y", "srow_z"),
)
LENGTHS = ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")
QUIET = logging.Logger("nibabel's checks", logging.CRITICAL)
LARGEST_EXTENSION = 1 << 28  # bytes between header and voxels


def nifti_header(path: Path) -> ImageHeader:
    """Read the header of a .nii or .nii.gz file; raises InputError if it is damaged or ambiguous."""
    compressed = path.name.lower().endswith(".gz")
    header = _decoded(path, compressed)
    shape, notes = spatial_shape(header.get_data_shape(), path)
    affine, fields, geometry_notes = nifti_geometry(header, path)
    slope, inter = _scaling(header, path)
    start = _voxel_start(header, path)
    voxels = StoredVoxels(
        path,
        (path,),
        shape,
        header.get_data_dtype(),
        "gzip" if compressed else "raw",
        offset=0 if compressed else start,
        skip=start if compressed else 0,
    )
    return ImageHeader(affine, voxels, slope, inter, notes + geometry_notes, fields)


def nifti_geometry(
    header: nib.Nifti1Header, path: Path, given: np.ndarray | None = None
) -> tuple[np.ndarray, Mapping[str, Any], tuple[str, ...]]:
    """Return the affine of a header, from its sform or else its qform, with the fields that define it and notes.

    Args:
        header: the header as read; not modified.
        path: the file, for messages.
        given: affine of an image in memory, in the header's unit, which overrides the header's affine.

    Returns:
        The (4, 4) affine to RAS mm, the header fields that define it (lengths in mm), and notes.

    Raises:
        InputError: the header has neither sform nor qform, only a qform that is not valid, or an unknown unit.
    """
    if header["sform_code"] <= 0 and header["qform_code"] <= 0:
        raise InputError(
            f"{path} {NO_AFFINE} (neither sform nor qform is set, so its position and orientation relative to "
            "the patient are unknown): export the image again with its geometry."
        )
    unit = int(header["xyzt_units"]) & UNIT_BITS
    if unit not in UNITS:
        raise not_readable(path, f"xyzt_units {unit} is not a unit of length")
    header, (name, scale) = header.copy(), UNITS[unit]
    if scale != 1:
        for field in LENGTHS:
            header[field] = header[field] * scale
        header["pixdim"][1:4] *= scale
    header["pixdim"][0] = header["pixdim"][0] or 1  # the standard says that 0 means 1
    sform = header.get_sform() if header["sform_code"] > 0 else None
    qform = _qform(header, path) if header["qform_code"] > 0 else None
    affine = np.array(qform if sform is None else sform, np.float64)
    if given is not None:
        affine = np.diag([scale, scale, scale, 1.0]) @ given
    fields = {field: np.array(header[field]) for field in PLACING}
    return affine, fields, unit_note(name) + _form_notes(header, sform, qform)


def _qform(header: nib.Nifti1Header, path: Path) -> np.ndarray:
    """Return the qform's affine; if it is not valid, NaNs if there is an sform, else InputError is raised."""
    pixdim = np.array(header["pixdim"][:4], np.float64)
    try:
        if abs(pixdim[0]) != 1 or not (np.isfinite(pixdim).all() and (pixdim[1:] > 0).all()):
            raise ValueError(f"its qform has pixdim {' '.join(f'{step:g}' for step in pixdim)}")
        return cast(np.ndarray, header.get_qform())
    except ValueError as error:  # also HeaderDataError, for quaternions longer than 1
        if header["sform_code"] > 0:
            return np.full((4, 4), np.nan)
        raise not_readable(path, one_line(error)) from error


def _form_notes(header: nib.Nifti1Header, sform: np.ndarray | None, qform: np.ndarray | None) -> tuple[str, ...]:
    """Return a note if there are both forms, and they disagree about the volume's corners or the qform is not valid."""
    shape = header.get_data_shape()
    if sform is None or qform is None or len(shape) < 3:
        return ()
    if not np.isfinite(qform).all():
        return ("The qform is not valid: the sform was used.",)
    corners = np.array(np.meshgrid(*((0, size - 1) for size in shape[:3]))).reshape(3, -1)
    distance = np.linalg.norm(apply_affine(sform - qform, corners.T), axis=1).max()
    note = f"sform and qform differ by up to {distance:.1f} mm: the sform was used."
    return (note,) if distance > DISAGREEMENT_MM else ()


def _decoded(path: Path, compressed: bool) -> nib.Nifti1Header:
    """Read nibabel's header without its repairs, which would for example change a pixdim of 0 to 1."""
    try:
        with gzip.open(path, "rb") if compressed else path.open("rb") as stream:
            start = stream.read(nib.Nifti2Header.sizeof_hdr)
        kinds = [kind for kind in (nib.Nifti1Header, nib.Nifti2Header) if kind.may_contain_header(start)]
        if not kinds:
            raise ValueError("it does not begin like a NIfTI file")
        header = kinds[0](start[: kinds[0].sizeof_hdr], check=False)
        header.copy().check_fix(QUIET, error_level=40)
        if not 1 <= header["dim"][0] <= 7:
            raise ValueError(f"{header['dim'][0]} dimensions")
        header.get_data_dtype()
    except Exception as error:  # gzip, zlib and nibabel have no common error for arbitrary bytes
        raise not_readable(path, one_line(error)) from error
    return header


def _scaling(header: nib.Nifti1Header, path: Path) -> tuple[float, float]:
    """Return slope and intercept; a slope of 0 or NaN means no scaling, as in the standard and in nibabel."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if slope == 0 or np.isnan(slope):
        return 1.0, 0.0
    if not np.isfinite([slope, inter]).all():
        raise not_readable(path, f"scl_slope {slope:g} and scl_inter {inter:g} must be finite")
    return slope, inter


def _voxel_start(header: nib.Nifti1Header, path: Path) -> int:
    """Return the offset of the voxels in the (unpacked) file, which is at least header size + 4."""
    start, least = float(header["vox_offset"]), header.sizeof_hdr + 4
    if bytes(header["magic"].item())[:2] != b"n+":
        raise not_readable(path, "it is the header of a pair (.hdr and .img), but a single file is needed")
    if not (least <= start <= LARGEST_EXTENSION and start.is_integer()):
        raise not_readable(path, f"vox_offset is {start:g}, but must be at least {least} in a single file")
    return int(start)
