"""Draw masses, cysts, fluid and filled bowel beside the liver, which training should not mistake for liver or tumor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from monai.config import KeysCollection
from scipy.ndimage import gaussian_filter

from custom_networks.labelmap.labels import Mask
from custom_networks.training.augmentation.intensity_sources import HU_WINDOW
from custom_networks.training.augmentation.lesion_synthesis import Array, lesion_offset, lesion_on_slices
from custom_networks.training.augmentation.synthetic_lesions import RandSyntheticLesionsd, has_room

_FAT, _BONE = -140.0, 200.0  # HU: bounds of the tissue that a mass may replace
_DARKEST = -20.0  # HU: lower limit of what is drawn, the texture of fluid included
_NOISE = 25.0  # HU: larger differences from the surroundings are edges, not noise


class RandDecoysd(RandSyntheticLesionsd):
    """Draw decoys, structures that look like lesions, beside the liver of a stack; their label stays background.

    A network that has seen few patients mistakes a large dark structure beside the liver (an adrenal or retroperitoneal
    mass, a renal cyst, a stomach full of water) for a tumor within the liver, and a colon full of contrast medium for
    liver. Decoys replace soft tissue and fat, mostly adjacent to the liver, or anywhere in a stack without liver;
    labelled voxels, bone and air do not change. Shape, texture, core and rim are as in `RandSyntheticLesionsd`, after
    which this transform goes; the noise of the scan is kept inside decoys.

    Args:
        keys, label_key, prob, spacing, window, halo: as for `RandSyntheticLesionsd`.
        decoys: smallest and largest number of decoys in a stack.
        radii: bounds of the size classes, mm.
        size_weights: one weight for each size class.
        brightness: range of a decoy's HU.
        more: other arguments of `RandSyntheticLesionsd`.

    Raises:
        UsageError: see `RandSyntheticLesionsd`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.1,
        spacing: float = 1.25,
        window: Sequence[float] = HU_WINDOW,
        halo: int = 0,
        decoys: Sequence[int] = (1, 2),
        radii: Sequence[float] = (6.0, 12.0, 24.0, 48.0),
        size_weights: Sequence[float] = (0.3, 0.4, 0.3),
        brightness: Sequence[float] = (-5.0, 90.0),
        **more: Any,
    ) -> None:
        more = {"bright_prob": 0.0} | more
        super().__init__(keys, label_key, prob, spacing, window, halo, decoys, radii, size_weights, brightness, **more)

    def _implant(self, image: Array, label: npt.NDArray[Any], heights: Array, thickness: float) -> bool:
        """Draw one decoy into the image, in place, if there is room; return whether it was drawn."""
        lesion = self.draw_lesion()  # its contrast, relative to water, is its HU
        low, high = self.window
        hu = image * (high - low) + low
        tissue = (label == 0) & (hu > _FAT) & (hu < _BONE)
        voxel = self._beside_the_liver(tissue, label > 0, heights, lesion.radius)
        if voxel is None:
            return False
        box, axes = self._box(voxel, image.shape, heights, lesion)
        depth, share = lesion_on_slices(self.R, axes, lesion, thickness)
        surroundings = gaussian_filter(hu[box], (1.0, 1.0, 0.0))
        noise = np.clip(hu[box] - surroundings, -_NOISE, _NOISE)
        drawn = lesion_offset(self.R, axes, depth, share, lesion, min(_DARKEST, self.contrast[0]))
        change = drawn - share * (hu[box] - noise)
        image[box] += change * tissue[box] / (high - low)
        np.clip(image[box], 0, 1, out=image[box])
        return True

    def _beside_the_liver(
        self, tissue: Mask, organ: Mask, heights: Array, radius: float
    ) -> tuple[int, int, int] | None:
        """A voxel surrounded by tissue, about a radius away from the organ, or anywhere if there is no organ.

        The result is None if no such voxel was found.
        """
        first, last = self._slices(heights, radius)
        starts = np.flatnonzero(organ[..., first:last])
        if not len(starts):
            starts = np.flatnonzero(tissue[..., first:last])
        for start in self._sample(starts):
            i, j, k = (int(n) for n in np.unravel_index(start, tissue[..., first:last].shape))
            here = tissue[..., first + k]
            i, j = self._inwards(organ[..., first + k], here, i, j, self.R.uniform(0.3, 1.3) * radius / self.spacing)
            if here[i, j] and has_room(here, i, j, round(0.5 * radius / self.spacing)):
                return i, j, first + k
        return None

    def _inwards(self, organ: Mask, tissue: Mask, i: int, j: int, pixels: float) -> tuple[int, int]:
        """The pixel reached from (i, j) by going roughly towards the body's middle, up to `pixels` past the organ."""
        middle = np.argwhere(tissue).mean(axis=0) if tissue.any() else np.array([i, j])
        angle = np.arctan2(middle[1] - j, middle[0] - i) + self.R.normal(0, np.pi / 3)
        steps = np.arange(sum(organ.shape))
        rows, columns = (np.rint(n + steps * f(angle)).astype(int) for n, f in ((i, np.cos), (j, np.sin)))
        inside = (rows >= 0) & (rows < organ.shape[0]) & (columns >= 0) & (columns < organ.shape[1])
        last = int(np.flatnonzero(organ[rows[inside], columns[inside]]).max(initial=0))
        end = min(last + round(pixels), int(inside.sum()) - 1)
        return int(rows[end]), int(columns[end])
