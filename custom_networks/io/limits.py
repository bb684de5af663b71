"""How large an input may be before anything of that size is allocated, and which sizes a scan of a body can have.

`LIMITS` is the one table of them. `--allow-large` lifts the limits on memory alone: no body is 30 m long.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
        slack = 1e-4  # sizes in mm come from float32 numbers
        return self.least * (1 - slack) <= value <= self.most * (1 + slack)

    @property
    def range(self) -> str:
        """The accepted range as text, such as `100 to 1,000 mm`."""
        return f"{self.least:,g} to {self.most:,g} {self.unit}".rstrip()


VOXELS = Limit("voxels", 1, 640e6, "", "512 x 512 x 2,000 voxels pass, and 1,024 x 1,024 x 600", memory=True)
DECODED = Limit("bytes when unpacked", 0, 5.2e9, "bytes", "as many voxels of 8 bytes", memory=True)
# A CT compresses 2 to 10 times and an image without noise about 100 times; zip and JPEG 2000 can reach 1,000,000 times.
RATIO = Limit("times its stored size", 0, 250, "", "no CT compresses more", memory=True)
RATIO_FREE_BYTES = 256 << 20
ACROSS = Limit("across the patient", 100, 1000, "mm", "no body is smaller or larger")
ALONG = Limit("along the patient's z", 15, 2500, "mm", "a liver does not fit into less, and nobody is taller")
PIXEL = Limit("pixel size", 0.05, 10, "mm", "finer and coarser than any CT scanner's, with a margin")
SLICE = Limit("slice distance", 0.15, 50, "mm", "finer and coarser than any CT scanner's, with a margin")
LIMITS = (VOXELS, DECODED, RATIO, ACROSS, ALONG, PIXEL, SLICE)

ALLOW = "if it is right and memory suffices, allow it with --allow-large"
WRONG_SIZE = "correct the voxel size in its header, or export the image again"


def check_voxels(shape: tuple[int, ...], source: Path, allow_large: bool = False) -> None:
    """InputError where an array of this shape has too many voxels; call it before anything of that size is made."""
    voxels = int(np.prod([int(size) for size in shape], dtype=object))
    if voxels not in VOXELS and not allow_large:
        raise InputError(
            f"{source} has {' x '.join(map(str, shape))} voxels ({voxels:.3g}), at most {VOXELS.most:,.0f} are read: "
            f"export the abdomen alone, or {ALLOW}."
        )


def check_decoded(decoded: int, stored: int, source: Path, allow_large: bool = False) -> None:
    """InputError where compressed data of `stored` bytes would unpack to too many bytes, or to too many times its size.

    Call it with what a header declares before unpacking, and with what was found so far while unpacking.
    """
    if allow_large:
        return
    if decoded not in DECODED:
        raise InputError(
            f"{source} unpacks to {decoded / 1e9:.3g} GB, at most {DECODED.most / 1e9:g} GB are read: {ALLOW}."
        )
    if decoded > RATIO_FREE_BYTES and decoded / max(stored, 1) not in RATIO:
        raise InputError(
            f"{source} unpacks to {decoded / 1e9:.3g} GB, {decoded / max(stored, 1):,.0f} times its stored size, no CT "
            f"compresses more than {RATIO.most:g} times: {ALLOW}."
        )


def check_extent(shape: tuple[int, ...], affine: npt.NDArray[np.float64], source: Path) -> None:
    """InputError where a grid (i, j, k) with its finite (4, 4) affine to mm has a size that no scan of a body has."""
    spacing, axis = spacing_of(affine), slice_axis_of(affine)
    for i, (size, step) in enumerate(zip(shape, spacing, strict=True)):
        distance, extent = (SLICE, ALONG) if i == axis else (PIXEL, ACROSS)
        if step not in distance:
            raise InputError(
                f"{source} has a {distance.what} of {step:g} mm, {distance.range} are expected: {WRONG_SIZE}."
            )
        if size * step not in extent:
            raise InputError(
                f"{source} measures {size * step:g} mm {extent.what} ({size} voxels of {step:g} mm), a scan of a body "
                f"measures {extent.range}: {WRONG_SIZE}."
            )
