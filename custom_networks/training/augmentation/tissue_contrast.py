"""Vary the brightness of tissues beyond the training cases, for other contrast phases and fatty livers."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from scipy.interpolate import PchipInterpolator

from custom_networks.errors import UsageError
from custom_networks.training.augmentation.intensity_sources import HU_WINDOW
from custom_networks.training.augmentation.rand_image import RandImaged, blur_in_plane, plain

LEVELS = 4001  # entries in the curve's table: steps of 0.1 HU


class RandTissueShiftd(RandImaged):
    """Maps intensities through a random, smooth, increasing curve, and may shift the organ relative to the rest.

    The curve passes through one point for each knot, moved by up to its shift. The mean slope between two knots is kept
    within `slopes`, so that lesions neither vanish nor become too obvious. The first shift should be 0, so that air
    does not change. The organ (labels above 0, including lesions, whose contrast is thus kept) is shifted as a whole,
    with an edge that is blurred in-plane by `edge`.

    Args:
        label_key: key of the label map `(1, H, W, D)` on the same grid; if None, the organ is never shifted.
        knots: HU of the control points, increasing.
        shifts: the largest shift of each knot, in HU.
        slopes: range of the slope.
        organ_shift: range of the organ's shift, in HU.
        organ_prob: probability of shifting the organ, given a change.
        edge: sigma of the organ's edge, in pixels.
        window: HU that 0 and 1 stand for.

    Raises:
        UsageError: the numbers of knots and shifts differ.
    """

    def __init__(
        self,
        keys: KeysCollection,
        label_key: str | None = "label",
        prob: float = 0.1,
        knots: Sequence[float] = (-160.0, -100.0, 0.0, 60.0, 120.0, 180.0, 240.0),
        shifts: Sequence[float] = (0.0, 10.0, 15.0, 40.0, 40.0, 50.0, 50.0),
        slopes: Sequence[float] = (0.6, 1.6),
        organ_shift: Sequence[float] = (-50.0, 40.0),
        organ_prob: float = 0.5,
        edge: float = 1.5,
        window: Sequence[float] = HU_WINDOW,
    ) -> None:
        super().__init__(keys, prob)
        if len(knots) != len(shifts):
            raise UsageError(
                f"Each knot needs one shift, got {len(knots)} knots and {len(shifts)} shifts: make their numbers equal."
            )
        self.label_key = label_key
        self.knots = np.asarray(knots, dtype=float)
        self.shifts = np.asarray(shifts, dtype=float)
        self.slopes = tuple(slopes)
        self.organ_shift = tuple(organ_shift)
        self.organ_prob = organ_prob
        self.edge = edge
        self.window = tuple(window)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        for key in self.key_iterator(d):
            self.randomize(None)
            if self._do_transform:
                image = self.changed(plain(d[key]))
                d[key] = self._with_organ_shifted(image, None if self.label_key is None else plain(d[self.label_key]))
        return d

    def changed(self, image: torch.Tensor) -> torch.Tensor:
        """The image mapped through a random curve; values are clipped to [0, 1] first."""
        table = torch.from_numpy(self._curve()).to(image)
        return table[(image.clamp(0, 1) * (LEVELS - 1)).round_().long()]

    def _curve(self) -> np.ndarray:
        """The curve's values for `LEVELS` intensities from 0 to 1."""
        moved = self.knots + self.R.uniform(-1, 1, len(self.knots)) * self.shifts
        for i, width in enumerate(np.diff(self.knots)):
            low, high = (moved[i] + slope * width for slope in self.slopes)
            moved[i + 1] = min(max(moved[i + 1], low), high)
        hu = np.linspace(self.window[0], self.window[1], LEVELS)
        bent = PchipInterpolator(self.knots, moved)(hu.clip(self.knots[0], self.knots[-1]))
        return (bent - self.window[0]) / (self.window[1] - self.window[0])

    def _with_organ_shifted(self, image: torch.Tensor, label: torch.Tensor | None) -> torch.Tensor:
        """The image with its organ shifted, with probability `organ_prob`."""
        if label is None or self.R.uniform() >= self.organ_prob:
            return image
        shift = self.uniform(self.organ_shift) / (self.window[1] - self.window[0])
        return image + shift * blur_in_plane((label > 0).to(image), self.edge)
