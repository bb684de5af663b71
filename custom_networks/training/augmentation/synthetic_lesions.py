"""Synthetic lesions for training, drawn into the livers of stacks together with their labels."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, Randomizable

from custom_networks.errors import UsageError
from custom_networks.labelmap.labels import LIVER, TUMOR, Mask
from custom_networks.training.augmentation.intensity_sources import HU_WINDOW
from custom_networks.training.augmentation.lesion_synthesis import REACH, Array, Axes, Lesion, lesion_in_box, stands_out
from custom_networks.training.data.partial_labels import IGNORED, ORGAN

_PLACES_TRIED = 20  # random centres to try for a lesion before it is left out
_LESIONS_TRIED = 3  # lesions to try before one is left out, because it touches a tumor or is invisible
_VESSEL = 20.0  # HU: places that differ more than this from the liver's median are vessels, or not liver
_SAMPLE = 2000  # voxels used for the liver's median


class RandSyntheticLesionsd(Randomizable, MapTransform):
    """Draw lesions into the liver of a stack and label them tumor, after Hu et al. (CVPR 2023).

    A lesion has a consistent shape in mm over all slices, keeps the noise of the scan, and changes and labels only
    voxels labelled liver or organ. It may touch the organ's edge, but not another lesion or unknown voxels. A lesion
    that noise would hide is left out. A stack without liver is not changed.

    It goes after `RandSliceStacksd`, which adds `slice_distance` and `slice_thickness` in mm; without a thickness,
    slices are assumed to be as thick as the distance between them.

    Args:
        keys: the image, a tensor (1, H, W, D), HU windowed to [0, 1].
        label_key: its label (1, H, W, D): 0 background, 1 liver, 2 tumor, 3 organ, 4 unknown.
        prob: probability that a stack gets lesions.
        spacing: in-plane pixel size, mm.
        window: HU that 0 and 1 stand for.
        halo: slices of context on each side; every lesion extends into the slices between them.
        lesions: smallest and largest number of lesions in a stack.
        radii: bounds of the size classes, mm; within a class, the logarithm of the radius is drawn uniformly.
        size_weights: one weight for each size class.
        contrast: range of the difference from the surrounding liver, HU.
        bright_prob: probability that a lesion is brighter than the liver, by 0.7 times the contrast drawn.
        texture: range of the texture's standard deviation, HU.
        grain: range of the texture's grain, mm.
        softness: range of the edge's width, mm; limited to the radius.
        rim_prob: probability of a bright rim (capsule); rims, cores and specks occur from a radius of 5 mm on.
        core_prob: probability of a darker core (necrosis).
        calcified_prob: probability of calcified specks.
        mass_effect: range of the share of a lesion's volume by which it pushes vessels aside, 0 to 1.

    Raises:
        UsageError: `keys` is not a single key, or `radii` and `size_weights` do not match; on call, the data have no
            `slice_distance`.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str = "label",
        prob: float = 0.1,
        spacing: float = 1.25,
        window: Sequence[float] = HU_WINDOW,
        halo: int = 0,
        lesions: Sequence[int] = (1, 3),
        radii: Sequence[float] = (2.0, 4.0, 8.0, 16.0, 32.0),
        size_weights: Sequence[float] = (0.2, 0.4, 0.3, 0.1),
        contrast: Sequence[float] = (-90.0, -20.0),
        bright_prob: float = 0.08,
        texture: Sequence[float] = (2.0, 9.0),
        grain: Sequence[float] = (3.0, 9.0),
        softness: Sequence[float] = (2.0, 6.0),
        rim_prob: float = 0.2,
        core_prob: float = 0.4,
        calcified_prob: float = 0.05,
        mass_effect: Sequence[float] = (0.0, 0.6),
    ) -> None:
        MapTransform.__init__(self, keys)
        if len(self.keys) != 1:
            raise UsageError(f"Lesions are drawn into one image, got the keys {list(self.keys)}: pass one key.")
        if len(radii) != len(size_weights) + 1:
            raise UsageError(
                f"{len(radii)} radii bound {len(radii) - 1} size classes, got {len(size_weights)} weights: pass one "
                "for each class."
            )
        self.label_key = label_key
        self.prob = prob
        self.spacing = spacing
        self.window = _pair(window)
        self.halo = halo
        self.lesions = tuple(lesions)
        self.radii = tuple(radii)
        self.size_weights = np.asarray(size_weights, float) / np.sum(size_weights)
        self.contrast = _pair(contrast)
        self.bright_prob = bright_prob
        self.texture = _pair(texture)
        self.grain = _pair(grain)
        self.softness = _pair(softness)
        self.rim_prob = rim_prob
        self.core_prob = core_prob
        self.calcified_prob = calcified_prob
        self.mass_effect = _pair(mass_effect)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with lesions drawn into image and label, with probability `prob`; the inputs are not modified."""
        d = dict(data)
        if self.R.rand() >= self.prob:
            return d
        if "slice_distance" not in d:
            raise UsageError(
                f"A stack needs 'slice_distance' in mm, got {sorted(map(str, d))}: place RandSliceStacksd before this."
            )
        key = self.keys[0]
        image, label = (torch.as_tensor(d[k]).clone() for k in (key, self.label_key))
        distance = float(d["slice_distance"])
        thickness = float(d.get("slice_thickness", distance))
        heights = _slice_heights(image[0].numpy(), distance)
        for _ in range(self.R.randint(self.lesions[0], self.lesions[1] + 1)):
            for _ in range(_LESIONS_TRIED):
                if self._implant(image[0].numpy(), label[0].numpy(), heights, thickness):
                    break
        d[key], d[self.label_key] = image, label
        return d

    def _implant(self, image: Array, label: npt.NDArray[Any], heights: Array, thickness: float) -> bool:
        """Draw one lesion into image and label, in place; return whether it was drawn.

        It is left out if it has no room, touches another lesion or unknown voxels, or is invisible.
        """
        lesion = self.draw_lesion()
        voxel = self._site(image, label, heights, lesion.radius)
        if voxel is None:
            return False
        box, axes = self._box(voxel, image.shape, heights, lesion)
        low, high = self.window
        hu, liver = image[box] * (high - low) + low, _liver(label[box])
        change, inside = lesion_in_box(self.R, hu, liver, axes, lesion, thickness)
        # Labels include a healthy margin, so a lesion within another one's label would leave a bright ring.
        if np.isin(label[box][inside], (TUMOR, IGNORED)).any():
            return False
        if not stands_out(change, inside & liver, hu, liver):
            return False
        image[box] = np.clip(image[box] + change / (high - low), 0, 1)
        label[box][inside & liver] = TUMOR
        return True

    def draw_lesion(self) -> Lesion:
        """A random lesion of the configured sizes and kinds."""
        size = self.R.choice(len(self.size_weights), p=self.size_weights)
        radius = float(np.exp(self.R.uniform(*np.log(self.radii[size : size + 2]))))
        contrast = self.R.uniform(*self.contrast) * (-0.7 if self.R.rand() < self.bright_prob else 1.0)
        rim, core, calcified = self.R.rand(3) < (self.rim_prob, self.core_prob, self.calcified_prob)
        has_parts = radius >= 5.0  # rim, core and specks
        return Lesion(
            radius=radius,
            contrast=contrast,
            softness=min(self.R.uniform(*self.softness), radius),
            texture=self.R.uniform(*self.texture),
            grain=self.R.uniform(*self.grain),
            core=-self.R.uniform(10.0, 35.0) * (core and has_parts),
            rim=self.R.uniform(10.0, 40.0) * (rim and has_parts),
            calcification=self.R.uniform(80.0, 250.0) * (calcified and has_parts),
            mass_effect=self.R.uniform(*self.mass_effect),
        )

    def _site(
        self, image: Array, label: npt.NDArray[Any], heights: Array, radius: float
    ) -> tuple[int, int, int] | None:
        """A liver voxel in `_slices`, outside vessels, with room for a lesion of `radius`; None if none was found."""
        first, last = self._slices(heights, radius)
        liver = _liver(label[..., first:last])
        places = np.flatnonzero(liver)
        if not len(places):
            return None
        values = image[..., first:last]
        sample = np.unravel_index(places[self.R.randint(len(places), size=_SAMPLE)], liver.shape)
        median = np.median(values[sample])
        tolerance = _VESSEL / (self.window[1] - self.window[0])
        for place in self._sample(places):
            i, j, k = (int(n) for n in np.unravel_index(place, liver.shape))
            around = (slice(max(i - 2, 0), i + 3), slice(max(j - 2, 0), j + 3), k)
            off_vessels = abs(values[around][liver[around]].mean() - median) <= tolerance
            if off_vessels and has_room(liver[..., k], i, j, round(0.6 * radius / self.spacing)):
                return i, j, first + k
        return None

    def _slices(self, heights: Array, radius: float) -> tuple[int, int]:
        """The range of slices (first, one after the last) in which a lesion's centre may lie.

        From there, the lesion extends into the slices between the halos.
        """
        low, high = heights[self.halo] - 0.7 * radius, heights[-1 - self.halo] + 0.7 * radius
        return int(np.searchsorted(heights, low)), int(np.searchsorted(heights, high, side="right"))

    def _sample(self, places: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """A random sample of `_PLACES_TRIED` places, with replacement; empty if there are none."""
        return places[self.R.randint(len(places), size=_PLACES_TRIED)] if len(places) else places

    def _box(
        self, voxel: tuple[int, int, int], shape: Sequence[int], heights: Array, lesion: Lesion
    ) -> tuple[tuple[slice, ...], Axes]:
        """The box of a stack that a lesion centred in `voxel` may change, and the positions of the box's voxels.

        Positions are in mm along each axis, relative to the lesion's centre, which is a random point within `voxel`.
        """
        reach = REACH * lesion.radius + lesion.softness
        places = [self.spacing * np.arange(n) for n in shape[:2]] + [heights]
        pitches = (self.spacing, self.spacing, float(np.diff(heights).max(initial=0.0)))
        box, axes = [], []
        for n, axis, pitch in zip(voxel, places, pitches):
            offsets = (axis - axis[n] - pitch * self.R.uniform(-0.5, 0.5)).astype(np.float32)
            near = np.flatnonzero(np.abs(offsets) <= reach + pitch)
            box.append(slice(int(near[0]), int(near[-1]) + 1))
            axes.append(offsets[box[-1]])
        return tuple(box), (axes[0], axes[1], axes[2])


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)


def _liver(label: npt.NDArray[Any]) -> Mask:
    """Voxels labelled liver or organ, but not tumor."""
    return (label == LIVER) | (label == ORGAN)


def has_room(tissue: Mask, i: int, j: int, reach: int) -> bool:
    """Whether tissue is present `reach` pixels away in at least three of four directions, to avoid thin slivers."""
    places = ((i - reach, j), (i + reach, j), (i, j - reach), (i, j + reach))
    within = [0 <= a < tissue.shape[0] and 0 <= b < tissue.shape[1] and bool(tissue[a, b]) for a, b in places]
    return sum(within) >= 3


def _slice_heights(image: Array, distance: float) -> Array:
    """Position of each slice in mm; repeated end slices have equal positions, so that lesions are also repeated."""
    differs = (image[..., 1:] != image[..., :-1]).any(axis=(0, 1))
    inner = np.flatnonzero(differs)
    steps = np.zeros(image.shape[-1], np.float32)
    if len(inner):  # only end slices are repeats; other equal neighbours occur in artificial images
        steps[1 + inner[0] : 2 + inner[-1]] = distance
    else:
        steps[1:] = distance
    return np.cumsum(steps, dtype=np.float32)
