"""Label maps are checked against the grid of their image: placeholders are repaired, other differences refused."""

import logging
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, Orientationd
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform

from custom_networks.errors import BundleError, InputError
from custom_networks.phantom import make_phantom
from custom_networks.training.data import LabelOnImaged
from custom_networks.training.data.label_grid import _corner_distance_mm, _right_of_middle_mm
from custom_networks.transforms import LoadVolumed, ResampleInPlaned

SHAPE = (12, 10, 8)
LPS = np.array([[-0.8, 0, 0, 200.0], [0, -0.8, 0, 150.0], [0, 0, 2.5, -600.0], [0, 0, 0, 1]])
RAS = np.diag([0.8, 0.8, 2.5, 1.0])
Files = dict[str, Any]


def liver_on_the_right(affine: np.ndarray) -> np.ndarray:
    """A block of three slices whose centre has a larger x (RAS, to the right) than the middle of the volume."""
    label = np.zeros(SHAPE, np.uint8)
    side = slice(1, 5) if affine[0, 0] < 0 else slice(7, 11)
    label[side, 2:5, 3:6] = 1
    label[side.start, 2, 3] = 2
    return label


def write(folder: Path, affine: np.ndarray, label_affine: np.ndarray, label: np.ndarray | None = None) -> Files:
    image = np.linspace(-1000, 300, num=np.prod(SHAPE)).reshape(SHAPE).astype(np.int16)
    label = liver_on_the_right(affine) if label is None else label
    nib.save(nib.Nifti1Image(image, affine), folder / "volume-53.nii")
    nib.save(nib.Nifti1Image(label, label_affine), folder / "segmentation-53.nii")
    return {"image": str(folder / "volume-53.nii"), "label": str(folder / "segmentation-53.nii")}


def load() -> Compose:
    """Apply the steps of train.json in order; the image is resampled before the label map is read."""
    steps = [
        LoadVolumed("image"),
        EnsureChannelFirstd("image", channel_dim="no_channel"),
        Orientationd("image", axcodes="RAS", labels=None),
        ResampleInPlaned("image", spacing=1.25),
        LoadVolumed("label", kind="label"),
        EnsureChannelFirstd("label", channel_dim="no_channel"),
        LabelOnImaged("label"),
        Orientationd("label", axcodes="RAS", labels=None),
        ResampleInPlaned("label", spacing=1.25, mode="label"),
    ]
    return Compose(steps)


def origin(x: float, y: float, z: float, flip: float = 1.0) -> np.ndarray:
    affine = np.diag([flip, flip, 1.0, 1.0])
    affine[:3, 3] = x, y, z
    return affine


@pytest.mark.parametrize("affine", [LPS, RAS], ids=["LPS", "RAS"])
@pytest.mark.parametrize(
    "placeholder",
    [origin(0, 0, 0), origin(1, 1, 1), origin(0, 0, 0, flip=-1)],
    ids=["identity", "as nnU-Net issue 2751 shows it", "as ITK writes none"],
)
def test_a_placeholder_is_replaced_by_the_images_affine_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, affine: np.ndarray, placeholder: np.ndarray
) -> None:
    transform = load()
    wanted = transform(write(tmp_path, affine, affine))["label"]
    assert not caplog.records
    files = write(tmp_path, affine, placeholder)
    for _ in range(2):
        repaired = transform(files)["label"]
    assert torch.equal(repaired.as_tensor(), wanted.as_tensor()) and wanted.any()
    torch.testing.assert_close(repaired.affine, wanted.affine)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING and str(tmp_path / "segmentation-53.nii") in record.getMessage()


@pytest.mark.parametrize(
    "other",
    [LPS @ origin(0, 0, 1), LPS @ np.diag([0.9, 1, 1, 1]), origin(-120, -130, 40)],
    ids=["one slice away", "other spacing", "unit voxels that somebody placed"],
)
def test_other_differences_are_refused_in_one_line_that_names_both_files(tmp_path: Path, other: np.ndarray) -> None:
    with pytest.raises(RuntimeError) as error:
        load()(write(tmp_path, LPS, other))
    cause = error.value.__cause__
    assert isinstance(cause, InputError) and "\n" not in str(cause)
    assert "volume-53.nii" in str(cause) and "segmentation-53.nii must be on the grid of its image" in str(cause)


