"""Which inputs are cases, and what they are called: after the names that the user gave, never DICOM attributes."""

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

    Of several DICOM series the best suited one is taken, or with `exam.zip::N` the one that `liverseg series` numbers
    N. `allow_large` lifts the limits on memory.

    Returns:
        HU (i, j, k): int16 (or int32 if they do not fit) if the file holds whole numbers, else float32; padding below
        -1024 HU is set to -1024. The affine is in mm, RAS+.

    Raises:
        InputError: the input cannot be read or segmented; one sentence says what is wrong and what to do.
    """
    path = _at_home(path)
    existing(split_number(path)[0])
    return replace(_case_at(path), allow_large=allow_large).read()


def find_cases(inputs: Sequence[str]) -> tuple[list[Case], list[str]]:
    """The cases in files, folders and archives, each once, and a message for each input that holds none.

    From a folder, the NIfTI, NRRD and MetaImage files directly in it are taken, and the DICOM studies in it and its
    subfolders. A single study is named after the folder or archive, several after a subfolder each or as `folder::N`
    (series N). Volume files in subfolders are not taken: a warning names them, or the message if there is nothing else.
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
    """The case of an input that holds exactly one.

    Raises:
        UsageError: it holds several, or nothing that could be an image.
        InputError: it cannot be opened.
    """
    cases = _cases_of(path)
    if len(cases) != 1:
        listed = ", ".join(case.source for case in cases[:MOST_NAMED]) + ", ..." * (len(cases) > MOST_NAMED)
        raise UsageError(
            f"{path} holds {len(cases)} volumes: give one of them, such as {cases[0].source}. They are {listed}."
        )
    return cases[0]


def list_cases(
    dataset_dir: str | Path, datalist: Sequence[str] | str | None = None, allow_large: bool = False
) -> list[dict[str, Any]]:
    """The items of a MONAI data list: each case to segment as "image", and a unique name as "case".

    Args:
        dataset_dir: a folder or zip archive; all its cases are taken (see `find_cases`).
        datalist: paths within `dataset_dir`, if only these are to be taken.
        allow_large: whether to lift the limits on memory.

    Raises:
        UsageError: there is no case.
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
    """The path with a leading "~" or "~user" expanded; InputError if there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise InputError(f"{one_line(path)} cannot be looked at ({one_line(error)}): check the path.") from error


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, made unique by adding a number to those that occurred before, regardless of case."""
    unique: list[str] = []
    taken: set[str] = set()
    for name in names:
        numbered = (f"{name}_{number}" for number in count(2))
        unique.append(name if name.lower() not in taken else next(n for n in numbered if n.lower() not in taken))
        taken.add(unique[-1].lower())  # lower case: some file systems do not tell "CT" from "ct"
    return unique


def _cases_of(given: str | Path) -> list[Case]:
    """The cases of one input: a medical file, a folder or zip archive, or a series, `PATH::N`."""
    if not str(given).strip() or str(given).startswith("::"):
        raise UsageError(f"An input is empty ({str(given)!r}): give a file or folder, or a dot for the current folder.")
    try:
        path = Path(given).expanduser()
        source, number = split_number(path)
        if path.is_dir() or (is_zip(path) and path.is_file()):
            return _cases_in(path)
        if not source.exists():
            raise InputError(f"No such file or folder: {path}; check the spelling.")
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, ~nobody, a null character
        raise InputError(f"{one_line(given)} cannot be looked at ({one_line(error)}): check the path.") from error
    if number is None and not medical_suffix(path):
        raise InputError(f"{path} is not a CT volume: give NIfTI, NRRD or MetaImage, or a folder or zip of DICOM.")
    return [_case_at(path)]


def _cases_in(folder: Path) -> list[Case]:
    """The cases of a folder (its volume files and DICOM studies) or of a zip archive, sorted."""
    if folder.is_file() and is_zip(folder):
        return dicom_cases(folder)
    if not folder.is_dir():
        raise UsageError(f"No such folder: {folder}; give a folder of CT volumes.")
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
    """A phrase that names the subfolders with volume files, case folders left out; "" if there are none."""
    found = Counter(file.folder for file in files if file.folder != "." and medical_suffix(Path(file.name)))
    inputs = [name for name in found if not (folder / name / MANIFEST).is_file()]
    named = ", ".join(str(folder / name) for name in inputs[:MOST_NAMED]) + ", ..." * (len(inputs) > MOST_NAMED)
    count = sum(found[name] for name in inputs)
    return f"{count} volume{'s' * (count != 1)} in {named}" if inputs else ""


def _case_at(path: Path) -> Case:
    """The case at a path; if a DICOM input cannot be used, a case that says so when it is read."""
    source = split_number(path)[0]
    if not (source.is_dir() or (is_zip(source) and source.is_file())):
        return FileCase(case_stem(path), str(path))
    try:
        return dicom_case(path)
    except InputError as error:
        return RefusedCase(case_stem(path), str(path), reason=str(error))
