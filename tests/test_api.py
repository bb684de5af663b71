"""`segment(...)` returns the same results as the command line writes."""

import zipfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch

from custom_networks import api
from custom_networks.api import Result, segment
from custom_networks.errors import InputError, UsageError
from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

Stubbed = Callable[..., Result]
STUB = {"network_def": {"_target_": "test_pipeline.ThresholdNetwork"}}


@pytest.fixture
def stubbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Result]:
    """`segment` with a network that classifies voxels by their intensity."""
    weights = tmp_path_factory.mktemp("weights") / "none.pt"
    torch.save({}, weights)
    return partial(segment, device="cpu", checkpoint=str(weights), overrides=STUB)


@pytest.fixture
def scan(tmp_path: Path) -> tuple[Path, Any]:
    """A CT whose HU determine each voxel's label, and its labels."""
    truth = np.zeros((64, 48, 20), dtype=np.uint8)
    truth[10:50, 8:40, 4:16] = 1
    truth[20:32, 16:28, 8:12] = 2
    hu = np.array([-120, 60, 220], dtype=np.int16)[truth]
    path = tmp_path / "scans" / "ct.nii.gz"
    path.parent.mkdir()
    nib.save(nib.Nifti1Image(hu, np.diag([1.25, 1.25, 3.0, 1.0])), path)
    return path, truth


def test_the_result_has_masks_volumes_lesions_and_probabilities(
    stubbed: Stubbed, scan: tuple[Path, Any], tmp_path: Path
) -> None:
    path, truth = scan
    result = stubbed(path, probability=True)
    np.testing.assert_array_equal(result.labels, truth)
    np.testing.assert_array_equal(result.liver, truth > 0)
    np.testing.assert_array_equal(result.tumor, truth == 2)
    np.testing.assert_array_equal(result.lesion_map, truth == 2)
    np.testing.assert_array_equal(result.affine, np.diag([1.25, 1.25, 3.0, 1.0]))
    assert result.liver_ml == pytest.approx(40 * 32 * 12 * 1.25 * 1.25 * 3 / 1000)
    (lesion,) = result.lesions
    assert lesion.volume_mm3 == pytest.approx(12 * 12 * 4 * 1.25 * 1.25 * 3)
    assert lesion.mean_hu == 220 and lesion.contrast_hu == pytest.approx(160)
    assert lesion.centroid == pytest.approx((-25.5 * 1.25, -21.5 * 1.25, 9.5 * 3))
    assert result.tumor_probability is not None
    np.testing.assert_allclose(result.tumor_probability, truth == 2, atol=1 / 255)
    assert lesion.mean_probability == pytest.approx(1, abs=0.01)
    assert 0.9 < lesion.confidence < 1
    assert result.report["confidence_calibrated"] is False  # these are no weights that it was calibrated for
    assert (result.case, result.notes, result.folder) == ("ct", (), None)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["ct.nii.gz"]


def test_a_folder_with_one_volume_is_read_and_files_are_written_on_request(
    stubbed: Stubbed, scan: tuple[Path, Any], tmp_path: Path
) -> None:
    earlier = stubbed(scan[0].parent, tmp_path / "out", probability=True)
    assert earlier.folder is not None and (earlier.folder / "ct_tumor_probability.nii.gz").is_file()
    result = stubbed(scan[0].parent, tmp_path / "out")
    assert result.tumor_probability is None and result.folder == tmp_path / "out" / "ct"
    assert sorted(p.name for p in result.folder.iterdir()) == [
        "ct_seg.nii.gz",
        "lesions.csv",
        "manifest.json",
        "overlay.png",
        "report.html",
        "report.json",
        "thumbnail.jpg",
    ]


