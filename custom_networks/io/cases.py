"""Find the cases in files, folders and archives; they are named after their paths, never after DICOM attributes."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from custom_networks.errors import InputError, LiversegError, UsageError, one_line
from custom_networks.io.case import Case, FileCase, RefusedCase
from custom_networks.io.dicom.case import dicom_case, dicom_cases
from custom_networks.io.dicom.files import DicomFile, files_of
from custom_networks.io.dicom.listing import scan_files
from custom_networks.io.dicom.sentences import lost_notes
from custom_networks.io.dicom.suspects import suspects_of
from custom_networks.io.files import case_stem, is_zip, medical_suffix, split_number
from custom_networks.io.image_files import existing
from custom_networks.io.volume import Volume

logger = logging.getLogger(__name__)

MOST_NAMED = 12
MANIFEST = "manifest.json"  # marks a case folder, whose files are results and not inputs


def read_volume(path: str | Path, *, allow_large: bool = False) -> Volume:
    """Read one CT volume: a NIfTI, NRRD or MetaImage file, or a folder (of any depth) or zip archive of DICOM files.

    If there are several DICOM series, the most suitable one is read; `exam.zip::N` selects series N as numbered by
    `liverseg series`. `allow_large` lifts the memory limits.

    Returns:
        The volume (i, j, k) in HU: int16 for integer data (int32 or float32 if values do not fit), else float32. Values
        below -1024 HU, which are padding, are set to -1024. The affine maps to RAS mm.

    Raises:
        InputError: the input cannot be read or segmented.
    """
    path = _at_home(path)
    existing(split_number(path)[0])
    return replace(_case_at(path), allow_large=allow_large).read()


def find_cases(inputs: Sequence[str]) -> tuple[list[Case], list[str]]:
    """Return the cases in files, folders and archives without duplicates, and a message for each unusable input.

    A folder yields the NIfTI, NRRD and MetaImage files directly in it, and the DICOM studies at any depth. A single
    study is named after the folder or archive. Each of several studies is named after its own subfolder or, if it has
    none, `folder::N`, where N is the number of its series. Volume files in subfolders are not included; a warning or,
    if nothing else is found, the message names them.

    No voxels are read. DICOM that cannot be segmented gives a case that raises InputError when it is read.
    """
    once: dict[str, Case] = {}
    failures: list[str] = []
    for given in inputs:
        try:
            for case in _cases_of(given):
                once.setdefault(os.path.abspath(case.source), case)
        except LiversegError as error:
            failures.append(str(error))
    return list(once.values()), failures


def only_case(path: str | Path) -> Case:
    """Return the case of an input that contains exactly one.

    As in `find_cases`, DICOM that cannot be segmented gives a case that raises InputError when it is read.

    Raises:
        UsageError: the input contains several cases, or is a folder or archive without images.
        InputError: the input does not exist, cannot be opened, or is not a volume, folder or zip archive.
    """
    cases = _cases_of(path)
    if len(cases) != 1:
        listed = ", ".join(case.source for case in cases[:MOST_NAMED]) + ", ..." * (len(cases) > MOST_NAMED)
        raise UsageError(f"{path} holds {len(cases)} volumes ({listed}): give one of them, such as {cases[0].source}.")
    return cases[0]


def list_cases(
    dataset_dir: str | Path, datalist: Sequence[str] | str | None = None, allow_large: bool = False
) -> list[dict[str, Any]]:
    """Return a MONAI data list: for each case to segment, a dictionary with the case as "image" and a unique "case".

    Args:
        dataset_dir: a folder or zip archive, see `find_cases`.
        datalist: one or more paths in the folder; None lists all its cases.
        allow_large: whether to lift the memory limits.

    Raises:
        UsageError: `dataset_dir` is not a folder or zip archive, it contains no case, or `datalist` is empty.
        InputError: a file or folder cannot be opened.
    """
    folder = _at_home(dataset_dir)
    if datalist is None:
        cases = _cases_in(folder)
    elif not datalist:
        raise UsageError("datalist is empty: name at least one volume, or leave it out to take all of dataset_dir.")
    else:
        cases = [_case_at(folder / path) for path in ([datalist] if isinstance(datalist, str) else datalist)]
    names = unique_names(case.name for case in cases)
    allowed = [replace(case, allow_large=allow_large) for case in cases]
    return [{"image": case, "case": name} for case, name in zip(allowed, names, strict=True)]


def _at_home(path: str | Path) -> Path:
    """Expand a leading "~" or "~user" in a path; raises InputError if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{one_line(path)} cannot be accessed ({one_line(error)}): check the path.") from error


