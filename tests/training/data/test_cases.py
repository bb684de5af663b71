"""Training and validation cases: split by patient, each case validated once, reproducibly."""

import json
import logging
import random
import re
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from custom_networks.errors import InputError
from custom_networks.training.data import image_names, training_cases, validation_cases

Item = dict[str, Any]


def item(name: str, group: str | None = None, **more: Any) -> Item:
    paths = {"image": f"./ct/{name}.nii.gz", "label": f"./labels/{name}.nii.gz"}
    return paths | ({} if group is None else {"group": group}) | more


def items_of(groups: dict[str, int]) -> list[Item]:
    """Items of patients with a number of cases each: {"a": 2} has a0 and a1."""
    return [item(f"{group}{i}", group) for group, cases in groups.items() for i in range(cases)]


def write(folder: Path, **lists: list[Item]) -> str:
    path = folder / "dataset.json"
    path.write_text(json.dumps(lists), encoding="utf-8")
    return str(path)


def names(cases: list[Item]) -> list[str]:
    return sorted(Path(case["image"]).name.removesuffix(".nii.gz") for case in cases)


def test_paths_are_joined_to_the_dataset_dir(tmp_path: Path) -> None:
    datalist = write(tmp_path, training=[item("a")])
    assert training_cases(datalist, "/data/Task03", fold=None) == [
        {"image": "/data/Task03/ct/a.nii.gz", "label": "/data/Task03/labels/a.nii.gz", "tumor_labelled": True}
    ]


def test_tumors_count_as_labelled_unless_the_list_says_otherwise(tmp_path: Path) -> None:
    listed = [item("a"), item("b", tumor_labelled=False), item("c", tumor_labelled=True)]
    cases = training_cases(write(tmp_path, training=listed), "/data", fold=None)
    assert [case["tumor_labelled"] for case in cases] == [True, False, True]


@pytest.mark.parametrize(
    ("broken", "key"),
    [
        ({"image": "b.nii"}, "label"),
        ({"label": "b.nii"}, "image"),
        ({"image": ["b.nii"], "label": "seg.nii"}, "image"),
        ("b.nii", "image"),
    ],
)
def test_an_item_without_a_file_is_refused_with_list_item_and_key(tmp_path: Path, broken: Any, key: str) -> None:
    datalist = write(tmp_path, training=[item("a"), broken])
    for cases in (training_cases, validation_cases):
        with pytest.raises(InputError) as error:
            cases(datalist, "/data", 0, 2)
        assert str(error.value).startswith(f'{datalist}: item 2 must have "{key}"') and "b.nii" in str(error.value)


def test_items_are_checked_only_in_the_lists_that_are_used(tmp_path: Path) -> None:
    datalist = write(tmp_path, training=[item("a"), item("b")], validation=[{"image": "x.nii"}])
    assert names(training_cases(datalist, "/data", 0, 2)) == ["b"]
    with pytest.raises(InputError, match='item 1 must have "label"'):
        validation_cases(datalist, "/data", "all")


@pytest.mark.parametrize("value", ["false", "true", 0, 1, None])
def test_tumor_labelled_must_be_a_bool(tmp_path: Path, value: Any) -> None:
    datalist = write(tmp_path, training=[item("a"), item("b", tumor_labelled=value)])
    with pytest.raises(InputError) as error:
        training_cases(datalist, "/data", 0, 2)
    said = f'{datalist}: "tumor_labelled" of item 2, ./ct/b.nii.gz, must be true or false, got {json.dumps(value)}:'
    assert str(error.value).startswith(said)


def test_patients_are_assigned_largest_first_to_the_smallest_fold(tmp_path: Path) -> None:
    # a (3) to fold 0, b (2) to fold 1, c to fold 1 (3 each), d to fold 0, e to fold 1
    datalist = write(tmp_path, training=items_of({"e": 1, "b": 2, "a": 3, "c": 1, "d": 1}))
    assert names(validation_cases(datalist, "/data", fold=0, folds=2)) == ["a0", "a1", "a2", "d0"]
    assert names(validation_cases(datalist, "/data", fold=1, folds=2)) == ["b0", "b1", "c0", "e0"]
    assert names(training_cases(datalist, "/data", fold=0, folds=2)) == ["b0", "b1", "c0", "e0"]


