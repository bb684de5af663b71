"""DICOM Segmentation (PS3.3 A.51) of a case: the whole liver, and each lesion as a separate segment.

The type BINARY allows overlapping segments (the liver includes its lesions), and every viewer supports it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from custom_networks.dicom_out import codes
from custom_networks.dicom_out.findings import MeasuredCase
from custom_networks.dicom_out.source import SourceSeries, quiet
from custom_networks.files import atomic_write
from custom_networks.labelmap.boxes import box_around

MAX_LESION_SEGMENTS = 20
SERIES_NUMBER = 900


@dataclass(frozen=True)
class SegObject:
    """A SEG that has been written.

    Attributes:
        dataset: the SEG, a `highdicom.seg.Segmentation`.
        segment_of: segment number of each lesion, by its id; the liver is segment 1.
    """

    dataset: Any
    segment_of: Mapping[int, int]


def write_seg(
    path: Path,
    source: SourceSeries,
    labels: npt.NDArray[np.uint8],
    measured: MeasuredCase,
    *,
    max_lesion_segments: int = MAX_LESION_SEGMENTS,
    keep_empty_frames: bool = False,
) -> SegObject:
    """Write a label map as a BINARY DICOM SEG that refers to its source slices.

    Segment 1 is the liver with its lesions (labels 1 and 2). Each measured lesion is a segment named "Lesion <id>"; if
    there are more than `max_lesion_segments`, all lesions share the segment "Liver lesions". If there is no liver, the
    file has one empty frame, or with `keep_empty_frames` an empty frame for every slice.

    Args:
        path: the file; it is written atomically.
        source: the series, from `source_series`.
        labels: (column, row, slice) on the series' grid, uint8: 0 background, 1 liver, 2 tumor.
        measured: measurements of the label map; segments are in the order of its lesions.
        max_lesion_segments: maximum number of lesions with separate segments.
        keep_empty_frames: write a frame for every slice and segment, which some viewers need.

    Returns:
        The SEG, and the segment number of each lesion.

    Raises:
        UsageError: highdicom is not installed.
        ValueError: the map of lesion numbers does not match the list of lesions.
    """
    codes.load_highdicom()
    ids = [lesion.id for lesion in measured.lesions]
    shared = len(ids) > max_lesion_segments
    segment_of = {id_: 2 if shared else k for k, id_ in enumerate(ids, start=2)}
    organ = box_around(labels)
    slab = slice(0, labels.shape[2]) if keep_empty_frames else organ[2] if organ else slice(0, 1)
    masks = _masks(labels, measured, segment_of, slab)
    with quiet():
        names, person = _names(ids, shared), measured.by_person
        described = [_description(number, name, person) for number, name in enumerate(names, start=1)]
        texts = _texts(person)
        dataset = segmentation(source, slab, masks, described, keep_empty_frames, SERIES_NUMBER, texts)
        save_whole(dataset, path)
    return SegObject(dataset, segment_of)


def save_whole(dataset: Any, path: Path) -> None:
    """Write a data set atomically."""
    with atomic_write(path) as temporary:
        dataset.save_as(temporary, enforce_file_format=True)


def _masks(
    labels: npt.NDArray[np.uint8], measured: MeasuredCase, segment_of: Mapping[int, int], slab: slice
) -> npt.NDArray[np.uint8]:
    """Return masks of all segments in the slices of `slab`, (slice, row, column, segment).

    Segments are contiguous in memory and lesions are set voxel by voxel, so that the operating system need not allocate
    pages that contain only zeros.

    Raises:
        ValueError: the map of lesion numbers does not match `segment_of`.
    """
    voxels = np.nonzero(measured.numbers)
    ids = measured.numbers[voxels]
    if set(np.unique(ids).tolist()) != set(segment_of):
        raise ValueError(
            f"The map of lesion numbers holds {np.unique(ids).tolist()}, but {sorted(segment_of)} were measured."
        )
    segments = np.zeros(max(segment_of, default=0) + 1, np.intp)
    segments[list(segment_of)] = list(segment_of.values())
    column, row, slice_ = (place + part.start for place, part in zip(voxels, measured.box, strict=True))
    organ = labels[..., slab].transpose(2, 1, 0) > 0
    masks = np.zeros((max(segment_of.values(), default=1), *organ.shape), np.uint8)
    masks[0] = organ
    masks[segments[ids] - 1, slice_ - slab.start, row, column] = 1
    return np.moveaxis(masks, 0, -1)


def _names(ids: Sequence[int], shared: bool) -> list[str]:
    """Return the names of the segments, beginning with the liver."""
    return ["Liver", *(["Liver lesions"] if shared else [f"Lesion {id_}" for id_ in ids])]


def segmentation(
    source: SourceSeries,
    slab: slice,
    masks: npt.NDArray[np.uint8],
    described: Sequence[Any],
    keep_empty_frames: bool,
    series_number: int,
    texts: Mapping[str, str],
) -> Any:
    """Return a BINARY `highdicom.seg.Segmentation` of the source slices in `slab`; it is not written.

    Args:
        source: the series.
        slab: the source slices that the masks cover.
        masks: (slice, row, column, segment) masks, or (slice, row, column) segment numbers.
        described: descriptions of the segments, from `segment_description`.
        keep_empty_frames: write a frame for every slice and segment.
        series_number: SeriesNumber of the SEG.
        texts: `content_label`, `content_description` and `series_description`.
    """
    hd = codes.load_highdicom()
    dataset = hd.seg.Segmentation(
        source_images=source.images(slab),
        pixel_array=masks,
        segmentation_type="BINARY",
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=series_number,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        omit_empty_frames=not keep_empty_frames,
        **texts,
        **codes.EQUIPMENT,
    )
    dataset.ContentCreatorName = ""  # type 2; not applicable or unknown
    _name_segment_in_frames(dataset)
    _name_source_frames(dataset, source.headers[slab])
    return dataset


def _name_segment_in_frames(dataset: Any) -> None:
    """Move a segment reference shared by all frames into each frame, where highdicom's SR looks for it."""
    (shared,) = dataset.SharedFunctionalGroupsSequence
    if "SegmentIdentificationSequence" in shared:
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame.SegmentIdentificationSequence = shared.SegmentIdentificationSequence
        del shared.SegmentIdentificationSequence


