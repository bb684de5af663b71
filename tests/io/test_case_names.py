"""Each case has a unique name, made from the user's name for it."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.errors import UsageError
from custom_networks.io import case_stem, list_cases
from custom_networks.io.cases import unique_names


def sources_and_names(*arguments: Any) -> list[tuple[str, str]]:
    return [(item["image"].source, item["case"]) for item in list_cases(*arguments)]


@pytest.mark.parametrize(
    "paths, names",
    [
        ([], []),
        (["a/ct.nii.gz", "b/ct.nii.gz", "c/ct.nrrd"], ["ct", "ct_2", "ct_3"]),
        (["a/ct.nii.gz", "b/CT.nii.gz"], ["ct", "CT_2"]),
        (["ct_2.nii", "a/ct.nii", "b/ct.nii"], ["ct_2", "ct", "ct_3"]),
        (["a/ct.nii", "b/ct.nii", "ct_2.nii"], ["ct", "ct_2", "ct_2_2"]),
        (["肝.nii.gz", "肺.nii.gz"], ["_", "__2"]),
        (["2024", "2024.nii"], ["2024", "2024_2"]),
        (["x" * 200 + "1.nii", "x" * 200 + "2.nii"], ["x" * 128, "x" * 128 + "_2"]),
    ],
)
def test_names_are_stems_and_equal_ones_are_numbered(paths: list[str], names: list[str]) -> None:
    assert unique_names(map(case_stem, paths)) == names


@given(paths=st.lists(st.sampled_from("a.nii A.nii a_2.nii a_2_2.nii A_2.nii b/a.nii a.mha .nii".split()), max_size=12))
@settings(max_examples=60, deadline=None)
def test_no_two_cases_share_a_folder_on_any_file_system(paths: list[str]) -> None:
    names = unique_names(map(case_stem, paths))
    assert len({name.lower() for name in names}) == len(paths)


def test_all_volumes_of_a_folder_or_those_of_a_list_are_cases(tmp_path: Path) -> None:
    for name in ("b.nii.gz", "a.nrrd", "sub/b.nii.gz", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    listed = [(str(tmp_path / "a.nrrd"), "a"), (str(tmp_path / "b.nii.gz"), "b")]
    assert sources_and_names(tmp_path) == sources_and_names(str(tmp_path)) == listed
    assert sources_and_names(tmp_path, ["b.nii.gz", "sub/b.nii.gz"]) == [
        (str(tmp_path / "b.nii.gz"), "b"),
        (str(tmp_path / "sub" / "b.nii.gz"), "b_2"),
    ]


def test_an_empty_folder_and_an_empty_list_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no image found in .* \(0 files checked\)"):
        list_cases(tmp_path)
    with pytest.raises(UsageError, match="datalist is empty"):
        list_cases(tmp_path, [])
