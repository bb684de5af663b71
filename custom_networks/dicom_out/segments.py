"""DICOM Segmentation of Couinaud's liver segments, in a file of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.dicom_out import codes
from custom_networks.dicom_out.seg import save_whole, segment_description, segmentation
from custom_networks.dicom_out.source import SourceSeries, quiet
from custom_networks.labelmap.boxes import box_around
from custom_networks.labelmap.segments import ROMAN, SEGMENTS

SERIES_NUMBER = 902
TEXTS = {
    "content_label": "LIVER_SEGMENTS",
    "content_description": "Couinaud's liver segments, automatic, research use only",
    "series_description": "Liver segments (automatic, research use only)",
}


def write_segments(
    path: Path, source: SourceSeries, segments: npt.NDArray[np.uint8], *, keep_empty_frames: bool = False
) -> Any:
    """Write a map of liver segments as a BINARY DICOM SEG with Couinaud's segment numbers.

    All eight segments are described, even those without voxels, so that numbers always have the same meaning.

    Args:
        path: the file; it is written atomically.
        source: the series, from `source_series`.
        segments: (column, row, slice) on the series' grid, uint8, 1 to 8 in the liver and 0 outside.
        keep_empty_frames: write a frame for every slice and segment, which some viewers need.

    Returns:
        The SEG, a `highdicom.seg.Segmentation`.

    Raises:
        UsageError: highdicom is not installed.
    """
    codes.load_highdicom()
    liver = box_around(segments)
    slab = slice(0, segments.shape[2]) if keep_empty_frames else liver[2] if liver else slice(0, 1)
    with quiet():
        described = [
            segment_description(
                number,
                f"Segment {ROMAN[number - 1]}",
                codes.ANATOMICAL_STRUCTURE,
                codes.COUINAUD[number],
                codes.SEGMENT_COLOURS[number],
            )
            for number in SEGMENTS
        ]
        numbers = np.ascontiguousarray(segments[..., slab].transpose(2, 1, 0))
        dataset = segmentation(source, slab, numbers, described, keep_empty_frames, SERIES_NUMBER, TEXTS)
        save_whole(dataset, path)
    return dataset
