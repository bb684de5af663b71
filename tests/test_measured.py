"""A person's mask on the CT's grid is measured, marked as a person's, and never replaced by the network's mask."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import itk
import jsonschema
import nibabel as nib
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from test_pipeline import Segmenter

from custom_networks.errors import InputError
from custom_networks.io import limits, only_case
from custom_networks.measured import measure_mask
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series
from custom_networks.report.page.content import BY_PERSON
from custom_networks.report.pictures import CasePictures
from custom_networks.report.printed import printed_report
from custom_networks.report.report import SCHEMA
from custom_networks.result import Result, write

Array = npt.NDArray[Any]
SPACING = (1.25, 1.25, 3.0)
VOXEL_MM3 = 1.25 * 1.25 * 3


def scene() -> Array:
    """A label map with a liver and two lesions, the first of which is larger."""
    labels = np.zeros((64, 48, 20), np.uint8)
    labels[8:56, 6:42, 3:17] = 1
    labels[16:30, 12:26, 6:12] = 2
    labels[40:48, 28:36, 8:12] = 2
    return labels


def save(path: Path, array: Array, affine: Array | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, np.diag([*SPACING, 1.0]) if affine is None else affine), path)
    return path


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A CT whose HU determine each voxel's label."""
    return save(tmp_path / "ct.nii.gz", np.array([-120, 60, 220], np.int16)[scene()])


def measured(ct: Path, mask: Path, output: Path, **options: Any) -> Result:
    """Measure and write."""
    return write(measure_mask(only_case(ct), mask, output, **options), output, overlay=False)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def table(result: Result) -> list[dict[str, Any]]:
    """The lesions of a report without the keys that only a network provides."""
    beliefs = ("mean_probability", "confidence")
    return [{key: value for key, value in row.items() if key not in beliefs} for row in result.report["lesions"]]


def test_measuring_the_programs_own_mask_gives_the_same_table(ct: Path, tmp_path: Path) -> None:
    own = Segmenter(tmp_path).segment(ct)
    assert own.folder is not None
    again = measured(ct, own.folder / "ct_seg.nii.gz", own.folder.parent)
    assert table(again) == table(own) and len(table(own)) == 2
    assert again.report["liver"] == own.report["liver"] and again.report["tumor"] == own.report["tumor"]
    assert again.report["mask_by"] == "person" and own.report["mask_by"] == "network"
    assert {row["confidence"] for row in again.report["lesions"]} == {None}
    assert again.report["run"]["weights"] is None and again.report["run"]["mask"]["file"].endswith("ct_seg.nii.gz")
    assert again.folder is not None and again.folder.name == "ct_measured"
    jsonschema.validate(json.loads((again.folder / "report.json").read_text()), json.loads(SCHEMA.read_text()))


def test_page_pdf_and_notebook_say_that_a_person_made_the_mask(ct: Path, output: Path) -> None:
    result = measured(ct, save(ct.with_name("mask.nii.gz"), scene()), output)
    assert result.folder is not None and [note for note in result.notes if "not written" in note] == []
    page = (result.folder / "report.html").read_text(encoding="utf-8").partition("<script")[0]
    assert BY_PERSON in page and "mask.nii.gz" in page and 'tr data-lesion="2"' in page
    assert not {"Confidence", "Ranking", "Weights, SHA-256", "Seen by the network"} & set(re.split("[<>]", page))
    pictures = CasePictures(result.ct, result.region, result.measurements)
    assert pictures.made_by == "a person's mask"
    assert printed_report(result.report, pictures, {}).startswith(b"%PDF")
    assert BY_PERSON in result._repr_html_()


def corrected() -> Array:
    """The scene with its first lesion enlarged along the slices, the second one removed and a new one added."""
    labels = scene()
    labels[40:48, 28:36, 8:12] = 1
    labels[16:30, 12:26, 12:14] = 2
    labels[46:50, 10:14, 5:8] = 2
    return labels


def as_itk(labels: Array, path: Path) -> Path:
    """Write an image with ITK, whose axes run to the patient's left and back."""
    image = itk.image_from_array(np.ascontiguousarray(labels[::-1, ::-1].transpose(2, 1, 0)))
    image.SetSpacing(SPACING)
    image.SetOrigin([-(n - 1) * mm for n, mm in zip(labels.shape[:2], SPACING)] + [0.0])
    itk.imwrite(image, str(path))
    return path


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_corrected_mask_in_any_format_gives_the_correct_table(ct: Path, output: Path, ending: str) -> None:
    path = ct.with_name(f"corrected{ending}")
    save(path, corrected()) if ending == ".nii.gz" else as_itk(corrected(), path)
    result = measured(ct, path, output)
    np.testing.assert_array_equal(result.labels, corrected())
    assert [lesion.volume_mm3 for lesion in result.lesions] == pytest.approx(
        [14 * 14 * 8 * VOXEL_MM3, 4 * 4 * 3 * VOXEL_MM3]
    )
    assert result.liver_ml == pytest.approx(48 * 36 * 14 * VOXEL_MM3 / 1000)
    assert (result.case, result.lesions[0].mean_hu) == ("ct", pytest.approx((6 * 220 + 2 * 60) / 8))


