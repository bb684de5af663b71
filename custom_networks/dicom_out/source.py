"""The DICOM series that results refer to: the part of its headers that the standard needs in them, and its grid.

A fresh header is made for each slice and only named attributes enter it, so that nothing else about a patient can
leave: the type 1 and 2 attributes of the patient, study and frame of reference modules (DICOM PS3.3 C.7.1.1, C.7.2.1,
C.7.4.1) and where the slice lies.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid

from custom_networks.errors import InputError
from custom_networks.io.dicom.geometry import normal_of, series_affine, stack_reasons
from custom_networks.io.volume import Volume

PATIENT = ("PatientName", "PatientID")
TEXTS = (*PATIENT, "StudyID", "AccessionNumber", "ReferringPhysicianName", "PositionReferenceIndicator")
# Values that the standard does not allow would be errors of our file: they are left empty, which type 2 may be.
PATTERNS = {
    "PatientBirthDate": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "PatientSex": "[MFO]",
    "StudyDate": r"\d{4}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])",
    "StudyTime": r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?",
}
GEOMETRY = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPClassUID", "SOPInstanceUID")
# A mask of pixels that were compressed with loss has to say so.
LOSS = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
WANTED = [*TEXTS, *PATTERNS, *GEOMETRY, *UIDS, *LOSS, "SliceThickness"]
SAME_GRID = 0.05  # voxels; a NIfTI affine is float32


@dataclass(frozen=True)
class SourceSeries:
    """The slices of one series as results refer to them.

    Attributes:
        headers: one a slice, ascending along the slice normal; they share all but SOPInstanceUID and position.
        affine: (4, 4), (column, row, slice) index to RAS mm.
        notes: what had to be made up because the slices do not say it, one sentence each.
    """

    headers: tuple[Dataset, ...]
    affine: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Columns, rows, slices."""
        return int(self.headers[0].Columns), int(self.headers[0].Rows), len(self.headers)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence pydicom and highdicom, whose warnings and log lines quote values of the file, the patient's name too."""
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


def read_source(slices: Sequence[str | Path | Dataset]) -> SourceSeries:
    """The headers of the slices that were segmented: files or data sets of one series, in any order.

    Identical copies of a slice count once. Data sets are not changed.

    Raises:
        InputError: a slice without SOPInstanceUID or geometry, which results could not refer to; fewer than 2 slices;
            slices of several patients, sizes or orientations, or not evenly spaced.
    """
    with quiet():
        by_place = {_place(header): header for header in map(_slim_header, slices)}
        headers = list(by_place.values())
        if len(headers) < 2:
            raise InputError(f"DICOM results need a series of at least 2 slices, got {len(headers)}: give all slices.")
        axes = _axes(headers[0])
        headers.sort(key=lambda header: float(np.dot(_position(header), normal_of(axes))))
        _check_regular(headers)
        affine = series_affine(np.array([_position(h) for h in headers]), axes, headers[0].PixelSpacing)
        notes = _unify(headers, float(np.linalg.norm(affine[:3, 2])))
    return SourceSeries(tuple(headers), affine, notes)


def source_view(labels: Volume, source: SourceSeries) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """A label map as the slices of its series, and how to get there.

    Args:
        labels: on the grid of the series; its axes may be permuted and flipped, as NIfTI tools like to do.
        source: the series.

    Returns:
        A view of the label map, (slice, row, column), and the (4, 4) matrix of whole numbers from a voxel of
        `labels.array` to (column, row, slice).

    Raises:
        InputError: the label map lies on another grid.
    """
    to_source = np.linalg.inv(source.affine) @ labels.affine
    orientation = io_orientation(to_source)
    view = apply_orientation(labels.array, orientation)
    whole = np.rint(np.linalg.inv(inv_ornt_aff(orientation, labels.array.shape)))
    corners = np.stack(np.meshgrid(*((0, n - 1) for n in labels.array.shape), [1], indexing="ij")).reshape(4, -1)
    off = float(np.abs((to_source - whole) @ corners).max())
    if view.shape != source.shape or off > SAME_GRID:
        raise InputError(
            f"{labels.source} does not lie on the grid of its DICOM slices ({' x '.join(map(str, view.shape))} voxels "
            f"for {' x '.join(map(str, source.shape))}, up to {off:.2f} voxels off): segment this series itself."
        )
    return view.transpose(2, 1, 0), whole


