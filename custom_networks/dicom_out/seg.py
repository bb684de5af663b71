"""DICOM Segmentation (PS3.3 A.51) of a case: the whole liver, and each lesion a segment of its own.

BINARY, because its segments may overlap (the liver holds its lesions) and because every viewer reads it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from custom_networks.dicom_out import codes
from custom_networks.dicom_out.source import SourceSeries, quiet, source_view
from custom_networks.io.volume import Volume
from custom_networks.labelmap.lesions import list_lesions

MAX_LESION_SEGMENTS = 20
SERIES_NUMBER = 900


class MeasuredLesion(Protocol):
    """What results need to know about a lesion; None or NaN where it was not measured."""

    @property
    def id(self) -> int:
        """Its number in the report."""

    @property
    def volume_mm3(self) -> float:
        """Volume, mm3."""

    @property
    def longest_mm(self) -> float | None:
        """Longest axial diameter, mm."""

    @property
    def perpendicular_mm(self) -> float | None:
        """Diameter at a right angle to the longest one, mm."""

    @property
    def mean_hu(self) -> float | None:
        """Mean of its voxels, HU."""

    @property
    def sd_hu(self) -> float | None:
        """Standard deviation of its voxels, HU."""

    @property
    def centroid(self) -> Sequence[float] | npt.NDArray[np.float64]:
        """Mean position of its voxel centres, (3,), patient coordinates (LPS), mm."""

    @property
    def confidence(self) -> float | None:
        """Chance that it is real, 0 to 1."""


@dataclass(frozen=True)
class SegObject:
    """A written SEG.

    Attributes:
        dataset: highdicom's Segmentation.
        segment_of: segment number of each lesion by its id; the liver is segment 1.
    """

    dataset: Any
    segment_of: Mapping[int, int]


def write_seg(
    labels: Volume,
    source: SourceSeries,
    path: Path,
    lesions: Sequence[MeasuredLesion] | None = None,
    *,
    max_lesion_segments: int = MAX_LESION_SEGMENTS,
    keep_empty_frames: bool = False,
) -> SegObject:
    """Write a label map as a BINARY DICOM SEG that refers to the slices it was made of.

    Segment 1 is the liver with its lesions (labels 1 and 2). Each lesion, a component of label 2 by 26-neighbourhood,
    is a segment named "Lesion <id>"; more than `max_lesion_segments` share one segment. Without a liver the file
    holds a single empty frame.

    Args:
        labels: 0 background, 1 liver, 2 tumor, uint8, on the series' grid (axes may be permuted and flipped).
        source: the series, of `read_source`.
        path: the file to write; it appears only when it is whole.
        lesions: what was measured, every lesion once; the segments come in this order. None: the largest is 1.
        max_lesion_segments: most lesions that get a segment of their own.
        keep_empty_frames: write a frame for every slice and segment, which some viewers need.

    Raises:
        InputError: the label map lies on another grid than the series.
        UsageError: highdicom is not installed.
        ValueError: `lesions` are not those of the label map.
    """
    codes.load_highdicom()
    view, to_source = source_view(labels, source)
    voxels, numbers = _lesion_voxels(labels)
    ids, rank = _match(labels, voxels, numbers, lesions)
    shared = len(ids) > max_lesion_segments
    segment_of = {id_: 2 if shared else k + 2 for k, id_ in enumerate(ids)}
    place = np.rint(to_source[:3, :3] @ voxels + to_source[:3, 3:]).astype(np.intp)
    segments = np.ones_like(numbers) if shared else rank[numbers - 1] + 1
    slab = slice(0, view.shape[0]) if keep_empty_frames else _slab_of(view)
    masks = _masks(view[slab], place - np.array([[0], [0], [slab.start]]), segments)
    with quiet():
        dataset = _segmentation(source.headers[slab], masks, _names(ids, shared), keep_empty_frames)
        save_whole(dataset, path)
    return SegObject(dataset, segment_of)


def save_whole(dataset: Any, path: Path) -> None:
    """Write a data set to a temporary name and rename it."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        dataset.save_as(temporary, enforce_file_format=True)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _lesion_voxels(labels: Volume) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Index (3, n) of each tumor voxel and the number of its lesion (n,), from 1."""
    unknown = np.broadcast_to(np.uint8(0), (2, *labels.array.shape))  # takes no memory
    found = list_lesions(labels.array, unknown, labels.spacing)
    inside = np.nonzero(found.components)
    start = np.array([[part.start] for part in found.box])
    return np.array(inside) + start, found.components[inside].astype(np.intp)


