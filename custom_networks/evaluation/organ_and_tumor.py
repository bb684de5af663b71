"""The two nested structures of a label map: the organ (liver with its lesions) and the tumor."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from monai.utils.misc import ensure_tuple_rep

from custom_networks.labelmap.labels import LIVER, TUMOR


class OrganAndTumord(MapTransform):
    """Turn label maps (1, H, W, D) into bool channels (2, H, W, D): organ (labels 1 and 2), then tumor (label 2).

    It prepares the input of MONAI's MeanDice, the key metric, which averages over the structures that occur in the
    truth and then over cases. MeanDice ignores a structure whose truth is empty, so a case without tumor counts only
    with its liver, and false tumors there do not lower the mean. This is intended, because a single false voxel should
    not decide between checkpoints; `case_scores` does count false tumors.

    If the item `tumor_labelled` exists and is false, label 2 in the truth (`label`) cannot be trusted. Its voxels are
    then left out of the organ in every result, and the tumor channels are emptied so that tumors do not count.

    Args:
        keys: the label maps; any type with whole numbers.
        names: keys of the results, one for each label map, so that the label maps are kept for `CaseScoresHandler`; if
            None, label maps are replaced. Names must not begin with ``image_`` or ``label_``, or MONAI 1.6's Spacingd
            fails.
    """

    def __init__(self, keys: KeysCollection, names: Sequence[str] | None = None) -> None:
        super().__init__(keys)
        self.names = ensure_tuple_rep(names, len(self.keys)) if names is not None else self.keys

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of `data` with the two channels of each label map under its name."""
        result = dict(data)
        labelled = tumor_is_labelled(data)
        known = torch.ones((), dtype=torch.bool) if labelled else data["label"] != TUMOR
        for key, name in self.key_iterator(result, self.names):
            tumor = result[key] == TUMOR
            organ = ((result[key] == LIVER) | tumor) & known.to(tumor.device)
            result[name] = torch.cat([organ, tumor if labelled else torch.zeros_like(tumor)])
        return result


def tumor_is_labelled(item: Mapping[Hashable, Any], key: str = "tumor_labelled") -> bool:
    """Whether the tumors of a data item are labelled: its `key` (bool or tensor with one value); True if missing."""
    return bool(item.get(key, True))
