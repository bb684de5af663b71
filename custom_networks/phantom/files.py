"""Write phantoms as NIfTI files or DICOM series, in the layout of the Medical Segmentation Decathlon (MSD)."""

import gzip
import json
import os
import shutil
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from custom_networks.errors import UsageError
from custom_networks.files import atomic_write, write_text
from custom_networks.phantom.synthesis import LOWEST, Phantom, make_phantom
from custom_networks.staging import staging_folder

FORMATS = ("nifti", "dicom")
DAY, TIME = "20240101", "120000"  # fixed, so that the bytes of a phantom depend only on its seed


def case_seed(seed: int, index: int) -> int:
    """The seed of case `index` in a set; sets with different seeds have different cases."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])


def write_nifti(path: Path, voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
    """Write an array (i, j, k) with its affine (RAS mm) as .nii.gz; the same array always gives the same bytes."""
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code=1)
    image.set_qform(affine, code=1)
    with atomic_write(path) as temporary:
        # A time in the gzip header would make the bytes of each run differ.
        temporary.write_bytes(gzip.compress(image.to_bytes(), compresslevel=3, mtime=0))


def _uid(phantom: Phantom, *names: str) -> str:
    """Unique identifier derived from the phantom's voxels, its affine and names."""
    content = sha256(phantom.image.tobytes() + phantom.affine.tobytes()).hexdigest()
    return str(generate_uid(entropy_srcs=[content, *names]))


def _shared_attributes(phantom: Phantom, number: str) -> Dataset:
    """The attributes of patient, study, series, equipment, frame of reference and image plane that slices share.

    Empty attributes are of DICOM's type 2, required but possibly without a value. Pixels are unsigned 12-bit integers
    with HU = value - 1024.
    """
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = f"PHANTOM^{number}", f"PHANTOM-{number}"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyInstanceUID = _uid(phantom, "study")
    dataset.StudyID, dataset.AccessionNumber = "1", ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = DAY
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = TIME
    dataset.StudyDescription = "Synthetic abdomen"
    dataset.ReferringPhysicianName = ""
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = _uid(phantom, "series"), _uid(phantom, "frame")
    dataset.PositionReferenceIndicator = ""
    dataset.Modality, dataset.SeriesNumber, dataset.AcquisitionNumber = "CT", 1, 1
    dataset.SeriesDescription = "Synthetic phantom, not a patient"
    dataset.BodyPartExamined, dataset.PatientPosition = "ABDOMEN", "HFS"
    dataset.Manufacturer, dataset.ManufacturerModelName = "liverseg", "phantom"
    dataset.KVP, dataset.ConvolutionKernel = 120, "SYNTHETIC"
    dataset.SOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Columns, dataset.Rows, _ = phantom.image.shape
    dx, dy, dz = phantom.spacing
    dataset.PixelSpacing, dataset.SliceThickness = [dy, dx], dz
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, LOWEST, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    return dataset


def _slice_bytes(dataset: Dataset, phantom: Phantom, index: int, instance_uid: str) -> bytes:
    """The DICOM file of one slice; its attributes are added to `dataset`, which has the shared ones."""
    x, y, z = phantom.affine[:3, 3] + index * phantom.affine[:3, 2]
    dataset.SOPInstanceUID, dataset.InstanceNumber = instance_uid, index + 1
    # Adding 0.0 turns -0.0 into 0.0. The grid was rounded to four decimals.
    dataset.ImagePositionPatient = [round(float(c), 4) + 0.0 for c in (-x, -y, z)]
    dataset.SliceLocation = dataset.ImagePositionPatient[2]
    stored = phantom.image[:, :, index].T.astype(np.int32) - LOWEST
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def write_series(phantom: Phantom, folder: Path, number: str) -> None:
    """Write a phantom as `folder`/IM0001.dcm etc., from the feet upwards; the folder appears atomically.

    The patient is named PHANTOM^`number`. An older series in the folder is replaced.

    Raises:
        UsageError: the folder contains anything else.
    """
    foreign = sorted(path.name for path in folder.glob("*") if not path.match("IM[0-9]*.dcm"))
    if foreign:
        raise UsageError(
            f"{folder} must be new or contain a phantom's slices, found {foreign[0]}; choose another folder."
        )
    dataset = _shared_attributes(phantom, number)
    prefix = _uid(phantom, "instances")
    with staging_folder(folder.parent, folder.name) as partial:
        for index in range(phantom.image.shape[2]):
            uid = str(generate_uid(entropy_srcs=[prefix, str(index)]))
            (partial / f"IM{index + 1:04d}.dcm").write_bytes(_slice_bytes(dataset, phantom, index, uid))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)


def _dataset_json(seed: int, training: list[dict[str, str]]) -> str:
    """The text of an MSD dataset.json; `training` lists "image" and "label" as paths relative to its folder."""
    description = {
        "name": "Phantom",
        "description": f"Synthetic abdominal CT with exact truth, seed {seed}; no patients",
        "reference": "custom_networks.phantom",
        "licence": "Apache-2.0",
        "release": "1.0",
        "tensorImageSize": "3D",
        "modality": {"0": "CT"},
        "labels": {"0": "background", "1": "liver", "2": "tumor"},
        "numTraining": len(training),
        "numTest": 0,
        "training": training,
        "test": [],
    }
    return json.dumps(description, indent=2) + "\n"


def _write_case(folder: Path, name: str, phantom: Phantom, format: str) -> tuple[Path, Path]:
    """Write one case; return the paths of its image (a file, or a folder of slices) and of its label map."""
    if format == "dicom":
        image, label = folder / name, folder / "labels" / f"{name}.nii.gz"
        write_series(phantom, image, name.rpartition("_")[2])
    else:
        image, label = folder / "imagesTr" / f"{name}.nii.gz", folder / "labelsTr" / f"{name}.nii.gz"
        write_nifti(image, phantom.image, phantom.affine)
    write_nifti(label, phantom.label, phantom.affine)
    return image, label


def write_phantoms(
    folder: str | Path, cases: int, seed: int, format: Literal["nifti", "dicom"] = "nifti"
) -> list[Path]:
    """Write `cases` phantoms and a dataset.json; return the paths of the images, in order.

    "nifti" writes imagesTr/phantom_000.nii.gz (int16 HU) and labelsTr/phantom_000.nii.gz etc.; "dicom" writes
    phantom_000/IM0001.dcm etc. and labels/phantom_000.nii.gz. With the same seed, both formats have the same voxels at
    the same positions, and the same bytes on every run.

    Raises:
        UsageError: an argument is out of range, the folder cannot be written, or a folder for slices has other files.
    """
    if format not in FORMATS:
        raise UsageError(f"A phantom's format must be one of {', '.join(FORMATS)}, got {format!r}; choose one of them.")
    if cases < 1 or seed < 0:
        raise UsageError(f"Phantoms need cases >= 1 and a seed >= 0, got cases {cases} and seed {seed}; change them.")
    folder = Path(folder)
    training, images = [], []
    try:
        for index in range(cases):
            name = f"phantom_{index:03d}"
            image, label = _write_case(folder, name, make_phantom(case_seed(seed, index)), format)
            images.append(image)
            paths = {"image": image, "label": label}
            training.append({key: f"./{path.relative_to(folder).as_posix()}" for key, path in paths.items()})
        write_text(folder / "dataset.json", _dataset_json(seed, training))
    except OSError as error:
        raise UsageError(f"Phantoms cannot be written to {folder} ({error}); choose another folder.") from error
    return images
