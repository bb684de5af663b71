"""Probabilities that an evaluation keeps: the crop, the file, and refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from custom_networks.errors import BundleError, InputError
from custom_networks.evaluation import KeepProbabilitiesd
from custom_networks.evaluation.kept_probabilities import case_name, read_kept_case

AFFINE = torch.diag(torch.tensor([2.0, 2.0, 5.0, 1.0], dtype=torch.float64))


def case(path: str = "/data/train/a_ct.nii.gz") -> dict[str, Any]:
    """60 x 60 x 30 voxels of 2 x 2 x 5 mm: a true liver at 20:30, 20:30, 10:14, and a false one at 40, 20, 11."""
    label = torch.zeros(1, 60, 60, 30)
    label[0, 20:30, 20:30, 10:14] = 1
    label[0, 25, 25, 12] = 2
    probabilities = torch.zeros(2, 60, 60, 30, dtype=torch.uint8)
    probabilities[0, 40, 20, 11], probabilities[1, 40, 20, 11] = 30, 21  # 0.2 together
    probabilities[0, 50, 20, 11] = 50  # less than 0.2
    meta = {"filename_or_obj": path}
    label = MetaTensor(label, affine=AFFINE, meta=meta)
    image = MetaTensor(torch.zeros(1, 10, 10, 30), meta=meta)
    return {"image": image, "label": label, "probabilities": probabilities}


def test_a_kept_case_is_cropped_to_all_possible_organ_with_a_margin(tmp_path: Path) -> None:
    data = case() | {"tumor_labelled": torch.tensor(False)}
    passed = KeepProbabilitiesd(str(tmp_path / "new"))(data)
    assert passed.keys() == data.keys() and all(passed[key] is data[key] for key in data)
    kept = read_kept_case(tmp_path / "new" / "a_ct.npz")
    # 10 mm more on each side: 5 pixels and 2 slices, of 20:41, 20:30, 10:14
    assert kept.truth.shape == (31, 20, 8) and kept.probabilities.shape == (2, 31, 20, 8)
    assert (kept.truth > 0).sum() == 400 and kept.truth[10, 10, 4] == 2
    assert kept.probabilities[:, 25, 5, 3].tolist() == [30, 21]
    assert kept.spacing == (2.0, 2.0, 5.0) and kept.name == "a_ct" and not kept.tumor_labelled
    assert kept.truth.dtype == kept.probabilities.dtype == np.uint8


def test_a_case_without_organ_is_also_kept(tmp_path: Path) -> None:
    data = case()
    data["label"][:], data["probabilities"][:] = 0, 0
    KeepProbabilitiesd(str(tmp_path))(data)
    kept = read_kept_case(tmp_path / "a_ct.npz")
    assert kept.truth.size > 0 and not kept.truth.any() and kept.tumor_labelled


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert KeepProbabilitiesd(None)({"pred": 1}) == {"pred": 1}
    assert list(tmp_path.iterdir()) == []


def test_a_case_may_replace_itself_but_not_another_one_with_its_name(tmp_path: Path) -> None:
    keep = KeepProbabilitiesd(str(tmp_path))
    keep(case())
    keep(case("/elsewhere/train/a_ct.nii.gz"))
    with pytest.raises(
        InputError, match="already contains train/a_ct.nii.gz, so dev/a_ct.nii.gz .* rename one of the images"
    ):
        keep(case("/data/dev/a_ct.nii.gz"))
    assert [path.name for path in tmp_path.iterdir()] == ["a_ct.npz"]


def test_probabilities_on_another_grid_and_files_of_another_kind_are_refused(tmp_path: Path) -> None:
    keep = KeepProbabilitiesd(str(tmp_path))
    for wrong in (None, torch.zeros(2, 60, 60, 29)):
        with pytest.raises(BundleError, match="LabelsOnInputGridd"):
            keep(case() | {"probabilities": wrong})
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", spacing=np.ones(3))
    for name in ("text", "other", "missing"):
        with pytest.raises(InputError, match=f"{name}.npz"):
            read_kept_case(tmp_path / f"{name}.npz")


@pytest.mark.parametrize("damage", ["cut", "empty", "values", "checksum", "method", "flags"])
def test_a_damaged_file_is_reported_in_one_line_and_may_be_replaced(tmp_path: Path, damage: str) -> None:
    keep, path = KeepProbabilitiesd(str(tmp_path)), tmp_path / "a_ct.npz"
    keep(case())
    whole = path.read_bytes()
    first = whole.index(b"PK\1\2")  # the directory's entry of "probabilities": 8 flags, 10 method, 16 checksum
    flipped = {"values": 100, "checksum": first + 16, "method": first + 10, "flags": first + 8}
    broken = bytearray(whole[: {"cut": len(whole) // 2, "empty": 0}.get(damage)])
    if damage in flipped:
        broken[flipped[damage]] ^= 1
    path.write_bytes(broken)
    with pytest.raises(InputError, match="a_ct.npz is not a readable case kept by an evaluation") as error:
        read_kept_case(path)
    assert "\n" not in str(error.value)
    keep(case())
    assert read_kept_case(path).name == "a_ct"


def test_a_case_is_named_after_its_file_without_suffix() -> None:
    assert [case_name(file) for file in ("train/a_ct.nii.gz", "b.c.nrrd", "d")] == ["a_ct", "b.c", "d"]
