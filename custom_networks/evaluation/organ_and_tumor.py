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

    Put it last in ``validate#postprocessing``, with new names so that the label maps stay there for
    `CaseScoresHandler`, and MONAI's own Dice becomes the key metric::

        {"_target_": "custom_networks.evaluation.OrganAndTumord",
         "keys": ["pred", "label"], "names": ["pred_organ_and_tumor", "true_organ_and_tumor"]}
        {"_target_": "MeanDice",
         "output_transform": "$monai.handlers.from_engine(['pred_organ_and_tumor', 'true_organ_and_tumor'])"}

    That Dice is a per-case mean: over the structures that the truth holds, then over cases (``reduction="mean"``);
    ``reduction="mean_batch", return_with_label=["liver", "tumor"]`` gives both means. MeanDice leaves out a structure
    whose truth is empty, so a tumor-free case counts with its liver alone and its false tumors don't lower this mean:
    one false voxel must not decide between checkpoints. `case_scores` does count them. Where `labelled_key` is there
    and false, the truth's label 2 cannot be trusted: its voxels are left out of both organs, and the tumor's channel is
    emptied, and so does not count either.

    Args:
        keys: the label maps; any dtype with whole numbers.
        names: where the channels go, one name a key; None: in place. Names must not begin with ``image_`` or
            ``label_`` (MONAI 1.6's Spacingd fails on such items).
        labelled_key: item that tells whether tumors were labelled; a missing item means yes.
        truth_key: the true label map, on the grid of the keys; needed where tumors were not labelled.
        allow_missing_keys: skip keys that are not there.
    """

    def __init__(
        self,
        keys: KeysCollection,
        names: Sequence[str] | None = None,
        labelled_key: str = "tumor_labelled",
        truth_key: str = "label",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.names = ensure_tuple_rep(names, len(self.keys)) if names is not None else self.keys
        self.labelled_key = labelled_key
        self.truth_key = truth_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Copy of `data` with the two channels of each key under its name."""
        result = dict(data)
        labelled = tumor_is_labelled(data, self.labelled_key)
        known = torch.ones((), dtype=torch.bool) if labelled else data[self.truth_key] != TUMOR
        for key, name in self.key_iterator(result, self.names):
            tumor = result[key] == TUMOR
            organ = ((result[key] == LIVER) | tumor) & known.to(tumor.device)
            result[name] = torch.cat([organ, tumor if labelled else torch.zeros_like(tumor)])
        return result


def tumor_is_labelled(item: Mapping[Hashable, Any], key: str = "tumor_labelled") -> bool:
    """Whether the tumors of a data item are known: its `key` (bool or tensor of one value), or True without it."""
    return bool(item.get(key, True))
