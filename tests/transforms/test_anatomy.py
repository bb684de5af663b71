"""Dictionary transforms of the anatomy rules use the affine's spacing, keep metadata and can be built from JSON."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import Compose

from custom_networks.errors import BundleError
from custom_networks.transforms import FillOrgand, FindLesionsd, KeepOrgand

ARGUMENTS: list[dict[str, Any]] = [
    {"_target_": "custom_networks.transforms.KeepOrgand", "keys": "pred", "min_part_ml": 5, "gap_mm": 10},
    {"_target_": "custom_networks.transforms.FillOrgand", "keys": "pred", "probability_key": "probabilities"},
    {
        "_target_": "custom_networks.transforms.FindLesionsd",
        "keys": "pred",
        "probability_key": "probabilities",
        "capsule_mm": 10,
        "min_lesion_mm3": 40,
        "min_lesion_confidence": 0.5,
    },
]


def case() -> dict[str, Any]:
    """A liver with a hole, a lesion of 8 voxels and a distant blob; voxels of 2 x 1 x 3 mm, reoriented axes."""
    labels = torch.zeros(1, 30, 30, 20, dtype=torch.uint8)
    labels[0, 5:25, 5:25, 5:15] = 1
    labels[0, 10:12, 10:12, 8:10] = 2
    labels[0, 18:20, 18:20, 8:10] = 0
    labels[0, 0:2, 0:2, 0:2] = 1
    affine = torch.tensor([[0, 1, 0, 5], [-2, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1]], dtype=torch.float64)
    probabilities = torch.zeros(2, 30, 30, 20, dtype=torch.uint8)
    probabilities[0], probabilities[1, labels[0] == 2] = 100, 200
    operations = [{"class": "Orientation", "id": 1}]
    pred = MetaTensor(labels, affine=affine, meta={"filename_or_obj": "a.nii"}, applied_operations=operations)
    return {"pred": pred, "probabilities": probabilities}


def test_a_config_of_json_values_builds_a_working_chain() -> None:
    parser = ConfigParser(json.loads(json.dumps({"transforms": ARGUMENTS})))
    data = case()
    known = data["pred"].clone()
    out = Compose(parser.get_parsed_content("transforms"))(data)["pred"]
    expected = np.zeros((30, 30, 20), np.uint8)
    expected[5:25, 5:25, 5:15] = 1
    expected[10:12, 10:12, 8:10] = 2  # 8 voxels of 6 mm3 are 48 mm3, above the limit of 40
    assert np.array_equal(out[0].numpy(), expected) and out.dtype == torch.uint8
    assert torch.equal(out.affine, known.affine) and out.meta["filename_or_obj"] == "a.nii"
    assert out.applied_operations == known.applied_operations
    assert torch.equal(data["pred"].as_tensor(), known.as_tensor())


def test_lesion_volumes_use_the_affine_of_the_label_map() -> None:
    assert (FindLesionsd(min_lesion_mm3=48)(case())["pred"] == 2).sum() == 8
    assert (FindLesionsd(min_lesion_mm3=49)(case())["pred"] == 2).sum() == 0


def test_probabilities_may_be_arrays_and_float_labels_become_uint8() -> None:
    data = case()
    data["probabilities"] = data["probabilities"].numpy()
    data["pred"] = data["pred"].float()
    assert FillOrgand()(data)["pred"].dtype == torch.uint8


def test_wrong_items_are_refused_and_missing_ones_can_be_skipped() -> None:
    with pytest.raises(BundleError, match="MetaTensor"):
        KeepOrgand()({"pred": torch.zeros(1, 4, 4, 4)})
    with pytest.raises(BundleError, match="MetaTensor"):
        KeepOrgand()({"pred": MetaTensor(torch.zeros(3, 4, 4, 4))})
    data = case()
    data["probabilities"] = data["probabilities"][..., :3]
    for transform in (FillOrgand(), FindLesionsd()):
        with pytest.raises(BundleError, match="probabilities"):
            transform(data)
        with pytest.raises(BundleError, match="got None"):
            transform({"pred": data["pred"]})
    assert KeepOrgand(allow_missing_keys=True)({}) == {}
