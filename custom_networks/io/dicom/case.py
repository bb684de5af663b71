"""Make cases from DICOM inputs: one for each study, from the series most suitable for the liver.

ITK's and MONAI's readers silently average uneven steps, drop shear, merge series and trust SpacingBetweenSlices.
Here, positions come from ImagePositionPatient alone (DICOM PS3.3 C.7.6.2), and irregular stacks are refused.
"""

import logging
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from itertools import islice
from pathlib import Path, PurePosixPath

import numpy as np
from pydicom.dataset import Dataset

from custom_networks.errors import InputError, UsageError
from custom_networks.io.case import Case, RefusedCase, SeriesInfo, checked, digest
from custom_networks.io.checks import LOWEST_HU, check_geometry
from custom_networks.io.dicom.files import files_of
from custom_networks.io.dicom.header import SliceHeader, is_uid
from custom_networks.io.dicom.listing import DicomListing, FileScan, list_series, listing_of, scan_files
from custom_networks.io.dicom.pixels import file_bytes, read_result_headers, read_slices
from custom_networks.io.dicom.sentences import case_notes, counted, refusal, series_lines, skipped_notes
from custom_networks.io.dicom.series import DicomSeries
from custom_networks.io.files import MEDICAL_SUFFIXES, case_stem, split_number
from custom_networks.io.limits import check_voxels
from custom_networks.io.volume import SLAB_SLICES, Volume, collect_slabs
from custom_networks.labelmap.grid import spacing_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DicomCase(Case):
    """A case from a regular axial CT series.

    Attributes:
        stack: the series, with a small record of each slice's header.
    """

    stack: DicomSeries = field(kw_only=True, repr=False)

    def read(self) -> Volume:
        """See `Case.read`; each file is opened once.

        The axes (i, j, k) of the array are columns, rows and slices; slices are in ascending order along their normal.
        The affine maps to RAS mm.
        """
        slices, path = self.stack.slices, Path(self.source)
        headers: list[Dataset] = []
        slice_notes: Counter[str] = Counter()
        affine, shape = self.stack.affine, (slices[0].columns, slices[0].rows, len(slices))
        check_voxels(shape, path, self.allow_large)
        notes = self.notes + check_geometry(shape, affine, path, axial=True)
        whole = all(s.slope.is_integer() and s.intercept.is_integer() for s in slices)
        slabs = _read_slabs(slices, headers, slice_notes)
        array = collect_slabs(slabs, shape, whole_numbers=whole, lowest=LOWEST_HU, source=path)
        notes += tuple(f"{note} ({counted(number, 'slice')})." for note, number in slice_notes.items() if note)
        return checked(Volume(array, affine, notes, source=path, headers=tuple(headers)))

    @cached_property
    def voxels(self) -> int:
        """See `Case.voxels`."""
        first = self.stack.slices[0]
        return first.rows * first.columns * len(self.stack.slices)

    def headers(self) -> tuple[Dataset, ...]:
        """See `Case.headers`."""
        return tuple(read_result_headers(self.stack.slices))

    @cached_property
    def identity(self) -> str:
        """Digest of patient, study, series and, if the series was split, the part of it.

        If the slices differ in study or series, or have no SeriesInstanceUID, it is the digest of the content.
        """
        first = self.stack.slices[0]
        if not self.stack.series_uid:
            return self.content
        return digest([first.patient, first.study_uid, first.series_uid, self.stack.part])

    @cached_property
    def content(self) -> str:
        """Digest of the slices' SOPInstanceUIDs (or of the files' bytes if one is missing) and the frame numbers."""
        slices = self.stack.slices
        frames = [f"frame {header.frame}" for header in slices if header.frame]
        if all(header.own_instance_uid for header in slices):
            return digest(sorted({header.instance_uid for header in slices}) + sorted(frames))
        files = {header.file: header for header in slices}.values()
        return digest(sorted(sha256(file_bytes(header)).hexdigest() for header in files) + sorted(frames))


def dicom_case(path: str | Path) -> DicomCase:
    """Return the case in a folder (of any depth) or zip archive of DICOM files.

    If there are several series, the most suitable one is chosen, and the notes name the others; `path::N` chooses the
    one that `list_dicom` numbers N.

    Raises:
        InputError: there is no DICOM image, no series N, or no regular axial CT series that can be decoded; or N is not
            given, and there are volumes of several patients or studies.
    """
    source, number = split_number(path)
    return _case_of(list_series(source), str(path), number)


def dicom_cases(source: Path, scanned: FileScan | None = None, beside: bool = False) -> list[Case]:
    """Return a case for each study with a CT volume in a folder or zip archive.

    If there is no such study, or if a file cannot be opened, the result is one refused case. If there are several such
    studies, each case is named after the study's own subfolder or, if it has none, `source::N`; the series of studies
    without a CT volume are logged.

    Args:
        source: the folder or archive.
        scanned: headers of its files, if they have been read already.
        beside: whether the folder also contains volumes of other formats. If so, DICOM files without a CT volume are
            only logged, and the result is [].

    Raises:
        UsageError: no file looks like DICOM.
    """
    try:
        scan = scan_files(files_of(source)) if scanned is None else scanned
        if not scan.like_dicom:
            checked_files, kinds = counted(scan.file_count, "file"), ", ".join(MEDICAL_SUFFIXES)
            raise UsageError(
                f"no image found in {source} ({checked_files} checked): give a folder of {kinds} or DICOM files."
            )
        listing = listing_of(source, scan)
        if beside and not listing.chosen:
            _log_skipped(listing, range(len(listing.series)))
            return []
        if len(listing.chosen) < 2 or listing.unclear.issuperset(listing.chosen):
            return [_case_of(listing, str(source))]
    except InputError as error:
        return [RefusedCase(case_stem(source), str(source), reason=str(error))]
    return _cases_of_studies(listing)


