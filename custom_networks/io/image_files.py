"""Read NIfTI, NRRD and MetaImage files, with one strict reader per format and no fallback to another one.

Affines map to RAS mm. Voxels are read in slabs, so that the whole volume never exists as float64.
"""

from dataclasses import replace
from pathlib import Path

from custom_networks.errors import InputError
from custom_networks.io.checks import label_map
from custom_networks.io.files import MEDICAL_SUFFIXES, file_status, is_dicom, medical_suffix, regular_file
from custom_networks.io.image_header import ImageHeader
from custom_networks.io.metaimage_header import metaimage_header
from custom_networks.io.nifti_header import nifti_header
from custom_networks.io.nrrd_header import nrrd_header
from custom_networks.io.volume import Volume, volume_of

HEADERS = {
    **dict.fromkeys((".nii", ".nii.gz"), nifti_header),
    **dict.fromkeys((".nrrd", ".nhdr"), nrrd_header),
    **dict.fromkeys((".mha", ".mhd"), metaimage_header),
}


def read_segment_map(path: str | Path) -> Volume:
    """Read a map of liver segments, 1 to 8 in the liver and 0 outside; see `read_label_map`."""
    return read_label_map(path, highest=8)


def read_label_map(path: str | Path, highest: int = 2, allow_large: bool = False) -> Volume:
    """Read a label map from a NIfTI, NRRD or MetaImage file as uint8 (i, j, k).

    Args:
        path: the file.
        highest: largest allowed label: 2 for liver (1) and tumor (2), 8 for the liver's segments; 0 is background.
        allow_large: whether to lift the memory limits.

    Raises:
        InputError: the file cannot be read (see `read_volume`), or a value is not a valid label.
    """
    path = existing(path)
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, but a label map is one file ({', '.join(MEDICAL_SUFFIXES)}): give that file."
        )
    volume = read_file(path, None, allow_large)
    return replace(volume, array=label_map(volume.array, path, highest))


def existing(path: str | Path) -> Path:
    """Return `path` as a Path; raises InputError if it does not exist or cannot be accessed."""
    file_status(Path(path))
    return Path(path)


def read_file(path: Path, lowest: float | None, allow_large: bool = False) -> Volume:
    """Read a volume file with the reader for its suffix; values below `lowest` are set to it unless it is None.

    `allow_large` lifts the memory limits.

    Raises:
        InputError: the file is unreadable, damaged, truncated, too large or not 3D, or it has several channels, no
            geometry in its header (NIfTI: neither sform nor qform), a geometry that `check_geometry` refuses, or values
            that are not finite.
    """
    header = read_header(path)
    slabs = header.slabs(allow_large)
    volume = volume_of(header, header.affine, slabs, source=path, lowest=lowest, allow_large=allow_large)
    return replace(volume, notes=header.notes + volume.notes, nifti_geometry=header.nifti_geometry)


def read_header(path: Path) -> ImageHeader:
    """Read and check the header of a file in the format of its suffix; raises InputError if it cannot be read."""
    suffix = medical_suffix(path)
    if suffix:
        try:
            return HEADERS[suffix](regular_file(path))
        except OSError as error:
            raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error
    if path.suffix.lower() == ".dcm" or is_dicom(regular_file(path)):
        raise InputError(
            f"{path} is a single DICOM file: give the folder of the series (a label map must be a "
            f"{', '.join(MEDICAL_SUFFIXES)} file)."
        )
    raise InputError(
        f"{path} has an unknown suffix: give a {', '.join(MEDICAL_SUFFIXES)} file or a folder of DICOM files."
    )
