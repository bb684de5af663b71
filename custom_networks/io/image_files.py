"""NIfTI through nibabel, NRRD and MetaImage through ITK: one reader a format, and no fallback to another.

A file gives its affine in RAS, and its voxels in slabs that never become one float64 array.
"""

import gzip
import re
from collections.abc import Iterator
from dataclasses import replace
from io import IOBase
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.arrayproxy import ArrayProxy

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import NO_AFFINE, label_map, spatial_shape
from custom_networks.io.files import MEDICAL_SUFFIXES, is_dicom, medical_suffix
from custom_networks.io.volume import Volume, slabs_of, volume_of

NIFTI = (".nii", ".nii.gz")
DISAGREEMENT_MM = 1.0
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
# What ITK fills with spacing 1, an identity direction or LPS, without a word, when the header lacks it.
NRRD_FIELDS = {
    "space": rb"^space:\s*(right-anterior-superior|RAS|left-anterior-superior|LAS|left-posterior-superior|LPS)\s*$",
    "space directions": rb"^space directions:",
}
METAIMAGE_FIELDS = {
    "ElementSpacing": rb"^Element(Spacing|Size)\b",
    "TransformMatrix": rb"^(TransformMatrix|Orientation|Rotation)\b",
}
PLACE = rb"TransformMatrix|Orientation|Rotation|Offset|Origin|Position"
GEOMETRY_LINES = rb"^(?:size|space|DimSize|ElementSpacing|ElementSize|" + PLACE + rb").*$"


def read_label_map(path: str | Path) -> Volume:
    """Read a label map (0 background, 1 liver, 2 tumor) from a NIfTI, NRRD or MetaImage file as uint8 (i, j, k).

    InputError as for `read_volume`, or where a value is none of the three labels; a constant map is fine.
    """
    path = existing(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, a label map is one file ({', '.join(MEDICAL_SUFFIXES)}): give that file."
        )
    volume = read_file(path, None)
    return replace(volume, array=label_map(volume.array, path))


def existing(path: str | Path) -> Path:
    """`path` as a Path to something that is there; InputError where there is nothing."""
    path = Path(path)
    try:
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(f"No such file or folder: {one_line(path)}; check the path.") from error
    return path


def read_file(path: Path, lowest: float | None) -> Volume:
    """Read one file by its ending; values under `lowest` are set to it.

    InputError where it is unreadable, damaged or cut off, not 3D, has several channels, no geometry in its header (in
    NIfTI neither sform nor qform), or values that are no finite numbers.
    """
    if _suffix(path) in NIFTI:
        return _read_nifti(path, lowest)
    import itk  # here, for it takes a second

    image, whole = _itk_image(path)
    array = itk.array_view_from_image(image).view(np.ndarray).T  # ITK's (k, j, i): valid as long as `image` lives
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection())[:3, :3] * list(image.GetSpacing())[:3]
    affine[:3, 3] = list(image.GetOrigin())[:3]
    return volume_of(array, LPS_TO_RAS @ affine, source=path, lowest=lowest, whole_numbers=whole)


def header_geometry(path: Path) -> bytes:
    """What a file's header says of its shape and affine; InputError where it cannot be read."""
    if _suffix(path) in NIFTI:
        image = _open_nifti(path)
        return repr((image.shape, np.asarray(image.affine, np.float64).tolist())).encode()
    return b"\n".join(re.findall(GEOMETRY_LINES, _header_text(path), re.IGNORECASE | re.MULTILINE))


def _suffix(path: Path) -> str:
    """The medical ending of a file that exists."""
    suffix = medical_suffix(existing(path))
    if suffix:
        return suffix
    if path.suffix.lower() == ".dcm" or is_dicom(path):
        raise InputError(f"{path} is a single DICOM file: give the folder of the series.")
    raise InputError(
        f"{path} has no known ending: a volume is a {', '.join(MEDICAL_SUFFIXES)} file or a folder of DICOM files."
    )


def _read_nifti(path: Path, lowest: float | None) -> Volume:
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
    distance = np.linalg.norm(apply_affine(sform - qform, corners.T), axis=1).max()
    note = f"sform and qform differ by up to {distance:.1f} mm: the sform was used."
    return (note,) if distance > DISAGREEMENT_MM else ()


def _slabs_to_the_end(path: Path, image_class: type[nib.Nifti1Image]) -> Iterator[np.ndarray]:
    """The scaled voxels, a few slices at a time; then the rest of the file, so that gzip compares its checksum."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with cast(IOBase, opener(path, "rb")) as stream:
        voxels = cast(ArrayProxy, image_class.from_stream(stream).dataobj)
        yield from slabs_of(voxels.reshape(voxels.shape[:3]))
        while stream.read(1 << 20):
            continue


def _itk_image(path: Path) -> tuple[Any, bool]:
    """ITK's image, and whether its voxels are integers."""
    import itk

    header = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if header is None:
        raise InputError(f"{path} is not a readable {path.suffix[1:].upper()} file: export the image again.")
    try:
        header.SetFileName(str(path))
        header.ReadImageInformation()
        _check_itk_header(header, path)
        component = header.GetComponentTypeAsString(header.GetComponentType())
        # ITK's wheels hold no images of int8 or 64-bit integers; float64 keeps these whole.
        wrapped = component in ("unsigned_char", "short", "unsigned_short", "int", "unsigned_int", "float", "double")
        image = itk.imread(str(path)) if wrapped else itk.imread(str(path), itk.D)
    except RuntimeError as error:
        raise InputError(f"{path} is damaged or incomplete ({_itk_reason(error)}): copy it again.") from error
    return image, component not in ("float", "double")


def _check_itk_header(header: Any, path: Path) -> None:
    """Refuse what is not one 3D volume of single values, or has no geometry of its own."""
    spatial_shape(tuple(header.GetDimensions(axis) for axis in range(header.GetNumberOfDimensions())), path)
    channels = header.GetNumberOfComponents()
    if channels != 1:
        raise InputError(f"{path} holds {channels} values per voxel, one is needed: save one channel.")
    text = _header_text(path)
    needed = NRRD_FIELDS if path.suffix.lower() in (".nrrd", ".nhdr") else METAIMAGE_FIELDS
    for field, pattern in needed.items():
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
