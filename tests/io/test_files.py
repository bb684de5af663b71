"""Names of cases, and the files that count as volumes."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from custom_networks.errors import InputError, UsageError
from custom_networks.io import MEDICAL_SUFFIXES, case_stem, list_cases
from custom_networks.io.files import is_dicom, visible_files


def sources(folder: Path) -> list[str]:
    return [item["image"].source for item in list_cases(folder)]


@pytest.mark.parametrize(
    "path, stem",
    [
        ("a/b/case_1.nii.gz", "case_1"),
        ("CASE.NII.GZ", "CASE"),
        ("v1.2.nrrd", "v1.2"),
        ("folder/2024/", "2024"),
        ("Müller, Jan.mha", "M_ller__Jan"),
        ("肝.nii", "_"),
        (".nii.gz", "case"),
        ("..hidden.nii", "_hidden"),
        ("dir/..", None),
        ("scan.dcm.txt", "scan.dcm.txt"),
    ],
)
def test_the_stem_is_the_users_name_in_safe_characters(path: str, stem: str | None) -> None:
    assert case_stem(path) == (Path.cwd().name if stem is None else stem)


@given(name=st.text(min_size=1, max_size=300).filter(lambda text: "/" not in text and "\0" not in text))
@settings(max_examples=50, deadline=None)
def test_stem_of_any_name_is_a_safe_file_name(name: str) -> None:
    for suffix in ("", ".nii.gz"):
        stem = case_stem(Path("folder") / (name + suffix))
        assert 0 < len(stem) <= 128 and not stem.startswith(".")
        assert all(character.isascii() and (character.isalnum() or character in "._-") for character in stem)


def test_volumes_are_the_files_with_a_medical_suffix_in_order(tmp_path: Path) -> None:
    names = [f"case{suffix}" for suffix in MEDICAL_SUFFIXES]
    for name in [*names, "notes.txt", "._case.nii.gz", "x.ini"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.nii").mkdir()
    assert [Path(source).name for source in sources(tmp_path)] == sorted(names)


def test_a_folder_with_dicom_files_is_a_volume(write_series: Callable[..., Path]) -> None:
    folder = write_series()
    (folder / "readme.txt").touch()
    assert sources(folder) == [str(folder)]


def test_a_folder_without_images_is_refused_with_the_number_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.ini").touch()
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(UsageError, match=r"no image found in .* \(2 files checked\)"):
        list_cases(tmp_path)
    with pytest.raises(UsageError, match="No such folder: .*absent"):
        list_cases(tmp_path / "absent")


def test_files_that_cannot_be_opened_are_refused_and_not_skipped(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        is_dicom(tmp_path)
    with pytest.raises(InputError, match="cannot be listed"):
        visible_files(tmp_path / "absent")
