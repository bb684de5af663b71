"""One series per study is chosen, the most suitable for the liver; all others are listed with the reason."""

import logging
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from custom_networks.errors import InputError, UsageError
from custom_networks.io import find_cases, list_cases, list_dicom, read_volume
from custom_networks.io.dicom.listing import list_series

Write = Callable[..., Path]


def labelled(
    description: str = "", patient: str = "Secret1", study: str = "1.2", keep: int = 8, **values: object
) -> Callable[[int, Dataset], object]:
    """The first `keep` slices of a patient's study, in a separate series."""
    uid = generate_uid()

    def change(k: int, dataset: Dataset) -> object:
        dataset.SeriesInstanceUID, dataset.SeriesDescription = uid, description
        dataset.PatientID, dataset.StudyInstanceUID = patient, study
        for keyword, value in values.items():
            setattr(dataset, keyword, value)
        return k < keep

    return change


def chosen(folder: Path) -> list[str]:
    """Descriptions of the chosen series."""
    listing = list_series(folder)
    return [listing.series[index].slices[0].description for index in listing.chosen]


@pytest.mark.parametrize(
    "better, worse",
    [
        ("5.0 PORTAL VENOUS", "ARTERIAL"),
        ("Venous Phase  5.0  B30f", "Abd nativ"),
        ("Abd 70 sec", "delayed 5 min"),
        ("late", "ART"),
        ("ABDOMEN", "Abd w/o"),
        ("VENOUS", "VENOUS LUNG"),
        ("combination", "PLAIN"),
    ],
)
def test_the_portal_venous_phase_is_preferred(write_series: Write, better: str, worse: str) -> None:
    for number, description in enumerate((worse, better, worse)):
        write_series(labelled(description), f"exam/{number}")
    assert chosen(write_series(labelled(worse), "exam")) == [better]


def test_a_stub_is_not_chosen_for_its_phase(write_series: Write) -> None:
    write_series(labelled("portal venous", keep=6), "exam/stub")
    write_series(labelled("nativ"), "exam/whole")
    assert chosen(write_series(labelled("MIP", ImageType=["DERIVED", "SECONDARY", "MIP"]), "exam")) == ["nativ"]


def test_originals_are_preferred_to_derived_and_lossy_ones(write_series: Write) -> None:
    write_series(labelled("derived", ImageType=["DERIVED", "SECONDARY", "AXIAL"]), "exam/a")
    write_series(labelled("lossy", LossyImageCompression="01"), "exam/b")
    assert chosen(write_series(labelled("original"), "exam")) == ["original"]


def test_the_notes_name_what_was_chosen_and_what_was_not(write_series: Write) -> None:
    write_series(labelled("ARTERIAL"), "exam/a")
    write_series(labelled("PORTAL", keep=3, study="1.1"), "exam/b")
    write_series(labelled(Modality="MR"), "exam/c")
    write_series(labelled(patient="Secret2", study="1.3", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), "exam/d")
    folder = write_series(labelled("VENOUS"), "exam")
    notes = read_volume(folder).notes
    assert len(notes) == 5 and "Secret" not in " ".join(notes)
    assert " of 5 was chosen (CT, 8 slices, 3 mm, portal venous)." in notes[0]
    assert notes[1:3] == (
        "8 files were skipped: not CT but MR.",
        "8 files were skipped: localizers (scouts), of another patient.",
    )
    skipped = sorted(notes[3:], key=lambda note: "not chosen" in note)
    assert "(CT, 3 slices, portal venous, of another study) was skipped. It holds 3 slices (9 mm)" in skipped[0]
    assert f"(CT, 8 slices, 3 mm, arterial) was not chosen: give {folder}::" in skipped[1]
    number = skipped[1].split("::")[1].split(" ")[0]
    assert "arterial" in read_volume(f"{folder}::{number}").notes[0]
    for bad in ("::0", "::6"):
        with pytest.raises(InputError, match="has 5 series, but no number"):
            read_volume(f"{folder}{bad}")


def test_the_list_has_one_line_per_series(write_series: Write) -> None:
    write_series(labelled("ARTERIAL"), "exam/a")
    write_series(labelled(Modality="MR"), "exam/c")
    head, *lines = list_dicom(write_series(labelled("VENOUS"), "exam"))
    assert head.endswith("exam: 24 files, 3 series, 1 to segment")
    assert [line.partition("  ")[0] for line in lines] == ["1", "2", "3"]
    told = {line.partition('"')[0].partition("  ")[2]: line for line in lines}
    assert told["CT, 8 slices, 3 mm, portal venous "].endswith('"VENOUS": chosen.')
    assert '"ARTERIAL": not chosen: give ' in told["CT, 8 slices, 3 mm, arterial "]
    assert ": skipped. 8 of 8 files are not CT but MR: only CT is read" in next(line for line in lines if "MR" in line)


