"""Which inputs are cases, and what a case is called: by the names that the user gave, never by DICOM attributes."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path, PurePosixPath

from custom_networks.errors import InputError, LiversegError, UsageError, one_line
from custom_networks.io.dicom.choice import DicomListing, check_patients, list_series
from custom_networks.io.dicom.files import dicom_files
from custom_networks.io.dicom.sentences import skipped_notes
from custom_networks.io.files import (
    MEDICAL_SUFFIXES,
    case_stem,
    is_dicom,
    is_zip,
    medical_suffix,
    split_number,
    visible_files,
)

logger = logging.getLogger(__name__)


def volumes_of(given: str | Path) -> list[Path]:
    """The volumes of one input: a medical file, a folder or zip archive as for `find_volumes`, or a series, `PATH::N`.

    Raises:
        UsageError: nothing in the folder or archive could be an image.
        InputError: there is no such path, it cannot be looked at, or it is none of these.
    """
    try:
        path = Path(given).expanduser()
        source, number = split_number(path)
        if path.is_dir() or (is_zip(path) and path.is_file()):
            return find_volumes(path)
        if not source.exists():
            raise InputError(f"No such file or folder: {path}; check the spelling.")
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, ~nobody, a null character
        raise InputError(f"{one_line(given)} cannot be looked at ({one_line(error)}): check the path.") from error
    if number is None and not medical_suffix(path):
        raise InputError(f"{path} is no CT volume: give NIfTI, NRRD or MetaImage, or a folder or zip of DICOM.")
    return [path]


def find_volumes(folder: str | Path) -> list[Path]:
    """The volumes of a folder or zip archive, sorted.

    A folder that holds DICOM files gives these, and so does an archive: itself, or where it holds several patients one
    path for each, a subfolder or `folder::N` (series N). Else a folder gives its files with a medical ending, and where
    it has none, the DICOM files in its subfolders. What holds nothing to segment beside several patients is logged.

    Raises:
        UsageError: no such folder, or nothing in it could be an image.
        InputError: a file or folder in it cannot be opened.
    """
    folder = Path(folder)
    if folder.is_file() and is_zip(folder):
        return _patients(folder)
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}; give a folder of CT volumes.")
    files = visible_files(folder)
    if any(path.name.upper() != "DICOMDIR" and is_dicom(path) for path in files):
        return _patients(folder)
    return [path for path in files if medical_suffix(path)] or _patients(folder)


def find_cases(inputs: Sequence[str]) -> tuple[list[dict[str, str]], list[str]]:
    """The cases that files, folders and archives hold, each once, and a message for each input that holds none."""
    volumes: list[Path] = []
    failures: list[str] = []
    for given in inputs:
        try:
            volumes += volumes_of(given)
        except LiversegError as error:
            failures.append(str(error))
    once: dict[str, Path] = {}
    for path in volumes:
        once.setdefault(os.path.abspath(path), path)
    return name_cases(list(once.values())), failures


def _patients(source: Path) -> list[Path]:
    """The input itself if it holds one patient's volume or none, else a path for each patient's."""
    try:
        images, looked_at = dicom_files(source)
        listing = list_series(source) if images else None
        if listing:
            check_patients(listing)
    except InputError:
        return [source]  # refused again, as a case, by whoever reads it
    if listing is None:
        looked = f"{looked_at} file{'s' * (looked_at != 1)} looked at"
        kinds = ", ".join(MEDICAL_SUFFIXES)
        raise UsageError(f"no image found in {source} ({looked}): give a folder that holds {kinds} or DICOM files.")
    cases = listing.cases()
    if len(cases) < 2:
        return [source]  # the reader says what is wrong or what was skipped
    patients = {listing.series[index].patient for index in cases}
    for note in skipped_notes(listing, [i for i, s in enumerate(listing.series) if s.patient not in patients]):
        logger.warning("%s: %s", source, note)
    return [_own_folder(listing, index, patients) or Path(f"{source}::{index + 1}") for index in cases]


def _own_folder(listing: DicomListing, index: int, patients: set[str]) -> Path | None:
    """The subfolder that holds all of one patient's files and none of another patient with a volume."""
    if listing.source.is_file():
        return None
    own = listing.series[index].patient
    names = [header.file.folder for series in listing.series if series.patient == own for header in series.slices]
    folder = os.path.commonpath(names)
    if not folder or folder == ".":
        return None
    others = (header.file for s in listing.series if s.patient in patients - {own} for header in s.slices)
    return None if any(PurePosixPath(f.name).is_relative_to(folder) for f in others) else listing.source / folder


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
    """The cases to segment: the volumes of a folder or archive, or those listed (or the one named), relative to it.

    Raises:
        UsageError: there is none.
    """
    if datalist is None:
        return name_cases(find_volumes(dataset_dir))
    if not datalist:
        raise UsageError("datalist is empty: name at least one volume, or leave it out to take all of dataset_dir.")
    listed = [datalist] if isinstance(datalist, str) else datalist
    return name_cases([Path(dataset_dir) / path for path in listed])
