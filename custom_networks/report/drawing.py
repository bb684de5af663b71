"""Draw outlines, lines and text on greyscale pictures; the colours of liver and lesions."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.labelmap.labels import Floats

Colour = tuple[int, int, int]

LIVER_COLOUR: Colour = (79, 209, 197)
LESION_COLOURS: tuple[Colour, ...] = (
    (246, 70, 93),
    (255, 176, 32),
    (76, 154, 255),
    (190, 120, 255),
    (255, 122, 198),
    (154, 211, 59),
    (255, 138, 92),
    (255, 225, 77),
)
LINE_COLOUR: Colour = (255, 255, 255)
LINE_PIXELS = 18


def lesion_colour(number: int) -> Colour:
    """Return the colour of a lesion in pictures and on the page; the colours repeat after every eighth lesion."""
    return LESION_COLOURS[(number - 1) % len(LESION_COLOURS)]


class Sheet:
    """A picture being drawn.

    Args:
        grey: (rows, columns) grey values to draw on.
        at: voxel positions of the columns and of the rows in the plane shown, evenly spaced.
    """

    def __init__(self, grey: npt.NDArray[np.uint8], at: tuple[Floats, Floats]) -> None:
        self._rgb, self._at = np.repeat(grey[..., None], 3, axis=2), at
        self._later: list[Callable[[Any], None]] = []  # drawn last, by PIL

    def rgb(self) -> npt.NDArray[np.uint8]:
        """Return the finished picture, (rows, columns, 3)."""
        from PIL import Image, ImageDraw

        image = Image.fromarray(self._rgb)
        pen = ImageDraw.Draw(image)
        for draw in self._later:
            draw(pen)
        return np.asarray(image)

    def outline(self, mask: npt.NDArray[np.bool_], colour: Colour) -> None:
        """Draw the outline of a mask (rows, columns): the pixels that have a neighbour (of four) outside the mask."""
        inner = mask.copy()
        for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:-1], np.s_[1:])):
            inner[here] &= mask[there]
            inner[:, here] &= mask[:, there]
        self._rgb[mask & ~inner] = colour

    def line(self, ends: Floats) -> None:
        """Draw a line between the two points in the rows of `ends` (2, 2), in voxels of the plane."""
        pixels = [tuple(self._pixel(end)) for end in ends]
        self._later.append(lambda pen: pen.line(pixels, fill=LINE_COLOUR, width=1))

    def number(self, number: int, mask: npt.NDArray[np.bool_]) -> None:
        """Write a lesion's number beside its mask (rows, columns), unless the mask is empty."""
        rows, columns = np.nonzero(mask)
        if rows.size:
            self._text((float(columns.max()) + 3, float(rows.mean()) - 7), str(number), lesion_colour(number), 13)

    def write(self, text: str, colour: Colour) -> None:
        """Write text in the upper left corner, in a size that suits the picture."""
        self._text((5, 3), text, colour, min(22, max(13, len(self._rgb) // 13)))

    def mark_left(self, letter: str) -> None:
        """Write an orientation letter at the left edge."""
        self._text((5, len(self._rgb) / 2 - 9), letter, LINE_COLOUR, 15)

    def _text(self, at: tuple[float, float], text: str, colour: Colour, size: int) -> None:
        style: Any = {"fill": colour, "font": _font(size), "stroke_width": 1, "stroke_fill": (0, 0, 0)}
        self._later.append(lambda pen: pen.text(at, text, **style))

    def _pixel(self, index: Floats) -> list[float]:
        return [float((value - at[0]) / (at[1] - at[0])) for value, at in zip(index, self._at, strict=True)]


def captioned(rgb: npt.NDArray[np.uint8], lines: Sequence[str]) -> npt.NDArray[np.uint8]:
    """Return a picture (rows, columns, 3) with lines of text in a black strip added below."""
    from PIL import Image, ImageDraw

    rows, columns, _ = rgb.shape
    image = Image.new("RGB", (columns, rows + LINE_PIXELS * len(lines) + 4))
    image.paste(Image.fromarray(rgb))
    draw = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        draw.text((5, rows + 2 + LINE_PIXELS * place), line, fill=LINE_COLOUR, font=_font(13))
    return np.asarray(image)


@cache
def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
