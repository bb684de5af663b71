"""One picture of a case: the masks drawn over the CT where there is most to see."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, io_orientation

from custom_networks.files import atomic_write
from custom_networks.io.volume import Volume
from custom_networks.labelmap.boxes import box_around
from custom_networks.labelmap.grid import voxel_mm3
from custom_networks.labelmap.labels import TUMOR, Labels

WINDOW_HU = (-160.0, 240.0)
BODY_HU = -200.0
WIDTH_INCH, TEXT_INCH = 15, 1.6
LONGEST_TITLE = 40
COLOURS = {"liver": "#4fd1c5", "tumor": "#f6465d"}


def draw_overlay(ct: Volume, labels: Labels, path: Path, title: str) -> None:
    """Draw liver and tumor outlines over the CT: three axial slices, one coronal, one sagittal, and the volumes.

    Seen as radiologists see it: the patient's right on the left of an axial or coronal picture, head up. The title is
    written over the volumes; the PNG appears whole or not at all.
    """
    from matplotlib.figure import Figure  # half a second, and not needed for the masks

    # Axes along the patient's right, front and head, as nearly as whole axes can.
    orientation = io_orientation(ct.affine)
    hu, label_map = (apply_orientation(array, orientation) for array in (ct.array, labels))
    spacing = np.asarray(ct.spacing)[np.argsort(orientation[:, 0])]
    body = box_around(hu > BODY_HU) or tuple(slice(0, n) for n in hu.shape)
    extent = [(part.stop - part.start) * mm for part, mm in zip(body, spacing)]
    mm_per_inch = 3 * extent[0] / WIDTH_INCH
    heights = extent[1], max(extent[2], TEXT_INCH * mm_per_inch)  # short stacks leave room for the text, too
    figure = Figure(figsize=(WIDTH_INCH, sum(heights) / mm_per_inch + 0.8), facecolor="black", layout="constrained")
    grid = figure.add_gridspec(2, 3, height_ratios=heights)
    for place, (name, plane, index) in enumerate(_views(label_map)):
        _draw(figure.add_subplot(grid[place]), hu, label_map, spacing, body, plane, index, name)
    _write(figure.add_subplot(grid[5]), label_map, voxel_mm3(ct.affine) / 1000, title)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=80, format="png")


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
        candidates = [middle[2], *(start + (stop - start) * part // 6 for part in (2, 4, 3, 1, 5))]
        axial = sorted([*dict.fromkeys(candidates), *candidates][:3])  # three different ones, where there are three
    named = [(f"axial {index + 1}/{label_map.shape[2]}", 2, index) for index in axial]
    return [*named, ("coronal", 1, middle[1]), ("sagittal", 0, middle[0])]


def _draw(
    axis: Any,
    hu: npt.NDArray[Any],
    label_map: npt.NDArray[Any],
    spacing: npt.NDArray[np.float64],
    body: tuple[slice, ...],
    plane: int,
    index: int,
    name: str,
) -> None:
    """One slice and the outlines of its labels, in millimetres, as far as the body reaches."""
    right, up = (a for a in range(3) if a != plane)
    picture, labels = (np.take(v, index, axis=plane).T for v in (hu, label_map))
    extent = (0, picture.shape[1] * spacing[right], 0, picture.shape[0] * spacing[up])
    axis.imshow(picture, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower", extent=extent)
    for mask, colour in ((labels > 0, COLOURS["liver"]), (labels == TUMOR, COLOURS["tumor"])):
        if mask.any():
            axis.contour(mask, levels=[0.5], colors=[colour], linewidths=1.3, origin="lower", extent=extent)
    limits = [(body[a].start * spacing[a], body[a].stop * spacing[a]) for a in (right, up)]
    axis.set_xlim(limits[0][:: -1 if plane != 0 else 1])
    axis.set_ylim(limits[1])
    axis.set_title(name, color="white", fontsize=11)
    axis.axis("off")


def _write(axis: Any, label_map: npt.NDArray[Any], voxel_ml: float, title: str) -> None:
    """The volumes, in the colours of their outlines, under the title, which is cut where it is too long."""
    liver, tumor = (float(mask.sum()) * voxel_ml for mask in (label_map > 0, label_map == TUMOR))
    lines = [
        (title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 3]}...", "white"),
        (f"liver with tumors  {liver:.0f} ml" if liver else "no liver found", COLOURS["liver"]),
        (f"tumors  {tumor:.1f} ml" if tumor else "no tumor found", COLOURS["tumor"]),
        ("research use only, not a medical device", "grey"),
    ]
    for row, (text, colour) in enumerate(lines):
        axis.text(0.05, 0.8 - 0.18 * row, text, color=colour, fontsize=13, transform=axis.transAxes)
    axis.axis("off")
