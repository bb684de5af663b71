"""NRRD and MetaImage through ITK, turned from ITK's (k, j, i) and LPS to (i, j, k) and RAS."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import NO_AFFINE, spatial_shape
from custom_networks.io.slabs import volume_of
from custom_networks.io.volume import Volume

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What ITK fills with spacing 1, an identity direction or LPS, without a word, when the header lacks it.
SPACE = rb"^space:\s*(right-anterior-superior|RAS|left-anterior-superior|LAS|left-posterior-superior|LPS)\s*$"
NRRD_FIELDS = {"space": SPACE, "space directions": rb"^space directions:"}
METAIMAGE_FIELDS = {
    "ElementSpacing": rb"^Element(Spacing|Size)\b",
    "TransformMatrix": rb"^(TransformMatrix|Orientation|Rotation)\b",
}
PLACE = rb"TransformMatrix|Orientation|Rotation|Offset|Origin|Position"
GEOMETRY_LINES = rb"^(?:size|space|DimSize|ElementSpacing|ElementSize|" + PLACE + rb").*$"
GEOMETRY_FIELDS = {
    ".nrrd": NRRD_FIELDS,
    ".nhdr": NRRD_FIELDS,
    ".mha": METAIMAGE_FIELDS,
    ".mhd": METAIMAGE_FIELDS,
}


def read_itk(path: Path, lowest: float | None) -> Volume:
    """Read a .nrrd, .nhdr, .mha or .mhd file; values under `lowest` are set to it.

    Raises:
        InputError: unreadable, damaged or cut off, not 3D, several channels, no geometry in the header, or values that
            are no finite numbers.
    """
    image, whole = _itk_image(path)
    return volume_of(_stored_array(image), _ras_affine(image), source=path, lowest=lowest, whole_numbers=whole)


def itk_geometry(path: Path) -> bytes:
    """The lines of the header that say shape and place."""
    return b"\n".join(re.findall(GEOMETRY_LINES, _header_text(path), re.IGNORECASE | re.MULTILINE))


def _itk_image(path: Path) -> tuple[Any, bool]:
    """ITK's image, and whether its voxels are integers."""
    import itk  # here, for it takes a second

    header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if header is None:
        raise InputError(f"{path} is not a readable {path.suffix[1:].upper()} file: export the image again.")
    try:
        header.SetFileName(str(path))
        header.ReadImageInformation()
        _check_header(header, path)
        component = header.GetComponentTypeAsString(header.GetComponentType())
        # ITK's wheels hold no images of int8 or 64-bit integers; float64 keeps these whole.
        wrapped = component in ("unsigned_char", "short", "unsigned_short", "int", "unsigned_int", "float", "double")
        image = itk.imread(str(path)) if wrapped else itk.imread(str(path), itk.D)
    except RuntimeError as error:
        raise InputError(f"{path} is damaged or incomplete ({_itk_reason(error)}): copy it again.") from error
    return image, component not in ("float", "double")


def _check_header(header: Any, path: Path) -> None:
    """Refuse what is not one 3D volume of single values, or has no geometry of its own."""
    spatial_shape(tuple(header.GetDimensions(axis) for axis in range(header.GetNumberOfDimensions())), path)
    channels = header.GetNumberOfComponents()
    if channels != 1:
        raise InputError(f"{path} holds {channels} values per voxel, one is needed: save one channel.")
    text = _header_text(path)
    for field, pattern in GEOMETRY_FIELDS[path.suffix.lower()].items():
        if not re.search(pattern, text, re.IGNORECASE | re.MULTILINE):
            raise InputError(
                f"{path} {NO_AFFINE} (its header has no valid {field!r}): export the image again with its geometry."
            )


def _header_text(path: Path) -> bytes:
    """The text part of the file; a header line ends it, or an empty line does (NRRD)."""
    with path.open("rb") as stream:
        return stream.read(1 << 16).split(b"\n\n")[0].split(b"ElementDataFile")[0]


def _itk_reason(error: RuntimeError) -> str:
    """The last clause of ITK's report, which runs over many lines and starts with a place in its sources."""
    lines = [line for line in str(error).splitlines() if re.search("[a-z]", line) and not line.startswith("Reason:")]
    return one_line(lines[-1].split("): ")[-1]) if lines else "ITK gives no reason"


def _stored_array(image: Any) -> np.ndarray:
    """A view (i, j, k, ...) on the voxels, valid as long as `image` lives."""
    import itk

    array: np.ndarray = itk.array_view_from_image(image).view(np.ndarray)
    return array.T


def _ras_affine(image: Any) -> np.ndarray:
    """The (4, 4) voxel to RAS affine in mm."""
    import itk

    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection())[:3, :3] * list(image.GetSpacing())[:3]
    affine[:3, 3] = list(image.GetOrigin())[:3]
    return LPS_TO_RAS @ affine