def test_lesions_keep_the_numbers_of_the_report_beside_the_mask_or_of_a_given_one(ct: Path, tmp_path: Path) -> None:
    own = Segmenter(tmp_path).segment(ct)
    assert own.folder is not None
    labels = corrected()
    labels[40:48, 28:36, 8:12] = scene()[40:48, 28:36, 8:12]  # both old ones, and a new one
    labels[16:30, 12:26, 8:14] = 1  # the first, now smaller than the second
    beside = save(own.folder / "edited.nii.gz", labels)
    elsewhere = save(tmp_path / "elsewhere" / "edited.nii.gz", labels)
    numbers = {
        "beside": measured(ct, beside, tmp_path / "results"),
        "named": measured(ct, elsewhere, tmp_path / "results", earlier=own.folder / "report.json"),
    }
    for result in numbers.values():
        found = {lesion.id: round(lesion.volume_mm3 / VOXEL_MM3) for lesion in result.lesions}
        assert found == {1: 14 * 14 * 2, 2: 8 * 8 * 4, 3: 4 * 4 * 3}
        np.testing.assert_array_equal(result.lesion_map[47, 12, 6], 3)
    anew = measured(ct, elsewhere, tmp_path / "results")
    assert [lesion.id for lesion in anew.lesions] == [1, 2, 3]
    with pytest.raises(InputError, match="not a report.json of this program"):
        measured(ct, elsewhere, tmp_path / "results", earlier=ct)


@pytest.mark.parametrize(
    "change",
    [
        lambda labels, affine: (labels[:-1], affine),
        lambda labels, affine: (labels, affine + np.eye(4)[:, [3]] * 0 + _shift(0.4)),
        lambda labels, affine: (labels, affine @ np.diag([1.01, 1, 1, 1])),
        lambda labels, affine: (labels, np.diag([-1, 1, 1, 1]) @ affine),
    ],
    ids=["fewer voxels", "moved", "scaled", "mirrored"],
)
def test_a_mask_on_another_grid_is_refused(ct: Path, output: Path, change: Callable[..., tuple[Array, Array]]) -> None:
    path = save(ct.with_name("mask.nii.gz"), *change(scene(), np.diag([*SPACING, 1.0])))
    with pytest.raises(InputError, match="lies on another grid than"):
        measured(ct, path, output)


def _shift(mm: float) -> Array:
    move = np.zeros((4, 4))
    move[0, 3] = mm
    return move


