"""Intensity window in HU."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform

from custom_networks.errors import UsageError


class WindowIntensityd(MapTransform):
    """Clip HU (tensors of any shape) to a window and scale the window to [0, 1].

    MONAI's ScaleIntensityRanged has the same result, but needs three float copies of the volume.

    Args:
        window: the lowest and the highest HU.

    Raises:
        UsageError: the window is empty.
    """

    def __init__(self, keys: KeysCollection, window: Sequence[float], allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.low, self.high = (float(bound) for bound in window)
        if not self.low < self.high:
            raise UsageError(f"An intensity window must go from low to high, got {list(window)} HU: correct it.")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Data with new float32 tensors under the keys; metadata are kept."""
        d = dict(data)
        for key in self.key_iterator(d):
            windowed = torch.clamp(d[key].float(), self.low, self.high)
            d[key] = windowed.sub_(self.low).div_(self.high - self.low)
        return d
