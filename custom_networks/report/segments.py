"""Couinaud segments of a case: their volumes, and the segments of each lesion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from custom_networks.files import Cell
from custom_networks.labelmap.labels import Labels
from custom_networks.labelmap.segments import ROMAN, SEGMENTS, LesionSegments, lesion_segments
from custom_networks.report.organ_region import OrganRegion

SEGMENT_COLUMNS = ("case", "segment", "roman", "volume_ml", "share_percent", "tumor_ml", "lesion_count")


@dataclass(frozen=True, eq=False)
class Segments:
    """The liver segments of a case, or the reason why there are none.

    Attributes:
        state: "found", "left out" (the liver is cut off, or its shape is unusual) or "no liver".
        reason: a clause if the state is "left out", else None.
        sha256: SHA-256 of the weights of the segments' network.
        labels: (i, j, k) segment numbers 1 to 8 in the liver's region, 0 outside the liver; all 0 without segments.
        volumes_ml: volume of each segment in ml, including lesions; empty without segments.
        tumor_ml: volume of lesions in each segment in ml; empty without segments.
        lesions: segments of each lesion, by its id; empty without segments.
    """

    state: str
    reason: str | None
    sha256: str
    labels: Labels
    volumes_ml: Mapping[int, float]
    tumor_ml: Mapping[int, float]
    lesions: Mapping[int, LesionSegments]

    @property
    def notes(self) -> tuple[str, ...]:
        """A note with the reason if segments were left out, else empty."""
        return (f"Liver segments were left out: {self.reason}.",) if self.reason else ()


def segments_of_case(state: Mapping[str, Any], labels: Labels | None, region: OrganRegion, sha256: str) -> Segments:
    """Measure the liver segments of a case.

    Args:
        state: state and reason from `LabelSegmentsd`.
        labels: (i, j, k) segment numbers of the whole image, or None if no segments were found.
        region: the liver region with its lesion numbers.
        sha256: SHA-256 of the weights of the segments' network.
    """
    if labels is None:
        nothing = np.zeros(region.labels.shape, np.uint8)
        return Segments(state["state"], state["reason"], sha256, nothing, {}, {}, {})
    here, voxel_ml = labels[region.box].copy(), region.voxel_mm3 / 1000
    voxels, tumor = (np.bincount(here[part].ravel(), minlength=9) for part in (here > 0, region.numbers > 0))
    boxes = enumerate(ndimage.find_objects(region.numbers) if region.numbers.size else (), start=1)
    return Segments(
        state=state["state"],
        reason=state["reason"],
        sha256=sha256,
        labels=here,
        volumes_ml=_by_segment(voxels * voxel_ml),
        tumor_ml=_by_segment(tumor * voxel_ml),
        lesions={n: lesion_segments(here, region.numbers[box] == n, box, region.spacing) for n, box in boxes},
    )


def _by_segment(values: npt.NDArray[np.floating[Any]]) -> dict[int, float]:
    return {number: float(values[number]) for number in SEGMENTS}


def segments_block(found: Segments | None) -> dict[str, Any] | None:
    """Return the `segments` block of report.json, or None if segments were not requested."""
    if found is None:
        return None
    table = [_segment_row(found, number) for number in found.volumes_ml]
    return {"state": found.state, "reason": found.reason, "sha256": found.sha256, "table": table}


def _segment_row(found: Segments, number: int) -> dict[str, Any]:
    """Return the row of one segment in the `table` of the `segments` block."""
    whole, volume = sum(found.volumes_ml.values()), found.volumes_ml[number]
    return {
        "segment": number,
        "roman": ROMAN[number - 1],
        "volume_ml": round(volume, 3),
        "share_percent": round(100 * volume / whole, 2) if whole else 0.0,
        "tumor_ml": round(found.tumor_ml[number], 3),
        "lesion_count": sum(number in dict(lesion.shares) for lesion in found.lesions.values()),
    }


def lesion_block(found: Segments | None, id_: int) -> dict[str, Any]:
    """Return the segment-related keys of one lesion in report.json; their values are None without segments."""
    own = found.lesions.get(id_) if found else None
    if own is None:
        return {"segments": None, "near_segment_border": None}
    shares = [{"segment": number, "share": round(share, 4)} for number, share in own.shares]
    return {"segments": shares, "near_segment_border": own.near_border}


def lesion_cells(lesion: Mapping[str, Any]) -> dict[str, Cell]:
    """Return the segment-related columns of `lesions.csv`; shares are formatted as "8:0.9312 7:0.0688"."""
    shares = lesion["segments"] or []
    return {
        "segment": shares[0]["segment"] if shares else None,
        "segment_shares": " ".join(f"{item['segment']}:{item['share']}" for item in shares) or None,
        "near_segment_border": lesion["near_segment_border"],
    }


def segment_rows(report: Mapping[str, Any]) -> list[list[Cell]]:
    """Return the rows of `segments.csv`, one for each segment, in the order of SEGMENT_COLUMNS; [] without segments."""
    table = (report["segments"] or {}).get("table", [])
    return [[report["case"], *row.values()] for row in table]
