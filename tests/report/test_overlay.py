"""The overlay shows the patient in radiological orientation for any order of the file's voxels."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread

from custom_networks.io import Volume, read_label_map, read_volume
from custom_networks.labelmap.boxes import box_around
from custom_networks.report import overlay
from custom_networks.report.overlay import draw_overlay

Array = npt.NDArray[Any]
SHAPE = (60, 50, 24)  # patient's right, front, head
RAS = np.diag([1.5, 1.5, 4.0, 1.0])  # mm
LEFT_OUT = np.zeros(SHAPE, dtype=np.uint8)


def scene() -> tuple[Array, Array]:
    """HU and labels in RAS order: a body with a liver at the right, upper front, and a tumor in it."""
    hu = np.full(SHAPE, -1000, dtype=np.int16)
    hu[5:55, 5:45] = 0
    labels = LEFT_OUT.copy()
    labels[36:52, 28:42, 12:22] = 1
    labels[40:46, 32:38, 15:19] = 2
    return hu, labels


def save(folder: Path, order: str = "RAS", labels: Array | None = None) -> tuple[Volume, Volume]:
    """The scene as read from two files with the voxel axes `order`."""
    hu, scene_labels = scene()
    codes = [nib.orientations.axcodes2ornt(tuple(axes)) for axes in ("RAS", order)]
    change = nib.orientations.ornt_transform(*codes)
    for name, array in (("ct", hu), ("seg", scene_labels if labels is None else labels)):
        nib.save(nib.Nifti1Image(array, RAS).as_reoriented(change), folder / f"{name}.nii.gz")
    return read_volume(folder / "ct.nii.gz"), read_label_map(folder / "seg.nii.gz")


def draw(folder: Path, ct: Volume, labels: Volume) -> Path:
    path = folder / "overlay.png"
    draw_overlay(ct, labels.array, path, "seg.nii.gz")
    return path


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Figure]:
    """Draw the scene and return the figure with the layout in which it was saved."""
    figures: list[Figure] = []
    savefig = Figure.savefig

    def kept(self: Figure, *arguments: Any, **options: Any) -> None:
        figures.append(self)
        savefig(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", kept)

    def drawn_scene(order: str = "RAS", labels: Array | None = None, affine: Array | None = None) -> Figure:
        ct, label_map = save(tmp_path, order, labels)
        draw(tmp_path, ct if affine is None else replace(ct, affine=affine), label_map)
        return figures[-1]

    return drawn_scene


def outline(axis: Any, label: str) -> Array:
    """Corners (n, 2) of a label's outline in pixels of the picture, to the right and up from the middle of the axes."""
    wanted = [c for c in axis.collections if to_hex(c.get_edgecolor()[0]) == overlay.COLOURS[label]]
    assert len(wanted) == 1, f"{label} in {axis.get_title()}"
    corners = np.concatenate([path.vertices for path in wanted[0].get_paths()])
    box = axis.get_window_extent()
    pixels: Array = axis.transData.transform(corners) - [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]
    return pixels


def middle(corners: Array) -> Array:
    between: Array = (corners.min(axis=0) + corners.max(axis=0)) / 2
    return between


@pytest.mark.parametrize("order", ["RAS", "LPS", "LAI", "SRP", "ASL"])
def test_the_patients_right_is_on_the_left_and_front_and_head_are_up(drawn: Callable[..., Figure], order: str) -> None:
    pictures = drawn(order).axes[:5]
    assert [axis.get_title().split()[0] for axis in pictures] == ["axial"] * 3 + ["coronal", "sagittal"]
    for axis in pictures:
        right, up = middle(outline(axis, "liver"))
        assert up > 20, "the front of an axial picture, the head of the others"
        assert right > 20 if axis.get_title() == "sagittal" else right < -20


@pytest.mark.parametrize("order", ["RAS", "ASL"])
def test_outlines_have_their_true_size(drawn: Callable[..., Figure], order: str) -> None:
    liver_mm, body_mm = np.array([16 * 1.5, 14 * 1.5, 10 * 4.0]), np.array([50 * 1.5, 40 * 1.5, 24 * 4.0])
    for axis, seen in zip(drawn(order).axes[:5], [(0, 1)] * 3 + [(0, 2), (1, 2)]):
        box = axis.get_window_extent()
        per_mm = np.array([box.width, box.height]) / body_mm[list(seen)]
        np.testing.assert_allclose(per_mm, per_mm.mean(), rtol=0.02)
        corners = outline(axis, "liver")
        size = corners.max(axis=0) - corners.min(axis=0)
        np.testing.assert_allclose(size, liver_mm[list(seen)] * per_mm, rtol=0.02)


