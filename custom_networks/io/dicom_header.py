"""What each DICOM file of a folder says it is, without its pixels and without anything that names a patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.uid import UID, ImplicitVRLittleEndian

from custom_networks.errors import InputError
from custom_networks.io.files import dicom_files, visible_files

HEADER_TAGS = [
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
    "Modality",
    "ImageType",
    "AcquisitionNumber",
    "NumberOfFrames",
    "SamplesPerPixel",
    "Rows",
    "Columns",
    "BitsStored",
    "PixelSpacing",
    "ImageOrientationPatient",
    "ImagePositionPatient",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "LossyImageCompression",
]


@dataclass(frozen=True)
class SliceHeader:
    """The technical part of one file's header; lengths in mm, LPS; NaN, 0 or "" where the file does not say it.

    `axes` is (2, 3), the unit vectors along a row and along a column; `spacing` between rows, then between columns.
    """

    path: Path
    modality: str
    instance_uid: str
    series_uid: str
    frame_uid: str
    transfer_syntax: UID
    image_type: tuple[str, ...]
    acquisition: int | None
    frames: int
    samples: int
    rows: int
    columns: int
    bits: int
    spacing: tuple[float, ...]
    axes: np.ndarray
    position: tuple[float, ...]
    slope: float
    intercept: float
    rescale_type: str
    lossy: bool


def read_headers(folder: Path) -> list[SliceHeader]:
    """The headers of all DICOM files directly in `folder`; files of other kinds are passed over.

    Raises:
        InputError: no DICOM file there, or one whose header is damaged.
    """
    files = dicom_files(folder)
    if not files:
        n = len(visible_files(folder))
        raise InputError(
            f"{folder} holds no DICOM image ({n} file{'s' * (n != 1)} looked at, none with a DICOM header; "
            "subfolders are not searched): give the folder of one CT series."
        )
    return [_read_header(path) for path in files]


def without_copies(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """The slices without repeated files (same SOPInstanceUID and position), and a note of what was dropped."""
    kept: dict[object, SliceHeader] = {}
    for header in slices:
        kept.setdefault((header.instance_uid, header.position) if header.instance_uid else header.path, header)
    dropped = len(slices) - len(kept)
    files = "1 file repeats another slice and was" if dropped == 1 else f"{dropped} files repeat other slices and were"
    return list(kept.values()), (f"{files} left out (same SOPInstanceUID).",) if dropped else ()


def object_reasons(slices: Sequence[SliceHeader]) -> list[str]:
    """Why these files are not the slices of one CT series; each file is counted under the first rule it breaks."""
    broken: dict[str, list[SliceHeader]] = {}
    for header in slices:
        sentence = next((text for breaks, text in OBJECT_RULES if breaks(header)), None)
        if sentence:
            broken.setdefault(sentence, []).append(header)
    reasons = [
        f"{len(found)} of {len(slices)} files {text.format(modality=_modalities(found))} (first: {found[0].path.name})."
        for text, found in broken.items()
    ]
    series = Counter((s.series_uid, s.modality) for s in slices)
    uids = {uid for uid, _ in series}
    if len(uids) > 1:
        named = ", ".join(f"{modality or 'no modality'}: {n}" for (_, modality), n in series.most_common(6))
        reasons.append(
            f"It holds {len(uids)} series ({named}{', ...' * (len(series) > 6)}): give each a folder of its own."
        )
    return reasons


def _read_header(path: Path) -> SliceHeader:
    """Parse one header; whatever pydicom cannot make sense of counts as damage."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER_TAGS))
        return _slice_header(path, dataset)
    except Exception as error:  # pydicom has no common error for bytes that are not what they say
        raise InputError(
            f"{path} is damaged or incomplete, its DICOM header cannot be read: export it again."
        ) from error


