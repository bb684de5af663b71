"""DICOM results of a case that came as DICOM: the SEG of its label map and the SR of its measurements."""

from importlib.util import find_spec
from pathlib import Path

from custom_networks.errors import InputError
from custom_networks.io.dicom import read_source_headers
from custom_networks.io.files import is_zip, split_number
from custom_networks.io.read import read_label_map
from custom_networks.study.measurements import Measurements


def write_dicom_results(
    path: str, mask: Path, measurements: Measurements, case: str
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Write `<case>_seg.dcm` and `<case>_sr.dcm` beside the label map, if `path` holds the DICOM it was made of.

    The label map is finished by then: where DICOM cannot be written, a note says why, and nothing is lost.

    Args:
        path: the input, as `custom_networks.io.read_volume` takes it.
        mask: file of the label map on the input's grid.
        measurements: of that label map.
        case: the case's name.

    Returns:
        The files written, by kind; and notes.
    """
    source_path = split_number(Path(path))[0]
    if not (source_path.is_dir() or is_zip(source_path)):
        return {}, ()
    if find_spec("highdicom") is None:
        return {}, ("DICOM SEG and SR were not written: pip install highdicom for them",)
    from custom_networks.study.seg import write_seg
    from custom_networks.study.seg_source import read_source
    from custom_networks.study.sr import write_sr

    files = {"dicom_seg": f"{case}_seg.dcm", "dicom_sr": f"{case}_sr.dcm"}
    folder = mask.parent
    try:
        source = read_source(read_source_headers(path))
        seg = write_seg(read_label_map(mask), source, folder / files["dicom_seg"], measurements.lesions)
    except InputError as error:
        return {}, (f"DICOM SEG and SR were not written: {error}",)
    write_sr(source, seg, folder / files["dicom_sr"], measurements.lesions, liver_ml=measurements.liver_ml)
    return files, source.notes
