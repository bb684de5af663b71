"""Which files hold volumes, and what a case is called: by the names that the user gave, never by DICOM attributes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from custom_networks.errors import InputError, UsageError

MEDICAL_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
# Room for "_seg.nii.gz" and a temporary ending within the 255 bytes of a file name.
LONGEST_STEM = 128


def medical_suffix(path: Path) -> str:
    """The medical ending of a file name in lower case, or "" where it has none."""
    name = path.name.lower()
    return next((suffix for suffix in MEDICAL_SUFFIXES if name.endswith(suffix)), "")


def case_stem(path: str | Path) -> str:
    """A case's name: the file's or folder's name without its medical ending, safe as a name on any system.

    Characters outside [A-Za-z0-9._-] become "_", as do leading dots; it is never empty and at most 128 long. Two inputs
    can share one stem: who writes must keep them apart.
    """
    path = Path(path)
    name = (path if path.name not in ("", "..") else path.resolve()).name
    stem = name[: len(name) - len(medical_suffix(Path(name)))]
    stem = re.sub(r"[^A-Za-z0-9._-]", "_", stem)[:LONGEST_STEM]
    return re.sub(r"^\.+", "_", stem) or "case"


def is_dicom(path: Path) -> bool:
    """Whether a file starts with the DICOM preamble (128 bytes, then "DICM").

    Raises:
        InputError: the file cannot be opened; passed over, it could be a slice that nobody misses.
    """
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError as error:
        raise InputError(f"{path} cannot be opened ({error.strerror}): check its permissions.") from error


def dicom_files(folder: Path) -> list[Path]:
    """The DICOM files that lie directly in a folder, sorted by name; a DICOMDIR is an index, not an image."""
    return [path for path in visible_files(folder) if path.name.upper() != "DICOMDIR" and is_dicom(path)]


def visible_files(folder: Path) -> list[Path]:
    """The files directly in a folder, sorted by name, without hidden ones (macOS leaves "._" copies of every file).

    Raises:
        InputError: the folder cannot be listed.
    """
    try:
        return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder} cannot be listed ({error.strerror}): check its permissions.") from error


def find_volumes(folder: str | Path) -> list[Path]:
    """The volumes of a folder, sorted: its files with a medical ending, or the folder itself if it holds DICOM files.

    Raises:
        UsageError: no such folder, or nothing in it could be an image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}; give a folder of CT volumes.")
    files = visible_files(folder)
    if dicom_files(folder):
        return [folder]
    volumes = [path for path in files if medical_suffix(path)]
    if not volumes:
        looked = f"{len(files)} file{'s' * (len(files) != 1)} looked at"
        raise UsageError(
            f"no image found in {folder} ({looked}): give a folder that holds {', '.join(MEDICAL_SUFFIXES)} files "
            "or the DICOM files of one series."
        )
    return volumes


def name_cases(paths: Sequence[str | Path]) -> list[dict[str, str]]:
    """The items of a MONAI data list: each path as "image", and a "case" name that no other of them has."""
    items: list[dict[str, str]] = []
    taken: set[str] = set()
    for path in paths:
        stem = case_stem(path)
        numbered = (f"{stem}_{number}" for number in count(2))
        name = stem if stem.lower() not in taken else next(n for n in numbered if n.lower() not in taken)
        taken.add(name.lower())  # lower case: some file systems do not tell "CT" from "ct"
        items.append({"image": str(path), "case": name})
    return items


def list_cases(dataset_dir: str | Path, datalist: Sequence[str] | str | None = None) -> list[dict[str, str]]:
    """The cases to segment: the volumes of a folder, or those listed (or the one named), which are relative to it.

    Raises:
        UsageError: there is none.
    """
    if datalist is None:
        return name_cases(find_volumes(dataset_dir))
    if not datalist:
        raise UsageError("datalist is empty: name at least one volume, or leave it out to take all of dataset_dir.")
    listed = [datalist] if isinstance(datalist, str) else datalist
    return name_cases([Path(dataset_dir) / path for path in listed])
