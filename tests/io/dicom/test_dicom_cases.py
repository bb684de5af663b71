"""Each real case of shared/dicom is read or refused with all reasons, as its INDEX.md says."""

from pathlib import Path

import pytest

from custom_networks.errors import InputError
from custom_networks.io.dicom.case import dicom_case
from custom_networks.io.dicom.listing import list_series
from custom_networks.io.dicom.sentences import case_notes

# Slices, mm they cover, and what the notes say.
VOLUMES: dict[str, tuple[int, float, list[str]]] = {
    "liver_ge_c3l00189_5mm": (35, 175.0, []),
    "liver_ge_petct_two_studies_jpegls": (
        34,
        144.5,
        ["1 of 2 was chosen", "(CT, 3 slices, of another study) was skipp"],
    ),
    "liver_siemens_2mm_j2k_empty_uids": (20, 40.0, ["no SeriesInstanceUID", "SOPInstanceUID is empty in 20 files"]),
    "liver_siemens_kits00072_plus_foreign_topogram": (
        12,
        30.0,
        ["(CT, 12 slices, 2.5 mm, arterial)", "1 file was skipped: localizers (scouts), of another patient"],
    ),
    "liver_ge_lidc0001_for_per_slice": (16, 40.0, ["FrameOfReferenceUID has 16 different values"]),
}
ONE_SLICE = "It holds 1 slice, but at least 5 are needed"
REFUSED: dict[str, list[str]] = {
    "liver_chest_midrc4196_jpeglossless": ["Its 8 slices cover 10 mm, but at least 15 mm"],
    "liver_dcmqi_ct3_plus_seg": ["1 file was skipped: not CT but SEG", "It holds 3 slices (3 mm)"],
    "gap_siemens_two_slices_removed": ["jump from -788.50 to -782.50 mm", "6.00 mm instead of 2.00", "missing"],
    "gap_ge_missing_slice": ["10.00 mm instead of 5.00: slices are missing", "It holds 4 slices"],
    "tilt_siemens_seq": ["gantry tilt of 14.0 degrees", "It holds 4 slices"],
    "tilt_ge_head_variable_spacing": ["gantry tilt of 18.5 degrees", "varies from 1.08 to 7.00 mm", "6 acquisitions"],
    "tilt_gap_ge_cq500_jpeglossless": ["gantry tilt of 8.5 degrees", "varies from 0.62 to 5.56 mm"],
    "dup_siemens_same_position": ["All 4 slices lie at one position", "a time series is not a volume"],
    "dup_positions_ge_lymphoma_ct": ["lie at the same position (z = -212.325 and -212.320 mm)", "2 acquisitions"],
    "dup_identical_files": ["It holds 2 slices", "1 file repeats another slice and was left out"],
    "broken_one_slice_truncated": ["1 of 6 files are truncated or damaged", "0016582"],
    "broken_no_dicom_at_all": ["holds no DICOM image (5 files checked"],
    "reformat_coronal": ["not axial (normal 90 degrees off", "It holds 4 slices"],
    "enhanced_ct_dcmqi_24x38x3": ["It holds 3 slices (7.5 mm)"],
    "enhanced_ct_perfusion_map": ["derived images (ImageType PERFUSION), not slices", "It holds 2 slices"],
    "mixed_philips_exam_dicomdir": ["localizers", "(CT, 3 slices", "(CT, 2 slices", "It holds 3 slices (15 mm)"],
    "mixed_patients_tcga_same_description": ["It holds images of 3 patients", ONE_SLICE],
    "ct_phantom2_plus_rtstruct": ["2 files were skipped: not CT but RTSTRUCT", "It holds 2 slices (10 mm)"],
    "ct_localizers": ["6 files were skipped: localizers (scouts)"],
    "wrong_two_slices_siemens_venous": ["It holds 2 slices (10 mm)"],
    "wrong_ct_dose_screens_and_films": ["no position or orientation", "8-bit or colour", "no pixel data", "DOSEINFO"],
    "wrong_mr_liver_coronal": ["4 of 4 files are not CT but MR"],
    "wrong_pet_plus_seg": ["14 files were skipped: not CT but PT, SEG"],
    "wrong_us_sr_rtdose": ["7 files were skipped: not CT but RTDOSE, RTPLAN, RWV, SEG, SR, US"],
    "no_pixel_data_tiny_alpha": ["50 of 50 files have no pixel data"],
    "ts_implicit_le": [ONE_SLICE],
    "ts_explicit_be": [ONE_SLICE],
    "ts_deflated": [ONE_SLICE],
    "ts_rle": [ONE_SLICE],
    "ts_jpeg_57_lossless": [ONE_SLICE],
    "ts_jpeg_70_lossless_sv1": [ONE_SLICE],
    "ts_jpegls_80_lossless": [ONE_SLICE],
    "ts_j2k_90_lossless": [ONE_SLICE],
    "ts_jpegls_81_near_lossless": [ONE_SLICE],
    "ts_j2k_91_lossy": [ONE_SLICE],
    "ts_jpeg_50_baseline_8bit": [ONE_SLICE, "8-bit or colour pixels"],
    "ts_jpeg_51_extended_12bit": [ONE_SLICE, "JPEG Extended (1.2.840.10008.1.2.4.51) is not supported"],
    "ts_jpeg_53_retired": [ONE_SLICE, "(1.2.840.10008.1.2.4.53) is not supported"],
    "ts_jpeg_55_retired": [ONE_SLICE, "(1.2.840.10008.1.2.4.55) is not supported"],
    "ts_wrong_declared_jpegls": ["do not match the declared transfer syntax", "20-wrong-transfer-syntax.dcm"],
    "ts_no_preamble_no_meta": ["It holds 3 slices (7.5 mm)"],
}


def test_every_case_is_in_the_tables(shared_data: Path) -> None:
    folders = {path.name for path in (shared_data / "dicom").iterdir() if path.is_dir()}
    assert folders == set(VOLUMES) | set(REFUSED) and len(folders) == 46


@pytest.mark.parametrize("name", VOLUMES)
def test_a_case_has_the_expected_volume(shared_data: Path, name: str) -> None:
    slices, depth, notes = VOLUMES[name]
    listing = list_series(shared_data / "dicom" / name)
    (case,) = listing.chosen
    assert listing.series[case].reasons == ()
    assert (len(listing.series[case].slices), listing.series[case].depth_mm) == (slices, pytest.approx(depth, abs=0.05))
    said = case_notes(listing, case)
    assert len(said) == len(notes) and all(part in note for part, note in zip(notes, said))


@pytest.mark.parametrize("name", REFUSED)
def test_a_case_is_refused_with_all_its_reasons(shared_data: Path, name: str) -> None:
    with pytest.raises(InputError) as caught:
        dicom_case(shared_data / "dicom" / name)
    text = str(caught.value)
    assert "\n" not in text and [part for part in REFUSED[name] if part not in text] == []