def list_dicom(path: str | Path) -> list[str]:
    """Return the lines of `liverseg series`: a summary, and each series with its status or the reason it is skipped.

    Raises:
        InputError: there is no DICOM file, or a file cannot be opened.
    """
    return series_lines(list_series(Path(path)))


def _case_of(listing: DicomListing, source: str, number: int | None = None) -> DicomCase:
    """Return the case of series `number`, by default of the series chosen in the only study with a volume.

    Raises:
        InputError: there is no such series, it cannot be segmented, or by default there is not exactly one study.
    """
    index = _only_volume(listing) if number is None else number - 1
    if not 0 <= index < len(listing.series):
        raise InputError(
            f"{listing.source} has {len(listing.series)} series, but no number {number}: list them with liverseg "
            "series."
        )
    series = listing.series[index]
    if series.reasons:
        raise InputError(refusal(listing, None if number is None else index))
    first = series.slices[0]
    uid = series.series_uid if is_uid(series.series_uid) else ""  # an invalid UID could contain a name
    # Unknown values are NaN, which is not greater than 0.
    height_weight = (number if number > 0 else None for number in (first.height_m, first.weight_kg))
    info = SeriesInfo(uid, first.series_number, spacing_of(series.affine), len(series.slices), *height_weight)
    return DicomCase(case_stem(source), source, case_notes(listing, index), info, stack=series)


def _only_volume(listing: DicomListing) -> int:
    """Return the index of the series chosen in the only study with a volume.

    Raises:
        InputError: no study or several studies have a volume, or the patient of a volume is uncertain.
    """
    if not listing.chosen:
        raise InputError(refusal(listing))
    if listing.unclear:
        raise InputError(listing.unclear_reason)
    if len(listing.chosen) > 1:
        numbers = ", ".join(f"::{index + 1}" for index in listing.chosen)
        patients = len({listing.series[index].patient for index in listing.chosen})
        whose = f"{patients} patients" if patients > 1 else f"{len(listing.chosen)} studies"
        raise InputError(f"{listing.source} holds volumes of {whose}: add one of {numbers} to the path to choose one.")
    return listing.chosen[0]


def _cases_of_studies(listing: DicomListing) -> list[Case]:
    """Return the cases of several studies; all volumes whose patient is uncertain become one refused case."""
    studies = {listing.series[index].study for index in listing.chosen}
    _log_skipped(listing, [i for i, series in enumerate(listing.series) if series.study not in studies])
    own_folders = {} if listing.source.is_file() else _own_folders(listing, studies)
    clear = [index for index in listing.chosen if index not in listing.unclear]
    cases = [_case_of_study(listing, index, own_folders.get(listing.series[index].study, "")) for index in clear]
    if listing.unclear:
        source = f"{listing.source}::{min(listing.unclear) + 1}"
        cases.append(RefusedCase(case_stem(source), source, reason=listing.unclear_reason))
    return cases


def _case_of_study(listing: DicomListing, index: int, folder: str) -> Case:
    """Return the case of series `index`; it is a refused case if the series cannot be segmented.

    The case's source, from which its name is derived, is the study's own subfolder `folder`, or PATH::N if that is "".
    """
    source = str(listing.source / folder) if folder else f"{listing.source}::{index + 1}"
    try:
        if folder and not listing.series[index].reasons:  # some reasons depend on the other studies
            return _case_of(listing.below(folder), source)
        return _case_of(listing, source, index + 1)
    except InputError as error:
        return RefusedCase(case_stem(source), source, reason=str(error))


def _log_skipped(listing: DicomListing, indices: Sequence[int]) -> None:
    """Log why the series with these indices are not segmented, and the names of damaged files."""
    for note in skipped_notes(listing, indices):
        logger.warning("%s: %s", listing.source, note)


def _own_folders(listing: DicomListing, studies: set[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
    """Map studies to subfolders that contain all files of the study and no files of other studies.

    Studies without such a subfolder are left out.
    """
    folders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for series in listing.series:
        folders[series.study] |= {header.file.folder for header in series.slices}
    own = {study: os.path.commonpath(folders[study]) for study in studies}

    def is_shared(study: tuple[str, str]) -> bool:
        others = (folder for other in studies - {study} for folder in folders[other])
        return any(PurePosixPath(folder).is_relative_to(own[study]) for folder in others)

    return {study: folder for study, folder in own.items() if folder not in ("", ".") and not is_shared(study)}


def _read_slabs(slices: Sequence[SliceHeader], headers: list[Dataset], notes: Counter[str]) -> Iterator[np.ndarray]:
    """Yield a few slices at a time in HU, (columns, rows, n).

    The result header of each slice is appended to `headers`, and its note (or "") is counted in `notes`.
    """
    read = read_slices(slices)
    while slab := list(islice(read, SLAB_SLICES)):
        headers += [part.header for part in slab]
        notes.update(part.note for part in slab)
        yield np.stack([part.hu for part in slab]).transpose(2, 1, 0)