def _slim_header(slice_: str | Path | Dataset) -> Dataset:
    """The wanted attributes of one slice, in a data set of their own."""
    name = "A slice" if isinstance(slice_, Dataset) else str(slice_)
    header = Dataset()
    try:
        dataset = slice_ if isinstance(slice_, Dataset) else _read(slice_)
        for keyword in (*GEOMETRY, *filter(dataset.__contains__, LOSS)):
            setattr(header, keyword, getattr(dataset, keyword))
        header.SliceThickness = dataset.get("SliceThickness")
        _add_texts(header, dataset)
        _add_uids(header, dataset)
        _axes(header), _position(header)  # what is no number raises here, where the file is known
    except Exception as error:  # pydicom has no common error for bytes that are not what they say
        raise InputError(
            f"{name} has no geometry that a DICOM result could refer to: export the series again."
        ) from error
    if not header.SOPInstanceUID:
        raise InputError(f"{name} has no SOPInstanceUID, a DICOM result cannot refer to it: export the series again.")
    return header


def _read(path: str | Path) -> Dataset:
    return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(WANTED))


def _add_texts(header: Dataset, dataset: Dataset) -> None:
    """Patient and study, decoded by the slice's own character set; written as UTF-8 where ASCII does not do."""
    for keyword in (*TEXTS, *PATTERNS):
        value = dataset.get(keyword)
        values = value if isinstance(value, pydicom.multival.MultiValue) else [value or ""]
        text = "\\".join(str(v) for v in values).strip()
        setattr(header, keyword, text if re.fullmatch(PATTERNS.get(keyword, ".*"), text) else "")
        if not text.isascii():
            header.SpecificCharacterSet = "ISO_IR 192"


def _add_uids(header: Dataset, dataset: Dataset) -> None:
    """The UIDs; where a file's data set leaves them empty, those that its file meta information has."""
    meta = getattr(dataset, "file_meta", None) or Dataset()
    for keyword in UIDS:
        value = dataset.get(keyword) or meta.get(f"MediaStorage{keyword}")
        setattr(header, keyword, re.sub(r"[^0-9.]", "", str(value or ""))[:64])
    header.SOPClassUID = header.SOPClassUID or CTImageStorage


def _check_regular(headers: Sequence[Dataset]) -> None:
    """Refuse slices, sorted along their normal, that are no one regular stack: readers of a SEG disagree on those."""
    patients = {tuple(str(header[keyword].value) for keyword in PATIENT) for header in headers}
    sizes = {(h.Rows, h.Columns, *(round(float(s), 3) for s in h.PixelSpacing)) for h in headers}
    axes = np.array([_axes(header) for header in headers])
    reasons = ["Its slices name different patients: give each a folder of its own."] * (len(patients) > 1)
    reasons += ["Its slices differ in size or pixel spacing: export one reconstruction."] * (len(sizes) > 1)
    if np.ptp(axes, axis=0).max() > 1e-3:
        reasons.append("Its slices differ in orientation: export one reconstruction.")
    else:
        reasons += stack_reasons(np.array([_position(header) for header in headers]), axes[0])
    if reasons:
        raise InputError("DICOM results need one regular series. " + " ".join(reasons))


def _axes(header: Dataset) -> npt.NDArray[np.float64]:
    """Unit vectors along a row and along a column, (2, 3), LPS."""
    axes = np.reshape([float(c) for c in header.ImageOrientationPatient], (2, 3))
    return np.asarray(axes / np.linalg.norm(axes, axis=1, keepdims=True))


def _position(header: Dataset) -> tuple[float, float, float]:
    x, y, z = (float(c) for c in header.ImagePositionPatient)
    return x, y, z


def _place(header: Dataset) -> tuple[str, tuple[float, float, float]]:
    return str(header.SOPInstanceUID), _position(header)


def _unify(headers: Sequence[Dataset], step: float) -> tuple[str, ...]:
    """Give all slices what a series shares, in place; the notes tell what the slices themselves do not say.

    SpacingBetweenSlices of a file can be negative and SliceThickness another number: the distance is measured.
    """
    first, notes = headers[0], []
    made_of = sorted(str(h.SOPInstanceUID) for h in headers)  # the same series gets the same UIDs in SEG and SR
    for keyword in UIDS[:3]:
        values = {str(h.get(keyword)) for h in headers}
        if len(values) == 1 and values != {""}:
            continue
        what = f"is different in {len(values)} slices" if len(values) > 1 else "is empty in the slices"
        first[keyword].value = generate_uid(entropy_srcs=[keyword, *made_of])
        notes.append(f"{keyword} {what}: the DICOM results have a generated one and a viewer may not link them.")
    thickness = first.SliceThickness
    for header in headers:
        for keyword in (*UIDS[:3], *TEXTS, *PATTERNS, "ImageOrientationPatient", "PixelSpacing"):
            header[keyword] = first[keyword]
        header.SliceThickness = thickness if thickness and float(thickness) > 0 else round(step, 6)
        header.SpacingBetweenSlices = round(step, 6)
        if "SpecificCharacterSet" in first:
            header.SpecificCharacterSet = first.SpecificCharacterSet
    return tuple(notes)