def unique_names(names: Iterable[str]) -> list[str]:
    """Return the names, made unique by appending "_2", "_3" and so on; upper and lower case count as equal."""
    unique: list[str] = []
    taken: set[str] = set()
    for name in names:
        numbered = (f"{name}_{number}" for number in count(2))
        unique.append(name if name.lower() not in taken else next(n for n in numbered if n.lower() not in taken))
        taken.add(unique[-1].lower())  # some file systems are case-insensitive
    return unique


def _cases_of(given: str | Path) -> list[Case]:
    """Return the cases of one input: a volume file, a folder or zip archive, or a series `PATH::N`."""
    if not str(given).strip() or str(given).startswith("::"):
        raise UsageError(f"An input has no path ({str(given)!r}): give a file or folder, or a dot for this folder.")
    try:
        path = Path(given).expanduser()
        source, number = split_number(path)
        if path.is_dir() or (is_zip(path) and path.is_file()):
            return _cases_in(path)
        if not source.exists():
            raise InputError(f"No such file or folder: {path}; check the spelling.")
    except (OSError, RuntimeError, ValueError) as error:  # a name that is too long, an unknown user, a null character
        raise InputError(f"{one_line(given)} cannot be accessed ({one_line(error)}): check the path.") from error
    if number is None and not medical_suffix(path):
        raise InputError(
            f"{path} is not a CT volume: give a NIfTI, NRRD or MetaImage file, or a folder or zip archive of DICOM "
            "files."
        )
    return [_case_at(path)]


def _cases_in(folder: Path) -> list[Case]:
    """Return the cases of a folder (its volume files and DICOM studies) or of a zip archive."""
    if folder.is_file() and is_zip(folder):
        return dicom_cases(folder)
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}; give a folder or zip archive of CT volumes.")
    files = files_of(folder)
    own = [file for file in files if file.folder == "." and medical_suffix(Path(file.name))]
    volumes: list[Case] = [FileCase(case_stem(file.name), str(folder / file.name)) for file in own]
    below = _folders_of_volumes(folder, files)
    scanned = scan_files(files)
    if not (volumes or scanned.like_dicom) and below:
        raise UsageError(f"{folder} has no image directly in it, only {below}: give the files or folders to segment.")
    if below:
        logger.warning("%s: there are also %s: give them as separate inputs to segment them.", folder, below)
    if volumes and not (scanned.headers or scanned.damaged):
        for note in lost_notes([one.file for one in suspects_of(scanned.unread, ())]):
            logger.warning("%s: %s", folder, note)
        return volumes
    return volumes + dicom_cases(folder, scanned, beside=bool(volumes))


def _folders_of_volumes(folder: Path, files: Iterable[DicomFile]) -> str:
    """Return a phrase about volume files in subfolders that are not case folders, such as "2 volumes in a/b", or ""."""
    found = Counter(file.folder for file in files if file.folder != "." and medical_suffix(Path(file.name)))
    inputs = [name for name in found if not (folder / name / MANIFEST).is_file()]
    named = ", ".join(str(folder / name) for name in inputs[:MOST_NAMED]) + ", ..." * (len(inputs) > MOST_NAMED)
    count = sum(found[name] for name in inputs)
    return f"{count} volume{'s' * (count != 1)} in {named}" if inputs else ""


def _case_at(path: Path) -> Case:
    """Return the case at a path; if it is DICOM that cannot be segmented, a `RefusedCase`."""
    source = split_number(path)[0]
    if not (source.is_dir() or (is_zip(source) and source.is_file())):
        return FileCase(case_stem(path), str(path))
    try:
        return dicom_case(path)
    except InputError as error:
        return RefusedCase(case_stem(path), str(path), reason=str(error))
