"""Pictures of a case: the liver in three planes, and each lesion in the slice of its longest diameter.

Overlay, page, key images and PDF share them. The patient's right is on the left of axial and coronal pictures, and the
back on the left of sagittal ones. Anterior is at the top of axial pictures, and the head at the top of the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from custom_networks.io.volume import Volume
from custom_networks.labelmap.labels import Floats
from custom_networks.report.drawing import LIVER_COLOUR, Sheet, captioned, lesion_colour
from custom_networks.report.lesion import MeasuredLesion
from custom_networks.report.measurements import Measurements
from custom_networks.report.organ_region import OrganRegion
from custom_networks.report.oriented import OrientedCase, oriented
from custom_networks.report.sampling import PlaneReader

Rgb = npt.NDArray[np.uint8]

WINDOW_HU = (-160.0, 240.0)
AIR_HU = -1000.0
PLANES = {2: "axial", 1: "coronal", 0: "sagittal"}
ON_THE_LEFT = {2: "R", 1: "R", 0: "P"}  # right or posterior
MARGIN_MM = 12.0  # in addition to the 10 mm around the liver that its region includes
LEAST_WIDTH_MM, WIDTH_RATIO = 70.0, 2.2  # width of a lesion's picture: at least, and relative to its longest diameter
MOST_LESIONS = 120
PLANE_PIXELS = 420  # of the longer side
MOST_KEY_IMAGES, KEY_PIXELS = 20, 480
TILE_PIXELS = ((12, 240), (40, 168), (MOST_LESIONS, 112))  # (most lesions, side of each picture in pixels)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with outlines.

    Attributes:
        rgb: (rows, columns, 3) pixels.
        title: short description.
        orientation: anatomical directions to the right and down, as in DICOM's PatientOrientation.
        lesion: id of the lesion shown, or None for a plane of the liver.
    """

    rgb: Rgb
    title: str
    orientation: tuple[str, str]
    lesion: int | None = None


class CasePictures:
    """The pictures of a case; `planes` and `lesions` are drawn on first use and then kept.

    Args:
        ct: the CT.
        region: the liver and its surroundings.
        measured: the measurements of the case.

    Attributes:
        made_by: who made the mask: "automatic" or "a person's mask".
    """

    def __init__(self, ct: Volume, region: OrganRegion, measured: Measurements) -> None:
        self._case, self._lesions = oriented(ct, region, measured), measured.lesions
        self.made_by = "a person's mask" if measured.by_person else "automatic"

    @property
    def left_out(self) -> int:
        """Number of lesions that have no picture in `lesions`, the smallest ones."""
        return max(0, len(self._lesions) - MOST_LESIONS)

    @cached_property
    def planes(self) -> tuple[Picture, ...]:
        """An axial, a coronal and a sagittal picture, each in the plane with the largest area of lesions or liver."""
        fullest = _fullest(self._case)
        return tuple(_plane_picture(self._case, axis, fullest[axis]) for axis in PLANES)

    @cached_property
    def lesions(self) -> tuple[Picture, ...]:
        """Square pictures of the (at most `MOST_LESIONS`) largest lesions, all of one size, largest lesion first."""
        shown = len(self._lesions[:MOST_LESIONS])
        return self.largest(shown, next(side for most, side in TILE_PIXELS if shown <= most))

    def largest(self, most: int, pixels: int) -> tuple[Picture, ...]:
        """Return pictures of the (at most `most`) largest lesions, each of `pixels` x `pixels`."""
        return tuple(_lesion_picture(self._case, lesion, pixels) for lesion in self._lesions[:most])

    def numbers_in(self, axis: int, index: int) -> list[tuple[int, Floats]]:
        """Return the number and the centre of each lesion in plane `index` perpendicular to `axis` of the image.

        A centre has two fractional voxel indices, in the order of the plane's axes.
        """
        case, part = self._case, index - self._case.box[axis].start
        if not 0 <= part < case.numbers.shape[axis]:
            return []
        numbers = np.take(case.numbers, part, axis=axis)
        start = np.array([side.start for a, side in enumerate(case.box) if a != axis])
        return [
            (number, np.argwhere(numbers == number).mean(axis=0) + start)
            for number in np.unique(numbers[numbers > 0]).tolist()
        ]


def lesion_title(number: int, longest_mm: float, perpendicular_mm: float, slice_number: int) -> str:
    """Return a title with the number, diameters and slice of a lesion."""
    return f"Lesion {number}: {longest_mm:.0f} x {perpendicular_mm:.0f} mm, slice {slice_number}"


def key_pictures(pictures: CasePictures, patient: Mapping[str, str]) -> tuple[Picture, ...]:
    """Return large pictures for an archive: the planes and the (at most `MOST_KEY_IMAGES`) largest lesions.

    Their captions give the title, the text about the patient if there is any, and who made the mask.
    """
    drawn = *pictures.planes, *pictures.largest(MOST_KEY_IMAGES, KEY_PIXELS)
    whose = [", ".join(patient.values())] if patient else []
    made = f"Research use only, {pictures.made_by}"
    return tuple(replace(p, rgb=captioned(p.rgb, [p.title, *whose, made])) for p in drawn)


def in_rows(pictures: Sequence[Picture], width: int) -> Rgb:
    """Tile one or more square pictures of one size into an image at most `width` pixels wide.

    If `width` is less than a picture, the image is one picture wide.
    """
    side = pictures[0].rgb.shape[0]
    columns = max(1, width // side)
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * side, columns * side, 3), np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * side, place % columns * side
        sheet[top : top + side, left : left + side] = picture.rgb
    return sheet


