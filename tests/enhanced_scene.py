"""A small CT as classic slices and as one enhanced multi-frame file, as described in DICOM PS3.3 C.7.6.16."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

COLUMNS, ROWS, SLICES = 16, 12, 8
SHARED, PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# The macros that every frame has here, and what of a classic slice goes into each.
MACROS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
}
OF_THE_FILE = """
    PatientName PatientID PatientBirthDate PatientSex StudyInstanceUID StudyDate StudyTime StudyID AccessionNumber
    ReferringPhysicianName SeriesInstanceUID SeriesNumber Modality FrameOfReferenceUID PositionReferenceIndicator
    ImageType Rows Columns SamplesPerPixel PhotometricInterpretation BitsAllocated BitsStored HighBit
    PixelRepresentation
""".split()
Change = Callable[[int, Dataset], object]


def hounsfield(shift: int = 0) -> np.ndarray:
    """int16 HU (columns, rows, slices), every voxel with a different value, from -1024 + `shift` upwards."""
    count = COLUMNS * ROWS * SLICES
    return np.arange(count, dtype=np.int16).reshape(COLUMNS, ROWS, SLICES) - 1024 + shift


def slices(
    hu: np.ndarray | None = None, change: Change = lambda k, dataset: None, z: float = -100.0, series: str = ""
) -> list[Dataset]:
    """The classic slices of `hu`, feet first, 3 mm apart, starting at `z` mm; `change(k, dataset)` edits slice k."""
    values, made = hounsfield() if hu is None else hu, []
    for k in range(values.shape[2]):
        dataset = Dataset()
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^Jane", "7", "", "F"
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3.1", series or "1.2.3.2"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20240101", "120000", "S", "A"
        dataset.ReferringPhysicianName, dataset.PositionReferenceIndicator = "", ""
        dataset.FrameOfReferenceUID, dataset.SeriesNumber, dataset.InstanceNumber = "1.2.3.3", 4, k + 1
        dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = CTImageStorage, generate_uid(), "CT"
        dataset.ImageType, dataset.SliceThickness = ["ORIGINAL", "PRIMARY", "AXIAL"], 5
        dataset.Columns, dataset.Rows = values.shape[:2]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 16, 15, 0
        dataset.PixelSpacing, dataset.ImageOrientationPatient = [0.7, 0.8], [1, 0, 0, 0, 1, 0]
        dataset.ImagePositionPatient = [-50, -40, z + 3 * k]
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        change(k, dataset)
        stored = (values[..., k].T - dataset.RescaleIntercept) / dataset.RescaleSlope
        dataset.PixelData = np.round(stored).astype(np.uint16).tobytes()
        made.append(dataset)
    return made


def enhanced(
    frames: Sequence[Dataset],
    *,
    stacks: Sequence[str] | None = None,
    phases: Sequence[int] | None = None,
    shared: bool = True,
) -> Dataset:
    """An Enhanced CT with one frame for each classic slice, in the order given.

    `stacks` and `phases` are StackID and TemporalPositionIndex of each frame. Attributes equal in all frames are stored
    in the shared groups unless `shared` is false.
    """
    image = Dataset()
    for keyword in OF_THE_FILE:
        image[keyword] = frames[0][keyword]
    image.SOPClassUID, image.SOPInstanceUID = EnhancedCTImageStorage, generate_uid()
    image.NumberOfFrames, image.InstanceNumber = len(frames), 1
    groups = [_group(frame) for frame in frames]
    common = Dataset()
    for macro in MACROS if shared else ():
        if all(group[macro] == groups[0][macro] for group in groups):
            common[macro] = groups[0][macro]
            for group in groups:
                del group[macro]
    for k, group in enumerate(groups):
        content = Dataset()
        content.StackID, content.InStackPositionNumber = stacks[k] if stacks else "1", k + 1
        content.DimensionIndexValues = [1, k + 1]
        if phases:
            content.TemporalPositionIndex = phases[k]
        group.FrameContentSequence = [content]
    setattr(image, SHARED, [common])
    setattr(image, PER_FRAME, groups)
    image.PixelData = b"".join(frame.PixelData for frame in frames)
    return image


def _group(frame: Dataset) -> Dataset:
    """The functional groups of one frame."""
    group, kind = Dataset(), Dataset()
    for macro, keywords in MACROS.items():
        item = Dataset()
        for keyword in keywords:
            if keyword in frame:
                item[keyword] = frame[keyword]
        setattr(group, macro, [item])
    kind.FrameType, kind.VolumeBasedCalculationTechnique = [*frame.ImageType, "NONE"], "NONE"
    group.CTImageFrameTypeSequence = [kind]
    return group


def converted(files: Sequence[Path], path: Path) -> Path:
    """Convert classic slices to a Legacy Converted Enhanced CT with highdicom."""
    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    slices = [dcmread(file) for file in files]
    for dataset in slices:
        for keyword in ("PatientBirthDate", "PatientSex", "StudyID", "AccessionNumber", "ReferringPhysicianName"):
            setattr(dataset, keyword, dataset.get(keyword) or "")
    path.parent.mkdir(parents=True)
    LegacyConvertedEnhancedCTImage(slices, generate_uid(), 2, generate_uid(), 1).save_as(path)
    return path


def groups_of(image: Dataset, macro: str) -> list[Dataset]:
    """The items of a macro, in the shared or the per-frame groups."""
    places = [*image[SHARED].value, *image[PER_FRAME].value]
    return [place[macro].value[0] for place in places if macro in place]


def encapsulated(image: Dataset, syntax: str, frames: Sequence[bytes], *, offsets: bool = True) -> Dataset:
    """The image with its frames encoded in a compressed transfer syntax."""
    image.PixelData = encapsulate(list(frames), has_bot=offsets)
    image["PixelData"].is_undefined_length = True
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = syntax
    return image


def save(image: Dataset, path: Path) -> Path:
    """Write a data set with its meta information; explicit little endian unless it names another transfer syntax."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = getattr(image, "file_meta", None) or FileMetaDataset()
    meta.TransferSyntaxUID = meta.get("TransferSyntaxUID") or ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.get("SOPInstanceUID")
    image.file_meta = meta
    image.save_as(path, enforce_file_format=True)
    return path


def save_all(datasets: Sequence[Dataset], folder: Path) -> Path:
    """Write classic slices into a folder."""
    for k, dataset in enumerate(datasets):
        save(dataset, folder / f"{k}.dcm")
    return folder


def empty(image: Dataset, macro: str, keyword: str = "") -> Dataset:
    """Remove a macro, or one of its attributes, from all frames."""
    for place in [*image[SHARED].value, *image[PER_FRAME].value]:
        if macro in place and keyword:
            place[macro].value[0].pop(keyword, None)
        elif macro in place:
            del place[macro]
    return image


def items(value: Any) -> Items:
    """A sequence of data sets."""
    return Items(value)
