"""List the contents of a DICOM folder or zip archive: its headers, its series, and the series chosen for each study."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from custom_networks.errors import InputError
from custom_networks.io.dicom.files import DicomFile, files_of
from custom_networks.io.dicom.header import SliceHeader, quiet_pydicom, read_headers
from custom_networks.io.dicom.series import DicomSeries, series_of
from custom_networks.io.dicom.suspects import Unread, may_be_slices, nearly_dicom, suspects_of
from custom_networks.io.files import START_BYTES

DIRECTORY = "1.2.840.10008.1.3.10"
# A liver is rarely taller than this, so volumes that cover at least as much are considered equally good.
LIVER_MM = 150.0
# The network was trained on slice distances around 3 mm.
USUAL_STEP_MM = 3.0
# Names of phases in SeriesDescription and ProtocolName, in English, German and French; the first match counts.
PHASES = (
    ("", r"w(ith|/)?\s*(and|&|/|\+)?\s*w(ithout|o|/o)\b"),  # describes the exam, not the series
    (
        "without contrast",
        r"\bnon.?con|\bno con|\bwithout|\bw/?o\b|unenhanced|\bplain\b|pre.?contrast|\bnati[fv]|\bsans\b|\bnc\b",
    ),
    ("arterial", r"arter|\bcta\b|angio|\bart\b"),
    ("portal venous", r"portal|ven(ous|ös|oes)|veineu|\bven\b|\bpvp?\b|\bvp\b|\b[67]\d ?s(ec)?\b"),
    ("delayed", r"delay|\blate\b|equilib|\bspät|tardi"),
)
PREFERRED = ("portal venous", "with contrast", "", "delayed", "arterial", "without contrast")
ELSEWHERE = r"\b(head|brain|kopf|schädel|neck|hals|sinus|knee|foot|ankle|wrist|shoulder|lung|bone|knochen)\b"


@dataclass(frozen=True)
class FileScan:
    """The result of reading the headers of files.

    Attributes:
        headers: headers of the DICOM files, one for each frame of an enhanced CT; without DICOM directories.
        damaged: files with a DICOM preamble whose header cannot be read, or has neither modality nor series.
        file_count: number of files of any kind.
        like_dicom: number of files that look like DICOM.
        unread: files that do not look like DICOM, and files without a preamble whose header cannot be read or has
            neither modality nor series.
    """

    headers: tuple[SliceHeader, ...]
    damaged: tuple[DicomFile, ...]
    file_count: int
    like_dicom: int
    unread: tuple[Unread, ...] = ()

    def __add__(self, other: FileScan) -> FileScan:
        counts = self.file_count + other.file_count, self.like_dicom + other.like_dicom
        return FileScan(self.headers + other.headers, self.damaged + other.damaged, *counts, self.unread + other.unread)


def scan_files(files: Sequence[DicomFile]) -> FileScan:
    """Open each file once, and read its header if it looks like DICOM.

    Files named DICOMDIR are counted but not opened, because they are only an index of other files.

    Raises:
        InputError: a file cannot be opened. It must not be skipped, because it could be a slice of the volume.
    """
    headers: list[SliceHeader] = []
    damaged: list[DicomFile] = []
    unread: list[Unread] = []
    like_dicom = 0
    for file in files:
        if file.path.name.upper() == "DICOMDIR":
            continue
        start, stream = file.start_and_stream()
        if stream is None:
            unread.append(Unread(file, nearly_dicom(start)))
            continue
        like_dicom += 1
        with stream, quiet_pydicom():
            has_preamble = stream.read(START_BYTES)[128:] == b"DICM"
            stream.seek(0)
            found = read_headers(file, stream)
        if not (found and (found[0].modality or found[0].series_uid or found[0].sop_class == DIRECTORY)):
            damaged += [file] * has_preamble
            unread += [Unread(file)] * (not has_preamble)
        elif found[0].sop_class != DIRECTORY:
            headers += found
    return FileScan(tuple(headers), tuple(damaged), len(files), like_dicom, tuple(unread))


@dataclass(frozen=True)
class DicomListing:
    """The DICOM files of an input, grouped into series.

    Attributes:
        source: the folder or zip archive.
        series: all series, numbered from 1 in this order, which does not depend on file names or folders.
        scan: the headers and the damaged files.
    """

    source: Path
    series: tuple[DicomSeries, ...]
    scan: FileScan

    @cached_property
    def lost(self) -> tuple[DicomFile, ...]:
        """Unreadable files that may be images."""
        return self.scan.damaged + tuple(one.file for one in suspects_of(self.scan.unread, self.scan.headers))

    @cached_property
    def chosen(self) -> tuple[int, ...]:
        """Index in `series` of each study's most suitable CT volume, a faulty one only if there is no other."""
        volumes: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, series in enumerate(self.series):
            if not series.other:
                volumes[series.study].append(index)
        return tuple(sorted(min(own, key=lambda i: (_preference_key(self.series[i]), i)) for own in volumes.values()))

    @cached_property
    def unclear(self) -> frozenset[int]:
        """Indices in `series` of the volumes whose patient cannot be determined.

        A volume without PatientID and PatientName is identified by its study. That is impossible if there are other
        volumes and it has no StudyInstanceUID, or if a volume of an identified patient has the same one. In the latter
        case, all volumes of the study are unclear.
        """
        volumes = {index: series for index, series in enumerate(self.series) if not series.other}
        named = {series.study_uid for series in volumes.values() if series.patient}
        shared = {uid for uid in named if any(s.study == ("", uid) for s in volumes.values())}
        unplaced = {i for i, s in volumes.items() if s.study == ("", "") and len(volumes) > 1}
        return frozenset(unplaced | {i for i, s in volumes.items() if s.study_uid in shared})

    @property
    def unclear_reason(self) -> str:
        """Message about the `unclear` volumes."""
        volumes = f"{len(self.unclear)} CT volume{'s' * (len(self.unclear) != 1)}"
        nameless = sum(not self.series[index].patient for index in self.unclear)
        return (
            f"The patient of {volumes} in {self.source} is uncertain ({nameless} without PatientID and PatientName): "
            "put each patient's images into a separate folder."
        )

    def below(self, folder: str) -> DicomListing:
        """Return the listing of a subfolder, made from the headers that have been read already."""
        source = self.source / folder

        def moved(file: DicomFile) -> DicomFile:
            return DicomFile(source, file.path.relative_to(folder).as_posix())

        headers = [replace(h, file=moved(h.file)) for h in self.scan.headers if h.file.path.is_relative_to(folder)]
        damaged = [moved(file) for file in self.scan.damaged if file.path.is_relative_to(folder)]
        unread = [replace(o, file=moved(o.file)) for o in self.scan.unread if o.file.path.is_relative_to(folder)]
        count = len({header.file for header in headers}) + len(damaged)
        return listing_of(source, FileScan(tuple(headers), tuple(damaged), count, count, tuple(unread)))


