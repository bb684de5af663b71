"""Label maps as nested channels, and MONAI's Dice on them as the key metric."""

from typing import Any

import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from monai.handlers import MeanDice, from_engine

from custom_networks.evaluation.organ_and_tumor import OrganAndTumord


def line(*values: int) -> MetaTensor:
    """Label map (1, n, 1, 1)."""
    return MetaTensor(torch.tensor(values, dtype=torch.uint8).reshape(1, -1, 1, 1), affine=torch.eye(4) * 2)


def test_the_organ_includes_the_tumor_and_the_affine_is_kept() -> None:
    result = OrganAndTumord("pred")({"pred": line(0, 1, 2)})["pred"]
    assert result.flatten(1).tolist() == [[False, True, True], [False, False, True]]
    assert torch.equal(result.affine, torch.eye(4, dtype=torch.float64) * 2)


def test_with_new_names_the_label_maps_are_kept() -> None:
    item = {"pred": line(0, 1, 2), "label": line(1, 1, 2)}
    result = OrganAndTumord(["pred", "label"], names=["pred_organ_and_tumor", "true_organ_and_tumor"])(item)
    assert result["pred"] is item["pred"] and result["true_organ_and_tumor"].shape == (2, 3, 1, 1)
    assert list(item) == ["pred", "label"]


@pytest.mark.parametrize("labelled", [False, torch.tensor([False])])
def test_tumor_channel_of_an_unlabelled_case_is_empty(labelled: Any) -> None:
    result = OrganAndTumord("label")({"label": line(0, 1, 2), "tumor_labelled": labelled})["label"]
    assert result.flatten(1).tolist() == [[False, True, False], [False, False, False]]


def key_metric(items: list[dict[str, Any]], **options: Any) -> Any:
    structures = OrganAndTumord(["pred", "label"])
    engine = Engine(lambda _, item: [structures(item)])
    MeanDice(output_transform=from_engine(["pred", "label"]), **options).attach(engine, "dice")
    return engine.run(items).metrics["dice"]


ITEMS: list[dict[str, Any]] = [
    {"pred": line(0, 1, 2, 2), "label": line(1, 1, 1, 2)},  # organ 2 * 3 / 7, tumor 2 * 1 / 3
    {"pred": line(1, 1, 2, 0), "label": line(1, 1, 1, 0)},  # organ 1, no tumor in the truth
    {
        "pred": line(1, 1, 0, 0),
        "label": line(1, 1, 1, 2),
        "tumor_labelled": False,
    },  # organ 2 * 2 / 5, the last one unknown
]


def test_the_key_metric_is_the_mean_over_cases_and_the_structures_in_their_truth() -> None:
    expected = ((6 / 7 + 2 / 3) / 2 + 1 + 4 / 5) / 3
    assert key_metric(ITEMS) == pytest.approx(expected)


def test_tumor_mean_counts_only_cases_with_known_tumor() -> None:
    means = key_metric(ITEMS, reduction="mean_batch", return_with_label=["liver", "tumor"])
    assert means == pytest.approx({"liver": (6 / 7 + 1 + 4 / 5) / 3, "tumor": 2 / 3}, abs=1e-4)  # MONAI rounds these
