"""Label maps on disk: unchanged grid, one folder per case, atomic writes."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from custom_networks.case_folder import Input, claim
from custom_networks.errors import BundleError
from custom_networks.io import read_label_map
from custom_networks.transforms import SaveLabelMapd
from custom_networks.transforms import save as monai_writer
from custom_networks.transforms.save import write_label_map

AFFINE = np.array([[-0.78, 0.02, 0, 91.5], [0.02, 0.78, 0.1, -77.25], [0, -0.3, 2.5, -801.125], [0, 0, 0, 1]])


def label_map(name: str = "/data/ct.nii.gz") -> MetaTensor:
    """Labels (1, 5, 4, 6), 0, 1 and 2 in turn, with the metadata of a file with an oblique affine."""
    labels = torch.arange(120).reshape(1, 5, 4, 6) % 3
    return MetaTensor(labels.float(), affine=torch.as_tensor(AFFINE), meta={"filename_or_obj": name})


def written(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_label_map_is_written_unchanged_and_the_data_are_returned(tmp_path: Path) -> None:
    data = {"pred": label_map(), "case": "case_7", "other": 1}
    after = SaveLabelMapd("pred", str(tmp_path / "new" / "out"))(data)
    assert written(tmp_path) == ["new/out/case_7/case_7_seg.nii.gz"]
    assert after == data and after["pred"] is data["pred"]
    image = nib.load(tmp_path / "new" / "out" / "case_7" / "case_7_seg.nii.gz")
    assert image.get_data_dtype() == np.uint8 and image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(image.dataobj), label_map()[0].numpy())
    np.testing.assert_array_equal(image.affine, AFFINE.astype(np.float32))
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 1)


def test_a_label_map_of_more_than_one_block_is_written_completely(tmp_path: Path) -> None:
    labels = np.zeros((150, 70, 131), np.uint8)
    labels[3:140, 2:69, 1:130] = np.random.default_rng(0).integers(0, 3, (137, 67, 129))
    write_label_map(labels, AFFINE, tmp_path / "seg.nii.gz")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "seg.nii.gz").dataobj), labels)
    write_label_map(np.zeros_like(labels), AFFINE, tmp_path / "empty.nii.gz")
    assert not np.asarray(nib.load(tmp_path / "empty.nii.gz").dataobj).any()


def test_the_reader_reads_what_was_written(tmp_path: Path) -> None:
    labels = label_map()[0].numpy()
    write_label_map(labels, AFFINE, tmp_path / "a" / "b_seg.nii.gz")
    volume = read_label_map(tmp_path / "a" / "b_seg.nii.gz")
    np.testing.assert_array_equal(volume.array, labels)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)


@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 8)] * 3),
    origin=st.tuples(*[st.floats(-2000, 2000)] * 3),
)
@settings(max_examples=25, deadline=None)
def test_any_grid_is_kept_in_sform_and_qform(
    tmp_path_factory: pytest.TempPathFactory,
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
    origin: tuple[float, float, float],
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = nib.eulerangles.euler2mat(*np.radians(angles)) * spacing
    affine[:3, 3] = origin
    path = tmp_path_factory.mktemp("grid") / "m_seg.nii.gz"
    write_label_map(np.zeros((5, 4, 6), dtype=np.uint8), affine, path)
    image = nib.load(path)
    np.testing.assert_array_equal(image.affine, affine.astype(np.float32))
    np.testing.assert_allclose(image.get_qform(), affine, atol=2e-3)
    np.testing.assert_allclose(image.header.get_zooms(), spacing, rtol=1e-5)


def test_results_of_an_earlier_run_are_removed_and_foreign_files_kept(tmp_path: Path) -> None:
    with claim(tmp_path, Input("ct", "identity", "content")) as claimed:
        for name in ("ct_seg.nii.gz", "report.json", "ct_sr.dcm"):
            (claimed.staging / name).write_bytes(b"of an earlier run")
        claimed.commit({})
    (tmp_path / "ct" / "notes.txt").write_text("mine")
    SaveLabelMapd("pred", str(tmp_path))({"pred": label_map(), "case": "ct"})
    assert written(tmp_path) == ["ct/ct_seg.nii.gz", "ct/notes.txt"]
    assert read_label_map(tmp_path / "ct" / "ct_seg.nii.gz").array.shape == (5, 4, 6)


def test_without_a_case_the_name_is_that_of_the_file(tmp_path: Path) -> None:
    SaveLabelMapd("pred", str(tmp_path), postfix="mask")({"pred": label_map("/data/Müller 1.nii.gz")})
    assert written(tmp_path) == ["M_ller_1/M_ller_1_mask.nii.gz"]


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m_seg.nii.gz"
    write_label_map(np.ones((5, 4, 6), dtype=np.uint8), AFFINE, path)
    before = path.read_bytes()

    def full_disk(image: nib.Nifti1Image, partial: Path) -> None:
        partial.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(monai_writer.nib, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_label_map(np.zeros((5, 4, 6), dtype=np.uint8), AFFINE, path)
    assert path.read_bytes() == before
    assert written(tmp_path) == ["m_seg.nii.gz"]


@pytest.mark.parametrize(
    "wrong", [torch.zeros(1, 5, 4, 6), MetaTensor(torch.zeros(2, 5, 4, 6)), MetaTensor(torch.zeros(5, 4, 6))]
)
def test_items_that_are_not_label_maps_with_a_grid_are_refused(tmp_path: Path, wrong: torch.Tensor) -> None:
    with pytest.raises(BundleError, match=r"needs 'pred' as a MetaTensor \(1, i, j, k\), got .*Tensor of shape \("):
        SaveLabelMapd("pred", str(tmp_path))({"pred": wrong, "case": "a"})
    assert written(tmp_path) == []


def test_missing_keys_are_skipped_only_on_request(tmp_path: Path) -> None:
    assert SaveLabelMapd("pred", str(tmp_path), allow_missing_keys=True)({"case": "a"}) == {"case": "a"}
    with pytest.raises(KeyError):
        SaveLabelMapd("pred", str(tmp_path))({"case": "a"})


def test_monai_label_recognises_it_as_a_saving_transform() -> None:
    assert issubclass(SaveLabelMapd, SaveImaged)
