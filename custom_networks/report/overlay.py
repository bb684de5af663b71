"""overlay.png: outlines of liver and tumors over slices of the CT."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from nibabel.orientations import apply_orientation, io_orientation

from custom_networks.files import atomic_write
from custom_networks.io.volume import Volume
from custom_networks.labelmap.boxes import Box, box_around
from custom_networks.labelmap.grid import voxel_mm3
from custom_networks.labelmap.labels import TUMOR, Labels
from custom_networks.report.drawing import lesion_colour
from custom_networks.report.pictures import CasePictures, in_rows

WINDOW_HU = (-160.0, 240.0)
BODY_HU = -200.0
WIDTH_INCH, TEXT_INCH, DPI = 15, 1.6, 80
LONGEST_TITLE = 40
COLOURS = {"liver": "#4fd1c5", "tumor": "#f6465d"}


def draw_overlay(ct: Volume, labels: Labels, path: Path, title: str, pictures: CasePictures | None = None) -> None:
    """Draw liver and tumor outlines over three axial slices, a coronal and a sagittal one, and write a PNG atomically.

    The patient's right is on the left of axial and coronal slices, and the back on the left of sagittal ones. Anterior
    is at the top of axial slices, and the head at the top of the others. The title and the volumes are written beside
    the slices. With `pictures`, lesions are numbered, and their pictures are shown below, largest lesion first.
    """
    from matplotlib.figure import Figure  # takes half a second to import

    # Reorient to the axes closest to the patient's right, anterior and superior.
    orientation = io_orientation(ct.affine)
    hu, label_map = (apply_orientation(array, orientation) for array in (ct.array, labels))
    spacing = np.asarray(ct.spacing)[np.argsort(orientation[:, 0])]
    body, organ = _body_box(hu), box_around(label_map)
    extent = [(part.stop - part.start) * mm for part, mm in zip(body, spacing)]
    mm_per_inch = 3 * extent[0] / WIDTH_INCH
    heights = [extent[1], max(extent[2], TEXT_INCH * mm_per_inch)]  # leave room for the text
    sheet = in_rows(pictures.lesions, WIDTH_INCH * DPI) if pictures and pictures.lesions else None
    if sheet is not None:
        heights.append(sheet.shape[0] / DPI * mm_per_inch)
    figure = Figure(figsize=(WIDTH_INCH, sum(heights) / mm_per_inch + 0.8), facecolor="black", layout="constrained")
    grid = figure.add_gridspec(len(heights), 3, height_ratios=heights)
    for place, (name, plane, index) in enumerate(_views(label_map, organ)):
        axis = figure.add_subplot(grid[place])
        _draw(axis, hu, label_map, spacing, body, plane, index, name)
        for number, at in pictures.numbers_in(plane, index) if pictures else ():
            _number(axis, number, at * np.delete(spacing, plane))
    found = label_map[organ or _all_of(label_map)]
    made_by = pictures.made_by if pictures else "automatic"
    _write(figure.add_subplot(grid[5]), found, voxel_mm3(ct.affine) / 1000, title, made_by)
    if sheet is not None:
        lesions = figure.add_subplot(grid[2, :])
        lesions.imshow(sheet)
        lesions.axis("off")
    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")


def _number(axis: Any, number: int, place: npt.NDArray[np.float64]) -> None:
    """Write a lesion's number at a position in mm."""
    colour = [part / 255 for part in lesion_colour(number)]
    text = axis.text(*place, str(number), color=colour, fontsize=9, fontweight="bold", clip_on=True)
    text.set_in_layout(False)


def _body_box(hu: npt.NDArray[Any]) -> Box:
    """Return the bounding box of the voxels above `BODY_HU`, or of the whole volume if there are none.

    It is found from projections, because a mask of the whole volume would take up much memory.
    """
    along_slices = hu.max(axis=2) > BODY_HU
    dense = along_slices.any(axis=1), along_slices.any(axis=0), hu.max(axis=(0, 1)) > BODY_HU
    if not along_slices.any():
        return _all_of(hu)
    x, y, z = (slice(int(seen[0]), int(seen[-1]) + 1) for seen in map(np.flatnonzero, dense))
    return x, y, z


