"""A small CT series, a label map on it and its measurements, positioned by formulas independent of the tested code."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from custom_networks.dicom_out.source import SourceSeries, source_series
from custom_networks.io.dicom.result_header import result_header
from custom_networks.io.volume import Volume

Array = npt.NDArray[Any]
COLUMNS, ROWS, SLICES = 13, 10, 7
DX, DY, STEP = 0.9, 0.7, 2.5  # between columns, rows and slices, mm
STUDY, SERIES, FRAME = "1.2.3.1", "1.2.3.2", "1.2.3.3"
CORNER = np.array([-41.5, 17.25, -203.0])  # LPS of the first pixel of slice 0
STANDARD = np.array([[1.0, 0, 0], [0, 1, 0]])  # along a row, along a column
LIVER_BOX = (slice(2, 11), slice(3, 8), slice(1, 6))  # columns, rows, slices
LESIONS = ((slice(3, 5), slice(4, 6), slice(2, 4)), (slice(8, 10), slice(6, 8), slice(4, 5)))


@dataclass(frozen=True)
class Lesion:
    """A lesion as in the measurements."""

    id: int
    volume_mm3: float
    longest_mm: float | None = 12.5
    perpendicular_mm: float | None = 7.25
    mean_hu: float | None = 55.5
    sd_hu: float | None = 11.25
    confidence: float | None = 0.8


@dataclass(frozen=True)
class Case:
    """A case as in the measurements."""

    lesions: Sequence[Lesion]
    numbers: Array
    box: tuple[slice, slice, slice]
    liver_ml: float = 1500.1234
    calibrated: bool = True
    by_person: bool = False


def series(axes: Array = STANDARD, direction: float = 1.0, shear_degrees: float = 0.0) -> list[Dataset]:
    """The slices in the order of the scan; `direction` -1 is against the slice normal.

    The stack is sheared by `shear_degrees` along the rows.
    """
    step = direction * STEP * (np.cross(*axes) + np.tan(np.radians(shear_degrees)) * axes[0])
    return [slice_header(k, axes, CORNER + k * step) for k in range(SLICES)]


def slice_header(k: int, axes: Array, position: Array) -> Dataset:
    """One slice with the attributes of a real file, including private and harmful ones."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = f"1.2.3.4.{k + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = STUDY, SERIES, FRAME
    dataset.PatientName, dataset.PatientID = "Doe^Jane", "ID 7"
    dataset.PatientBirthDate, dataset.PatientSex = "19500102", "F"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240101", "120000", "S1", "A1"
    dataset.ReferringPhysicianName = "Refer^Rita"
    with pydicom.config.disable_value_validation():
        dataset.PatientAge = "0Y"  # not valid, but real
    dataset.PatientAddress, dataset.InstitutionName = "Secret Street 1", "Secret Hospital"
    dataset.OperatorsName, dataset.PatientComments = "Secret^Operator", "Secret comment"
    dataset.Modality, dataset.InstanceNumber = "CT", k + 1
    dataset.Rows, dataset.Columns, dataset.PixelSpacing = ROWS, COLUMNS, [DY, DX]
    dataset.SliceThickness, dataset.SpacingBetweenSlices = 3, -STEP
    dataset.ImageOrientationPatient = [round(float(c), 8) + 0.0 for c in axes.ravel()]
    dataset.ImagePositionPatient = [round(float(c), 6) for c in position]
    return dataset


def read(slices: Sequence[Dataset]) -> list[Dataset]:
    """The headers that the reader returns: the attributes that results need, ascending along the slice normal."""
    normal = np.cross(*np.reshape(np.array(slices[0].ImageOrientationPatient, float), (2, 3)))
    return [result_header(s) for s in sorted(slices, key=lambda s: float(normal @ s.ImagePositionPatient))]


def source_of(slices: Sequence[Dataset]) -> SourceSeries:
    """The series to which results of the scene's label map refer."""
    headers = read(slices)
    labels = labelled(headers)
    return source_series(headers, labels.affine, labels.array.shape)


def labelled(headers: Sequence[Dataset], boxes: Iterable[tuple[slice, ...]] = LESIONS, liver: bool = True) -> Volume:
    """A label map (column, row, slice) on the slices in the order given, with an affine worked out by hand."""
    array = np.zeros((COLUMNS, ROWS, SLICES), np.uint8)
    if liver:
        array[LIVER_BOX] = 1
        for box in boxes:
            array[box] = 2
    first, second = (np.array([float(c) for c in h.ImagePositionPatient]) for h in headers[:2])
    right, down = np.reshape([float(c) for c in headers[0].ImageOrientationPatient], (2, 3))
    affine = np.eye(4)
    affine[:3] = np.column_stack([right * DX, down * DY, second - first, first])
    affine[:2] *= -1  # LPS to RAS
    return Volume(array, affine, source=Path("labels.nii.gz"))


def measured(boxes: Sequence[tuple[slice, ...]] = LESIONS) -> Case:
    """Lesions with ids 1, 2, ... in the order of the boxes, and a number map that is as small as possible."""
    whole = np.zeros((COLUMNS, ROWS, SLICES), np.int32)
    lesions = []
    for id_, box in enumerate(boxes, start=1):
        whole[box] = id_
        lesions.append(Lesion(id_, float(np.prod([part.stop - part.start for part in box]) * DX * DY * STEP)))
    x, y, z = (
        slice(min((p.start for p in parts), default=0), max((p.stop for p in parts), default=0))
        for parts in (zip(*boxes) if boxes else [()] * 3)
    )
    return Case(lesions, whole[x, y, z], (x, y, z))


def places(labels: Volume, mask: Array) -> Array:
    """Patient coordinates (n, 3) (LPS, mm) of the voxels of a mask on the label map's grid."""
    ras = labels.affine[:3, :3] @ np.array(np.nonzero(mask)) + labels.affine[:3, 3:]
    return np.asarray((ras * [[-1], [-1], [1]]).T)


def apart_mm(found: Array, expected: Array) -> float:
    """Largest distance of a point of one set (n, 3) from the nearest of the other; infinite if their sizes differ."""
    if len(found) != len(expected):
        return float("inf")
    distances = np.linalg.norm(found[:, None] - expected[None], axis=2)
    return float(max(distances.min(axis=0).max(), distances.min(axis=1).max()))


def places_by_pydicom(path: Path, segment: int) -> Array:
    """Patient coordinates (LPS, mm) of one segment's pixels, from the frames' own positions (PS3.3 C.7.6.2.1.1)."""
    seg = pydicom.dcmread(path)
    shared = seg.SharedFunctionalGroupsSequence[0]
    right, down = np.reshape([float(c) for c in shared.PlaneOrientationSequence[0].ImageOrientationPatient], (2, 3))
    dy, dx = (float(s) for s in shared.PixelMeasuresSequence[0].PixelSpacing)
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    points = []
    for frame, group in zip(frames, seg.PerFrameFunctionalGroupsSequence, strict=True):
        if segment_number(group) != segment:
            continue
        corner = np.array([float(c) for c in group.PlanePositionSequence[0].ImagePositionPatient])
        points += [corner + c * dx * right + r * dy * down for r, c in np.argwhere(frame)]
    return np.array(points).reshape(-1, 3)


def segment_number(group: Dataset) -> int:
    """The number of the segment to which a frame belongs."""
    return int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def sign_combinations() -> list[tuple[float, float, float]]:
    """Signs of the row's direction, of the column's, and of the scan against the normal."""
    return list(product((1.0, -1.0), repeat=3))
