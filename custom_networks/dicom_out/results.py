"""Write the DICOM results of a DICOM case: SEG and SR, and a SEG of the liver segments."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from custom_networks.dicom_out.findings import LesionSegments, MeasuredCase
from custom_networks.errors import LiversegError

logger = logging.getLogger(__name__)


def dicom_names(case: str) -> dict[str, str]:
    """Return the file names of a case's SEG and SR by kind, in the order in which they are written."""
    return {"dicom_seg": f"{case}_seg.dcm", "dicom_sr": f"{case}_sr.dcm"}


def write_dicom_results(
    folder: Path,
    case: str,
    *,
    headers: Sequence[Dataset],
    affine: npt.NDArray[np.float64],
    labels: npt.NDArray[np.uint8],
    measured: MeasuredCase,
    keep_empty_frames: bool = False,
    remarks: Sequence[str] = (),
    segments: npt.NDArray[np.uint8] | None = None,
    lesion_segments: Mapping[int, LesionSegments] | None = None,
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write `<case>_seg.dcm`, `<case>_sr.dcm` and, with `segments`, `<case>_segments.dcm`.

    Errors are not raised but returned as notes, so that they do not affect the other results.

    Args:
        folder: folder to write to.
        case: name of the case, with which the file names begin.
        headers: headers of the slices, in the order of the label map's last axis (`custom_networks.io.Volume.headers`);
            not modified. Empty if the case is not DICOM; nothing is written then.
        affine: (4, 4) affine of the series, (column, row, slice) index to RAS mm.
        labels: (column, row, slice) label map, uint8: 0 background, 1 liver, 2 tumor.
        measured: measurements of the label map.
        keep_empty_frames: write a frame for every slice and segment, which some viewers need.
        remarks: sentences about the case for the SR, such as its verdict.
        segments: (column, row, slice) map of the liver segments 1 to 8, uint8, or None if unknown.
        lesion_segments: the liver segments in which each lesion lies, by the lesion's id.

    Returns:
        Names of the written files by kind, and notes.
    """
    if not headers:
        return {}, ()
    from custom_networks.dicom_out.seg import write_seg
    from custom_networks.dicom_out.segments import write_segments
    from custom_networks.dicom_out.source import source_series
    from custom_networks.dicom_out.sr import write_sr

    files: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    seg_name, sr_name = dicom_names(case).values()
    try:
        source = source_series(headers, affine, labels.shape)
        notes = source.notes
        seg = write_seg(folder / seg_name, source, labels, measured, keep_empty_frames=keep_empty_frames)
        files["dicom_seg"] = seg_name
        write_sr(folder / sr_name, source, seg, measured, remarks, lesion_segments)
        files["dicom_sr"] = sr_name
        if segments is not None:
            path = folder / f"{case}_segments.dcm"
            write_segments(path, source, segments, keep_empty_frames=keep_empty_frames)
            files["dicom_segments"] = path.name
    except LiversegError as error:
        notes += (f"{_missing(files)} not written: {error}",)
    except Exception as error:  # highdicom has no common error for attributes that it refuses
        # The message is not shown, because it may quote patient attributes, and notes go into report.json.
        logger.debug("DICOM results of %s", folder, exc_info=True)
        notes += (f"{_missing(files)} not written ({type(error).__name__}; --debug shows where).",)
    return files, notes


def _missing(files: dict[str, str]) -> str:
    if "dicom_sr" in files:
        return "DICOM SEG of the liver's segments was"
    return "DICOM SR was" if files else "DICOM SEG and SR were"
