"""Limits on memory, checked before it is allocated, and on the physical size of a scan.

`LIMITS` lists them all. `--allow-large` lifts only the limits on memory.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from custom_networks.errors import InputError
from custom_networks.labelmap.grid import slice_axis_of, spacing_of


@dataclass(frozen=True)
class Limit:
    """The accepted range of one quantity.

    Attributes:
        what: the quantity, as messages and the documentation name it.
        least: the smallest accepted value.
        most: the largest accepted value.
        unit: unit of both.
        why: the reason for the limit, as a clause.
        memory: whether `--allow-large` lifts it.
    """

    what: str
    least: float
    most: float
    unit: str
    why: str
    memory: bool = False

    def __contains__(self, value: float) -> bool:
        slack = 1e-4 * abs(value)  # lengths are often stored as float32
        return self.least - slack <= value <= self.most + slack

    @property
    def range(self) -> str:
        """The accepted range as text, such as `100 to 1,000 mm`."""
        return f"{self.least:,.12g} to {self.most:,.12g} {self.unit}".rstrip()


VOXELS = Limit("voxels", 1, 640e6, "", "512 x 512 x 2,000 voxels pass, and 1,024 x 1,024 x 600", memory=True)
AXIS = Limit("voxels along an axis", 1, 4096, "", "no CT has a larger matrix", memory=True)
DECODED = Limit("unpacked size", 0, 5.2e9, "bytes", "that number of voxels at 8 bytes each", memory=True)
# A CT compresses 2 to 10 times and an image without noise about 100 times; zip and JPEG 2000 can reach 1,000,000 times.
RATIO = Limit(
    "compression ratio", 0, 250, "", "no CT above 2.2 GB compresses better; smaller inputs are harmless", memory=True
)
RATIO_FREE_BYTES = 2_200_000_000  # 512 x 512 x 2,000 voxels of 4 bytes; a smaller decompression bomb is harmless
ACROSS = Limit("across the patient", 100, 1000, "mm", "no body is smaller or larger")
ALONG = Limit("along the patient's z", 15, 2500, "mm", "shorter scans cannot show a liver, and no patient is taller")
PIXEL = Limit("pixel size", 0.05, 10, "mm", "includes every CT scanner, with a margin")
SLICE = Limit("slice distance", 0.15, 50, "mm", "includes every CT scanner, with a margin")
ORIGIN = Limit("origin", -1e6, 1e6, "mm", "beyond that, single precision cannot tell voxels apart")
LIMITS = (VOXELS, AXIS, DECODED, RATIO, ACROSS, ALONG, PIXEL, SLICE, ORIGIN)

ALLOW = (
    "if the size is right and memory suffices, lift this limit with --allow-large of liverseg segment or measure "
    "(allow_large in Python and in a config)"
)
CORRECT = "correct its affine or header, or export the image again"


def check_voxels(shape: tuple[int, ...], source: Path, allow_large: bool = False) -> None:
    """Check the number of voxels of an array before it is allocated.

    Raises:
        InputError: there are too many voxels in total or along an axis, unless `allow_large` is true.
    """
    if not allow_large and (prod(map(int, shape)) > VOXELS.most or max(shape) > AXIS.most):
        raise InputError(
            f"{source} has {' x '.join(map(str, shape))} voxels, but at most {VOXELS.most / 1e6:.0f} million and "
            f"{AXIS.most:,g} along an axis are read: export only the abdomen; {ALLOW}."
        )


def check_decoded(
    decoded: int, stored: int, source: Path, allow_large: bool = False, free: int = RATIO_FREE_BYTES
) -> None:
    """Check the size of compressed data after unpacking, and their compression ratio.

    Args:
        decoded: bytes after unpacking, as declared by the header, or else unpacked so far.
        stored: compressed bytes.
        source: the file, for the message.
        allow_large: whether to accept any size.
        free: number of decoded bytes up to which any ratio is accepted.

    Raises:
        InputError: the unpacked data are too large, or more compressed than any CT of that size.
    """
    if allow_large:
        return
    ratio, gigabytes = decoded / max(stored, 1), f"{decoded / 1e9:.3g} GB"
    if decoded > DECODED.most:
        raise InputError(f"{source} unpacks to {gigabytes}, above the limit of {DECODED.most / 1e9:g} GB: {ALLOW}.")
    if decoded > free and ratio > RATIO.most:
        raise InputError(
            f"{source} unpacks to {gigabytes}, {ratio:,.0f} times its stored size, but no CT of that size compresses "
            f"more than {RATIO.most:g} times: {ALLOW}."
        )


def check_extent(shape: tuple[int, ...], affine: np.ndarray, source: Path) -> None:
    """Check that a grid with this shape (i, j, k) and finite (4, 4) affine in mm can be a scan of a body.

    Of the in-plane sides, only the longer one is checked, because a scan can be cropped narrowly.

    Raises:
        InputError: spacing, extent or origin is out of range.
    """
    axis, steps = slice_axis_of(affine), spacing_of(affine)
    for i, step in enumerate(steps):
        distance = SLICE if i == axis else PIXEL
        if step not in distance:
            raise InputError(
                f"{source} has a {distance.what} of {step:g} mm, but {distance.range} is accepted: {CORRECT}."
            )
    across = max((i for i in range(3) if i != axis), key=lambda i: shape[i] * steps[i])
    for i, extent in ((across, ACROSS), (axis, ALONG)):
        if shape[i] * steps[i] not in extent:
            raise InputError(
                f"{source} measures {shape[i] * steps[i]:g} mm {extent.what} ({shape[i]} voxels of {steps[i]:g} mm), "
                f"but a scan of a body measures {extent.range}: {CORRECT}."
            )
    farthest = max(affine[:3, 3], key=abs)
    if farthest not in ORIGIN:
        raise InputError(f"{source} has its origin at {farthest:g} mm, but {ORIGIN.range} is accepted: {CORRECT}.")
