"""The strict reader in MONAI: configs, Compose, DataLoader, SaveImaged, and MONAI Label."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, Dataset, MetaTensor, decollate_batch
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, SaveImaged

from custom_networks.errors import InputError, UsageError
from custom_networks.io import only_case
from custom_networks.transforms import LoadVolumed

Write = Callable[..., Path]


@pytest.fixture
def case(write_nifti: Write, hounsfield: np.ndarray) -> dict[str, Any]:
    labels = (np.arange(hounsfield.size) % 3).reshape(hounsfield.shape).astype(np.float32)
    return {
        "image": str(write_nifti(hounsfield)),
        "label": str(write_nifti(labels, name="label.nii.gz")),
        "image_path": "as MONAI Label adds it",
    }


@pytest.fixture
def load() -> Compose:
    config = ConfigParser(
        {
            "load": {
                "_target_": "Compose",
                "transforms": [
                    {"_target_": "custom_networks.transforms.LoadVolumed", "keys": "image"},
                    {"_target_": "custom_networks.transforms.LoadVolumed", "keys": "label", "kind": "label"},
                    {
                        "_target_": "EnsureChannelFirstd",
                        "keys": ["image", "label"],
                        "channel_dim": "no_channel",
                    },
                ],
            }
        }
    )
    return config.get_parsed_content("load")


def test_image_and_label_keep_their_types_and_geometry(
    load: Compose, case: dict[str, Any], hounsfield: np.ndarray, affine: np.ndarray
) -> None:
    loaded = load(case)
    image, label = loaded["image"], loaded["label"]
    assert isinstance(image, MetaTensor) and image.dtype == torch.int16 and label.dtype == torch.uint8
    assert np.array_equal(image[0].numpy(), hounsfield) and tuple(image.shape) == (1, *hounsfield.shape)
    assert image.affine.dtype == torch.float64
    np.testing.assert_allclose(image.affine, affine, atol=1e-5)
    np.testing.assert_array_equal(image.meta["original_affine"], image.affine)
    assert tuple(image.meta["spatial_shape"]) == hounsfield.shape
    assert image.meta["filename_or_obj"] == case["image"] and image.meta["space"] == "RAS"
    assert loaded["image_path"] == "as MONAI Label adds it"


def test_the_channel_is_found_without_an_argument(case: dict[str, Any], hounsfield: np.ndarray) -> None:
    image = EnsureChannelFirstd("image")(LoadVolumed("image")(case))["image"]
    assert tuple(image.shape) == (1, *hounsfield.shape)


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_collates_and_decollates_one_case(
    load: Compose, case: dict[str, Any], write_nifti: Write, hounsfield: np.ndarray, workers: int
) -> None:
    case["image"] = str(write_nifti(hounsfield[..., np.newaxis], name="noted.nii.gz"))
    (batch,) = DataLoader(Dataset([case], load), batch_size=1, num_workers=workers)
    assert batch["image"].shape == (1, 1, *hounsfield.shape) and batch["image"].dtype == torch.int16
    (item,) = decollate_batch(batch)
    assert np.array_equal(item["image"][0].numpy(), hounsfield)
    assert item["image"].meta["filename_or_obj"] == case["image"]
    assert item["image"].meta["notes"] == "Trailing axes of size 1 were dropped from 16 x 12 x 8 x 1."


@pytest.mark.parametrize("workers", [0, 2])
def test_a_case_is_read_and_a_volume_is_used_unchanged(
    case: dict[str, Any], hounsfield: np.ndarray, workers: int
) -> None:
    found = only_case(case["image"])
    volume = found.read()
    transform = Compose([LoadVolumed("image"), EnsureChannelFirstd("image", channel_dim="no_channel")])
    items = [{"image": given, "case": "a"} for given in (found, volume)]
    for batch in DataLoader(Dataset(items, transform), batch_size=1, num_workers=workers):
        (item,) = decollate_batch(batch)
        assert np.array_equal(item["image"][0].numpy(), hounsfield) and item["case"] == "a"
        assert item["image"].meta["filename_or_obj"] == case["image"]
    taken = LoadVolumed("image")({"image": volume})["image"]
    taken.affine[0, 0] = 7
    assert volume.affine[0, 0] == pytest.approx(-0.8)


def test_saved_mask_has_the_shape_and_affine_of_the_input(load: Compose, case: dict[str, Any], tmp_path: Path) -> None:
    loaded = load(case)
    loaded["pred"] = MetaTensor(loaded["label"].as_tensor(), meta=loaded["image"].meta)
    SaveImaged("pred", output_dir=tmp_path, output_postfix="seg", output_dtype=np.uint8, print_log=False)(loaded)
    written, source = nib.load(tmp_path / "ct" / "ct_seg.nii.gz"), nib.load(case["image"])
    assert written.shape == source.shape and np.array_equal(written.affine, source.affine)


def test_monai_label_recognises_it_and_gets_the_meta_dictionary(case: dict[str, Any]) -> None:
    """As monailabel 0.8.5 (tasks/infer/bundle.py and transform/pre.py) does with each `LoadImaged`."""
    transform = LoadVolumed("image")
    assert isinstance(transform, LoadImaged)
    transform._loader.image_only = False
    loaded = transform(case)
    assert isinstance(loaded["image"], MetaTensor)
    assert loaded["image_meta_dict"]["filename_or_obj"] == case["image"]
    assert tuple(loaded["image_meta_dict"]["spatial_shape"]) == tuple(loaded["image"].shape)


def test_a_refusal_is_final_and_reaches_the_caller(load: Compose, case: dict[str, Any], tmp_path: Path) -> None:
    np.save(tmp_path / "readable_by_monai.npy", np.zeros((8, 8, 8)))
    case["image"] = str(tmp_path / "readable_by_monai.npy")
    with pytest.raises(InputError, match="has an unknown suffix"):
        LoadVolumed("image")(case)
    with pytest.raises(RuntimeError) as caught:
        load(case)
    assert isinstance(caught.value.__cause__, InputError)
    with pytest.raises(InputError, match="One path per case is needed, got 2"):
        LoadVolumed("image")({"image": [case["image"]] * 2})
    with pytest.raises(UsageError, match="accepts no other readers"):
        LoadVolumed("image").register("ITKReader")


def test_a_wrong_kind_is_refused_and_missing_keys_can_be_allowed(case: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="kind must be 'image', 'label' or 'segments', got 'mask'"):
        LoadVolumed("image", kind="mask")  # type: ignore[arg-type]
    assert LoadVolumed(["image", "prior"], allow_missing_keys=True)(case).keys() == case.keys()
    with pytest.raises(KeyError, match="prior"):
        LoadVolumed(["image", "prior"])(case)


def test_the_transform_can_be_pickled(case: dict[str, Any], hounsfield: np.ndarray) -> None:
    again = pickle.loads(pickle.dumps(LoadVolumed("image")))
    assert np.array_equal(again(case)["image"].numpy(), hounsfield)


def test_importing_the_package_loads_neither_monai_nor_itk_nor_torch() -> None:
    code = "import sys, custom_networks.io; print({'monai', 'itk', 'torch'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "set()"