@settings(max_examples=15, deadline=None)
@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=9), folds=st.integers(1, 5), seed=st.integers(0, 99))
def test_each_case_is_validated_once_and_no_patient_is_on_both_sides(sizes: list[int], folds: int, seed: int) -> None:
    assume(2 <= folds <= len(sizes))  # with fewer patients than folds one has nothing to validate on, and says so
    items = items_of({chr(ord("a") + i): size for i, size in enumerate(sizes)})
    random.Random(seed).shuffle(items)
    with tempfile.TemporaryDirectory() as folder:
        datalist = write(Path(folder), training=items)
        validated = []
        for fold in range(folds):
            train = names(training_cases(datalist, "/data", fold, folds))
            held_out = names(validation_cases(datalist, "/data", fold, folds))
            assert not {name[0] for name in train} & {name[0] for name in held_out}
            assert sorted(train + held_out) == names(items)
            validated += held_out
        assert sorted(validated) == names(items)


def test_folds_do_not_depend_on_the_order_of_the_list(tmp_path: Path) -> None:
    items = items_of({"a": 2, "b": 1, "c": 1, "d": 2, "e": 1})
    one = names(validation_cases(write(tmp_path, training=items), "/data", 1, 3))
    other = names(validation_cases(write(tmp_path, training=items[::-1]), "/data", 1, 3))
    assert one == other


def test_cases_without_group_are_separate_patients(tmp_path: Path) -> None:
    datalist = write(tmp_path, training=[item(name) for name in "abcdef"])
    assert [len(validation_cases(datalist, "/data", fold, 3)) for fold in range(3)] == [2, 2, 2]


@pytest.mark.parametrize("key", ["dev", "validation"])
def test_without_fold_all_of_training_is_trained_on_and_dev_is_validated(tmp_path: Path, key: str) -> None:
    datalist = write(tmp_path, training=items_of({"a": 2, "b": 1}), **{key: [item("x")]})
    assert names(training_cases(datalist, "/data", fold=None)) == ["a0", "a1", "b0"]
    assert names(validation_cases(datalist, "/data", fold=None)) == ["x"]


def test_a_fold_never_uses_dev(tmp_path: Path) -> None:
    datalist = write(tmp_path, training=[item("a"), item("b")], dev=[item("x")])
    assert names(training_cases(datalist, "/data", 0, 2) + validation_cases(datalist, "/data", 0, 2)) == ["a", "b"]


@pytest.mark.parametrize("fold", [None, "all"])
def test_without_fold_and_dev_there_is_no_validation_which_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fold: str | None
) -> None:
    with caplog.at_level(logging.INFO):
        assert validation_cases(write(tmp_path, training=[item("a")]), "/data", fold) == []
    assert "so nothing is validated" in caplog.text


def test_a_fold_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no case to validate on"):
        validation_cases(write(tmp_path, training=[item("a")]), "/data", fold=1)


@pytest.mark.parametrize("cases", [training_cases, validation_cases])
def test_a_missing_list_is_refused_in_one_line_with_its_path(tmp_path: Path, cases: Any) -> None:
    missing = str(tmp_path / "nowhere" / "dataset.json")
    with pytest.raises(InputError) as error:
        cases(missing, str(tmp_path))
    assert missing in str(error.value) and "--datalist" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fold", [None, "all"])
def test_fold_all_trains_on_all_and_validates_on_the_lists_own_cases(tmp_path: Path, fold: str | None) -> None:
    datalist = write(tmp_path, training=items_of({"a": 2}), dev=items_of({"b": 1}))
    assert len(training_cases(datalist, "root", fold)) == 2
    assert len(validation_cases(datalist, "root", fold)) == 1


@pytest.mark.parametrize("fold", [-1, 5, 99])
def test_a_fold_out_of_range_is_refused(tmp_path: Path, fold: int) -> None:
    datalist = write(tmp_path, training=items_of({"a": 1}))
    for cases in (training_cases, validation_cases):
        with pytest.raises(InputError, match=f"fold must be from 0 to 4 or 'all', got {fold}"):
            cases(datalist, "/data", fold)


def as_downloaded(folder: Path, layout: str, numbers: range) -> None:
    """Write small files with the names of a download of MSD Task03_Liver or LiTS."""
    folder.mkdir(exist_ok=True)
    batches = {"lits": "", "lits in batches": "Training Batch 2/" if 28 in numbers else "Training Batch 1/"}
    listed: list[Item] = []
    for n in numbers:
        names = {"image": f"./imagesTr/liver_{n}.nii.gz", "label": f"./labelsTr/liver_{n}.nii.gz"}
        if layout in batches:
            names = {
                key: f"{batches[layout]}{kind}-{n}.nii"
                for key, kind in (("image", "volume"), ("label", "segmentation"))
            }
        listed.append(names)
        for name in names.values():
            (folder / name).parent.mkdir(exist_ok=True)
            spacing = [1.0, 1, 1, 1] if layout in batches and 28 <= n <= 47 else [0.7, 0.7, 2.5, 1]
            nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.diag(spacing)), folder / name)
            (folder / name).with_name(f"._{Path(name).name}").write_bytes(b"macOS")
    if layout == "msd":
        (folder / "._dataset.json").write_bytes(b"macOS")
        test = [f"./imagesTs/liver_{n}.nii.gz" for n in range(131, 134)]
        (folder / "dataset.json").write_text(json.dumps({"name": "Liver", "training": listed, "test": test}))