def _match(
    labels: Volume,
    voxels: npt.NDArray[np.intp],
    numbers: npt.NDArray[np.intp],
    lesions: Sequence[MeasuredLesion] | None,
) -> tuple[list[int], npt.NDArray[np.intp]]:
    """The ids of the lesions in order, and for each component of the label map which of them it is (its index)."""
    counts = np.bincount(numbers, minlength=1)[1:]
    if lesions is None:
        return list(range(1, counts.size + 1)), np.argsort(np.argsort(-counts, kind="stable"))
    means = [np.bincount(numbers, axis, minlength=1)[1:] / counts for axis in voxels]
    centres = (np.diag([-1.0, -1.0, 1.0]) @ (labels.affine[:3, :3] @ means + labels.affine[:3, 3:])).T
    volumes = counts * abs(float(np.linalg.det(labels.affine[:3, :3])))
    rank = np.full(counts.size, -1, np.intp)
    for index, lesion in enumerate(lesions):
        near = np.linalg.norm(centres - np.asarray(lesion.centroid), axis=1) <= max(labels.spacing) / 2
        fits = np.flatnonzero(near & np.isclose(volumes, lesion.volume_mm3, rtol=1e-3) & (rank < 0))
        rank[fits[:1]] = index
    if len(lesions) != counts.size or (rank < 0).any():
        raise ValueError(
            f"lesions must be those of the label map by centroid (LPS, mm) and volume: {len(lesions)} were measured, "
            f"{counts.size} found, {int((rank < 0).sum())} of them without a measurement."
        )
    return [lesion.id for lesion in lesions], rank


def _slab_of(view: npt.NDArray[Any]) -> slice:
    """From the first slice with a label to the last; the first slice alone where there is none."""
    filled = np.flatnonzero([slice_.any() for slice_ in view])
    return slice(int(filled[0]), int(filled[-1]) + 1) if filled.size else slice(0, 1)


def _masks(
    view: npt.NDArray[Any], place: npt.NDArray[np.intp], segments: npt.NDArray[np.intp]
) -> npt.NDArray[np.uint8]:
    """One mask a segment, (slice, row, column, segment): the organ, then segments 1 to n at (column, row, slice).

    Segment after segment in memory, and lesions set voxel by voxel: zeros that nobody writes take no memory.
    """
    masks = np.zeros((1 + int(segments.max(initial=0)), *view.shape), np.uint8)
    masks[0] = view > 0
    column, row, slice_ = place
    masks[segments, slice_, row, column] = 1
    return np.moveaxis(masks, 0, -1)


def _names(ids: Sequence[int], shared: bool) -> list[str]:
    """Names of the segments, the liver's first."""
    return ["Liver", *(["Liver lesions"] if shared else [f"Lesion {id_}" for id_ in ids])]


def _segmentation(
    headers: Sequence[Any], masks: npt.NDArray[np.uint8], names: Sequence[str], keep_empty_frames: bool
) -> Any:
    """highdicom's data set of the masks (slice, row, column, segment), one header a slice."""
    hd = codes.load_highdicom()
    dataset = hd.seg.Segmentation(
        source_images=headers,
        pixel_array=masks,
        segmentation_type="BINARY",
        segment_descriptions=[_description(number, name) for number, name in enumerate(names, start=1)],
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        omit_empty_frames=not keep_empty_frames,
        content_label="LIVER_LESIONS",
        content_description="Liver and its lesions, automatic, research use only",
        series_description="Liver and lesions (automatic, research use only)",
        **codes.EQUIPMENT,
    )
    dataset.ContentCreatorName = ""  # of type 2: no person made it
    _name_segment_in_frames(dataset)
    return dataset


def _name_segment_in_frames(dataset: Any) -> None:
    """Move a segment that all frames share into each frame: both are valid, and highdicom's own SR wants the latter."""
    (shared,) = dataset.SharedFunctionalGroupsSequence
    if "SegmentIdentificationSequence" in shared:
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence = shared.SegmentIdentificationSequence
        del shared.SegmentIdentificationSequence


def _description(number: int, name: str) -> Any:
    """Codes, colour and algorithm of one segment."""
    hd = codes.load_highdicom()
    liver = number == 1
    algorithm = hd.AlgorithmIdentificationSequence(
        name=codes.ALGORITHM_NAME, version=codes.ALGORITHM_VERSION, family=codes.ARTIFICIAL_INTELLIGENCE
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=codes.ANATOMICAL_STRUCTURE if liver else codes.ABNORMAL_STRUCTURE,
        segmented_property_type=codes.LIVER if liver else codes.MASS,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=algorithm,
        tracking_uid=hd.UID(),
        tracking_id=name,
        anatomic_regions=None if liver else [codes.LIVER],
        display_color=hd.color.CIELabColor(*(codes.LIVER_COLOUR if liver else codes.LESION_COLOUR)),
    )
