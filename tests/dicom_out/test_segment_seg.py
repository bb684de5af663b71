"""The SEG of the liver's segments, with Couinaud's numbers and DICOM's codes, and lesions' segments in the SR."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom.sr.codedict import codes as known
from seg_scene import apart_mm, labelled, measured, places, places_by_pydicom, read, series, source_of

from custom_networks.dicom_out import codes
from custom_networks.dicom_out.results import write_dicom_results
from custom_networks.dicom_out.segments import write_segments


@dataclass(frozen=True)
class Where:
    """The segments of a lesion."""

    shares: tuple[tuple[int, float], ...]
    near_border: bool


def segments() -> np.ndarray:
    """Segment 8 in one half of the scene's liver, 5 in the other."""
    labels = labelled(read(series())).array
    parted = np.where(labels > 0, 8, 0).astype(np.uint8)
    parted[6:][labels[6:] > 0] = 5
    return parted


def test_codes_match_the_content_mapping_resource() -> None:
    for number, roman in enumerate("I II III IV V VI VII VIII".split(), start=1):
        listed = getattr(known.CID7170, f"CouinaudHepaticSegment{roman}")
        assert codes.COUINAUD[number] == listed and codes.COUINAUD[number].meaning == listed.meaning


def test_every_segment_has_its_position_and_number(tmp_path: Path) -> None:
    labels = labelled(read(series()))
    write_segments(tmp_path / "s.dcm", source_of(series()), segments())
    for number in (5, 8):
        expected = places(labels, segments() == number)
        assert apart_mm(places_by_pydicom(tmp_path / "s.dcm", number), expected) < 1e-4
    seg = pydicom.dcmread(tmp_path / "s.dcm")
    assert [int(s.SegmentNumber) for s in seg.SegmentSequence] == list(range(1, 9))
    described = seg.SegmentSequence[7]
    assert described.SegmentLabel == "Segment VIII" and seg.SegmentationType == "BINARY"
    assert described.SegmentedPropertyTypeCodeSequence[0].CodeValue == "277962002"
    assert described.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "91723000"
    assert hd.seg.segread(tmp_path / "s.dcm").get_segment_numbers() == list(range(1, 9))


def results(folder: Path, **more: Any) -> tuple[dict[str, str], tuple[str, ...]]:
    labels = labelled(read(series()))
    given = {"headers": read(series()), "affine": labels.affine, "labels": labels.array, "measured": measured()}
    return write_dicom_results(folder, "ct", **{**given, **more})


def test_the_report_names_lesions_segments_by_codes(tmp_path: Path) -> None:
    where = {1: Where(((8, 0.75), (5, 0.25)), True), 2: Where(((5, 1.0),), False)}
    files, notes = results(tmp_path, segments=segments(), lesion_segments=where)
    assert notes == () and files["dicom_segments"] == "ct_segments.dcm"
    content = hd.sr.srread(tmp_path / "ct_sr.dcm").content
    liver, first, second = content.get_volumetric_roi_measurement_groups()
    assert [site.value.value for site in liver.finding_sites] == ["10200004"]
    assert [site.value.value for site in first.finding_sites] == ["10200004", "277962002", "277959000"]
    volumes = [m for m in first.get_measurements(codes.VOLUME) if m.finding_sites]
    assert [(float(m.value), m.finding_sites[0].value.value) for m in volumes] == [
        (0.009, "277962002"),
        (0.003, "277959000"),
    ]
    answers = [group.get_qualitative_evaluations(codes.NEAR_SEGMENT_BORDER)[0].value for group in (first, second)]
    assert answers == [codes.YES, codes.NO] and not liver.get_qualitative_evaluations(codes.NEAR_SEGMENT_BORDER)


def test_without_segments_no_segments_file_is_written(tmp_path: Path) -> None:
    files, _ = results(tmp_path)
    assert set(files) == {"dicom_seg", "dicom_sr"} and not (tmp_path / "ct_segments.dcm").exists()