def test_the_tumors_outline_lies_within_the_livers_in_every_picture(drawn: Callable[..., Figure]) -> None:
    for axis in drawn().axes[:5]:
        liver, tumor = outline(axis, "liver"), outline(axis, "tumor")
        assert (liver.min(axis=0) < tumor.min(axis=0)).all() and (tumor.max(axis=0) < liver.max(axis=0)).all()


def test_every_order_of_voxels_gives_the_same_picture(tmp_path: Path) -> None:
    pictures = [imread(draw(tmp_path, *save(tmp_path, order))) for order in ("RAS", "PIR")]
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_the_volumes_are_written_beside_the_pictures(drawn: Callable[..., Figure]) -> None:
    # The organ has 16 x 14 x 10 voxels of 9 cubic mm, the tumor 6 x 6 x 4.
    texts = [text.get_text() for text in drawn().axes[5].texts]
    assert texts[:3] == ["seg.nii.gz", "liver with tumors  20 ml", "tumors  1.3 ml"]


def test_volumes_on_a_sheared_grid_use_the_volume_of_its_voxels(drawn: Callable[..., Figure]) -> None:
    sheared = RAS.copy()
    sheared[1, 2] = 2.0  # a tilted gantry: the slices are shifted against each other, their distance stays
    texts = [text.get_text() for text in drawn(affine=sheared).axes[5].texts]
    assert texts[1:3] == ["liver with tumors  20 ml", "tumors  1.3 ml"]


def test_an_empty_mask_is_drawn_as_a_ct_without_outlines_and_stated(drawn: Callable[..., Figure]) -> None:
    axes = drawn(labels=LEFT_OUT).axes
    assert all(len(axis.images) == 1 and len(axis.collections) == 0 for axis in axes[:5])
    assert [text.get_text() for text in axes[5].texts][1:3] == ["no liver found", "no tumor found"]


def test_three_different_slices_are_shown_including_the_tumors_largest() -> None:
    _, labels = scene()
    labels[38:48, 32:38, 15] = 2
    assert [index for _, plane, index in overlay._views(labels, box_around(labels)) if plane == 2] == [15, 17, 18]
    labels[38:49, 32:38, 21] = 2
    assert [index for _, plane, index in overlay._views(labels, box_around(labels)) if plane == 2] == [15, 18, 21]
    names = [name for name, _, _ in overlay._views(labels, box_around(labels))]
    assert names == ["axial 16/24", "axial 19/24", "axial 22/24", "coronal", "sagittal"]


def test_a_liver_of_one_slice_is_shown_three_times() -> None:
    labels = LEFT_OUT.copy()
    labels[20:30, 20:30, 7] = 1
    assert [index for _, plane, index in overlay._views(labels, box_around(labels)) if plane == 2] == [7, 7, 7]


def test_without_a_liver_the_middle_slices_are_shown() -> None:
    views = overlay._views(np.zeros((10, 20, 40), dtype=np.uint8), None)
    assert [(plane, index) for _, plane, index in views] == [(2, 10), (2, 20), (2, 30), (1, 10), (0, 5)]


def test_an_overlay_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ct, labels = save(tmp_path)

    def full_disk(self: Figure, path: Path, **options: Any) -> None:
        path.write_bytes(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", full_disk)
    with pytest.raises(OSError, match="No space left"):
        draw(tmp_path, ct, labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ct.nii.gz", "seg.nii.gz"]


def test_the_text_fits_beside_a_stack_of_few_slices(
    drawn: Callable[..., Figure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlay, "box_around", lambda mask: (slice(0, 60), slice(0, 50), slice(10, 14)))
    axis = drawn(labels=LEFT_OUT).axes[5]
    boxes = [text.get_window_extent() for text in axis.texts]
    assert len(boxes) == 4 and all(upper.y0 > lower.y1 for upper, lower in zip(boxes, boxes[1:]))