@pytest.mark.parametrize("layout", ["msd", "lits", "lits in batches"])
def test_a_download_can_be_used_unchanged_and_no_patient_is_split(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, layout: str
) -> None:
    folder = tmp_path / "data"
    as_downloaded(folder, layout, range(0, 17))
    as_downloaded(
        folder / "more" if layout != "msd" else folder, layout, range(0, 17) if layout == "msd" else range(28, 30)
    )
    datalist = str(folder / "dataset.json")
    with caplog.at_level(logging.INFO):
        folds = [validation_cases(datalist, str(folder), fold, 3) for fold in range(3)]
        assert len(training_cases(datalist, str(folder), 0, 3)) == 17 - len(folds[0])
    numbers = [{int(re.findall(r"\d+", Path(case["image"]).name)[0]) for case in fold} for fold in folds]
    assert sorted(n for fold in numbers for n in fold) == list(range(17))
    for patient in ({0, 1}, {6, 7, 8, 9, 10}, {14, 15}):
        assert sum(bool(patient & fold) for fold in numbers) == 1
    assert all(Path(case[key]).is_file() for fold in folds for case in fold for key in ("image", "label"))
    assert (
        caplog.text.count("9 cases of") == 1
        and "patients lits-0-1, lits-14-15, lits-6-10, which are never split" in caplog.text
    )
    left_out = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    if layout == "msd":
        assert left_out == []
    else:
        assert len(left_out) == 1 and left_out[0].endswith("volume-28.nii, volume-29.nii")


def test_groups_in_the_list_take_precedence_over_known_patients(tmp_path: Path) -> None:
    listed = [item("liver_0", "a"), item("liver_1", "b"), item("liver_6"), item("liver_7")]
    validated = [names(validation_cases(write(tmp_path, training=listed), "/data", fold, 3)) for fold in range(3)]
    assert sorted(validated) == [["liver_0"], ["liver_1"], ["liver_6", "liver_7"]]


def test_a_missing_list_given_by_name_is_not_replaced_by_files_in_the_folder(tmp_path: Path) -> None:
    as_downloaded(tmp_path, "lits", range(3))
    with pytest.raises(InputError, match="No data list at .*mine.json"):
        training_cases(str(tmp_path / "mine.json"), str(tmp_path))


def test_real_list_has_32_training_and_4_dev_cases_whose_files_exist(shared_data: Path) -> None:
    folder = shared_data / "ct"
    train = training_cases(str(folder / "dataset.json"), str(folder), fold=None)
    dev = validation_cases(str(folder / "dataset.json"), str(folder), fold=None)
    assert len(train) == 32
    assert names(dev) == ["ircad10_ct", "ircad17_ct", "ircad20_ct", "lits050_ct"]
    assert all(Path(case[key]).is_file() for case in train + dev for key in ("image", "label"))


def test_real_list_keeps_the_lits_patients_of_several_scans_together(shared_data: Path) -> None:
    datalist = str(shared_data / "ct" / "dataset.json")
    folds = [names(validation_cases(datalist, "ct", fold)) for fold in range(5)]
    for patient in (("lits000", "lits001"), ("lits006", "lits007", "lits008", "lits009", "lits010")):
        assert sum(any(name.startswith(patient) for name in fold) for fold in folds) == 1
    assert sum(len(fold) for fold in folds) == 32
    assert max(map(len, folds)) - min(map(len, folds)) <= 1


def test_image_names_do_not_depend_on_the_datas_folder_but_on_the_split(tmp_path: Path) -> None:
    named = {}
    for place in ("here", "there"):
        folder = tmp_path / place
        folder.mkdir()
        datalist = write(folder, training=[item(name) for name in "cab"])
        for fold in (0, 1):
            named[place, fold] = image_names(training_cases(datalist, str(folder), fold, folds=3), str(folder))
    assert named["here", 0] == named["there", 0] == ["ct/b.nii.gz", "ct/c.nii.gz"]
    assert named["here", 1] == named["there", 1] == ["ct/a.nii.gz", "ct/c.nii.gz"]
    assert image_names([{"image": "/elsewhere/d.nii"}], str(tmp_path)) == ["/elsewhere/d.nii"]
