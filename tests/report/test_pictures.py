"""Pictures show each lesion at its position, with the patient's right on the left, for any order of voxels."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from page_case import TWO, case_of, page_case
from shapes import CENTRE, ORIENTATIONS, Ellipsoid

from custom_networks.report.drawing import LIVER_COLOUR, lesion_colour
from custom_networks.report.pictures import Picture, in_rows, key_pictures

Rgb = npt.NDArray[np.uint8]
COARSE = (3.0, 3.0, 5.0)


def pixels(picture: Picture, colour: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """Rows and columns (n, 2) of the pixels with a colour."""
    return np.argwhere((picture.rgb == colour).all(axis=2))


def middle(picture: Picture, colour: tuple[int, int, int]) -> npt.NDArray[np.float64]:
    """Row and column of the middle of an outline, as fractions of the picture."""
    found = pixels(picture, colour)
    return np.asarray((found.min(axis=0) + found.max(axis=0)) / 2 / picture.rgb.shape[:2])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_lesion_is_in_the_middle_of_its_picture_at_the_right_size(orientation: str) -> None:
    ball = Ellipsoid((8, 5, -3), (20, 20, 20))
    (picture,) = page_case([ball], orientation=orientation).pictures.lesions
    found = pixels(picture, lesion_colour(1))
    found = found[found[:, 0] > 25]  # below the number
    edge = np.ptp(found, axis=0) + 1
    across_mm = max(70.0, 2.2 * 41)
    assert edge / picture.rgb.shape[0] * across_mm == pytest.approx([40, 40], abs=3)
    assert picture.lesion == 1 and picture.title.startswith("Lesion 1: 41 x 4")


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_patients_right_is_on_the_left_and_front_and_head_are_up(orientation: str) -> None:
    right_front_head = Ellipsoid((15, 15, 15), (8, 8, 8))
    axial, coronal, sagittal = page_case([right_front_head], orientation=orientation).pictures.planes
    for picture, across in ((axial, "left"), (coronal, "left"), (sagittal, "right")):
        (row, column), (liver_row, liver_column) = (middle(picture, c) for c in (lesion_colour(1), LIVER_COLOUR))
        assert row < liver_row - 0.05
        assert (column < liver_column - 0.05) if across == "left" else (column > liver_column + 0.05)
    assert [p.title.split()[0] for p in (axial, coronal, sagittal)] == ["axial", "coronal", "sagittal"]
    assert [p.orientation for p in (axial, coronal, sagittal)] == [("L", "P"), ("L", "F"), ("A", "F")]


def test_every_order_of_voxels_gives_the_same_picture() -> None:
    case = page_case(TWO, (2.0, 2.0, 4.0))
    turned = np.flip(case.ct.array.transpose(2, 0, 1), 1)
    labels = np.flip(case.region.whole_labels().transpose(2, 0, 1), 1)
    affine = case.ct.affine[:, [2, 0, 1, 3]].copy()
    affine[:, 3] += affine[:, 1] * (turned.shape[1] - 1)
    affine[:, 1] *= -1
    other = case_of(labels, turned, affine).pictures
    for one, same in zip((*case.pictures.planes, *case.pictures.lesions), (*other.planes, *other.lesions), strict=True):
        assert np.mean(one.rgb != same.rgb) < 0.005 and one.title == same.title


def test_neighbouring_lesions_differ_in_colour_and_pictures_are_ordered_by_size() -> None:
    pictures = page_case([Ellipsoid((-12, 0, 0), (5, 5, 5)), Ellipsoid((6, 0, 0), (9, 9, 9))]).pictures.lesions
    assert [picture.lesion for picture in pictures] == [1, 2]
    assert len(pixels(pictures[0], lesion_colour(1))) > 20 < len(pixels(pictures[0], lesion_colour(2)))


@pytest.mark.parametrize("number, side", [(12, 240), (13, 168), (41, 112)])
def test_many_lesions_get_smaller_pictures(number: int, side: int) -> None:
    pictures = page_case(TWO[:1], COARSE).times(number).pictures
    assert [p.rgb.shape for p in pictures.lesions] == [(side, side, 3)] * number and pictures.left_out == 0


def test_the_smallest_lesions_beyond_the_limit_have_no_picture_and_are_counted() -> None:
    pictures = page_case(TWO[:1], COARSE).times(123).pictures
    assert pictures.left_out == 3


def test_without_a_liver_the_middle_of_the_image_is_shown() -> None:
    empty = np.zeros((30, 20, 10), np.uint8)
    pictures = case_of(empty, np.zeros(empty.shape, np.int16), np.diag([2.0, 2.0, 5.0, 1.0])).pictures
    assert pictures.lesions == ()
    assert [p.title for p in pictures.planes] == ["axial 6/10", "coronal 11/20", "sagittal 16/30"]
    assert not any(len(pixels(p, LIVER_COLOUR)) for p in pictures.planes)
    assert pictures.numbers_in(2, 5) == []


def test_numbers_are_drawn_at_the_lesions_in_a_plane() -> None:
    case = page_case([Ellipsoid((8, 5, 0), (6, 6, 6))], (1.0, 1.0, 2.0), "RAS")
    index = int(np.rint((CENTRE[2] - case.ct.affine[2, 3]) / 2))
    ((number, place),) = case.pictures.numbers_in(2, index)
    mm = place * [1.0, 1.0] + case.ct.affine[:2, 3]
    assert number == 1 and mm == pytest.approx(CENTRE[:2] + [8, 5], abs=0.6)
    assert case.pictures.numbers_in(2, 0) == []


def test_a_sheet_has_the_pictures_in_rows() -> None:
    rgb: Any = [np.full((10, 10, 3), value, np.uint8) for value in (1, 2, 3)]
    sheet = in_rows([Picture(one, "", ("L", "P")) for one in rgb], 25)
    assert sheet.shape == (20, 20, 3)
    assert [int(sheet[y, x, 0]) for y, x in ((5, 5), (5, 15), (15, 5), (15, 15))] == [1, 2, 3, 0]


def test_key_images_have_a_caption_and_the_patient_only_on_request() -> None:
    pictures = page_case().pictures
    plain, named = key_pictures(pictures, {}), key_pictures(pictures, {"Patient": "Doe"})
    assert len(plain) == len(named) == 5
    assert plain[3].rgb.shape == (480 + 2 * 18 + 4, 480, 3)
    assert named[3].rgb.shape == (480 + 3 * 18 + 4, 480, 3)
    assert plain[3].rgb[485:].max() == 255
