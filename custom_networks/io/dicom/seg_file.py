"""Read a DICOM Segmentation (PS3.3 A.51) of liver and tumors that was drawn or corrected by a person."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import SegmentationStorage

from custom_networks.errors import InputError
from custom_networks.io.dicom.header import quiet_pydicom
from custom_networks.labelmap.labels import LIVER, TUMOR, Floats, Labels

SEG_CLASSES = (SegmentationStorage, "1.2.840.10008.5.1.4.1.1.66.7")  # the second is Label Map Segmentation, new in 2024
LIVER_CODES = {"10200004", "T-62000"}  # SNOMED CT and SNOMED RT
# Mass, neoplasm, primary and secondary malignant neoplasm, lesion, nodule; but not cyst.
TUMOR_CODES = {"4147007", "108369006", "86049000", "14799000", "52988006", "27925004", "M-03000", "M-80000", "M-01000"}
TUMOR_WORDS = re.compile(r"lesion|tumou?r|mass|metast|neoplas|\bhcc\b", re.IGNORECASE)
SAME_PLACE = 0.05  # voxels


def is_seg(path: Path) -> bool:
    """Whether a file is a DICOM SEG; False if it cannot be read."""
    return _seg_class(path) in SEG_CLASSES


def read_seg(path: Path, affine: Floats, shape: tuple[int, ...]) -> Labels:
    """Read the label map (i, j, k) of a SEG on the grid of its CT.

    Segments are recognised as liver or tumor by their code or label; the liver may include its tumors or not. The
    pixels of each frame must coincide with voxels of the CT, but rows and columns may be flipped or swapped.

    Args:
        path: the SEG.
        affine: (4, 4) affine of the CT, voxel index to RAS mm.
        shape: (i, j, k) shape of the CT.

    Raises:
        InputError: the SEG is damaged, incomplete or fractional, contains other segments, or is on another grid.
    """
    labels = np.zeros(shape, np.uint8)
    with quiet_pydicom():
        for plane, mask, kind in _parts(path):
            _paint(labels, mask, np.linalg.solve(affine, plane).astype(np.float64), kind, path)
    return labels


def _parts(path: Path) -> Iterator[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_], int]]:
    """Yield the affine, the mask (rows, columns) and the label of each segment in each frame."""
    try:
        dataset = pydicom.dcmread(path)
        kinds = _kinds(dataset, path)
        frames = np.asarray(dataset.pixel_array).reshape(-1, dataset.Rows, dataset.Columns)
        for frame, groups in zip(frames, _frame_groups(dataset), strict=True):
            plane = _frame_affine(dataset, groups)
            for number, kind in _segments_of(dataset, groups, kinds, frame).items():
                yield plane, frame == number if _is_label_map(dataset) else frame > 0, kind
    except (InputError, MemoryError):
        raise
    except Exception as error:  # pydicom and its decoders have no common error, and their texts can quote the file
        raise InputError(f"{path} is damaged or incomplete: export the SEG again.") from error


def _seg_class(path: Path) -> str:
    try:
        with quiet_pydicom():
            return str(pydicom.dcmread(path, specific_tags=["SOPClassUID"], stop_before_pixels=True).SOPClassUID)
    except Exception:  # pydicom has no common error for files that are not DICOM
        return ""


def _is_label_map(dataset: Dataset) -> bool:
    return bool(dataset.SegmentationType == "LABELMAP")


def _kinds(dataset: Dataset, path: Path) -> Mapping[int, int]:
    """Return the label (LIVER or TUMOR) of each segment number.

    Raises:
        InputError: the SEG is fractional, or a segment is neither liver nor tumor. The segment's label is not quoted,
            because it could contain a patient's name.
    """
    if dataset.SegmentationType not in ("BINARY", "LABELMAP"):
        raise InputError(f"{path} is a fractional SEG, but a binary one is needed: export it as BINARY.")
    kinds = {int(segment.SegmentNumber): _kind(segment) for segment in dataset.SegmentSequence}
    kinds.pop(0, None)  # the background of a label map
    unknown = sorted(number for number, kind in kinds.items() if not kind)
    if unknown:
        s, are, them = ("", "is", "it") if len(unknown) == 1 else ("s", "are", "them")
        raise InputError(
            f"{path}: segment{s} {', '.join(map(str, unknown))} {are} neither liver nor tumor by code or label: call "
            f"{them} Liver, Lesion or Tumor, or leave {them} out."
        )
    return kinds


def _kind(segment: Dataset) -> int:
    """Return LIVER, TUMOR or 0 (neither) for a segment, by its type code or label."""
    types = segment.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
    code, label = str(types[0].get("CodeValue", "")), str(segment.get("SegmentLabel", ""))
    if code in TUMOR_CODES or TUMOR_WORDS.search(label):
        return TUMOR
    return LIVER if code in LIVER_CODES or "liver" in label.lower() else 0


def _frame_groups(dataset: Dataset) -> list[Mapping[str, Any]]:
    """Return the functional groups of each frame, including the shared ones."""
    shared = _named(dataset.SharedFunctionalGroupsSequence[0])
    return [{**shared, **_named(own)} for own in dataset.PerFrameFunctionalGroupsSequence]


def _named(groups: Dataset) -> dict[str, Any]:
    return {element.keyword: element.value[0] for element in groups if element.VR == "SQ" and element.value}


def _frame_affine(dataset: Dataset, groups: Mapping[str, Any]) -> npt.NDArray[np.float64]:
    """Return the (4, 4) affine of a frame, (column, row, 0) index to RAS mm (PS3.3 C.7.6.2.1.1)."""
    axes = np.reshape(np.array(groups["PlaneOrientationSequence"].ImageOrientationPatient, np.float64), (2, 3))
    rows_mm, columns_mm = (float(mm) for mm in groups["PixelMeasuresSequence"].PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = axes[0] * columns_mm, axes[1] * rows_mm
    affine[:3, 2] = np.cross(*axes)
    affine[:3, 3] = np.array(groups["PlanePositionSequence"].ImagePositionPatient, np.float64)
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)


def _segments_of(
    dataset: Dataset, groups: Mapping[str, Any], kinds: Mapping[int, int], frame: npt.NDArray[Any]
) -> Mapping[int, int]:
    """Return the label (LIVER or TUMOR) of each segment that a frame shows, by the segment's number."""
    if _is_label_map(dataset):
        return {int(number): kinds[int(number)] for number in np.unique(frame) if number}
    number = int(groups["SegmentIdentificationSequence"].ReferencedSegmentNumber)
    return {number: kinds[number]}


def _paint(labels: Labels, mask: npt.NDArray[np.bool_], to_index: Floats, kind: int, path: Path) -> None:
    """Set the voxels of a frame's mask (rows, columns) to a label; liver does not overwrite tumor.

    Raises:
        InputError: the pixels do not coincide with voxels of the CT.
    """
    rows, columns = np.nonzero(mask)
    exact = to_index[:3, :2] @ np.stack([columns, rows]) + to_index[:3, 3:]
    index = np.rint(exact).astype(np.int64)
    off = float(np.abs(exact - index).max(initial=0.0))
    steps = np.abs(to_index[:3, :2])
    inside = ((index >= 0) & (index < np.array(labels.shape)[:, None])).all()
    if off > SAME_PLACE or not inside or not np.allclose(steps.max(axis=0), 1, atol=1e-2):
        raise InputError(
            f"{path} is on another grid than this CT: give a SEG of the same series, whose pixels coincide with the CT."
        )
    i, j, k = index
    labels[i, j, k] = np.maximum(labels[i, j, k], kind)
