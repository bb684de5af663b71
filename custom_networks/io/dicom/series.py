"""Headers become series: what belongs together, in the order of positions, with all that speaks against each.

Files belong together by patient, study, series and modality, then by frame of reference; scouts go apart. What is then
no regular stack is taken apart by orientation and by acquisition if that gives one.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from custom_networks.io.dicom import rules
from custom_networks.io.dicom.geometry import (
    axial_reasons,
    covered_mm,
    mixed_orientation_reasons,
    normal_of,
    series_affine,
    stack_reasons,
)
from custom_networks.io.dicom.header import SliceHeader
from custom_networks.io.dicom.pixels import LOSSY, is_same_image

Key = Callable[[SliceHeader], Hashable]


@dataclass(frozen=True)
class DicomSeries:
    """Files that belong together, and whether they make a volume.

    Attributes:
        slices: sorted along the slice normal where all have a position, else by name.
        other: why this holds nothing to segment: another modality, a scout, too few slices, ...
        faults: why this, though CT slices, is no volume that can be read: a gap, a damaged file, ...
        notes: what was accepted although it is unusual.
        part: what tells it from the other parts where one SeriesInstanceUID was taken apart, "" where it was not.
    """

    slices: tuple[SliceHeader, ...]
    other: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    part: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that speaks against it; empty for a volume that can be segmented."""
        return self.other + self.faults

    @property
    def patient(self) -> str:
        """A digest that tells patients apart and names none; "" where no image names one."""
        return self.slices[0].patient

    @property
    def study_uid(self) -> str:
        """Its StudyInstanceUID, "" where it has none."""
        return self.slices[0].study_uid

    @property
    def study(self) -> tuple[str, str]:
        """What tells studies apart, whatever a patient is called in them."""
        return self.patient, self.study_uid

    @property
    def depth_mm(self) -> float:
        """What the slices cover along their normal, mm; 0 where they are no stack."""
        return 0.0 if self.other else covered_mm(_positions(self.slices), self.slices[0].axes) or 0.0

    @property
    def affine(self) -> np.ndarray:
        """The (4, 4) affine of a regular stack, (column, row, slice) index to RAS mm."""
        return series_affine(_positions(self.slices), self.slices[0].axes, self.slices[0].spacing)


def series_of(headers: Iterable[SliceHeader]) -> list[DicomSeries]:
    """All series of an input, in an order that does not depend on the names or places of the files."""
    together = _grouped(
        headers, lambda s: (s.patient, s.study_uid, s.series_uid or s.series_number, s.modality or "CT")
    )
    patients = defaultdict(set)
    for slices in together:
        patients[slices[0].study_uid, slices[0].series_uid].add(slices[0].patient)
    series = [part for slices in together for part in _volumes_of(slices)]
    for number, part in enumerate(series):
        named = patients[part.slices[0].study_uid, part.slices[0].series_uid]
        if part.slices[0].series_uid and len(named) > 1 and not part.other:
            mixed = f"Its SeriesInstanceUID names images of {len(named)} patients: export each patient's series again."
            series[number] = replace(part, faults=(*part.faults, mixed))
    return sorted(series, key=lambda part: _place_in_list(part.slices[0]))


def _place_in_list(first: SliceHeader) -> tuple[Hashable, ...]:
    position = tuple(float(value) for value in np.nan_to_num(first.position))
    order = (first.series_number, first.series_uid, first.modality, first.acquisition or 0, first.frame_uid)
    return (first.patient, first.study_uid, *order, position, first.instance_uid)


def _grouped(slices: Iterable[SliceHeader], key: Key) -> list[list[SliceHeader]]:
    """The slices with equal keys together."""
    found: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for header in slices:
        found[key(header)].append(header)
    return list(found.values())


def _volumes_of(slices: Sequence[SliceHeader]) -> list[DicomSeries]:
    """One series of one patient as the stacks that it holds."""
    kept, copied = _without_copies(slices)
    parts = []
    for same_kind in _grouped(kept, rules.is_localizer):
        frames = _grouped(same_kind, lambda s: s.frame_uid)
        # A frame for each slice is an export's fault: frames that mean something hold more than one slice.
        one_each = len(frames) > 1 and max(map(len, frames)) == 1
        note = f"FrameOfReferenceUID differs between slices ({len(frames)}): they were taken as one frame."
        for together in [same_kind] if one_each else frames:
            frame = together[0].frame_uid if len(frames) > 1 and not one_each else ""
            for part in _split(together):
                notes = copied + (note,) * one_each + part.notes
                parts.append(replace(part, notes=notes, part=f"{frame} {part.part}".strip()))
    return parts