def _all_of(array: npt.NDArray[Any]) -> Box:
    """Return a box that covers a whole 3D array."""
    x, y, z = (slice(0, size) for size in array.shape)
    return x, y, z


def _views(label_map: npt.NDArray[Any], box: Box | None) -> list[tuple[str, int, int]]:
    """Return the five slices to draw: three axial ones, then a coronal and a sagittal one.

    Along each axis, the slice with the largest area of tumor or, without tumor, of liver is chosen. The other two axial
    slices are normally at one and two thirds of the liver's height; a slice that is already chosen is replaced by one
    at another height. Without labels, the slices are spread over the volume.

    Args:
        label_map: (x, y, z) label map.
        box: bounding box of the nonzero labels, or None if there are none.

    Returns:
        The name of each slice, the axis perpendicular to it, and its index along that axis.
    """
    if box is None:
        middle = [size // 2 for size in label_map.shape]
        axial = [int(label_map.shape[2] * part) for part in (0.25, 0.5, 0.75)]
    else:
        found = label_map[box]
        shown = found == (TUMOR if (found == TUMOR).any() else 1)
        areas = (np.count_nonzero(shown, axis=tuple(a for a in range(3) if a != axis)) for axis in range(3))
        middle = [part.start + int(area.argmax()) for part, area in zip(box, areas, strict=True)]
        start, stop = box[2].start, box[2].stop
        candidates = [middle[2], *(start + (stop - start) * part // 6 for part in (2, 4, 3, 1, 5))]
        axial = sorted([*dict.fromkeys(candidates), *candidates][:3])  # three different slices if possible
    named = [(f"axial {index + 1}/{label_map.shape[2]}", 2, index) for index in axial]
    return [*named, ("coronal", 1, middle[1]), ("sagittal", 0, middle[0])]


def _draw(
    axis: Any,
    hu: npt.NDArray[Any],
    label_map: npt.NDArray[Any],
    spacing: npt.NDArray[np.float64],
    body: Box,
    plane: int,
    index: int,
    name: str,
) -> None:
    """Draw one slice with the outlines of its labels, scaled in mm and cropped to the body."""
    right, up = (a for a in range(3) if a != plane)
    picture, labels = (v[(slice(None),) * plane + (index,)].T for v in (hu, label_map))
    extent = (0, picture.shape[1] * spacing[right], 0, picture.shape[0] * spacing[up])
    axis.imshow(picture, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], origin="lower", extent=extent)
    for mask, colour in ((labels > 0, COLOURS["liver"]), (labels == TUMOR, COLOURS["tumor"])):
        if mask.any():
            axis.contour(mask, levels=[0.5], colors=[colour], linewidths=1.3, origin="lower", extent=extent)
    limits = [(body[a].start * spacing[a], body[a].stop * spacing[a]) for a in (right, up)]
    axis.set_xlim(limits[0][:: -1 if plane != 0 else 1])
    axis.set_ylim(limits[1])
    axis.set_title(name, color="white", fontsize=11, y=1.0)  # with a fixed y, matplotlib need not measure the ticks
    axis.axis("off")


def _write(axis: Any, label_map: npt.NDArray[Any], voxel_ml: float, title: str, made_by: str) -> None:
    """Write the title (shortened if necessary), the volumes in the colours of their outlines, and who made the mask."""
    liver, tumor = (np.count_nonzero(mask) * voxel_ml for mask in (label_map, label_map == TUMOR))
    lines = [
        (title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 3]}...", "white"),
        (f"liver with tumors  {liver:.0f} ml" if liver else "no liver found", COLOURS["liver"]),
        (f"tumors  {tumor:.1f} ml" if tumor else "no tumor found", COLOURS["tumor"]),
        (f"{made_by}, research use only", "grey"),
    ]
    for row, (text, colour) in enumerate(lines):
        axis.text(0.05, 0.8 - 0.18 * row, text, color=colour, fontsize=13, transform=axis.transAxes)
    axis.axis("off")
