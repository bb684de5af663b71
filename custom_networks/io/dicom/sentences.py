"""Texts about the series of an input: listing, notes and refusals."""

import re
from collections.abc import Sequence

from custom_networks.io.dicom.files import DicomFile
from custom_networks.io.dicom.listing import DicomListing, contrast_phase
from custom_networks.io.dicom.rules import is_localizer
from custom_networks.io.dicom.series import DicomSeries

MOST_NAMED = 12


def counted(number: int, thing: str) -> str:
    """Return a number with its noun, such as "1 file" or "2 files"."""
    return f"{number} {thing}{'s' * (number != 1)}"


def series_lines(listing: DicomListing) -> list[str]:
    """Return the lines of `liverseg series`: a summary, each series with its description and status, and lost files."""
    chosen = set(listing.chosen)
    patients = list(dict.fromkeys(series.patient for series in listing.series))
    ready = sum(not (index in listing.unclear or listing.series[index].reasons) for index in chosen)
    files = counted(listing.scan.file_count, "file")
    lines = [f"{listing.source}: {files}, {len(listing.series)} series, {ready} to segment"]
    for index, series in enumerate(listing.series):
        verdict = "chosen." if index in chosen else f"not chosen: give {listing.source}::{index + 1} to segment it."
        if index in listing.unclear:
            verdict = "refused. Its patient is uncertain."
        if series.reasons:
            verdict = f"{'refused' if index in chosen else 'skipped'}. {' '.join(series.reasons)}"
        whose = f"patient {patients.index(series.patient) + 1}, " * (len(patients) > 1)
        # The description can contain patient data: it is shown to the user, who has the images, but never stored.
        text = re.sub(r"[^\w .,+/()-]", " ", series.slices[0].description)
        described = f' "{text[:40].strip()}"' * bool(text.strip())
        lines.append(f"{index + 1}  {whose}{_summary_of(series)}{described}: {verdict}")
        lines += [f"   note: {note}" for note in series.notes]
    lines += [f"-  {file.name}: damaged or incomplete." for file in listing.lost]
    return lines + [listing.unclear_reason] * bool(listing.unclear)


def case_notes(listing: DicomListing, index: int) -> tuple[str, ...]:
    """Return notes for the case of series `index`: what was chosen and skipped, and what is unusual."""
    own = listing.series[index]
    cases = {listing.series[case].study for case in listing.chosen} - {own.study}
    others = [i for i, series in enumerate(listing.series) if i != index and series.study not in cases]
    notes = [f"Series {index + 1} of {len(listing.series)} was chosen ({_summary_of(own)})."] if others else []
    return (*notes, *skipped_notes(listing, others, own), *own.notes)


def skipped_notes(listing: DicomListing, indices: Sequence[int], chosen: DicomSeries | None = None) -> list[str]:
    """Return sentences about the skipped series with these indices, and about damaged files.

    If the `chosen` series is given, series of another patient or study are marked.
    """
    skipped = {i: listing.series[i] for i in indices}
    foreign = [series for series in skipped.values() if series.slices[0].modality != "CT"]
    of_ct = {i: series for i, series in skipped.items() if series.slices[0].modality == "CT"}
    scouts = [series for series in of_ct.values() if is_localizer(series.slices[0])]
    rest = [i for i, series in of_ct.items() if not is_localizer(series.slices[0])]
    notes = []
    if foreign:
        modalities = sorted({series.slices[0].modality or "unknown" for series in foreign})
        notes.append(f"{_files_were(foreign)} skipped: not CT but {', '.join(modalities)}.")
    if scouts:
        notes.append(f"{_files_were(scouts)} skipped: localizers (scouts){_origin_phrase(scouts, chosen)}.")
    for i in rest[:MOST_NAMED]:
        named = f"Series {i + 1} ({_summary_of(skipped[i])}{_origin_phrase([skipped[i]], chosen)})"
        why = " ".join(skipped[i].reasons)
        unchosen = f"{named} was not chosen: give {listing.source}::{i + 1} to segment it."
        notes.append(f"{named} was skipped. {why}" if why else unchosen)
    more = len(rest) - MOST_NAMED
    notes += [f"{more} more series {'was' if more == 1 else 'were'} skipped."] * (more > 0)
    return notes + lost_notes(listing.lost)


def lost_notes(lost: Sequence[DicomFile]) -> list[str]:
    """Return a sentence about unreadable files that may be images, or [] if there are none."""
    files = f"{counted(len(lost), 'damaged or incomplete file')} {'was' if len(lost) == 1 else 'were'}"
    return [f"{files} skipped ({', '.join(file.name for file in lost[:3])})."] if lost else []


def refusal(listing: DicomListing, index: int | None = None) -> str:
    """Return the error message, with all reasons, for an input or (given `index`) a series that cannot be segmented."""
    if len(listing.series) == 1 or index is not None:
        series = listing.series[index or 0]
        which = f"{listing.source}" + f"::{(index or 0) + 1}" * (len(listing.series) > 1)
        # The file counts in the reasons do not include copies, so mention those, too.
        copies = [note for note in series.notes if "SOPInstanceUID" in note and "left out" in note]
        return f"{which} is not a regular axial CT series. " + " ".join([*series.reasons, *copies])
    patients = len({series.patient for series in listing.series if series.patient})
    whose = f" It holds images of {patients} patients." * (patients > 1)
    said = skipped_notes(listing, range(len(listing.series)))
    return f"{listing.source} holds no CT series that can be segmented.{whose} {' '.join(said)}"


def _summary_of(series: DicomSeries) -> str:
    """Describe a series by its slices, slice distance and contrast phase.

    If it is not CT, or if its first slice has no position, describe it by modality and number of files.
    """
    first = series.slices[0]
    if first.modality != "CT" or not first.placed:
        return f"{first.modality or 'unknown'}, {counted(_files([series]), 'file')}"
    step = f", {round(series.depth_mm / len(series.slices), 2):g} mm" if series.depth_mm else ""
    phase = contrast_phase(first)
    return f"CT, {counted(len(series.slices), 'slice')}{step}{f', {phase}' * bool(phase)}"


def _files(series: Sequence[DicomSeries]) -> int:
    """Return the number of files in these series; an enhanced CT is a single file."""
    return len({header.file for part in series for header in part.slices})


def _files_were(skipped: Sequence[DicomSeries]) -> str:
    files = _files(skipped)
    return f"{counted(files, 'file')} {'was' if files == 1 else 'were'}"


def _origin_phrase(skipped: Sequence[DicomSeries], chosen: DicomSeries | None) -> str:
    """Return a phrase if a skipped series is of another patient or study than the chosen series, else ""."""
    if chosen is None:
        return ""
    if any(series.patient != chosen.patient for series in skipped):
        return ", of another patient"
    return ", of another study" * any(s.slices[0].study_uid != chosen.slices[0].study_uid for s in skipped)
