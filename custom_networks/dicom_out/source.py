"""Prepare the source slices that DICOM results refer to, and check the label map's grid against them."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from custom_networks.errors import InputError
from custom_networks.io.dicom.geometry import series_affine
from custom_networks.io.dicom.header import is_uid, uid_text
from custom_networks.io.dicom.result_header import PATIENT_AND_STUDY, SERIES_UIDS

SAME_GRID = 0.05  # voxels; the affine may have been stored in single precision
_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class SourceSeries:
    """The source slices of DICOM results.

    Attributes:
        headers: one header per slice, ascending along the slice normal. They differ only in position and
            SOPInstanceUID or, for an enhanced CT, in position and ReferencedFrameNumber.
        affine: (4, 4), (column, row, slice) index to LPS mm.
        notes: sentences about generated or omitted attributes.
    """

    headers: tuple[Dataset, ...]
    affine: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def images(self, slab: slice) -> list[Dataset]:
        """Return the slices in `slab` for highdicom: a data set for each, or one with all frames for an enhanced CT."""
        headers = self.headers[slab]
        return [_as_frames(headers)] if "ReferencedFrameNumber" in headers[0] else list(headers)


def _as_frames(headers: Sequence[Dataset]) -> Dataset:
    """Return the header of a multi-frame image that consists of these frames, without pixels."""
    first = headers[0]
    image = Dataset(dict(first.items()))
    orientation, measures = Dataset(), Dataset()
    orientation.ImageOrientationPatient = first.ImageOrientationPatient
    for keyword in ("PixelSpacing", "SliceThickness", "SpacingBetweenSlices"):
        measures[keyword] = first[keyword]
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [orientation], [measures]
    image.NumberOfFrames = len(headers)
    image.SharedFunctionalGroupsSequence = [shared]
    image.PerFrameFunctionalGroupsSequence = [_place_of(header) for header in headers]
    return image


def _place_of(header: Dataset) -> Dataset:
    """Return a functional group with the position of a frame."""
    position, group = Dataset(), Dataset()
    position.ImagePositionPatient = header.ImagePositionPatient
    group.PlanePositionSequence = [position]
    return group


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom and highdicom, whose warnings can quote patient data."""
    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            for logger in loggers:
                logger.setLevel(logging.CRITICAL)
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def source_series(headers: Sequence[Dataset], affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> SourceSeries:
    """Prepare the segmented slices for results that refer to them.

    Args:
        headers: headers from `result_header`, at least two, ascending along the slice normal; not modified.
        affine: (4, 4) affine of the label map, (column, row, slice) index to RAS mm.
        shape: columns, rows and slices of the label map.

    Raises:
        InputError: a slice has no valid SOPInstanceUID, or the label map is not on the grid of the slices.
    """
    _check_grid(headers, affine, shape)
    for number, header in enumerate(headers, start=1):
        if not header.SOPInstanceUID:
            raise InputError(
                f"Slice {number} has no SOPInstanceUID, so DICOM results cannot refer to it: export the series again."
            )
        if not is_uid(uid_text(header.SOPInstanceUID)):
            raise InputError(
                f"Slice {number} has a SOPInstanceUID that is not a valid UID (digits and dots, at most 64 "
                "characters), so DICOM results cannot refer to it: export the series again."
            )
    with quiet():
        shared, notes = _shared(headers, float(np.linalg.norm(affine[:3, 2])))
        own = tuple(Dataset({**dict(header.items()), **dict(shared.items())}) for header in headers)
    return SourceSeries(own, _TO_LPS @ affine, notes)


def _check_grid(headers: Sequence[Dataset], affine: npt.NDArray[np.float64], shape: tuple[int, ...]) -> None:
    """Raise InputError if the label map and the slices differ in size or position."""
    first = headers[0]
    axes = np.reshape(np.array(first.ImageOrientationPatient, np.float64), (2, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    own = series_affine(np.array([h.ImagePositionPatient for h in headers], np.float64), axes, first.PixelSpacing)
    corners = np.array(list(product(*((0, n - 1) for n in shape), [1]))).T
    off = float(np.abs(np.linalg.solve(own, affine @ corners) - corners).max())
    sizes = int(first.Columns), int(first.Rows), len(headers)
    if shape != sizes or off > SAME_GRID:
        raise InputError(
            f"The label map does not lie on the grid of its DICOM slices ({' x '.join(map(str, shape))} voxels instead "
            f"of {' x '.join(map(str, sizes))}, up to {off:.2f} voxels off): use a label map on the series' own grid."
        )


def _shared(headers: Sequence[Dataset], step: float) -> tuple[Dataset, tuple[str, ...]]:
    """Return the attributes that all slices share, and notes about generated or omitted ones.

    The slice distance is the measured `step` in mm, since SpacingBetweenSlices can be negative, and SliceThickness can
    differ from the distance.
    """
    first, shared, notes = headers[0], Dataset(), []
    made_of = sorted(str(h.SOPInstanceUID) for h in headers)  # for the same generated UIDs in SEG and SR
    for keyword in SERIES_UIDS:
        values = {str(h.get(keyword)) for h in headers}
        if len(values) == 1 and is_uid(*values):
            setattr(shared, keyword, first[keyword].value)
            continue
        what = "is not a valid UID" if values != {""} else "is empty in the slices"
        what = f"is not the same in all slices ({len(values)} values)" if len(values) > 1 else what
        setattr(shared, keyword, generate_uid(entropy_srcs=[keyword, *made_of]))
        notes.append(
            f"{keyword} {what}: the DICOM results have a generated UID, so viewers may not link them to the images."
        )
    for keyword in (*PATIENT_AND_STUDY, "ImageOrientationPatient", "PixelSpacing"):
        shared[keyword] = first[keyword]
    if "SpecificCharacterSet" in first:
        shared.SpecificCharacterSet = first.SpecificCharacterSet
    shared.SliceThickness = first.get("SliceThickness") or round(step, 6)
    shared.SpacingBetweenSlices = round(step, 6)
    return shared, (*notes, *_left_out_note(headers))


def _left_out_note(headers: Sequence[Dataset]) -> tuple[str, ...]:
    """Return a note about invalid values, if any; they are not quoted, since they can be patient data."""
    keywords = sorted({keyword for header in headers for keyword in getattr(header, "left_out", ())})
    if not keywords:
        return ()
    have, they = ("has a value", "it is") if len(keywords) == 1 else ("have values", "they are")
    return (
        f"{', '.join(keywords)} {have} that DICOM does not allow (type, length or number of values): {they} empty or "
        "left out in the DICOM results.",
    )