def test_each_patient_in_a_separate_folder_is_a_case_named_after_it(
    write_series: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for patient in ("1", "2"):
        write_series(labelled("VENOUS", f"Secret{patient}", patient), f"exam/p{patient}/venous")
        write_series(labelled("ARTERIAL", f"Secret{patient}", patient), f"exam/p{patient}/arterial")
    write_series(labelled("", "Secret3", "3", Modality="US"), "exam/p3")
    exam = tmp_path / "exam"
    with caplog.at_level(logging.WARNING):
        cases = list_cases(exam)
    assert sorted(case["case"] for case in cases) == ["p1", "p2"]
    assert sorted(case["image"].source for case in cases) == [str(exam / "p1"), str(exam / "p2")]
    assert [record.getMessage() for record in caplog.records] == [f"{exam}: 8 files were skipped: not CT but US."]
    assert all(case["image"].read().array.shape == (16, 12, 8) for case in cases)
    with pytest.raises(InputError, match="holds volumes of 2 patients: add one of ::"):
        read_volume(exam)


def test_patients_mixed_in_a_folder_or_archive_are_numbered_cases(write_series: Write, tmp_path: Path) -> None:
    folder = write_series(labelled("", "Secret1", "1"), "mixed/x")
    for path in list(folder.iterdir()):
        path.rename(folder / f"{path.stem}_1")
    write_series(labelled("", "Secret2", "2"), "mixed/x")
    with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, path.name)
    for source in (folder, tmp_path / "mixed.zip"):
        cases = list_cases(source)
        assert [case["image"].source for case in cases] == [f"{source}::1", f"{source}::2"]
        assert [case["case"] for case in cases] == [f"{source.stem}_1", f"{source.stem}_2"]
        assert all(case["image"].read().notes == () for case in cases)


def test_a_patient_whose_volume_is_refused_is_still_a_case(write_series: Write) -> None:
    write_series(lambda k, d: labelled("", "Secret1", "1", SeriesInstanceUID="1.7")(k, d) and k != 4, "exam/gap")
    write_series(labelled("", "Secret2", "2"), "exam/whole")
    cases = {case["case"]: case["image"] for case in list_cases(Path(write_series(labelled(keep=0), "exam")))}
    assert sorted(cases) == ["gap", "whole"] and cases["whole"].read().array.shape == (16, 12, 8)
    with pytest.raises(InputError, match="slices are missing"):
        cases["gap"].read()


@pytest.mark.parametrize("first, second", [(("", "1"), ("Secret", "1")), (("", ""), ("", ""))])
def test_volumes_without_patient_and_study_are_refused_together(
    write_series: Write, first: tuple[str, str], second: tuple[str, str]
) -> None:
    for name, (patient, study) in (("exam/a", first), ("exam/b", second)):
        write_series(labelled("", patient, study, PatientName=""), name)
    exam = write_series(labelled(keep=0), "exam")
    assert [case["image"].source for case in list_cases(exam)] == [str(exam)]
    with pytest.raises(
        InputError, match=r"patient of 2 CT volumes in .* is uncertain \(. without PatientID and PatientName"
    ):
        read_volume(exam)
    assert list_dicom(exam)[0].endswith("2 series, 0 to segment")


@pytest.mark.parametrize("patient", ["", "ANONYMOUS"])
def test_studies_are_distinguished_independently_of_patients_names(write_series: Write, patient: str) -> None:
    for study in "123":
        write_series(labelled("", patient, study, PatientName=patient), f"exam/s{study}")
    exam = write_series(labelled(keep=0), "exam")
    cases = list_cases(exam)
    assert sorted(case["case"] for case in cases) == ["s1", "s2", "s3"]
    assert len({case["image"].identity for case in cases}) == 3
    assert list_dicom(exam)[0].endswith("3 series, 3 to segment")
    assert all(case["image"].read().array.shape == (16, 12, 8) for case in cases)
    with pytest.raises(InputError, match="holds volumes of 3 (studies|patients): add one of ::1, ::2, ::3"):
        read_volume(exam)


