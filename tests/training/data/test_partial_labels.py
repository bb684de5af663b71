"""Cases without trusted tumor labels: liver becomes 3 (liver or tumor), tumor 4 (ignored)."""

from typing import Any

import pytest
import torch
from monai.data import MetaTensor

from custom_networks.training.data import MarkPartialLabelsd

LABEL = [0, 1, 2, 1, 0]
UNKNOWN = [0, 3, 4, 3, 0]


def marked(**more: Any) -> list[int]:
    label = torch.tensor(LABEL, dtype=torch.uint8).reshape(1, 5, 1, 1)
    result = MarkPartialLabelsd("label")({"label": label} | more)["label"]
    assert result.dtype == torch.uint8 and result.shape == label.shape
    return [int(value) for value in result.flatten()]


@pytest.mark.parametrize("flag", [False, 0, torch.tensor(False)])
def test_liver_becomes_3_and_tumor_4_where_tumors_are_not_labelled(flag: Any) -> None:
    assert marked(tumor_labelled=flag) == UNKNOWN


@pytest.mark.parametrize("more", [{}, {"tumor_labelled": True}])
def test_labels_do_not_change_if_tumors_are_labelled_or_there_is_no_flag(more: dict[str, Any]) -> None:
    assert marked(**more) == LABEL


def test_the_flag_may_have_another_name() -> None:
    label = torch.tensor([1, 2])
    result = MarkPartialLabelsd("label", flag_key="lesions_known")({"label": label, "lesions_known": False})["label"]
    assert result.tolist() == [3, 4]


def test_the_geometry_is_kept_and_the_input_is_not_changed() -> None:
    affine = torch.diag(torch.tensor([1.25, 1.25, 5.0, 1.0], dtype=torch.float64))
    label = MetaTensor(torch.tensor(LABEL, dtype=torch.uint8).reshape(1, 5, 1, 1), affine=affine)
    result = MarkPartialLabelsd("label")({"label": label, "tumor_labelled": False})["label"]
    assert torch.equal(result.affine, affine)
    assert label.flatten().tolist() == LABEL


def test_a_missing_label_is_an_error_unless_missing_keys_are_allowed() -> None:
    data: dict[str, Any] = {"tumor_labelled": False}
    with pytest.raises(KeyError, match="label"):
        MarkPartialLabelsd("label")(data)
    assert MarkPartialLabelsd("label", allow_missing_keys=True)(data) == data
