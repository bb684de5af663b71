"""One picture of a case: the masks drawn over the CT where there is most to see."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, io_orientation

from custom_networks.io import read_label_map, read_volume
from custom_networks.transforms.anatomy import TUMOR, box_around

WINDOW_HU = (-160.0, 240.0)
COLOURS = {"liver": "#4fd1c5", "tumor": "#f6465d"}


def draw_overlay(image: str | Path, mask: str | Path, path: Path) -> Path:
    """Draw liver and tumor outlines over the CT: three axial slices, one coronal, one sagittal.

    Seen as radiologists see it: the patient's right on the left of an axial or coronal picture, head up.

    Args:
        image: the CT volume, anything that `custom_networks.io.read_volume` reads.
        mask: its label map, on the same grid.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure  # half a second, and not needed for the masks

    volume, labels = read_volume(Path(image)), read_label_map(Path(mask))
    hu, label_map = (_ras(v.array, v.affine) for v in (volume, labels))
    spacing = nib.affines.voxel_sizes(volume.affine)[np.argsort(io_orientation(volume.affine)[:, 0])]
    views = _views(label_map)
    figure = Figure(figsize=(15, 7.2), facecolor="black", layout="constrained")
    axes = figure.subplot_mosaic("ABCD;ABCE", width_ratios=[1, 1, 1, 1])
    for axis, (name, plane, index) in zip(axes.values(), views):
        _draw(axis, hu, label_map, spacing, plane, index, name)
    figure.suptitle(f"{Path(mask).name}   research use only", color="white", fontsize=11)
    figure.savefig(path, dpi=100)
    return path


def _ras(array: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """The array with its axes along the patient's right, front and head, as nearly as whole axes can."""
    return np.asarray(apply_orientation(array, io_orientation(affine)))


def _views(label_map: npt.NDArray[Any]) -> list[tuple[str, int, int]]:
    """Name, plane and index of the five pictures: through the tumor where there is one, else through the liver."""
    box = box_around(label_map)
    if box is None:
        middle = [size // 2 for size in label_map.shape]
        axial = [int(label_map.shape[2] * part) for part in (0.25, 0.5, 0.75)]
    else:
        areas = (label_map == (TUMOR if (label_map == TUMOR).any() else 1)).astype(np.uint8)
        middle = [int(areas.sum(axis=tuple(a for a in range(3) if a != axis)).argmax()) for axis in range(3)]
        start, stop = box[2].start, box[2].stop
        axial = sorted([middle[2], start + (stop - start) // 3, start + 2 * (stop - start) // 3])
    named = [(f"axial {index + 1}/{label_map.shape[2]}", 2, index) for index in axial]
    return [*named, ("coronal", 1, middle[1]), ("sagittal", 0, middle[0])]


def _draw(
    axis: Any,
    hu: npt.NDArray[Any],
    label_map: npt.NDArray[Any],
    spacing: npt.NDArray[np.float64],
    plane: int,
    index: int,
    name: str,
) -> None:
    """One slice and the outlines of its labels."""
    across, up = (a for a in range(3) if a != plane)
    picture, labels = (np.take(v, index, axis=plane).T for v in (hu, label_map))
    axis.imshow(picture, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower", aspect="auto")
    axis.set_aspect(float(spacing[up] / spacing[across]))
    for mask, colour in ((labels > 0, COLOURS["liver"]), (labels == TUMOR, COLOURS["tumor"])):
        if mask.any():
            axis.contour(mask, levels=[0.5], colors=[colour], linewidths=1.1)
    if plane != 0:
        axis.invert_xaxis()
    axis.set_title(name, color="white", fontsize=10)
    axis.axis("off")
