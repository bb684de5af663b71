"""What is said about the series of an input: a line for each, the notes of a case, and the sentence of a refusal."""

from __future__ import annotations

import re
from collections.abc import Sequence

from custom_networks.io.dicom.choice import contrast_phase
from custom_networks.io.dicom.listing import DicomListing
from custom_networks.io.dicom.rules import is_localizer
from custom_networks.io.dicom.series import DicomSeries

MOST_NAMED = 12


def series_lines(listing: DicomListing) -> list[str]:
    """One line for each series: its number, what it is, and whether and why it is chosen or skipped."""
    chosen = set(listing.chosen)
    patients = list(dict.fromkeys(series.patient for series in listing.series))
    files = f"{listing.scan.looked_at} file{'s' * (listing.scan.looked_at != 1)}"
    lines = [f"{listing.source}: {files}, {len(listing.series)} series, {_ready(listing, chosen)} to segment"]
    for index, series in enumerate(listing.series):
        verdict = "chosen." if index in chosen else f"not chosen: give {listing.source}::{index + 1} to segment it."
        if series.reasons:
            verdict = f"{'refused' if index in chosen else 'skipped'}. {' '.join(series.reasons)}"
        whose = f"patient {patients.index(series.patient) + 1}, " * (len(patients) > 1)
        lines.append(f"{index + 1}  {whose}{_what(series)}{_described(series)}: {verdict}")
        lines += [f"   note: {note}" for note in series.notes]
    lines += [f"-  {file.name}: damaged or incomplete." for file in listing.scan.damaged]
    return lines + [reason for reason in (listing.patients_reason,) if reason]


def _ready(listing: DicomListing, chosen: set[int]) -> int:
    """How many of the chosen series can be segmented."""
    return 0 if listing.patients_reason else sum(not listing.series[index].reasons for index in chosen)


def case_notes(listing: DicomListing, index: int) -> tuple[str, ...]:
    """What was chosen and what was skipped for the case of series `index`, and the notes of that series."""
    own = listing.series[index]
    cases = {listing.series[case].patient for case in listing.chosen} - {own.patient}
    others = [i for i, series in enumerate(listing.series) if i != index and series.patient not in cases]
    notes = [f"Series {index + 1} of {len(listing.series)} was chosen ({_what(own)})."] if others else []
    notes += skipped_notes(listing, others, own)
    return (*notes, *own.notes)


def skipped_notes(listing: DicomListing, indices: Sequence[int], chosen: DicomSeries | None = None) -> list[str]:
    """A sentence for each kind of what is skipped, and for damaged files."""
    notes = []
    foreign = [i for i in indices if listing.series[i].slices[0].modality != "CT"]
    scouts = [i for i in indices if i not in foreign and is_localizer(listing.series[i].slices[0])]
    if foreign:
        modalities = sorted({listing.series[i].slices[0].modality or "unknown" for i in foreign})
        notes.append(f"{_count(listing, foreign)} skipped: not CT but {', '.join(modalities)}.")
    if scouts:
        notes.append(f"{_count(listing, scouts)} skipped: localizers (scouts){_elsewhere(listing, scouts, chosen)}.")
    rest = [i for i in indices if i not in foreign and i not in scouts]
    for i in rest[:MOST_NAMED]:
        named = f"Series {i + 1} ({_what(listing.series[i])}{_elsewhere(listing, [i], chosen)})"
        why = " ".join(listing.series[i].reasons)
        notes.append(
            f"{named} was skipped. {why}" if why else f"{named} was not chosen: give {listing.source}::{i + 1} for it."
        )
    notes += [f"{len(rest) - MOST_NAMED} more series were skipped."] * (len(rest) > MOST_NAMED)
    damaged = ", ".join(file.name for file in listing.scan.damaged[:3])
    files = (
        "1 damaged or incomplete file was"
        if len(listing.scan.damaged) == 1
        else f"{len(listing.scan.damaged)} damaged files were"
    )
    return notes + [f"{files} skipped ({damaged})."] * bool(damaged)


def refusal(listing: DicomListing, index: int | None = None) -> str:
    """Why nothing of an input, or series `index` of it, can be segmented: all reasons, as one line."""
    if len(listing.series) == 1 or index is not None:
        series = listing.series[index or 0]
        which = f"{listing.source}" + f"::{(index or 0) + 1}" * (len(listing.series) > 1)
        return f"{which} is not one regular axial CT series. " + " ".join([*series.reasons, *_of_copies(series)])
    patients = len({series.patient for series in listing.series if series.patient})
    whose = f" It holds images of {patients} patients." * (patients > 1)
    said = skipped_notes(listing, range(len(listing.series)))
    return f"{listing.source} holds no CT series that can be segmented.{whose} {' '.join(said)}"


def _of_copies(series: DicomSeries) -> list[str]:
    """What a reader who counts the files needs to know."""
    return [note for note in series.notes if "SOPInstanceUID" in note and "left out" in note]


def _what(series: DicomSeries) -> str:
    """Modality, number of slices, step and phase."""
    first = series.slices[0]
    if first.modality != "CT" or not first.placed:
        return f"{first.modality or 'unknown'}, {len(series.slices)} file{'s' * (len(series.slices) != 1)}"
    step = f", {round(series.depth_mm / len(series.slices), 2):g} mm" if series.depth_mm else ""
    phase = contrast_phase(first)
    return f"CT, {len(series.slices)} slice{'s' * (len(series.slices) != 1)}{step}{f', {phase}' * bool(phase)}"


def _described(series: DicomSeries) -> str:
    """The description of a series, for the eyes of who has the images: it is never written to a file."""
    text = re.sub(r"[^\w .,+/()-]", " ", series.slices[0].description)
    return f' "{text[:40].strip()}"' * bool(text.strip())


def _count(listing: DicomListing, indices: Sequence[int]) -> str:
    files = sum(len(listing.series[i].slices) for i in indices)
    return "1 file was" if files == 1 else f"{files} files were"


def _elsewhere(listing: DicomListing, indices: Sequence[int], chosen: DicomSeries | None) -> str:
    """Whether series are of another patient or study than the chosen one."""
    skipped = [listing.series[i] for i in indices]
    if chosen is None or not skipped:
        return ""
    if any(series.patient != chosen.patient for series in skipped):
        return ", of another patient"
    return ", of another study" * any(s.slices[0].study_uid != chosen.slices[0].study_uid for s in skipped)
