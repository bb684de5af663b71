"""Cases whose livers are labelled, but not their tumors, must not teach that tumors are liver."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

ORGAN = 3  # liver or tumor, not known which


class MarkPartialLabelsd(MapTransform):
    """Turn labels 1 and 2 into 3 (liver or tumor, unknown which) where the case says `tumor_labelled` false.

    A case without that key counts as labelled.
    """

    def __init__(self, keys: KeysCollection, flag_key: str = "tumor_labelled", allow_missing_keys: bool = False):
        super().__init__(keys, allow_missing_keys)
        self.flag_key = flag_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if not bool(d.get(self.flag_key, True)):
            for key in self.key_iterator(d):
                d[key] = torch.where(d[key] > 0, torch.full_like(d[key], ORGAN), d[key])
        return d
