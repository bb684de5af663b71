"""From a file to a volume; one reader per format, chosen by what the file is, and no fallback to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import label_map
from custom_networks.io.files import MEDICAL_SUFFIXES, is_dicom, medical_suffix
from custom_networks.io.itk_image import itk_geometry, read_itk
from custom_networks.io.nifti import nifti_geometry, read_nifti
from custom_networks.io.volume import Volume

NIFTI = (".nii", ".nii.gz")


def read_label_map(path: str | Path) -> Volume:
    """Read a label map (0 background, 1 liver, 2 tumor) from a NIfTI, NRRD or MetaImage file as uint8 (i, j, k).

    Raises:
        InputError: as for `read_volume`, or a value is none of the three labels; a constant map is fine.
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
    """Read one file by its ending; values under `lowest` are set to it. InputError where it is no volume."""
    suffix = _suffix(path)
    return read_nifti(path, lowest) if suffix in NIFTI else read_itk(path, lowest)


def read_geometry(path: Path) -> bytes:
    """What a file's header says of its shape and affine; InputError where it cannot be read."""
    suffix = _suffix(path)
    return nifti_geometry(path) if suffix in NIFTI else itk_geometry(path)


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
