"""Group headers into series, sort their slices by position, and collect the reasons why a series is not a volume.

Files are grouped by patient, study, series and modality, then by frame of reference; localizers are separated. A group
that is not a regular stack is split by orientation, acquisition or kernel if that yields regular stacks. Each enhanced
CT is a group of its own, whose frames are split by StackID and TemporalPositionIndex.
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from custom_networks.io.checks import MIN_SLICES
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
from custom_networks.io.dicom.pixels import are_same_frames, is_same_image
from custom_networks.io.dicom.series_notes import numbers_note, series_notes

Key = Callable[[SliceHeader], Hashable]
# The attributes that distinguish the volumes of one enhanced CT.
FRAME_STACKS: tuple[tuple[str, Key], ...] = (
    ("StackID", lambda s: s.stack_id),
    ("TemporalPositionIndex", lambda s: s.phase),
)


@dataclass(frozen=True)
class DicomSeries:
    """Files that belong together, and the reasons why they are not a volume, if any.

    Attributes:
        slices: the slices or other files. CT slices are sorted along their normal if all have a position; localizers
            and other files are sorted by name.
        other: reasons why there is nothing to segment, such as another modality, a localizer or too few slices.
        faults: reasons why the CT slices are not a readable volume, such as a gap or a damaged file.
        notes: sentences about unusual but accepted properties.
        part: text that distinguishes the parts of a series that was split, "" if it was not split.
    """

    slices: tuple[SliceHeader, ...]
    other: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    part: str = ""

    @property
    def reasons(self) -> tuple[str, ...]:
        """All reasons why the series cannot be segmented; empty if it can."""
        return self.other + self.faults

    @property
    def patient(self) -> str:
        """Digest that identifies the patient without naming them; "" without PatientID and PatientName."""
        return self.slices[0].patient

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID, or "" if it is missing, or if slices differ in SeriesInstanceUID or StudyInstanceUID."""
        uids = {(header.study_uid, header.series_uid) for header in self.slices}
        return self.slices[0].series_uid if len(uids) == 1 else ""

    @property
    def study_uid(self) -> str:
        """StudyInstanceUID, or "" if missing."""
        return self.slices[0].study_uid

    @property
    def study(self) -> tuple[str, str]:
        """Key of the study: patient digest and StudyInstanceUID."""
        return self.patient, self.study_uid

    @property
    def depth_mm(self) -> float:
        """Depth that the slices cover along their normal in mm; 0 if they share a plane or `other` is not empty."""
        return 0.0 if self.other else covered_mm(_positions(self.slices), self.slices[0].axes) or 0.0

    @property
    def affine(self) -> np.ndarray:
        """(4, 4) affine of a regular stack, (column, row, slice) index to RAS mm."""
        return series_affine(_positions(self.slices), self.slices[0].axes, self.slices[0].spacing)


def series_of(headers: Iterable[SliceHeader]) -> list[DicomSeries]:
    """Return all series of an input, in an order that does not depend on file names or folders."""
    by_uid = _grouped(headers, lambda s: (*_series_key(s), (s.instance_uid or s.file.name) if s.frame else ""))
    together = _with_singles_joined(by_uid)
    patients, images = defaultdict(set), defaultdict(list)
    for slices in together:
        patients[slices[0].study_uid, slices[0].series_uid].add(slices[0].patient)
        images[_series_key(slices[0])].append(slices)
    series = []
    for slices in together:
        shared = slices[0].frame and len(images[_series_key(slices[0])]) > 1
        own = f"SOPInstanceUID {slices[0].instance_uid}" if shared else ""
        series += [replace(part, part=f"{own} {part.part}".strip()) for part in _volumes_of(slices)]
    for number, part in enumerate(series):
        if part.faults and len({(header.study_uid, header.series_uid) for header in part.slices}) > 1:
            cause = "Each slice has its own SeriesInstanceUID or StudyInstanceUID: export them again as one series."
            series[number] = part = replace(part, faults=(*part.faults, cause))
        named = patients[part.slices[0].study_uid, part.slices[0].series_uid]
        if part.slices[0].series_uid and len(named) > 1 and not part.other:
            mixed = f"Images of {len(named)} patients share its SeriesInstanceUID: export each patient's series again."
            series[number] = replace(part, faults=(*part.faults, mixed))
    return sorted(series, key=lambda part: _sort_key(part.slices[0]))


def _series_key(header: SliceHeader) -> tuple[Hashable, ...]:
    series = header.series_uid or header.series_number
    return header.patient, header.study_uid, series, header.modality or "CT"


