"""`liverseg series` lists the series of a DICOM input; `liverseg segment` uses the one marked as chosen."""

import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

Liverseg = Callable[..., Any]


@pytest.fixture
def exam(tmp_path: Path) -> Path:
    """A folder with one series of 24 slices, two levels down, and a text file."""
    folder = tmp_path / "exam"
    write_series(make_phantom(5, shape=(64, 64, 24), spacing=(1.25, 1.25, 3.0), lesions=1), folder / "a" / "b", "0")
    (folder / "readme.txt").write_text("text")
    return folder


@pytest.fixture
def archive(exam: Path, tmp_path: Path) -> Path:
    """The same as an archive."""
    with zipfile.ZipFile(tmp_path / "exam.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for path in exam.rglob("*"):
            packed.write(path, path.relative_to(exam))
    return tmp_path / "exam.zip"


def test_the_series_of_a_folder_and_an_archive_are_listed(liverseg: Liverseg, exam: Path, archive: Path) -> None:
    for source in (exam.name, archive.name):
        answer = liverseg("series", source)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out == (
            f"{source}: 25 files, 1 series, 1 to segment\n"
            '1  CT, 24 slices, 3 mm "Synthetic phantom, not a patient": chosen.\n'
        )


def test_a_folder_without_images_ends_with_one_line_and_exit_code_2(liverseg: Liverseg, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    answer = liverseg("series", "empty")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("liverseg: empty holds no DICOM image (0 files checked")


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["absent"], ["notes.txt"], ["a", "--output", "out"]])
def test_wrong_usage_of_series_is_refused_in_one_line(liverseg: Liverseg, tmp_path: Path, arguments: list[str]) -> None:
    (tmp_path / "notes.txt").write_text("text")
    answer = liverseg("series", *arguments)
    assert answer.code == 2 and answer.out == "" and re.fullmatch(r"liverseg: [^\n]+\n", answer.err)


def test_folder_archive_and_series_by_number_are_segmented(
    segment: Liverseg, exam: Path, archive: Path, tmp_path: Path
) -> None:
    answer = segment("exam", "exam.zip", "exam::1", "exam.zip::7")
    assert answer.code == 1 and "exam.zip has 1 series, but no number 7" in answer.err.splitlines()[-1]
    masks = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.nii.gz"))
    # The folder and the archive hold the same series: one input, one folder. Its number is a name of its own.
    assert masks == ["exam/exam_seg.nii.gz", "exam_1/exam_1_seg.nii.gz"]
    assert answer.out.count(" ml, tumor") == 3
    assert len(set(re.findall(r"liver ([\d.]+) ml", answer.out))) == 1