def test_placeholder_of_another_shape_is_refused(tmp_path: Path) -> None:
    files = write(tmp_path, LPS, np.eye(4), label=liver_on_the_right(LPS)[..., :6])
    with pytest.raises(RuntimeError) as error:
        load()(files)
    assert "shape (12, 10, 6) instead of (12, 10, 8)" in str(error.value.__cause__)


@settings(max_examples=12, deadline=None)
@given(codes=st.permutations(["RL", "AP", "SI"]), ends=st.tuples(*[st.integers(0, 1)] * 3))
def test_the_order_and_direction_of_axes_may_differ(codes: list[str], ends: tuple[int, int, int]) -> None:
    wanted = axcodes2ornt([pair[end] for pair, end in zip(codes, ends, strict=True)])
    change = ornt_transform(nib.io_orientation(LPS), wanted)
    shape = apply_orientation(np.zeros(SHAPE), change).shape
    affine = LPS @ inv_ornt_aff(change, SHAPE)
    assert _corner_distance_mm(shape, affine, SHAPE, LPS) < 1e-9
    affine[2, 3] += 2.5
    assert _corner_distance_mm(shape, affine, SHAPE, LPS) == pytest.approx(2.5)


def wedge(first: int, label: int = 1) -> np.ndarray:
    """1, 1, 3 and 3 voxels along i from `first`, so that the centre is half a voxel from the middle of the four."""
    made = np.zeros(SHAPE, np.uint8)
    made[first : first + 2, 3, 3] = made[first + 2 : first + 4, 2:5, 3] = label
    return made


@pytest.mark.parametrize(("affine", "label"), [(LPS, wedge(7)), (RAS, wedge(7)[::-1])], ids=["LPS", "RAS"])
def test_a_mirrored_liver_is_refused_in_one_line_with_a_remedy(
    tmp_path: Path, affine: np.ndarray, label: np.ndarray
) -> None:
    # (7 + 8 + 3 * 9 + 3 * 10) / 8 = 9 is 3.5 voxels of 0.8 mm left of 5.5, and half a voxel of 8.5
    offsets = _right_of_middle_mm(MetaTensor(label[None].copy(), affine=affine))
    assert offsets == pytest.approx((-2.8, -0.4))
    with pytest.raises(RuntimeError) as error:
        load()(write(tmp_path, affine, affine, label=label))
    cause = error.value.__cause__
    assert isinstance(cause, InputError) and "\n" not in str(cause)
    assert "segmentation-53.nii must have the liver on the patient's right" in str(cause)
    assert "3 mm left" in str(cause) and "leave the case out of the data list" in str(cause)


@pytest.mark.parametrize(
    ("label", "warnings"),
    [(wedge(7)[::-1], 0), (wedge(8), 1), (liver_on_the_right(RAS), 1), (wedge(7, label=2), 0)],
    ids=["bulk and centre right", "cut off at the left end", "left without more bulk there", "tumor alone"],
)
def test_a_liver_that_may_be_on_the_left_because_of_a_crop_causes_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, label: np.ndarray, warnings: int
) -> None:
    transform, files = load(), write(tmp_path, LPS, LPS, label=label)
    for _ in range(2):
        transform(files)
    assert [r.levelno for r in caplog.records] == warnings * [logging.WARNING]
    assert caplog.text.count("check that the image is not mirrored") == warnings


def test_livers_of_real_patients_and_of_phantoms_are_on_the_right(shared_data: Path) -> None:
    maps = [shared_data / "ct" / f"{name}_label.nii.gz" for name in ("train/lits001", "dev/lits050", "train/ircad19")]
    labels = [
        EnsureChannelFirstd("label", channel_dim="no_channel")(LoadVolumed("label", kind="label")({"label": path}))
        for path in maps
    ]
    phantom = make_phantom(1, shape=(64, 56, 20), spacing=(1.3, 1.3, 3.0))
    livers = [item["label"] for item in labels]
    livers.append(MetaTensor(np.asarray(phantom.label)[None].copy(), affine=phantom.affine))
    assert all(offset > 0 for liver in livers for offset in _right_of_middle_mm(liver))


def test_an_empty_label_map_is_accepted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not load()(write(tmp_path, LPS, LPS, label=np.zeros(SHAPE, np.uint8)))["label"].any()
    assert not caplog.records


def test_items_that_were_not_read_by_loadvolumed_are_refused() -> None:
    with pytest.raises(BundleError, match="load image and label with it"):
        LabelOnImaged("label")({"image": MetaTensor(torch.zeros(1, 2, 2, 2)), "label": torch.zeros(1, 2, 2, 2)})
