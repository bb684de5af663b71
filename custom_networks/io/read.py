"""From a path to a checked volume; one reader per format, chosen by what the file is, and no fallback to another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from custom_networks.errors import InputError, one_line
from custom_networks.io.checks import LOWEST_HU, check_ct_values, label_map
from custom_networks.io.dicom.read import read_dicom
from custom_networks.io.files import MEDICAL_SUFFIXES, is_dicom, is_zip, medical_suffix, split_number
from custom_networks.io.itk_image import read_itk
from custom_networks.io.nifti import read_nifti
from custom_networks.io.volume import Volume


def read_volume(path: str | Path) -> Volume:
    """Read one CT volume: a NIfTI, NRRD or MetaImage file, or a folder (of any depth) or zip archive of DICOM files.

    Of several DICOM series the fittest is taken, or the one named by its number in `liverseg series`: `exam.zip::2`.

    Returns:
        HU in (i, j, k): int16 (int32 where they do not fit) if the file holds whole numbers, else float32; padding
        below -1024 HU is set to -1024. The affine is in mm, RAS+.

    Raises:
        InputError: what is wrong with this input and what to do, in one sentence.
    """
    path = Path(path)
    source = _existing(split_number(path)[0])
    volume = read_dicom(path) if source.is_dir() or is_zip(source) else _read_file(_existing(path), LOWEST_HU)
    check_ct_values(volume.array, path)
    return volume


def read_label_map(path: str | Path) -> Volume:
    """Read a label map (0 background, 1 liver, 2 tumor) from a NIfTI, NRRD or MetaImage file as uint8 (i, j, k).

    Raises:
        InputError: as for `read_volume`, or a value is none of the three labels; a constant map is fine.
    """
    path = _existing(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, a label map is one file ({', '.join(MEDICAL_SUFFIXES)}): give that file."
        )
    volume = _read_file(path, None)
    return replace(volume, array=label_map(volume.array, path))


def _existing(path: str | Path) -> Path:
    """`path` as a Path to something that is there."""
    path = Path(path)
    try:
        path.stat()
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        raise InputError(f"No such file or folder: {one_line(path)}; check the path.") from error
    return path


def _read_file(path: Path, lowest: float | None) -> Volume:
    """Read one file by its ending; values under `lowest` are set to it."""
    suffix = medical_suffix(path)
    if suffix in (".nii", ".nii.gz"):
        return read_nifti(path, lowest)
    if suffix:
        return read_itk(path, lowest)
    if path.suffix.lower() == ".dcm" or is_dicom(path):
        raise InputError(f"{path} is a single DICOM file: give the folder of the series.")
    raise InputError(
        f"{path} has no known ending: a volume is a {', '.join(MEDICAL_SUFFIXES)} file or a folder of DICOM files."
    )
