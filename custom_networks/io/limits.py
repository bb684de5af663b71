"""How large an input may be before anything of that size is allocated, and which sizes a scan of a body can have.

`LIMITS` is the one table of them. `--allow-large` lifts the limits on memory alone: no body is 30 m long.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from custom_networks.errors import InputError
from custom_networks.labelmap.grid import slice_axis_of, spacing_of


@dataclass(frozen=True)
class Limit:
    """The least and the most that are accepted of one quantity.

    Attributes:
        what: the quantity, as a message and the documentation name it.
        least: the smallest accepted value.
        most: the largest accepted value.
        unit: of both.
        why: where the limit comes from, as a clause.
        memory: whether `--allow-large` lifts it.
    """

    what: str
    least: float
    most: float
    unit: str
    why: str
    memory: bool = False

    def __contains__(self, value: float) -> bool:
        slack = 1e-4 * abs(value)  # lengths come from float32 numbers
        return self.least - slack <= value <= self.most + slack

    @property
    def range(self) -> str:
        """The accepted range as text, such as `100 to 1,000 mm`."""
        return f"{self.least:,.12g} to {self.most:,.12g} {self.unit}".rstrip()


VOXELS = Limit("voxels", 1, 640e6, "", "512 x 512 x 2,000 voxels pass, and 1,024 x 1,024 x 600", memory=True)
AXIS = Limit("voxels along an axis", 1, 4096, "", "no CT has a larger matrix", memory=True)
DECODED = Limit("unpacked size", 0, 5.2e9, "bytes", "as many voxels of 8 bytes", memory=True)
# A CT compresses 2 to 10 times and an image without noise some 100 times; zip and JPEG 2000 can reach 1,000,000 times.
RATIO = Limit(
    "compression ratio", 0, 250, "", "no CT of more than 2.2 GB compresses more; smaller files do no harm", memory=True
)
RATIO_FREE_BYTES = 2_200_000_000  # 512 x 512 x 2,000 voxels of 4 bytes: below that a bomb cannot do harm
ACROSS = Limit("across the patient", 100, 1000, "mm", "no body is smaller or larger")
ALONG = Limit("along the patient's z", 15, 2500, "mm", "no liver is seen in less, and nobody is taller")
PIXEL = Limit("pixel size", 0.05, 10, "mm", "finer and coarser than any CT scanner's, with a margin")
SLICE = Limit("slice distance", 0.15, 50, "mm", "finer and coarser than any CT scanner's, with a margin")
ORIGIN = Limit("origin", -1e6, 1e6, "mm", "farther away, single precision cannot tell voxels apart")
LIMITS = (VOXELS, AXIS, DECODED, RATIO, ACROSS, ALONG, PIXEL, SLICE, ORIGIN)

ALLOW = "where it is right and memory suffices, allow it with --allow-large (allow_large in Python and in a config)"
CORRECT = "correct the geometry in its header, or export the image again"


def check_voxels(shape: tuple[int, ...], source: Path, allow_large: bool = False) -> None:
    """InputError where an array of this shape has too many voxels; call it before anything of that size is made."""
    if not allow_large and (prod(map(int, shape)) > VOXELS.most or max(shape) > AXIS.most):
        raise InputError(
            f"{source} has {' x '.join(map(str, shape))} voxels, {VOXELS.most / 1e6:.0f} million at most and "
            f"{AXIS.most:,g} along an axis are read: export the abdomen alone; {ALLOW}."
        )


def check_decoded(
    decoded: int, stored: int, source: Path, allow_large: bool = False, free: int = RATIO_FREE_BYTES
) -> None:
    """InputError where `stored` bytes of compressed data would unpack to too many bytes, or to too many times as many.

    The ratio matters above `free` bytes. Call it with what a header declares before anything is unpacked, and with what
    came out so far where no header tells.
    """
    if allow_large:
        return
    ratio, gigabytes = decoded / max(stored, 1), f"{decoded / 1e9:.3g} GB"
    if decoded > DECODED.most:
        raise InputError(f"{source} unpacks to {gigabytes}, {DECODED.most / 1e9:g} GB at most are read: {ALLOW}.")
    if decoded > free and ratio > RATIO.most:
        raise InputError(
            f"{source} unpacks to {gigabytes}, {ratio:,.0f} times its stored size, but no CT of that size compresses "
            f"more than {RATIO.most:g} times: {ALLOW}."
        )


def check_extent(shape: tuple[int, ...], affine: np.ndarray, source: Path) -> None:
    """InputError where a grid (i, j, k) with its finite (4, 4) affine to mm lies or measures as no scan of a body.

    Across the patient, its longer side counts: a scan can be cropped narrowly.
    """
    axis, steps = slice_axis_of(affine), spacing_of(affine)
    for i, step in enumerate(steps):
        distance = SLICE if i == axis else PIXEL
        if step not in distance:
            raise InputError(f"{source} has a {distance.what} of {step:g} mm, not of {distance.range}: {CORRECT}.")
    across = max((i for i in range(3) if i != axis), key=lambda i: shape[i] * steps[i])
    for i, extent in ((across, ACROSS), (axis, ALONG)):
        if shape[i] * steps[i] not in extent:
            raise InputError(
                f"{source} measures {shape[i] * steps[i]:g} mm {extent.what} ({shape[i]} voxels of {steps[i]:g} mm), "
                f"a scan of a body measures {extent.range}: {CORRECT}."
            )
    farthest = max(affine[:3, 3], key=abs)
    if farthest not in ORIGIN:
        raise InputError(f"{source} has its origin at {farthest:g} mm, not at {ORIGIN.range}: {CORRECT}.")
