"""Folders in which one input could hide another, and names that a terminal cannot encode."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
from hostile import READ, REFUSED, Hostile

from custom_networks.phantom import make_phantom
from custom_networks.phantom.files import write_series

SHAPE, SPACING = (32, 32, 8), (5.0, 5.0, 5.0)
Make = Callable[[Path], Path]


def volume(path: Path) -> Path:
    """A small CT as NIfTI."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = make_phantom(5, shape=SHAPE, spacing=SPACING, lesions=0)
    nib.save(nib.Nifti1Image(image.image, image.affine), path)
    return path


def study(folder: Path, patient: str | None = None, uid: str = "", keep: int = 99, modality: str = "CT") -> Path:
    """A small CT series with another patient and study."""
    import pydicom

    write_series(make_phantom(5, shape=SHAPE, spacing=SPACING, lesions=0), folder, folder.name)
    for number, path in enumerate(sorted(folder.iterdir())):
        dataset = pydicom.dcmread(path)
        if patient is not None:
            dataset.PatientID = dataset.PatientName = patient
        dataset.StudyInstanceUID = uid or dataset.StudyInstanceUID
        dataset.Modality = modality
        dataset.save_as(path)
        if number >= keep:
            path.unlink()
    return folder


def several(folder: Path, *parts: Make) -> Path:
    for part in parts:
        part(folder)
    return folder


def studies(folder: Path, patients: tuple[str, ...], uids: tuple[str, ...]) -> Path:
    for number, (patient, uid) in enumerate(zip(patients, uids, strict=True)):
        study(folder / f"s{number}", patient, uid)
    return folder


def odd_name(folder: Path) -> Path:
    """A file name in Latin-1, as on old discs."""
    odd = os.fsencode(folder) + b"/sc\xe4n.nii.gz"
    shutil.move(volume(folder / "ct.nii.gz"), odd)
    return Path(os.fsdecode(odd))


def a_volume(folder: Path) -> Path:
    return volume(folder / "a.nii.gz")


def a_series(folder: Path) -> Path:
    return study(folder / "series")


def a_report(folder: Path) -> Path:
    return study(folder / "sr", keep=1, modality="SR")


def below(folder: Path) -> Path:
    return volume(folder / "sub" / "b.nii.gz")


def results(folder: Path) -> Path:
    """A case folder of an earlier run among the inputs."""
    below(folder).with_name("manifest.json").touch()
    return folder


INPUTS = [
    Hostile("stray_sr_beside_volumes", "selection", lambda f: several(f, a_volume, a_report), READ),
    Hostile("dicom_beside_volumes", "selection", lambda f: several(f, a_volume, a_series), READ, quick=True),
    Hostile("volumes_below_volumes", "selection", lambda f: several(f, a_volume, below), READ),
    Hostile(
        "volumes_below_alone",
        "selection",
        lambda f: several(f, below),
        REFUSED,
        "1 volume in .*sub: give the files or folders",
    ),
    Hostile("three_called_anonymous", "selection", lambda f: studies(f, ("ANON",) * 3, ("1.1", "1.2", "1.3")), READ),
    Hostile("three_without_a_name", "selection", lambda f: studies(f, ("",) * 3, ("1.1", "1.2", "1.3")), READ),
    Hostile("one_of_three_nameless", "selection", lambda f: studies(f, ("A", "", "B"), ("1.1", "1.2", "1.3")), READ),
    Hostile(
        "nameless_in_a_named_study",
        "selection",
        lambda f: studies(f, ("A", ""), ("1.1", "1.1")),
        REFUSED,
        "is uncertain",
    ),
    Hostile("latin_1_name", "selection", odd_name, READ),
    Hostile("an_empty_folder", "selection", lambda f: f, REFUSED, "no image found", quick=True),
    Hostile("a_results_folder_inside", "selection", lambda f: several(f, a_volume, results), READ),
]