def _without_copies(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """The slices without repeated files, and a note of what was dropped.

    A copy has the SOPInstanceUID, the position and the picture of another file; a damaged one need not have the last.
    """
    kept: list[SliceHeader] = []
    for same in _grouped(slices, lambda s: (s.instance_uid, s.position) if s.instance_uid else s.file.name):
        first, *others = sorted(same, key=lambda s: (s.pixel_fault != "", s.file.name))
        kept += [first, *(s for s in others if not (s.pixel_fault or is_same_image(first, s)))]
    dropped = len(slices) - len(kept)
    files = "1 file repeats another slice and was" if dropped == 1 else f"{dropped} files repeat other slices and were"
    return kept, (f"{files} left out (same SOPInstanceUID).",) if dropped else ()


def _split(slices: Sequence[SliceHeader]) -> list[DicomSeries]:
    """The slices as one stack if they are one, else as several if that makes volumes, else as one that is refused."""
    whole = _stack_of(slices)
    if not (whole.reasons and all(header.placed for header in slices)):
        return [whole]
    oriented = _taken_apart(slices, lambda s: tuple(np.round(s.axes, 2).ravel().tolist()), "ImageOrientationPatient")
    axial = [part for part in oriented if not axial_reasons(part.slices[0].axes)]
    if len(oriented) > 1 and axial and not any(part.reasons for part in axial):
        return oriented
    acquired = _taken_apart(slices, lambda s: s.acquisition, "AcquisitionNumber")
    # A part that is irregular itself says that the numbers do not explain what is wrong with the whole.
    if len(acquired) > 1 and not any(part.faults for part in acquired) and not all(part.other for part in acquired):
        return acquired
    return [whole]


def _taken_apart(slices: Sequence[SliceHeader], key: Key, attribute: str) -> list[DicomSeries]:
    """The stacks of slices with equal keys, each with a note of the attribute that told them apart."""
    groups = _grouped(slices, key)
    note = f"The series was taken apart by {attribute} into {len(groups)}."
    stacks = [_stack_of(group) for group in groups]
    return [replace(s, notes=(note, *s.notes), part=f"{attribute} {key(s.slices[0])}") for s in stacks]


def _stack_of(slices: Sequence[SliceHeader]) -> DicomSeries:
    """All that speaks against these slices as one volume."""
    ordered = sorted(slices, key=lambda s: (s.file.name, s.instance_uid))
    kinds = rules.kind_reasons(ordered)
    other, faults = (kinds, []) if rules.all_of_other_kinds(ordered) else ([], kinds)
    faults += rules.fault_reasons(ordered)
    placed = [s for s in ordered if s.placed]
    if placed and ordered[0].modality in ("CT", "") and not rules.is_localizer(ordered[0]):
        placed = _sorted_along_normal(placed)
        ordered = placed if len(placed) == len(ordered) else ordered
        oriented = mixed_orientation_reasons([s.axes for s in placed])
        stacked, one_place = ([], []) if oriented else _stack_reasons(placed)
        other += [] if oriented else axial_reasons(placed[0].axes)
        faults += oriented + rules.uniformity_reasons(placed) + stacked
        depth = covered_mm(_positions(placed), placed[0].axes) if not (oriented or stacked or one_place) else None
        other += one_place + rules.amount_reasons(ordered, depth)
    return DicomSeries(tuple(ordered), tuple(other), tuple(faults), () if other or faults else _notes(ordered))


def _stack_reasons(placed: Sequence[SliceHeader]) -> tuple[list[str], list[str]]:
    """What is irregular about positions (faults), and what makes the slices something else than a stack.

    Several acquisitions under one SeriesInstanceUID are what most often lies behind uneven or double positions.
    """
    axes, positions = placed[0].axes, _positions(placed)
    reasons = stack_reasons(positions, axes)
    acquisitions = [s.acquisition for s in placed]
    changes = sum(a != b for a, b in zip(acquisitions, acquisitions[1:]))
    if len(set(acquisitions)) > 1 and (reasons or changes >= len(set(acquisitions))):
        numbers = sorted({number for number in acquisitions if number is not None})
        named = ", ".join(map(str, numbers[:6])) + ", ..." * (len(numbers) > 6)
        share = f"{len(numbers)} acquisitions (AcquisitionNumber {named}) share one series: export each on its own."
        reasons = [*reasons, share]
    is_one_place = len(placed) > 1 and covered_mm(positions, axes) is None
    return ([], reasons) if is_one_place else (reasons, [])


def _notes(slices: Sequence[SliceHeader]) -> tuple[str, ...]:
    """What was accepted although it is not as the standard wants it, or costs quality."""
    acquisitions = len({s.acquisition for s in slices})
    borrowed = sum(not s.own_instance_uid for s in slices)
    said = {
        "The series has no SeriesInstanceUID: all slices were taken as one series.": not slices[0].series_uid,
        f"SOPInstanceUID is empty in {borrowed} files: it was taken from the file meta information.": borrowed > 0,
        f"{acquisitions} acquisitions form one even stack: they were taken as one.": acquisitions > 1,
        "The slices are derived images (ImageType DERIVED).": any("DERIVED" in s.image_type for s in slices),
        "The pixels were compressed with loss.": any(s.lossy or s.transfer_syntax in LOSSY for s in slices),
    }
    return tuple(note for note, holds in said.items() if holds)


def _sorted_along_normal(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """By position along the slice normal: neither file names nor InstanceNumber tell where a slice lies."""
    normal = normal_of(slices[0].axes)
    return sorted(slices, key=lambda s: (float(np.dot(s.position, normal)), s.acquisition or 0, s.instance_uid))


def _positions(slices: Sequence[SliceHeader]) -> np.ndarray:
    """Positions (n, 3), mm, LPS."""
    return np.array([s.position for s in slices])