def list_series(source: Path) -> DicomListing:
    """Read all DICOM headers of a folder (of any depth) or zip archive, and list its series; each file is opened once.

    Raises:
        InputError: there is no DICOM file, or something cannot be opened.
    """
    return listing_of(source, scan_files(files_of(source)))


def listing_of(source: Path, scan: FileScan) -> DicomListing:
    """Group the scanned files of an input into series.

    Raises:
        InputError: there is no DICOM file, not even a damaged one, apart from DICOM directories.
    """
    if not (scan.headers or scan.damaged):
        raise InputError(
            f"{source} holds no DICOM image ({scan.file_count} file{'s' * (scan.file_count != 1)} checked, none with a "
            "DICOM header): give a folder or a zip archive of DICOM files."
        )
    headers = tuple(sorted(scan.headers, key=lambda header: header.file.name))
    damaged = tuple(sorted(scan.damaged, key=lambda file: file.name))
    suspects = suspects_of(scan.unread, headers)
    series = tuple(_with_losses(part, damaged, suspects) for part in series_of(headers))
    return DicomListing(source, series, replace(scan, headers=headers, damaged=damaged))


def _with_losses(series: DicomSeries, damaged: Sequence[DicomFile], suspects: Sequence[Unread]) -> DicomSeries:
    """Return a series with a fault added if it is a CT volume and an unreadable file may be one of its slices.

    The fault is needed because a slice missing at either end does not leave a gap.
    """
    folders = {header.file.folder for header in series.slices}
    beside = [file for file in damaged if file.folder in folders]
    lost = sorted(file.name for file in (*beside, *may_be_slices(suspects, series.slices)))
    if series.other or not lost:
        return series
    files = "1 file is" if len(lost) == 1 else f"{len(lost)} files are"
    text = (
        f"{files} damaged or incomplete ({', '.join(lost[:3])}) and may belong to this series: export the series again."
    )
    return replace(series, faults=(*series.faults, text))


def contrast_phase(header: SliceHeader) -> str:
    """Return a phase in `PREFERRED` based on series description, protocol name or contrast agent; "" if unknown."""
    for text in (header.description.lower(), header.protocol.lower()):
        named = next((phase for phase, pattern in PHASES if re.search(pattern, text)), "")
        if named:
            return named
    return "with contrast" if header.contrast else ""


def _preference_key(series: DicomSeries) -> tuple[float, ...]:
    """Sort key for the CT volumes of a study, the most suitable first.

    The criteria are, in this order: faults, depth (up to the height of a liver), body region, contrast phase, derived
    images, lossy compression, slice distance, depth.
    """
    first = series.slices[0]
    step = series.depth_mm / len(series.slices)
    return (
        len(series.faults) > 0,
        -round(min(series.depth_mm, LIVER_MM)),
        bool(re.search(ELSEWHERE, first.description.lower())),
        PREFERRED.index(contrast_phase(first)),
        "DERIVED" in first.image_type,
        any(header.lossy for header in series.slices),
        round(abs(np.log(max(step, 0.01) / USUAL_STEP_MM)), 2),
        -series.depth_mm,
    )
