"""Partial labels: mark cases without tumor labels, so that the network does not learn that tumors are liver."""

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from custom_networks.evaluation.organ_and_tumor import tumor_is_labelled
from custom_networks.labelmap.labels import LIVER, TUMOR

ORGAN = 3  # liver or tumor, unknown which
IGNORED = 4  # unknown


class MarkPartialLabelsd(MapTransform):
    """Where the tumors of a case are not labelled, change liver to 3 (liver or tumor) and tumor to 4 (ignored).

    The loss ignores 4, because a tumor label in such a case cannot be trusted.

    Args:
        keys: label maps: 0 background, 1 liver, 2 tumor.
        flag_key: key of the flag that is false in such a case; a case without the flag counts as labelled.
        allow_missing_keys: skip missing label maps instead of raising.
    """

    def __init__(self, keys: KeysCollection, flag_key: str = "tumor_labelled", allow_missing_keys: bool = False):
        super().__init__(keys, allow_missing_keys)
        self.flag_key = flag_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        d = dict(data)
        if not tumor_is_labelled(d, self.flag_key):
            for key in self.key_iterator(d):
                label = d[key]
                organ, ignored = torch.full_like(label, ORGAN), torch.full_like(label, IGNORED)
                d[key] = torch.where(label == LIVER, organ, torch.where(label == TUMOR, ignored, label))
        return d