def _plane_picture(case: OrientedCase, axis: int, index: int) -> Picture:
    """Draw the liver with a margin or, without a liver, the whole image in plane `index` perpendicular to `axis`."""
    across, up = (a for a in range(3) if a != axis)
    sides = [case.box[a] if case.labels.size else slice(0, case.hu.shape[a]) for a in (across, up)]
    margin = MARGIN_MM if case.labels.size else 0.0
    millimetres = [(s.stop - s.start) * case.spacing[a] + 2 * margin for s, a in zip(sides, (across, up), strict=True)]
    middle = [(s.start + s.stop - 1) / 2 for s in sides]
    sheet = _sheet(case, axis, index, middle, millimetres, max(millimetres) / PLANE_PIXELS)
    return Picture(sheet.rgb(), f"{PLANES[axis]} {index + 1}/{case.hu.shape[axis]}", _orientation(axis))


def _lesion_picture(case: OrientedCase, lesion: MeasuredLesion, pixels: int) -> Picture:
    """Draw a lesion in the slice of its longest diameter, with both diameters, in `pixels` x `pixels`."""
    axis = case.slice_axis
    seen = [a for a in range(3) if a != axis]
    ends = np.array([case.index_of(end) for end in (*lesion.longest_ends, *lesion.perpendicular_ends)])
    index = int(np.rint(ends[:, axis].mean()))
    side = max(LEAST_WIDTH_MM, WIDTH_RATIO * lesion.longest_mm)
    sheet = _sheet(case, axis, index, ends[:, seen].mean(axis=0).tolist(), [side, side], side / pixels, lesion.id)
    sheet.line(ends[:2, seen])
    sheet.line(ends[2:, seen])
    title = lesion_title(lesion.id, lesion.longest_mm, lesion.perpendicular_mm, lesion.slice_number)
    sheet.write(f"{lesion.id}   {lesion.longest_mm:.0f} mm", lesion_colour(lesion.id))
    return Picture(sheet.rgb(), title, _orientation(axis), lesion.id)


def _fullest(case: OrientedCase) -> list[int]:
    """Return for each axis the index of the plane with the largest area of lesions.

    Without lesions, the area of the liver counts; without a liver, the middle planes are returned.
    """
    if not case.labels.size:
        return [size // 2 for size in case.hu.shape]
    shown = case.numbers > 0 if case.numbers.any() else case.labels > 0
    along_x = np.add.reduce(shown, axis=0, dtype=np.int32)
    counts = np.array([np.count_nonzero(plane) for plane in shown]), along_x.sum(axis=1), along_x.sum(axis=0)
    return [side.start + int(count.argmax()) for side, count in zip(case.box, counts, strict=True)]


def _sheet(
    case: OrientedCase,
    axis: int,
    index: int,
    middle: Sequence[float],
    millimetres: Sequence[float],
    pixel_mm: float,
    own: int | None = None,
) -> Sheet:
    """Draw a plane of a case with outlines and lesion numbers.

    Args:
        case: the case.
        axis: axis perpendicular to the plane.
        index: index of the plane in the image.
        middle: centre of the picture, two voxel indices.
        millimetres: width and height of the picture.
        pixel_mm: size of a pixel.
        own: id of the lesion that the picture is about, whose number is not written; None to write all numbers.
    """
    right, up = (a for a in range(3) if a != axis)
    size = [max(2, round(mm / pixel_mm)) for mm in millimetres]
    steps = pixel_mm / case.spacing[right] * (1 if axis == 0 else -1), -pixel_mm / case.spacing[up]
    at = [m + (np.arange(n) - (n - 1) / 2) * step for m, n, step in zip(middle, size, steps, strict=True)]
    whole: list[int | slice] = [slice(None)] * 3
    whole[axis] = index
    plane = case.hu[tuple(whole)]
    seen = PlaneReader(plane.shape, at[0], at[1])
    hu = seen.read(seen.part(plane) - AIR_HU).T + AIR_HU
    sheet = Sheet(_grey(hu), (at[0], at[1]))
    sheet.mark_left(ON_THE_LEFT[axis])
    part = index - case.box[axis].start
    if not 0 <= part < case.labels.shape[axis]:
        return sheet
    whole[axis] = part
    labels, numbers = case.labels[tuple(whole)], case.numbers[tuple(whole)]
    inside = (a - case.box[b].start for a, b in zip(at, (right, up), strict=True))
    seen = PlaneReader(labels.shape, *inside)
    organ, lesions = seen.part(labels), seen.part(numbers)
    sheet.outline(seen.read(organ > 0).T > 0.5, LIVER_COLOUR)
    for number in np.unique(lesions[lesions > 0]).tolist():
        lesion = seen.read(lesions == number).T > 0.5
        sheet.outline(lesion, lesion_colour(number))
        if number != own:
            sheet.number(number, lesion)
    return sheet


def _grey(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    low, high = WINDOW_HU
    return np.asarray(np.clip((hu - low) * (255 / (high - low)), 0, 255).astype(np.uint8))


def _orientation(axis: int) -> tuple[str, str]:
    """Return the anatomical directions to the right and down, as in PatientOrientation (PS3.3 C.7.6.1.1.1)."""
    return {2: ("L", "P"), 1: ("L", "F"), 0: ("A", "F")}[axis]
