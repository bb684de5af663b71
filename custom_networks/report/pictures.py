"""Pictures of a case: the liver in three planes, and each lesion in the slice of its diameters.

Overlay, page, key images and PDF show the same ones. The patient's right is on the left, front and head are up.
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
ON_THE_LEFT = {2: "R", 1: "R", 0: "P"}  # the patient's right, or back
MARGIN_MM = 12.0  # around the 10 mm that are kept around the liver
ACROSS_MM = (70.0, 2.2)  # a lesion's picture is this wide at least, or so many times as wide as the lesion
MOST_LESIONS = 120
PLANE_PIXELS = 420  # of the longer side
MOST_KEY_IMAGES, KEY_PIXELS = 20, 480
TILE_PIXELS = ((12, 240), (40, 168), (MOST_LESIONS, 112))  # up to so many lesions: pixels of each picture's side


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture with its outlines drawn in.

    Attributes:
        rgb: (rows, columns, 3).
        title: what it shows, in a few words.
        orientation: where the patient's parts lie to the right and below, as DICOM's PatientOrientation has it.
        lesion: id of the lesion that it is of, None for the planes.
    """

    rgb: Rgb
    title: str
    orientation: tuple[str, str]
    lesion: int | None = None


class CasePictures:
    """The pictures of a case, each drawn when it is first asked for.

    Args:
        ct: the CT.
        region: label map of the liver and what lies around it.
        measured: its lesions.

    Attributes:
        made_by: who made the mask, in a word or two.
    """

    def __init__(self, ct: Volume, region: OrganRegion, measured: Measurements) -> None:
        self._case, self._lesions = oriented(ct, region, measured), measured.lesions
        self.made_by = "a person's mask" if measured.by_person else "automatic"

    @property
    def left_out(self) -> int:
        """How many of the smallest lesions have no picture."""
        return max(0, len(self._lesions) - MOST_LESIONS)

    @cached_property
    def planes(self) -> tuple[Picture, ...]:
        """Axial, coronal and sagittal, through most tumor, else through most liver, else through the middle."""
        fullest = _fullest(self._case)
        return tuple(_plane_picture(self._case, axis, fullest[axis]) for axis in PLANES)

    @cached_property
    def lesions(self) -> tuple[Picture, ...]:
        """A square picture of each lesion, the largest first, all of one size."""
        shown = len(self._lesions[:MOST_LESIONS])
        return self.largest(shown, next(side for most, side in TILE_PIXELS if shown <= most))

    def largest(self, most: int, pixels: int) -> tuple[Picture, ...]:
        """Pictures of so many pixels a side, of the largest lesions, at most so many."""
        return tuple(_lesion_picture(self._case, lesion, pixels) for lesion in self._lesions[:most])

    def numbers_in(self, axis: int, index: int) -> list[tuple[int, Floats]]:
        """Each lesion in a plane of the image with its middle there, two indices with fractions, in the axes' order."""
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
    """Number, diameters and slice of a lesion."""
    return f"Lesion {number}: {longest_mm:.0f} x {perpendicular_mm:.0f} mm, slice {slice_number}"


def key_pictures(pictures: CasePictures, patient: Mapping[str, str]) -> tuple[Picture, ...]:
    """The pictures for an archive: larger, and captioned with what each shows and, if given, the patient."""
    drawn = *pictures.planes, *pictures.largest(MOST_KEY_IMAGES, KEY_PIXELS)
    whose = [", ".join(patient.values())] if patient else []
    made = f"Research use only, {pictures.made_by}"
    return tuple(replace(p, rgb=captioned(p.rgb, [p.title, *whose, made])) for p in drawn)


def in_rows(pictures: Sequence[Picture], width: int) -> Rgb:
    """Square pictures of one size in as many rows as a sheet of that width in pixels needs."""
    side = pictures[0].rgb.shape[0]
    columns = max(1, width // side)
    rows = -(-len(pictures) // columns)
    sheet = np.zeros((rows * side, columns * side, 3), np.uint8)
    for place, picture in enumerate(pictures):
        top, left = place // columns * side, place % columns * side
        sheet[top : top + side, left : left + side] = picture.rgb
    return sheet


def _plane_picture(case: OrientedCase, axis: int, index: int) -> Picture:
    """The liver in one plane."""
    across, up = (a for a in range(3) if a != axis)
    sides = [case.box[a] if case.labels.size else slice(0, case.hu.shape[a]) for a in (across, up)]
    margin = MARGIN_MM if case.labels.size else 0.0
    millimetres = [(s.stop - s.start) * case.spacing[a] + 2 * margin for s, a in zip(sides, (across, up), strict=True)]
    middle = [(s.start + s.stop - 1) / 2 for s in sides]
    sheet = _sheet(case, axis, index, middle, millimetres, max(millimetres) / PLANE_PIXELS)
    return Picture(sheet.rgb(), f"{PLANES[axis]} {index + 1}/{case.hu.shape[axis]}", _orientation(axis))


def _lesion_picture(case: OrientedCase, lesion: MeasuredLesion, pixels: int) -> Picture:
    """A lesion in the slice in which it is longest, with both diameters."""
    axis = case.slice_axis
    seen = [a for a in range(3) if a != axis]
    ends = np.array([case.index_of(end) for end in (*lesion.longest_ends, *lesion.perpendicular_ends)])
    index = int(np.rint(ends[:, axis].mean()))
    side = max(ACROSS_MM[0], ACROSS_MM[1] * lesion.longest_mm)
    sheet = _sheet(case, axis, index, ends[:, seen].mean(axis=0).tolist(), [side, side], side / pixels, lesion.id)
    sheet.line(ends[:2, seen])
    sheet.line(ends[2:, seen])
    title = lesion_title(lesion.id, lesion.longest_mm, lesion.perpendicular_mm, lesion.slice_number)
    sheet.write(f"{lesion.id}   {lesion.longest_mm:.0f} mm", lesion_colour(lesion.id))
    return Picture(sheet.rgb(), title, _orientation(axis), lesion.id)


def _fullest(case: OrientedCase) -> list[int]:
    """Index in the image of the plane across each axis with most tumor, else most liver; without a liver the middle."""
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
    """One plane of a case with outlines and numbers, around a point (two indices), `millimetres` wide and high."""
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
    """Which part of the patient lies to the right of a picture, and which below (DICOM PS3.3 C.7.6.1.1.1)."""
    return {2: ("L", "P"), 1: ("L", "F"), 0: ("A", "F")}[axis]