def _with_singles_joined(groups: Sequence[list[SliceHeader]]) -> list[list[SliceHeader]]:
    """Join single slices that seem to belong to one series but have different SeriesInstanceUIDs.

    Some anonymisers give each slice its own UID. CT slices of an identified patient are joined if there are enough for
    a volume and they agree in SeriesNumber, description, size, pixel spacing and orientation. Frames of enhanced CT are
    not joined.
    """
    singles = [group[0] for group in groups if len(group) == 1 and not group[0].frame]
    joined = [
        part
        for part in _grouped(singles, _joining_key)
        if len(part) >= MIN_SLICES and part[0].patient and rules.all_are_ct_slices(part)
    ]
    taken = {id(header) for part in joined for header in part}
    return [group for group in groups if id(group[0]) not in taken] + joined


def _joining_key(header: SliceHeader) -> Hashable:
    axes = tuple(np.round(header.axes, 3).ravel().tolist())
    size = header.rows, header.columns, header.spacing
    return (header.patient, header.series_number, header.description, header.modality, size, axes)


def _sort_key(first: SliceHeader) -> tuple[Hashable, ...]:
    position = tuple(float(value) for value in np.nan_to_num(first.position))
    order = (first.series_number, first.series_uid, first.modality, first.acquisition or 0, first.frame_uid)
    own = (first.instance_uid, first.stack_id, first.phase or 0, first.frame)
    return (first.patient, first.study_uid, *order, position, *own)


def _grouped(slices: Iterable[SliceHeader], key: Key) -> list[list[SliceHeader]]:
    """Return the groups of slices that have the same key."""
    found: dict[Hashable, list[SliceHeader]] = defaultdict(list)
    for header in slices:
        found[key(header)].append(header)
    return list(found.values())


def _volumes_of(slices: Sequence[SliceHeader]) -> list[DicomSeries]:
    """Split the slices of a series by frame of reference and into stacks, leaving out duplicate files."""
    kept, copied = _without_copies(slices)
    skipped = numbers_note(slices)
    parts = []
    for same_kind in _grouped(kept, rules.is_localizer):
        frames = _grouped(same_kind, lambda s: s.frame_uid)
        # A different UID for each slice is an export error: a real frame of reference has more than one slice.
        one_each = len(frames) > 1 and max(map(len, frames)) == 1
        note = f"FrameOfReferenceUID has {len(frames)} different values: it was assumed to be the same for all slices."
        for together in [same_kind] if one_each else frames:
            frame = together[0].frame_uid if len(frames) > 1 and not one_each else ""
            for part in _split(together):
                notes = copied + (note,) * one_each + skipped + part.notes
                parts.append(replace(part, notes=notes, part=f"{frame} {part.part}".strip()))
    return parts