def _slice_header(path: Path, dataset: pydicom.Dataset) -> SliceHeader:
    meta = dataset.file_meta
    orientation = np.reshape(_numbers(dataset, "ImageOrientationPatient", 6), (2, 3))
    acquisition = dataset.get("AcquisitionNumber")
    return SliceHeader(
        path=path,
        modality=_modality(str(dataset.get("Modality") or "").strip()),
        instance_uid=_uid(dataset.get("SOPInstanceUID") or meta.get("MediaStorageSOPInstanceUID")),
        series_uid=_uid(dataset.get("SeriesInstanceUID")),
        frame_uid=_uid(dataset.get("FrameOfReferenceUID")),
        transfer_syntax=UID(_uid(meta.get("TransferSyntaxUID")) or ImplicitVRLittleEndian),
        image_type=tuple(str(value).upper() for value in _values(dataset.get("ImageType"))),
        acquisition=int(acquisition) if acquisition not in (None, "") else None,
        frames=int(dataset.get("NumberOfFrames") or 1),
        samples=int(dataset.get("SamplesPerPixel") or 1),
        rows=int(dataset.get("Rows") or 0),
        columns=int(dataset.get("Columns") or 0),
        bits=int(dataset.get("BitsStored") or 0),
        spacing=_numbers(dataset, "PixelSpacing", 2),
        axes=orientation / np.maximum(np.linalg.norm(orientation, axis=1, keepdims=True), 1e-9),
        position=_numbers(dataset, "ImagePositionPatient", 3),
        slope=_numbers(dataset, "RescaleSlope", 1)[0],
        intercept=_numbers(dataset, "RescaleIntercept", 1)[0],
        rescale_type=str(dataset.get("RescaleType") or "").upper(),
        lossy=str(dataset.get("LossyImageCompression") or "") == "01",
    )


def _modality(text: str) -> str:
    """A modality as the standard writes it; in a damaged header the text can run on into the patient's name."""
    return text if re.fullmatch("|[A-Z]{2,10}", text) else "unknown"


def _uid(value: object) -> str:
    """A UID as text, without anything that no UID holds."""
    return re.sub(r"[^0-9.]", "", str(value or ""))[:64]


def _values(value: object) -> Sequence[object]:
    """The values of an element of any multiplicity."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)  # type: ignore[arg-type]


def _numbers(dataset: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """`count` numbers of one element; all NaN where it is absent or holds anything else."""
    try:
        value = dataset.get(keyword)
        numbers = tuple(float(part) for part in (value if isinstance(value, Sequence) else (value,)))
    except (TypeError, ValueError):
        numbers = ()
    return numbers if len(numbers) == count and bool(np.isfinite(numbers).all()) else (float("nan"),) * count


def _modalities(slices: Sequence[SliceHeader]) -> str:
    return ", ".join(sorted({s.modality for s in slices}))


def _has_no_geometry(header: SliceHeader) -> bool:
    """No position, no pixel spacing, or an orientation that is not two vectors at a right angle."""
    placed = np.isfinite(header.position).all() and min(header.spacing) > 0
    return not (placed and abs(float(header.axes[0] @ header.axes[1])) < 1e-2)


OBJECT_RULES: tuple[tuple[Callable[[SliceHeader], bool], str], ...] = (
    (lambda s: not s.modality, "are damaged or incomplete, they name no modality: export them again"),
    (lambda s: s.modality != "CT", "are not CT but {modality}: only CT is read"),
    (lambda s: "LOCALIZER" in s.image_type, "are localizers (scouts), not axial slices: leave them out"),
    (lambda s: s.frames > 1, "are enhanced multi-frame CT, which is not supported: export as classic CT"),
    (lambda s: not s.rows * s.columns, "have no pixel data: export them again"),
    (_has_no_geometry, "have no position or orientation (dose screen, film, secondary capture): leave them out"),
    (
        lambda s: s.samples != 1 or s.bits <= 8,
        "hold 8-bit or colour pixels, not Hounsfield units: export the original CT",
    ),
    (
        lambda s: not np.isfinite(s.slope * s.intercept) or s.rescale_type not in ("", "HU", "US"),
        "have no rescale to Hounsfield units (RescaleSlope, RescaleIntercept, RescaleType): export the original CT",
    ),
)
