"""A structured report contains every measurement with its unit and refers to the measured segment."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import highdicom as hd
import pydicom
import pytest
from seg_scene import LESIONS, Case, labelled, measured, read, series, source_of

from custom_networks.dicom_out.seg import write_seg
from custom_networks.dicom_out.sr import write_sr

Numbers = list[tuple[str, float, str, str]]
LESION: Numbers = [
    ("Volume", 0.013, "ml", ""),
    ("Long axis", 12.5, "mm", ""),
    ("Short axis", 7.25, "mm", ""),
    ("Attenuation Coefficient", 55.5, "[hnsf'U]", "Mean"),
    ("Attenuation Coefficient", 11.25, "[hnsf'U]", "Standard Deviation"),
    ("Certainty of Finding", 80.0, "%", ""),
]


def report(tmp_path: Path, case: Case | None = None, liver: bool = True, **options: int) -> Any:
    """The report of a case on the scene's series, by default with both lesions, as read by highdicom."""
    case = case or measured()
    source, labels = source_of(series()), labelled(read(series()), LESIONS[: len(case.lesions)], liver)
    seg = write_seg(tmp_path / "seg.dcm", source, labels.array, case, **options)  # type: ignore[arg-type]
    write_sr(tmp_path / "sr.dcm", source, seg, case)
    return hd.sr.srread(tmp_path / "sr.dcm")


def numbers(group: Any) -> Numbers:
    """Name, value, unit and derivation of the measurements of a group."""
    return [
        (m.name.meaning, float(m.value), m.unit.value, m.derivation.meaning if m.derivation else "")
        for m in group.get_measurements()
    ]


def test_every_measurement_has_its_unit_and_segment(tmp_path: Path) -> None:
    content = report(tmp_path).content
    liver, first, second = content.get_volumetric_roi_measurement_groups()
    segments = pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    assert numbers(liver) == [("Volume", 1500.123, "ml", "")]
    assert numbers(first) == LESION  # 8 voxels of 1.575 mm3
    assert numbers(second) == [("Volume", 0.006, "ml", ""), *LESION[1:]]  # 4 voxels
    for number, group in enumerate((liver, first, second), start=1):
        assert group.tracking_uid == segments[number - 1].TrackingUID
        assert group.tracking_identifier == segments[number - 1].TrackingID
        assert [site.value.value for site in group.finding_sites] == ["10200004"]
        assert group.finding_type.value == ("10200004" if number == 1 else "4147007")
    (every,) = content.get_image_measurement_groups()
    assert numbers(every) == [("Number of lesions", 2.0, "1", ""), ("Volume", 0.019, "ml", "")]


def test_groups_refer_to_their_own_segment_and_its_slices(tmp_path: Path) -> None:
    groups = report(tmp_path).content.get_volumetric_roi_measurement_groups()
    uid = pydicom.dcmread(tmp_path / "seg.dcm").SOPInstanceUID
    for number, (group, slices) in enumerate(zip(groups, [range(1, 6), (2, 3), (4,)], strict=True), start=1):
        segment, *images = group.referenced_segment
        assert segment.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == uid
        assert segment.ReferencedSOPSequence[0].ReferencedSegmentNumber == number
        named = {image.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for image in images}
        assert named == {f"1.2.3.4.{k + 1}" for k in slices}


def test_the_report_is_preliminary_unverified_and_of_the_same_study(tmp_path: Path) -> None:
    report(tmp_path)
    sr, seg = (pydicom.dcmread(tmp_path / name) for name in ("sr.dcm", "seg.dcm"))
    assert sr.SOPClassUID == pydicom.uid.Comprehensive3DSRStorage
    assert sr.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert (sr.CompletionFlag, sr.PreliminaryFlag, sr.VerificationFlag) == ("COMPLETE", "PRELIMINARY", "UNVERIFIED")
    assert sr.StudyInstanceUID == seg.StudyInstanceUID and sr.SeriesInstanceUID != seg.SeriesInstanceUID
    evidence = {
        (series_.SeriesInstanceUID, item.ReferencedSOPInstanceUID)
        for study in sr.CurrentRequestedProcedureEvidenceSequence
        for series_ in study.ReferencedSeriesSequence
        for item in series_.ReferencedSOPSequence
    }
    assert (seg.SeriesInstanceUID, seg.SOPInstanceUID) in evidence and ("1.2.3.2", "1.2.3.4.2") in evidence


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_missing_measurements_are_left_out_of_the_sr(missing: float | None, tmp_path: Path) -> None:
    case = measured()
    lesions = [replace(lesion, sd_hu=missing, confidence=missing, longest_mm=missing) for lesion in case.lesions]
    content = report(tmp_path, replace(case, lesions=lesions)).content
    group = content.get_volumetric_roi_measurement_groups()[1]
    assert [name for name, *_ in numbers(group)] == ["Volume", "Short axis", "Attenuation Coefficient"]


def test_an_uncalibrated_confidence_is_not_reported_as_certainty(tmp_path: Path) -> None:
    content = report(tmp_path, replace(measured(), calibrated=False)).content
    assert numbers(content.get_volumetric_roi_measurement_groups()[1]) == LESION[:-1]


def test_a_case_without_lesions_reports_a_count_of_zero(tmp_path: Path) -> None:
    content = report(tmp_path, measured([])).content
    (liver,) = content.get_volumetric_roi_measurement_groups()
    (every,) = content.get_image_measurement_groups()
    assert liver.tracking_identifier == "Liver"
    assert numbers(every) == [("Number of lesions", 0.0, "1", ""), ("Volume", 0.0, "ml", "")]


def test_a_case_without_liver_reports_a_volume_of_zero(tmp_path: Path) -> None:
    content = report(tmp_path, replace(measured([]), liver_ml=0.0), liver=False).content
    (liver,) = content.get_volumetric_roi_measurement_groups()
    assert numbers(liver) == [("Volume", 0.0, "ml", "")]


def test_lesions_sharing_a_segment_do_not_refer_to_it(tmp_path: Path) -> None:
    content = report(tmp_path, max_lesion_segments=1).content
    liver, every = content.get_volumetric_roi_measurement_groups()
    assert [liver.tracking_identifier, every.tracking_identifier] == ["Liver", "Liver lesions"]
    assert numbers(every)[0] == ("Number of lesions", 2.0, "1", "")
    own = content.get_image_measurement_groups()
    assert [group.tracking_identifier for group in own] == ["Lesion 1", "Lesion 2"]
    assert numbers(own[0]) == LESION


def test_the_verdict_is_written_as_comments_in_the_livers_group(tmp_path: Path) -> None:
    case = measured()
    source, labels = source_of(series()), labelled(read(series()), LESIONS)
    seg = write_seg(tmp_path / "seg.dcm", source, labels.array, case)
    remarks = ("Verdict: look.", "The scan looks arterial.")
    write_sr(tmp_path / "sr.dcm", source, seg, case, remarks)
    liver, *lesions = hd.sr.srread(tmp_path / "sr.dcm").content.get_volumetric_roi_measurement_groups()
    comments = [
        [item.TextValue for item in group[0].ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "121106"]
        for group in (liver, *lesions)
    ]
    assert comments == [list(remarks), [], []]
    assert numbers(liver) == [("Volume", 1500.123, "ml", "")]
