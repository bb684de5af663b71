"""Shared fixtures: real data if available, small phantoms, and volumes that tests can change before writing them."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import CompletedProcess

import nibabel as nib
import numpy as np
import pytest
from prepared_python import PreparedPython
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from custom_networks.io import limits
from custom_networks.phantom import files as phantom_files
from custom_networks.phantom import make_phantom

REPOSITORY = Path(__file__).resolve().parents[1]
REAL_ACROSS, REAL_ALONG = limits.ACROSS, limits.ALONG
SHAPE = (16, 12, 8)
AFFINE = np.array([[-0.8, 0, 0, 50], [0, -0.7, 0, 40], [0, 0, 3, -100], [0, 0, 0, 1]])


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A separate cache of converted networks for the tests and the processes that they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def python() -> Iterator[Callable[..., "CompletedProcess[str]"]]:
    """Run Python on arguments (`-m MODULE ...` or `-c CODE ...`) in a separate process; see `prepared_python`."""
    prepared = PreparedPython()
    yield prepared.run
    prepared.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real CT and DICOM cases (not part of the repository); the test is skipped if it is absent."""
    folder = Path(os.environ.get("LIVERSEG_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "ct" / "dataset.json").is_file():
        pytest.skip(f"REAL DATA ABSENT: no {folder}/ct; set LIVERSEG_SHARED to run this test")
    return folder


@pytest.fixture(scope="session")
def small_phantoms(tmp_path_factory: pytest.TempPathFactory) -> Callable[[tuple[float, float, float]], Path]:
    """A function that writes four phantoms of 64 x 56 x 20 voxels in the Decathlon's layout; returns their folder."""

    def written(spacing: tuple[float, float, float]) -> Path:
        folder = tmp_path_factory.mktemp("Task03 Phantom")
        cases = []
        for seed in (1, 2, 3, 4):
            phantom = make_phantom(seed, shape=(64, 56, 20), spacing=spacing, lesions=2)
            case = {"image": f"imagesTr/phantom_{seed}.nii.gz", "label": f"labelsTr/phantom_{seed}.nii.gz"}
            phantom_files.write_nifti(folder / case["image"], phantom.image, phantom.affine)
            phantom_files.write_nifti(folder / case["label"], phantom.label, phantom.affine)
            cases.append(case)
        (folder / "dataset.json").write_text(json.dumps({"training": cases}))
        return folder

    return written


@pytest.fixture(scope="session", autouse=True)
def tiny_volumes() -> Iterator[None]:
    """Accept volumes smaller than any body, because tests would be slow otherwise; `real_limits` undoes this."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ACROSS", "ALONG"):
            patch.setattr(limits, name, replace(getattr(limits, name), least=0.1))
        yield


@pytest.fixture
def real_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Apply the same limits on a body's size as for users."""
    for limit, name in ((REAL_ACROSS, "ACROSS"), (REAL_ALONG, "ALONG")):
        monkeypatch.setattr(limits, name, limit)


@pytest.fixture
def hounsfield() -> np.ndarray:
    """int16 HU (16, 12, 8), every voxel with a different value, from -1024 to 511."""
    return np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 1024


@pytest.fixture
def affine() -> np.ndarray:
    """The (4, 4) RAS affine of the written files: 0.8 x 0.7 x 3 mm, axes to the patient's left, back and head."""
    return AFFINE.copy()


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """Write an array as NIfTI with sform and qform codes 1 (or those given) and return the path."""

    def write(array: np.ndarray, affine: np.ndarray = AFFINE, name: str = "ct.nii.gz", **header: object) -> Path:
        image = nib.Nifti1Image(array, affine)
        image.set_sform(affine, int(str(header.pop("sform_code", 1))))
        image.set_qform(affine, int(str(header.pop("qform_code", 1))))
        for field, value in header.items():
            image.header[field] = value
        nib.save(image, tmp_path / name)
        return tmp_path / name

    return write


@pytest.fixture(scope="session")
def eight_slices() -> list[Dataset]:
    """The slices of a series with the voxels of `hounsfield`, feet first, not yet written to files."""
    values = np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE) - 1024
    return [slice_dataset(values[..., k], k, "1.2.5") for k in range(SHAPE[2])]


@pytest.fixture
def write_series(tmp_path: Path, hounsfield: np.ndarray) -> Callable[..., Path]:
    """Write `hounsfield` as one DICOM file per slice; `change(k, dataset)` edits slice k, or drops it (False)."""

    def write(change: Callable[[int, Dataset], object] = lambda k, dataset: None, name: str = "series") -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        series = generate_uid()
        for k in range(SHAPE[2]):
            dataset = slice_dataset(hounsfield[..., k], k, series)
            if change(k, dataset) is not False:
                dataset.save_as(folder / f"{(k * 5) % 8}.dcm", enforce_file_format=True)
        return folder

    return write


def slice_dataset(values: np.ndarray, k: int, series: str) -> Dataset:
    """Slice k of the series, HU `values` (columns, rows): feet first in file order, 3 mm apart, stored as HU + 1024."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = Dataset()
    dataset.file_meta = meta
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = series
    dataset.FrameOfReferenceUID = "1.2.3"
    dataset.Modality = "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientName = "Secret^Name"
    dataset.InstanceNumber = (k * 3) % 8
    dataset.SliceThickness = 5
    dataset.SpacingBetweenSlices = -3
    dataset.Columns, dataset.Rows = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 1
    dataset.PixelSpacing = [0.7, 0.8]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [-50, -40, -100 + 3 * k]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = (values.T.astype(np.int16) + 1024).tobytes()
    return dataset
