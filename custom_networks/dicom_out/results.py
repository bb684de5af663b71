"""DICOM results of a case that came as DICOM: the SEG of its label map and the SR of its measurements."""

import logging
from pathlib import Path

from custom_networks.errors import LiversegError
from custom_networks.io.dicom.read import read_source_headers
from custom_networks.io.files import is_zip, split_number
from custom_networks.io.volume import Volume
from custom_networks.report.measurements import Measurements

logger = logging.getLogger(__name__)


def dicom_names(case: str) -> dict[str, str]:
    """Names of a case's DICOM results by kind, in the order in which they are written."""
    return {"dicom_seg": f"{case}_seg.dcm", "dicom_sr": f"{case}_sr.dcm"}


def write_dicom_results(
    path: str, labels: Volume, measurements: Measurements, case: str, *, keep_empty_frames: bool = False
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write `<case>_seg.dcm` and `<case>_sr.dcm` beside the label map, if `path` holds the DICOM it was made of.

    The label map is finished by then: where DICOM cannot be written, a note says why, and nothing is lost.

    Args:
        path: the input, as `custom_networks.io.read_volume` takes it.
        labels: the label map on the input's grid; the files go beside its own.
        measurements: of that label map.
        case: the case's name.
        keep_empty_frames: as for `write_seg`.

    Returns:
        The files written, by kind; and notes.
    """
    source_path = split_number(Path(path))[0]
    if not (source_path.is_dir() or is_zip(source_path)):
        return {}, ()
    from custom_networks.dicom_out.seg import write_seg
    from custom_networks.dicom_out.source import read_source
    from custom_networks.dicom_out.sr import write_sr

    files: dict[str, str] = {}
    notes: tuple[str, ...] = ()
    try:
        source = read_source(read_source_headers(path))
        notes = source.notes
        names = dicom_names(case)
        seg_path, sr_path = (labels.source.with_name(name) for name in names.values())
        seg = write_seg(labels, source, seg_path, measurements.lesions, keep_empty_frames=keep_empty_frames)
        files["dicom_seg"] = names["dicom_seg"]
        write_sr(source, seg, sr_path, measurements.lesions, liver_ml=measurements.liver_ml)
        files["dicom_sr"] = names["dicom_sr"]
    except LiversegError as error:
        notes += (f"{_missing(files)} not written: {error}",)
    except Exception as error:  # highdicom refuses odd attributes in many ways; the case's other files must not wait
        # Not in its words: they may quote attributes of the patient, and notes go into report.json.
        logger.debug("DICOM results of %s", path, exc_info=True)
        notes += (f"{_missing(files)} not written ({type(error).__name__}; --debug shows where)",)
    return files, notes


def _missing(files: dict[str, str]) -> str:
    return "DICOM SR was" if files else "DICOM SEG and SR were"
