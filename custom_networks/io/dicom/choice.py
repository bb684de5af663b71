"""Which series of an input are segmented: for each patient one, the fittest CT volume; and why the others are not."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from custom_networks.errors import InputError
from custom_networks.io.dicom.files import DicomFile, dicom_files
from custom_networks.io.dicom.header import SliceHeader, read_headers
from custom_networks.io.dicom.series import DicomSeries, series_of

# A liver is seldom higher than this, mm: volumes that cover as much are equals.
LIVER_MM = 150.0
# Stacks of the network span slices of about 3 mm.
USUAL_STEP_MM = 3.0
# What SeriesDescription and ProtocolName call the phases, in English, German and French; the first that fits counts.
PHASES = (
    ("", r"w(ith|/)?\s*(and|&|/|\+)?\s*w(ithout|o|/o)\b"),  # an exam with and without says nothing about the series
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
class DicomListing:
    """What an input holds.

    Attributes:
        source: the folder or zip archive.
        series: all series, numbered from 1 in this order, which names and places of the files do not change.
        damaged: files that do not even say what they are.
        looked_at: how many files there are, of any kind.
    """

    source: Path
    series: tuple[DicomSeries, ...]
    damaged: tuple[DicomFile, ...]
    looked_at: int

    def cases(self) -> list[int]:
        """For each patient with a CT volume, or with what would be one, the index in `series` of the fittest."""
        candidates = defaultdict(list)
        for index, series in enumerate(self.series):
            if not series.other:
                candidates[series.patient].append(index)
        return sorted(min(own, key=self._rank) for own in candidates.values())

    def _rank(self, index: int) -> tuple[float, ...]:
        return (len(self.series[index].faults) > 0, *unfitness(self.series[index]), index)


def list_series(source: Path) -> DicomListing:
    """Look at all DICOM headers of a folder of any depth or of a zip archive.

    Raises:
        InputError: no DICOM file there, or something cannot be opened.
    """
    files, looked_at = dicom_files(source)
    headers, damaged = read_headers(files)
    if not (headers or damaged):
        raise InputError(
            f"{source} holds no DICOM image ({looked_at} file{'s' * (looked_at != 1)} looked at, none with a DICOM "
            "header): give a folder or a zip archive of DICOM files."
        )
    series = tuple(_suspect(part, damaged) for part in series_of(headers))
    return DicomListing(source, series, tuple(damaged), looked_at)


def _suspect(series: DicomSeries, damaged: Sequence[DicomFile]) -> DicomSeries:
    """A damaged file beside the slices of a volume may be one of them, also where no gap shows it: at the ends."""
    folders = {header.file.folder for header in series.slices}
    beside = sorted(file.name for file in damaged if file.folder in folders)
    if series.other or not beside:
        return series
    files = "1 file is" if len(beside) == 1 else f"{len(beside)} files are"
    text = f"{files} damaged or incomplete ({', '.join(beside[:3])}) and may be of this series: export it again."
    return replace(series, faults=(*series.faults, text))


def contrast_phase(header: SliceHeader) -> str:
    """One of `PREFERRED`, by what the series, else its protocol, is called, or by the contrast agent; "" if unknown."""
    for text in (header.description.lower(), header.protocol.lower()):
        named = next((phase for phase, pattern in PHASES if re.search(pattern, text)), "")
        if named:
            return named
    return "with contrast" if header.contrast else ""


def unfitness(series: DicomSeries) -> tuple[float, ...]:
    """How ill a CT volume suits, to be compared in this order: the smaller one is chosen.

    Depth up to that of a liver, region and kernel, contrast phase, derived or lossy images, step, depth.
    """
    first = series.slices[0]
    step = series.depth_mm / len(series.slices)
    return (
        -round(min(series.depth_mm, LIVER_MM)),
        bool(re.search(ELSEWHERE, first.description.lower())),
        PREFERRED.index(contrast_phase(first)),
        "DERIVED" in first.image_type,
        any(header.lossy for header in series.slices),
        round(abs(np.log(max(step, 0.01) / USUAL_STEP_MM)), 2),
        -series.depth_mm,
    )


def patients_reason(listing: DicomListing) -> str:
    """Why images cannot be told apart by patient: a volume names none, and another one does or is of another study.

    One sentence, "" where there is no such doubt.
    """
    volumes = [series for series in listing.series if not series.other]
    nameless = [series for series in volumes if not series.patient]
    studies = {series.slices[0].study_uid or str(number) for number, series in enumerate(nameless)}
    if not nameless or (len(nameless) == len(volumes) and len(studies) == 1):
        return ""
    return (
        f"{listing.source} holds {len(volumes)} CT volumes, {len(nameless)} of them without PatientID and PatientName: "
        "whose they are cannot be told; give each patient's images a folder of their own."
    )


def check_patients(listing: DicomListing) -> None:
    """Refuse images that cannot be told apart by patient.

    Raises:
        InputError: as `patients_reason` says.
    """
    reason = patients_reason(listing)
    if reason:
        raise InputError(reason)