def test_a_volume_without_a_patient_does_not_affect_other_patients(write_series: Write) -> None:
    write_series(labelled("", "", "", PatientName=""), "exam/nobody")
    for patient in "1234":
        write_series(labelled("", f"Secret{patient}", patient), f"exam/p{patient}")
    exam = write_series(labelled(keep=0), "exam")
    *named, nobody = list_cases(exam)
    assert sorted(case["case"] for case in named) == ["p1", "p2", "p3", "p4"]
    with pytest.raises(InputError, match=r"patient of 1 CT volume in .* is uncertain \(1 without PatientID"):
        nobody["image"].read()
    assert list_dicom(exam)[0].endswith("5 series, 4 to segment")


def test_a_series_uid_that_two_patients_share_is_refused_by_both_commands(write_series: Write) -> None:
    for patient in "12":
        shared = {"SeriesInstanceUID": "1.7", "StudyInstanceUID": "1.2"}
        write_series(labelled("", f"Secret{patient}", **shared), f"exam/p{patient}")
    exam = write_series(labelled(keep=0), "exam")
    assert list_dicom(exam)[0].endswith("2 series, 0 to segment")
    for case in list_cases(exam):
        with pytest.raises(InputError, match="Images of 2 patients share its SeriesInstanceUID"):
            case["image"].read()


def test_volume_files_and_dicom_of_a_folder_are_both_cases(
    write_series: Write, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    exam = write_series(labelled(), "exam")
    (exam / "a.nii.gz").touch()
    assert [case["case"] for case in list_cases(exam)] == ["a", "exam"]
    report = write_series(labelled(Modality="SR"), "reports")
    (report / "b.nii.gz").touch()
    with caplog.at_level(logging.WARNING):
        assert [case["case"] for case in list_cases(report)] == ["b"]
    assert [record.getMessage() for record in caplog.records] == [f"{report}: 8 files were skipped: not CT but SR."]


def test_volume_files_in_subfolders_are_reported_and_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("top/a.nii.gz", "top/sub/b.nii.gz", "top/sub/c.nrrd", "below/sub/d.mha"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "top" / "results").mkdir()
    (tmp_path / "top" / "results" / "a_seg.nii.gz").touch()
    (tmp_path / "top" / "results" / "manifest.json").touch()
    with caplog.at_level(logging.WARNING):
        assert [case["case"] for case in list_cases(tmp_path / "top")] == ["a"]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path}/top: there are also 2 volumes in {tmp_path}/top/sub: give them as separate inputs to segment "
        "them."
    ]
    with pytest.raises(
        UsageError, match=r"below has no image directly in it, only 1 volume in .*below/sub: give the files or folders"
    ):
        list_cases(tmp_path / "below")


@pytest.mark.parametrize("given", ["", " ", "::1"])
def test_an_empty_input_is_not_the_current_folder(given: str) -> None:
    cases, failures = find_cases([given])
    assert not cases and failures[0].startswith("An input has no path")


def test_a_series_can_also_be_given_after_a_slash(write_series: Write) -> None:
    folder = write_series(labelled())
    assert read_volume(f"{folder}/::1").array.shape == (16, 12, 8)
    assert find_cases([f"{folder}/::1"])[0][0].name == "series_1"


def test_if_nothing_can_be_segmented_patients_and_all_series_are_listed(write_series: Write) -> None:
    for patient in "123":
        write_series(labelled("", f"Secret{patient}", patient, keep=1), f"exam/{patient}")
    exam = write_series(labelled(keep=0), "exam")
    with pytest.raises(InputError) as caught:
        read_volume(exam)
    text = str(caught.value)
    assert "holds no CT series that can be segmented. It holds images of 3 patients." in text
    assert text.count("It holds 1 slice, but at least 5 are needed") == 3 and "Secret" not in text
    assert [case["image"].source for case in list_cases(exam)] == [str(exam)]


def test_an_archive_without_images_is_a_usage_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(UsageError, match=r"no image found in .*texts.zip \(1 file checked\)"):
        list_cases(tmp_path / "texts.zip")


def test_an_input_with_only_damaged_files_is_refused_with_their_names(tmp_path: Path) -> None:
    (tmp_path / "cut").write_bytes(bytes(128) + b"DICM")
    with pytest.raises(InputError, match=r"can be segmented. 1 damaged or incomplete file was skipped \(cut\)"):
        read_volume(tmp_path)
    assert list_dicom(tmp_path)[1:] == ["-  cut: damaged or incomplete."]
