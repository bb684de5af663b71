"""A phantom as a DICOM series: regular axial CT slices, with identifiers that follow from the content."""

import os
import shutil
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from custom_networks.errors import UsageError
from custom_networks.phantom.synthesis import Phantom
from custom_networks.staging import staging_folder

INTERCEPT = -1024
DAY, TIME = "20240101", "120000"  # fixed: the bytes of a phantom follow from its seed alone


def _uid(phantom: Phantom, *names: str) -> str:
    """Unique identifier that follows from the phantom's voxels, its place and a name."""
    content = sha256(phantom.image.tobytes() + phantom.affine.tobytes()).hexdigest()
    return str(generate_uid(entropy_srcs=[content, *names]))


def _patient_and_study(phantom: Phantom, number: str) -> Dataset:
    """Attributes of the patient and the study modules; empty ones are of type 2."""
    dataset = Dataset()
    dataset.PatientName, dataset.PatientID = f"PHANTOM^{number}", f"PHANTOM-{number}"
    dataset.PatientBirthDate, dataset.PatientSex = "", ""
    dataset.StudyInstanceUID = _uid(phantom, "study")
    dataset.StudyID, dataset.AccessionNumber = "1", ""
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = DAY
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = TIME
    dataset.StudyDescription = "Synthetic abdomen"
    dataset.ReferringPhysicianName = ""
    return dataset


def _add_series(dataset: Dataset, phantom: Phantom) -> None:
    """Attributes of the series, the equipment and the frame of reference."""
    dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = _uid(phantom, "series"), _uid(phantom, "frame")
    dataset.PositionReferenceIndicator = ""
    dataset.Modality, dataset.SeriesNumber, dataset.AcquisitionNumber = "CT", 1, 1
    dataset.SeriesDescription = "Synthetic phantom, not a patient"
    dataset.BodyPartExamined, dataset.PatientPosition = "ABDOMEN", "HFS"
    dataset.Manufacturer, dataset.ManufacturerModelName = "liverseg", "phantom"
    dataset.KVP, dataset.ConvolutionKernel = 120, "SYNTHETIC"


def _add_pixel_description(dataset: Dataset, phantom: Phantom) -> None:
    """Attributes of the image plane and the pixels that all slices share: 12 bits unsigned, HU = value - 1024."""
    dataset.SOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.Columns, dataset.Rows, _ = phantom.image.shape
    dx, dy, dz = phantom.spacing
    dataset.PixelSpacing, dataset.SliceThickness = [dy, dx], dz
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, INTERCEPT, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400


def _slice_bytes(dataset: Dataset, phantom: Phantom, index: int, instance_uid: str) -> bytes:
    """The DICOM file of one slice; `dataset` holds what all slices share."""
    x, y, z = phantom.affine[:3, 3] + index * phantom.affine[:3, 2]
    dataset.SOPInstanceUID, dataset.InstanceNumber = instance_uid, index + 1
    # Adding 0.0 turns -0.0 into 0.0. Four decimals are what the grid was rounded to.
    dataset.ImagePositionPatient = [round(float(c), 4) + 0.0 for c in (-x, -y, z)]
    dataset.SliceLocation = dataset.ImagePositionPatient[2]
    stored = phantom.image[:, :, index].T.astype(np.int32) - INTERCEPT
    dataset.PixelData = stored.astype("<u2").tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def write_series(phantom: Phantom, folder: Path, number: str) -> None:
    """Write a phantom as `folder`/IM0001.dcm and on, feet first; the folder appears only when it is whole.

    `number` names the patient (PHANTOM^number). An older series there is replaced; raises UsageError where the folder
    holds anything else.
    """
    foreign = sorted(path.name for path in folder.glob("*") if not path.match("IM[0-9]*.dcm"))
    if foreign:
        raise UsageError(f"{folder} must be new or hold a phantom's slices, found {foreign[0]}; choose another folder.")
    dataset = _patient_and_study(phantom, number)
    _add_series(dataset, phantom)
    _add_pixel_description(dataset, phantom)
    prefix = _uid(phantom, "instances")
    with staging_folder(folder.parent, folder.name) as partial:
        for index in range(phantom.image.shape[2]):
            uid = str(generate_uid(entropy_srcs=[prefix, str(index)]))
            (partial / f"IM{index + 1:04d}.dcm").write_bytes(_slice_bytes(dataset, phantom, index, uid))
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
