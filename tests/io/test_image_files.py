"""Paths that no reader accepts."""

from collections.abc import Callable
from pathlib import Path

import pytest

from custom_networks.errors import InputError
from custom_networks.io import list_cases, read_label_map, read_volume


@pytest.mark.parametrize("read", [read_volume, read_label_map])
def test_a_missing_path_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(InputError, match="No such file or folder: .*absent.nii.gz"):
        read(tmp_path / "absent.nii.gz")
    for impossible in ("x" * 300, "x\0y"):
        with pytest.raises(InputError, match="No such file or folder"):
            read(tmp_path / impossible)


@pytest.mark.parametrize("read", [read_volume, list_cases])
def test_a_home_folder_of_an_unknown_user_is_named_in_the_error(read: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match="^~nobody_of_this_name/ct.nii cannot be accessed"):
        read("~nobody_of_this_name/ct.nii")


def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    for name in ("ct.ini", "ct", "ct.gz"):
        (tmp_path / name).write_text("text")
        with pytest.raises(InputError, match=r"has an unknown suffix: give a \.nii\.gz, \.nii, \.nrrd"):
            read_volume(tmp_path / name)


def test_a_single_dicom_file_is_refused_and_the_message_asks_for_its_folder(write_series: Callable[..., Path]) -> None:
    path = write_series() / "0.dcm"
    for single in (path, path.rename(path.with_name("IM0001"))):
        if single.exists():
            with pytest.raises(InputError, match="is a single DICOM file: give the folder of the series"):
                read_volume(single)


def test_paths_with_spaces_and_other_scripts_are_read(write_nifti: Callable[..., Path], hounsfield: object) -> None:
    assert read_volume(str(write_nifti(hounsfield, name="Müller 肝 1.nii.gz"))).source.name == "Müller 肝 1.nii.gz"


def test_a_path_that_cannot_be_followed_is_not_called_absent(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(InputError, match=r"loop cannot be accessed \(Too many levels of symbolic links\)"):
        read_volume(loop)