def test_a_mask_with_other_labels_is_refused(ct: Path, output: Path) -> None:
    with pytest.raises(InputError, match="holds the label 3"):
        measured(ct, save(ct.with_name("mask.nii.gz"), scene() * 3 // 2), output)


def test_a_mask_that_is_neither_label_map_nor_seg_is_refused_with_the_kinds_that_are_read(
    ct: Path, output: Path
) -> None:
    mask = output.parent / "mask.dcm"
    mask.write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match=r"mask\.dcm is neither a DICOM SEG nor a label map: give a SEG .* or a \.nii"):
        measured(ct, mask, output)


def test_allow_large_lifts_the_memory_limits_for_the_mask_too(
    ct: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = save(ct.with_name("mask.nii.gz"), scene())
    monkeypatch.setattr(limits, "VOXELS", replace(limits.VOXELS, most=1000))
    with pytest.raises(InputError, match="ct.nii.gz has 64 x 48 x 20 voxels"):
        measured(ct, mask, output)
    case = replace(only_case(ct), allow_large=True)
    assert len(measure_mask(case, mask, output).measurements.lesions) == 2


def test_results_of_a_persons_mask_are_replaced_only_by_those_of_a_persons_mask(ct: Path, tmp_path: Path) -> None:
    program, output = Segmenter(tmp_path), tmp_path / "results"
    output.mkdir()
    mask = save(tmp_path / "mask.nii.gz", corrected())
    first = measured(ct, mask, output)
    assert first.folder == output / "ct"
    assert program.segment(ct).folder == output / "ct_2"
    assert program.segment(ct).folder == output / "ct_2"
    np.testing.assert_array_equal(np.asarray(nib.load(output / "ct" / "ct_seg.nii.gz").dataobj), corrected())
    save(mask, scene())
    assert measured(ct, mask, output).folder == output / "ct_2_measured"
    assert program.segment(ct).folder == output / "ct_2"
    assert sorted(path.name for path in output.iterdir()) == ["ct", "ct_2", "ct_2_measured"]


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DICOM series of a phantom and its results, in `exam` and `results`."""
    folder = tmp_path_factory.mktemp("dicom")
    write_series(make_phantom(5, shape=(80, 64, 24), spacing=(1.25, 1.25, 3.0), lesions=1), folder / "exam", "0")
    Segmenter(folder).segment(folder / "exam")
    return folder


def test_a_seg_is_read_back_unchanged_and_marked_as_a_persons(series: Path, tmp_path: Path) -> None:
    own = series / "results" / "exam"
    written = json.loads((own / "report.json").read_text())
    result = measured(series / "exam", own / "exam_seg.dcm", tmp_path)
    np.testing.assert_array_equal(result.labels, np.asarray(nib.load(own / "exam_seg.nii.gz").dataobj))
    assert [row["volume_mm3"] for row in table(result)] == [row["volume_mm3"] for row in written["lesions"]]
    seg = pydicom.dcmread(tmp_path / "exam" / "exam_seg.dcm")
    assert {segment.SegmentAlgorithmType for segment in seg.SegmentSequence} == {"MANUAL"}
    assert "by a person" in seg.SeriesDescription and (tmp_path / "exam" / "exam_sr.dcm").is_file()


def test_a_corrected_seg_of_a_series_can_be_used_with_a_nifti_of_that_series(series: Path, tmp_path: Path) -> None:
    """The NIfTI has reoriented axes, as converters write them."""
    seg = pydicom.dcmread(series / "results" / "exam" / "exam_seg.dcm")
    frames = seg.pixel_array.copy()
    frames[:, :10] = 0
    seg.PixelData = np.packbits(frames.ravel(), bitorder="little").tobytes()
    seg.save_as(tmp_path / "corrected.dcm")
    volume = only_case(series / "exam").read()
    turned = volume.affine @ np.array([[-1, 0, 0, 79], [0, -1, 0, 63], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    ct = save(tmp_path / "ct.nii.gz", volume.array[::-1, ::-1], turned)
    result = measured(ct, tmp_path / "corrected.dcm", tmp_path / "results")
    expected = np.asarray(nib.load(series / "results" / "exam" / "exam_seg.nii.gz").dataobj).copy()
    expected[:, :10] = 0
    np.testing.assert_array_equal(result.labels, expected[::-1, ::-1])


def test_a_seg_of_another_position_or_other_organs_is_refused(series: Path, tmp_path: Path) -> None:
    seg = pydicom.dcmread(series / "results" / "exam" / "exam_seg.dcm")
    for frame in seg.PerFrameFunctionalGroupsSequence:
        frame.PlanePositionSequence[0].ImagePositionPatient[0] += 0.5
    seg.save_as(tmp_path / "moved.dcm")
    with pytest.raises(InputError, match="is on another grid than this CT"):
        measured(series / "exam", tmp_path / "moved.dcm", tmp_path / "out")
    seg.SegmentSequence[0].SegmentLabel = "Spleen"
    seg.SegmentSequence[0].SegmentedPropertyTypeCodeSequence[0].CodeValue = "78961009"
    seg.save_as(tmp_path / "spleen.dcm")
    with pytest.raises(InputError, match="segment 1 is neither liver nor tumor"):
        measured(series / "exam", tmp_path / "spleen.dcm", tmp_path / "out")


@pytest.mark.parametrize(
    "missing",
    ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "SegmentSequence", "Rows", "PixelData"],
)
def test_a_seg_without_an_attribute_is_refused(missing: str, series: Path, tmp_path: Path) -> None:
    seg = pydicom.dcmread(series / "results" / "exam" / "exam_seg.dcm")
    delattr(seg, missing)
    refused_as_damaged(seg, series, tmp_path)


def test_a_seg_whose_frame_has_no_position_or_an_unknown_segment_is_refused(series: Path, tmp_path: Path) -> None:
    seg = pydicom.dcmread(series / "results" / "exam" / "exam_seg.dcm")
    frame = seg.PerFrameFunctionalGroupsSequence[0]
    frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 99
    refused_as_damaged(seg, series, tmp_path)
    frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    del frame.PlanePositionSequence
    refused_as_damaged(seg, series, tmp_path)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.97])
def test_a_truncated_seg_is_refused(share: float, series: Path, tmp_path: Path) -> None:
    whole = (series / "results" / "exam" / "exam_seg.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(InputError, match=r"cut\.dcm is damaged or incomplete: export the SEG again"):
        measured(series / "exam", tmp_path / "cut.dcm", tmp_path / "out")


def refused_as_damaged(seg: pydicom.Dataset, series: Path, folder: Path) -> None:
    seg.save_as(folder / "damaged.dcm")
    with pytest.raises(InputError, match=r"damaged\.dcm is damaged or incomplete: export the SEG again"):
        measured(series / "exam", folder / "damaged.dcm", folder / "out")