@pytest.mark.parametrize("name, mask", [("ct.mha", "ct_seg.mha"), ("ct.nhdr", "ct_seg.nrrd")])
def test_metaimage_and_nrrd_inputs_also_get_a_mask_in_their_format(
    name: str, mask: str, stubbed: Stubbed, scan: tuple[Path, Any], tmp_path: Path
) -> None:
    itk.imwrite(itk.imread(str(scan[0])), str(tmp_path / name))
    result = stubbed(tmp_path / name, tmp_path / "out", overlay=False, page="off")
    assert result.folder is not None and result.liver.any()
    assert result.report["files"] == {"mask": "ct_seg.nii.gz", "mask_as_input": mask}
    written = itk.imread(str(result.folder / mask))
    np.testing.assert_array_equal(itk.array_from_image(written).T, result.labels)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A zip archive of one DICOM series in a folder; 64 x 64 x 24 voxels."""
    folder = tmp_path / "exam"
    write_series(make_phantom(5, shape=(64, 64, 24), spacing=(1.25, 1.25, 3.0), lesions=1), folder, "0")
    with zipfile.ZipFile(tmp_path / "exam.zip", "w") as packed:
        for path in folder.iterdir():
            packed.write(path, f"deep/{path.name}")
    return tmp_path / "exam.zip"


def test_an_archive_its_series_by_number_and_the_unpacked_folder_give_the_same_volume(
    stubbed: Stubbed, archive: Path
) -> None:
    folder, packed, first = (stubbed(path) for path in (archive.with_suffix(""), archive, f"{archive}::1"))
    assert folder.liver.any() and packed.case == "exam" and first.case == "exam_1"
    for other in (packed, first):
        np.testing.assert_array_equal(other.labels, folder.labels)
        np.testing.assert_array_equal(other.affine, folder.affine)
    with pytest.raises(InputError, match="exam.zip has 1 series, but no number 2"):
        stubbed(f"{archive}::2")


def test_an_archive_of_two_patients_is_refused_with_the_path_of_one(
    stubbed: Stubbed, archive: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    write_series(make_phantom(6, shape=(64, 64, 24), spacing=(1.25, 1.25, 3.0), lesions=1), other, "1")
    with zipfile.ZipFile(archive, "a") as packed:
        for path in other.iterdir():
            packed.write(path, f"other/{path.name}")
    with pytest.raises(UsageError, match=r"exam.zip holds 2 volumes \(.*\): give one of them, such as .*exam.zip::1"):
        stubbed(archive)


@pytest.mark.parametrize("keep, frames", [(False, None), (True, 24)])
def test_empty_frames_of_a_dicom_seg_are_kept_on_request(
    stubbed: Stubbed, archive: Path, tmp_path: Path, keep: bool, frames: int | None
) -> None:
    result = stubbed(archive, tmp_path / "out", overlay=False, keep_empty_frames=keep)
    assert result.folder is not None and not (result.folder / "overlay.png").exists()
    seg = pydicom.dcmread(result.folder / "exam_seg.dcm")
    filled = sum(int((result.lesion_map == lesion.id).any(axis=(0, 1)).sum()) for lesion in result.lesions)
    filled += int(result.liver.any(axis=(0, 1)).sum())
    assert seg.NumberOfFrames == (frames * len(seg.SegmentSequence) if frames else filled)
    assert filled < 24 * len(seg.SegmentSequence)


def test_the_patient_is_named_on_page_key_images_and_pdf_only_on_request(
    stubbed: Stubbed, archive: Path, tmp_path: Path
) -> None:
    options = {"overlay": False, "page": "light", "key_images": True, "pdf": True}
    plain, named = (stubbed(archive, tmp_path / str(phi), with_phi=phi, **options) for phi in (False, True))
    assert plain.folder is not None and named.folder is not None and plain.written is not None
    pages = [(result.folder / "report.html").read_text() for result in (plain, named)]
    for text in ("PHANTOM^0", "PHANTOM-0", "Synthetic phantom, not a patient"):
        assert [text in page for page in pages] == [False, True]
    names = [f"exam_key_{n:02d}.dcm" for n in range(1, 4 + len(plain.lesions))] + ["exam_report.dcm"]
    kinds = [kind for kind in plain.written.files if "key_image" in kind or kind == "dicom_pdf"]
    assert [plain.written.files[kind] for kind in kinds] == names and len(plain.lesions) > 0
    for name in names:
        files = [pydicom.dcmread(result.folder / name) for result in (plain, named)]
        assert [file.BurnedInAnnotation for file in files] == ["NO", "YES"]
        assert {str(file.PatientName) for file in files} == {"PHANTOM^0"}
        assert not any("Synthetic" in str(file.SeriesDescription) for file in files)


def test_a_path_with_several_volumes_or_without_a_volume_is_refused(
    stubbed: Stubbed, scan: tuple[Path, Any], tmp_path: Path
) -> None:
    (scan[0].parent / "b.nii").touch()
    with pytest.raises(UsageError, match=r"scans holds 2 volumes \(.*\): give one of them"):
        stubbed(scan[0].parent)
    with pytest.raises(InputError, match="absent.nii"):
        stubbed(tmp_path / "absent.nii")


def test_arrays_images_and_files_of_the_same_ct_give_the_same_result(
    stubbed: Stubbed, scan: tuple[Path, Any], tmp_path: Path
) -> None:
    image = nib.load(scan[0])
    array = np.asarray(image.dataobj)
    of_file, of_image, of_array = stubbed(scan[0]), stubbed(image), stubbed(array, affine=image.affine)
    for other in (of_image, of_array):
        np.testing.assert_array_equal(other.labels, of_file.labels)
        np.testing.assert_array_equal(other.affine, of_file.affine)
        assert other.lesions == of_file.lesions
    with pytest.raises(UsageError, match="An array of HU needs its affine"):
        stubbed(array)


def test_the_network_is_built_once_for_the_same_settings(
    stubbed: Stubbed, scan: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stubbed(scan[0])
    monkeypatch.setattr("custom_networks.api.Pipeline", None)  # what is built again fails
    assert stubbed(scan[0]).run["seconds"]["prepare"] == 0


def test_threads_with_other_settings_get_a_pipeline_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last pipeline is cached; here another thread replaces it right after it was found in the cache."""

    class Replaced(dict[str, Any]):
        def __contains__(self, key: object) -> bool:
            found = super().__contains__(key)
            self.clear()
            return found

        def get(self, key: str, default: Any = None) -> Any:
            found = super().get(key, default)
            self.clear()
            return found

    monkeypatch.setattr(api, "_LAST", Replaced())
    monkeypatch.setattr(api, "Pipeline", lambda bundle, asked, checkpoint: dict(asked))
    for _ in range(2):
        assert api.shared_pipeline(None, {"fast": True}, None) == {"fast": True}


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"device": "gpu"}, "Unknown device 'gpu'"),
        ({"precision": "half"}, "The precision must be auto, float32 or bfloat16, got 'half'"),
        ({"affine": np.eye(4)}, "affine= is only for arrays"),
        ({"page": "heavy"}, "page must be full, light or off, got 'heavy'"),
    ],
)
def test_wrong_arguments_are_refused_before_any_work(
    stubbed: Stubbed, scan: tuple[Path, Any], wrong: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        stubbed(scan[0], **wrong)


def test_a_notebook_shows_overlay_volumes_verdict_and_table_with_text_escaped(
    stubbed: Stubbed, scan: tuple[Path, Any], tmp_path: Path
) -> None:
    written, kept = stubbed(scan[0], tmp_path / "out"), stubbed(scan[0])
    assert written.verdict is not None and written.verdict.level == written.report["verdict"]["level"]
    for result in (written, kept):
        shown = result._repr_html_()
        assert shown.startswith("<div>") and shown.count("<tr>") == 2 and "data:image/png;base64,iVBORw0" in shown
        assert "liver 72.0 ml" in shown and f"<b>{result.verdict.level}</b>" in shown  # type: ignore[union-attr]
    case = replace(kept.input, name="<script>alert(1)</script>")
    shown = replace(kept, input=case)._repr_html_()
    assert "<script>" not in shown and "&lt;script&gt;" in shown


def test_progress_is_reported_stage_by_stage(stubbed: Stubbed, scan: tuple[Path, Any]) -> None:
    told: list[tuple[str, int, int]] = []
    stubbed(scan[0], progress=lambda *stage: told.append(stage))
    stages = list(dict.fromkeys(stage for stage, _, _ in told))
    assert stages == ["read", "prepare", "network", "measure"]
    slabs = [(done, total) for stage, done, total in told if stage == "network" and total]
    assert slabs == [(number, len(slabs)) for number in range(1, len(slabs) + 1)] and slabs
    before = len(told)
    stubbed(scan[0])
    assert len(told) == before


def test_progress_true_shows_a_bar(
    stubbed: Stubbed, scan: tuple[Path, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    stubbed(scan[0], progress=True)
    assert "network" in capsys.readouterr().err
