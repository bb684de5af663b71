"""Each slice is opened twice, parsed twice and decoded once, for any number of patients in a folder."""

import builtins
import io
import os
import pathlib
import pickle
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import enhanced_scene as scene
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from custom_networks.io import find_cases, list_cases, only_case

Write = Callable[..., Path]


def of_patient(number: int) -> Callable[[int, Dataset], None]:
    def change(k: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.StudyInstanceUID = f"Secret{number}", f"1.2.{number}"

    return change


@pytest.fixture
def exam(write_series: Write, tmp_path: Path) -> Path:
    """A folder with three patients, and the same as exam.zip beside it."""
    for number in (1, 2, 3):
        write_series(of_patient(number), f"exam/p{number}")
    return zipped(tmp_path / "exam").with_suffix("")


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Counts of opened files and members, by name; of opened archives, parsed headers and decoded pixels."""
    counts: Counter[str] = Counter()

    def counting(owner: Any, name: str, key: Callable[..., str]) -> None:
        original = getattr(owner, name)

        def count(*arguments: Any, **keywords: Any) -> Any:
            counts[key(*arguments)] += 1
            return original(*arguments, **keywords)

        monkeypatch.setattr(owner, name, count)

    # Before 3.11 pathlib holds a reference of its own to io.open.
    own = [accessor] if (accessor := getattr(pathlib, "_normal_accessor", None)) else []
    for module in (io, builtins, *own):
        counting(module, "open", lambda path, *_: f"open {os.path.relpath(path, Path(path).parents[1])}")
    counting(zipfile.ZipFile, "open", lambda archive, name, *_: f"open {name}")
    counting(pydicom, "dcmread", lambda *_: "parse")
    decode = Dataset.pixel_array.fget  # type: ignore[attr-defined]

    def decoded(dataset: Dataset) -> Any:
        counts["decode"] += 1
        return decode(dataset)

    monkeypatch.setattr(Dataset, "pixel_array", property(decoded))
    return counts


def opens(counts: Counter[str]) -> Counter[str]:
    """The number of times that each slice was opened, by name."""
    return Counter({name: n for name, n in counts.items() if name.endswith(".dcm")})


def test_files_of_a_series_in_a_folder_are_opened_twice(
    write_series: Write, counted: Counter[str], tmp_path: Path
) -> None:
    write_series()
    (tmp_path / "series" / "readme.txt").write_text("text")
    counted.clear()
    volume = only_case(tmp_path / "series").read()
    assert len(volume.headers) == 8
    assert set(opens(counted).values()) == {2} and len(opens(counted)) == 8
    assert (counted["parse"], counted["decode"], counted["open series/readme.txt"]) == (16, 8, 1)


def test_an_enhanced_file_is_opened_twice_and_decoded_a_frame_at_a_time(counted: Counter[str], tmp_path: Path) -> None:
    path = scene.save(scene.enhanced(scene.slices()), tmp_path / "exam" / "image.dcm")
    counted.clear()
    case = only_case(path.parent)
    assert (counted["open exam/image.dcm"], counted["parse"], counted["decode"]) == (1, 1, 0)
    assert len(case.read().headers) == 8
    assert (counted["open exam/image.dcm"], counted["parse"], counted["decode"]) == (2, 2, 8)
    assert case.identity != case.content and counted["parse"] == 2
    assert len(case.headers()) == 8 and counted["parse"] == 3


@pytest.mark.parametrize("ending", ["", ".zip"])
def test_slices_of_several_patients_are_opened_twice_and_an_archive_once(
    exam: Path, counted: Counter[str], ending: str
) -> None:
    cases, failures = find_cases([f"{exam}{ending}"])
    assert len(cases) == 3 and failures == []
    assert set(opens(counted).values()) == {1} and counted["decode"] == 0
    assert all(case.read().array.shape == (16, 12, 8) for case in cases)
    assert set(opens(counted).values()) == {2} and len(opens(counted)) == 24
    assert (counted["parse"], counted["decode"]) == (48, 24)
    assert sum(n for name, n in counted.items() if name.endswith(".zip")) == (ending == ".zip")


def test_work_grows_no_faster_than_the_number_of_patients(
    write_series: Write, counted: Counter[str], tmp_path: Path
) -> None:
    totals = []
    for number in range(1, 9):
        write_series(of_patient(number), f"many/p{number}")
        if number in (4, 8):
            archive = zipped(tmp_path / "many")
            counted.clear()
            assert sum(item["image"].read().array.shape[2] for item in list_cases(archive)) == 8 * number
            totals.append(sum(counted.values()) - 1)  # the archive itself
    assert totals == [4 * 8 * 5, 8 * 8 * 5]


def test_identity_and_content_of_a_series_are_known_without_opening_files_again(
    write_series: Write, counted: Counter[str]
) -> None:
    case = only_case(write_series())
    counted.clear()
    assert case.identity != case.content and not counted


def test_only_the_first_bytes_of_other_files_are_read(
    tmp_path: Path, write_nifti: Write, hounsfield: np.ndarray, counted: Counter[str]
) -> None:
    folder = write_nifti(hounsfield).parent
    with zipfile.ZipFile(tmp_path / "big.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("video.mpg", bytes(10_000_000))
    counted.clear()
    assert [item["case"] for item in list_cases(folder)] == ["ct"] and counted["parse"] == 0
    taken: list[int] = []
    read = zipfile.ZipExtFile.read
    with pytest.MonkeyPatch.context() as patch, pytest.raises(Exception, match="no image found"):
        patch.setattr(zipfile.ZipExtFile, "read", lambda self, n=-1: taken.append(n) or read(self, n))
        list_cases(tmp_path / "big.zip")
    assert taken == [132]


def test_a_pickled_case_has_no_open_archive_and_reads_the_same(exam: Path) -> None:
    for source in (exam, exam.with_suffix(".zip")):
        (case, *_), _ = find_cases([str(source)])
        again = pickle.loads(pickle.dumps(case))
        here, there = case.read(), again.read()
        assert np.array_equal(here.array, there.array) and np.array_equal(here.affine, there.affine)
        assert (case.name, case.source, case.notes, case.series) == (
            again.name,
            again.source,
            again.notes,
            again.series,
        )
        assert [h.SOPInstanceUID for h in here.headers] == [h.SOPInstanceUID for h in there.headers]
        assert (case.identity, case.content) == (again.identity, again.content)


def test_at_most_four_archives_stay_open(exam: Path, tmp_path: Path) -> None:
    content = exam.with_suffix(".zip").read_bytes()
    paths = [tmp_path / f"copy{number}.zip" for number in range(6)]
    for path in paths:
        path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        cases, _ = find_cases([str(path) for path in paths])
        assert len(open_archives(tmp_path)) <= 4
        assert all(case.read().array.shape[2] == 8 for case in cases) and len(cases) == 18
        assert len(open_archives(tmp_path)) <= 4


def test_an_archive_that_has_changed_is_opened_again(exam: Path, write_series: Write, tmp_path: Path) -> None:
    assert len(find_cases([f"{exam}.zip"])[0]) == 3
    write_series(of_patient(4), "exam/p4")
    zipped(exam)
    assert len(find_cases([f"{exam}.zip"])[0]) == 4


def open_archives(folder: Path) -> list[str]:
    """The archives in `folder` that this process has open."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.is_dir():
        pytest.skip("open files are listed in /proc alone")
    targets = [os.readlink(link) for link in descriptors.iterdir() if link.is_symlink()]
    return [target for target in targets if target.startswith(str(folder)) and target.endswith(".zip")]