def _without_copies(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """Return the slices without duplicate files, and a note if there were any.

    A duplicate has the SOPInstanceUID, position and pixels of another file; the pixels of a damaged file are not
    compared.
    """
    if slices[0].frame:
        return _without_copied_files(slices)
    kept: list[SliceHeader] = []
    for same in _grouped(slices, lambda s: (s.instance_uid, s.position) if s.instance_uid else s.file.name):
        first, *others = sorted(same, key=lambda s: (s.pixel_fault != "", s.file.name))
        kept += [first, *(s for s in others if not (s.pixel_fault or is_same_image(first, s)))]
    return kept, _copies_note(len(slices) - len(kept))


def _without_copied_files(frames: Sequence[SliceHeader]) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """Like `_without_copies`, for frames of enhanced CT files that share a SOPInstanceUID."""
    first, *others = sorted(_grouped(frames, lambda s: s.file), key=lambda f: (f[0].pixel_fault != "", f[0].file.name))
    kept = [first, *(other for other in others if not (other[0].pixel_fault or are_same_frames(first, other)))]
    return [frame for file in kept for frame in file], _copies_note(1 + len(others) - len(kept))


def _copies_note(dropped: int) -> tuple[str, ...]:
    files = "1 file repeats another slice and was" if dropped == 1 else f"{dropped} files repeat other slices and were"
    return (f"{files} left out (same SOPInstanceUID).",) if dropped else ()


def _split(slices: Sequence[SliceHeader]) -> list[DicomSeries]:
    """Return the slices as one series if they form a volume, else as several series if splitting yields volumes.

    If neither is possible, the result is one series with its reasons. Frames of an enhanced CT are always split by an
    attribute in FRAME_STACKS, unless it has the same value in all frames or a different value in each frame.
    """
    for attribute, key in FRAME_STACKS if slices[0].frame else ():
        groups = _grouped(slices, key)
        if 1 < len(groups) < len(slices):  # one value per frame is only a frame number
            return [_named(part, attribute, group, len(groups)) for group in groups for part in _split(group)]
    whole = _stack_of(slices)
    if not (whole.reasons and all(header.placed for header in slices)):
        return [whole]
    oriented = _split_by(slices, lambda s: tuple(np.round(s.axes, 2).ravel().tolist()), "ImageOrientationPatient")
    axial = [part for part in oriented if not axial_reasons(part.slices[0].axes)]
    if len(oriented) > 1 and axial and not any(part.reasons for part in axial):
        return oriented
    acquired = _split_by(slices, lambda s: s.acquisition, "AcquisitionNumber")
    # If a part is irregular, too, the acquisitions are not the cause of the irregularity.
    if _are_volumes(acquired):
        return acquired
    reconstructed = _split_by(slices, lambda s: s.kernel, "ConvolutionKernel")
    return reconstructed if _are_volumes(reconstructed) else [whole]


def _are_volumes(parts: Sequence[DicomSeries]) -> bool:
    """Whether there are several parts without faults, of which at least one is a volume."""
    return len(parts) > 1 and not any(part.faults for part in parts) and not all(part.other for part in parts)


def _split_by(slices: Sequence[SliceHeader], key: Key, attribute: str) -> list[DicomSeries]:
    """Split slices by a key into stacks, each with a note that names the attribute."""
    groups = _grouped(slices, key)
    note = f"The series was split by {attribute} into {len(groups)} parts."
    stacks = [_stack_of(group) for group in groups]
    return [replace(s, notes=(note, *s.notes), part=f"{attribute} {key(s.slices[0])}") for s in stacks]


def _named(part: DicomSeries, attribute: str, group: Sequence[SliceHeader], groups: int) -> DicomSeries:
    """Return a part of a group of frames, with a note that names the attribute by which the frames were split."""
    value = dict(FRAME_STACKS)[attribute](group[0])
    note = f"The frames were split by {attribute} into {groups} parts."
    return replace(part, notes=(note, *part.notes), part=f"{attribute} {value} {part.part}".strip())


def _stack_of(slices: Sequence[SliceHeader]) -> DicomSeries:
    """Return the slices as one series, with all reasons why they are not a volume."""
    ordered = sorted(slices, key=lambda s: (s.file.name, s.instance_uid))
    kinds = rules.kind_reasons(ordered)
    other, faults = (kinds, []) if rules.none_are_ct_slices(ordered) else ([], kinds)
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
    return DicomSeries(tuple(ordered), tuple(other), tuple(faults), () if other or faults else series_notes(ordered))


def _stack_reasons(placed: Sequence[SliceHeader]) -> tuple[list[str], list[str]]:
    """Return two lists: why the positions are irregular, and why the slices are not a stack because they share a plane.

    At least one list is empty. The reasons mention several acquisitions in one series, the most common cause of uneven
    or duplicate positions.
    """
    axes, positions = placed[0].axes, _positions(placed)
    reasons = stack_reasons(positions, axes)
    acquisitions = [s.acquisition for s in placed]
    changes = sum(a != b for a, b in zip(acquisitions, acquisitions[1:]))
    if len(set(acquisitions)) > 1 and (reasons or changes >= len(set(acquisitions))):
        numbers = sorted({number for number in acquisitions if number is not None})
        named = ", ".join(map(str, numbers[:6])) + ", ..." * (len(numbers) > 6)
        share = f"{len(numbers)} acquisitions (AcquisitionNumber {named}) share one series: export each separately."
        reasons = [*reasons, share]
    is_one_place = len(placed) > 1 and covered_mm(positions, axes) is None
    return ([], reasons) if is_one_place else (reasons, [])


def _sorted_along_normal(slices: Sequence[SliceHeader]) -> list[SliceHeader]:
    """Sort slices by position along their normal; file names and InstanceNumber are not reliable."""
    normal = normal_of(slices[0].axes)
    return sorted(slices, key=lambda s: (float(np.dot(s.position, normal)), s.acquisition or 0, s.instance_uid))


def _positions(slices: Sequence[SliceHeader]) -> np.ndarray:
    """Return the positions (n, 3) in LPS mm."""
    return np.array([s.position for s in slices])