def _name_source_frames(dataset: Any, headers: Sequence[Dataset]) -> None:
    """Correct references to frames of an enhanced CT, because highdicom was given only some of its frames."""
    if "ReferencedFrameNumber" not in headers[0]:
        return
    frames = dataset.PerFrameFunctionalGroupsSequence
    named = [image for frame in frames for image in frame.DerivationImageSequence[0].SourceImageSequence]
    for image in {id(image): image for image in named}.values():  # frames of several segments can share an item
        image.ReferencedFrameNumber = headers[image.ReferencedFrameNumber - 1].ReferencedFrameNumber


def _texts(by_person: bool) -> dict[str, str]:
    """Return content label, content description and series description of the SEG, by highdicom's argument names."""
    made = "by a person" if by_person else "automatic"
    return {
        "content_label": "LIVER_LESIONS",
        "content_description": f"Liver and its lesions, {made}, research use only",
        "series_description": f"Liver and lesions ({made}, research use only)",
    }


def _description(number: int, name: str, by_person: bool) -> Any:
    """Return the description of segment `number`: the liver (1) or a lesion."""
    if number == 1:
        structure, kind, colour = codes.ANATOMICAL_STRUCTURE, codes.LIVER, codes.LIVER_COLOUR
        return segment_description(number, name, structure, kind, colour, by_person)
    structure, kind, colour = codes.ABNORMAL_STRUCTURE, codes.MASS, codes.LESION_COLOUR
    return segment_description(number, name, structure, kind, colour, by_person, anatomic_regions=[codes.LIVER])


def segment_description(
    number: int,
    name: str,
    category: Code,
    property_type: Code,
    colour: tuple[float, float, float],
    by_person: bool = False,
    **more: Any,
) -> Any:
    """Return a `highdicom.seg.SegmentDescription`; `more` are further arguments for it."""
    hd = codes.load_highdicom()
    algorithm = hd.AlgorithmIdentificationSequence(
        name=codes.ALGORITHM_NAME, version=codes.ALGORITHM_VERSION, family=codes.ARTIFICIAL_INTELLIGENCE
    )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=category,
        segmented_property_type=property_type,
        algorithm_type="MANUAL" if by_person else "AUTOMATIC",
        algorithm_identification=None if by_person else algorithm,
        tracking_uid=hd.UID(),
        tracking_id=name,
        display_color=hd.color.CIELabColor(*colour),
        **more,
    )
