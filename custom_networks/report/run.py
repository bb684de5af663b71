"""The `run` block of report.json: where the CT came from, and what the scout did."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.io import Case, Volume
from custom_networks.labelmap.boxes import box_around
from custom_networks.report.organ_region import OrganRegion
from custom_networks.report.verdict import BOX_TOO_SMALL
from custom_networks.report.verdict_numbers import NOTHING_FOUND

NO_LIVER_SEEN = "The scout found no liver: the whole volume was segmented."


def source_block(case: Case, ct: Volume) -> dict[str, Any]:
    """What report.json says about where a CT came from."""
    series = case.series
    return {
        "series_instance_uid": series.series_instance_uid or None if series else None,
        "series_number": series.series_number or None if series else None,
        "spacing_mm": [round(mm, 4) for mm in ct.spacing],
        "slices": ct.array.shape[ct.slice_axis],
    }


def scout_block(
    scout: Mapping[str, Any], sha256: str | None, seen: npt.NDArray[np.float64], ct: Volume
) -> dict[str, Any]:
    """What report.json says about the scout.

    Args:
        scout: what `FindLiverd` says about its search; empty if the scout is off.
        sha256: of the scout's weights, or None if it is off.
        seen: (4, 2) homogeneous RAS mm, two opposite outer corners of the volume that the network saw.
        ct: the whole CT; the box is given in its voxels, as first and stop index for each axis.
    """
    box = None
    if scout.get("state") == "found":
        corners = np.linalg.solve(ct.affine, seen)[:3] + 0.5
        box = np.clip(np.sort(corners).round().astype(int), 0, np.array(ct.array.shape)[:, None]).tolist()
    return {"state": scout.get("state", "off"), "sha256": sha256, "box": box}


def scout_notes(scout: Mapping[str, Any], region: OrganRegion) -> list[str]:
    """Notes for a scout that found no liver, or whose box cuts the liver inside the image.

    Args:
        scout: of `scout_block`.
        region: the organ that the network found.
    """
    organ = box_around(region.labels)
    if scout["state"] == NOTHING_FOUND:
        return [NO_LIVER_SEEN]
    if scout["box"] is None or organ is None:
        return []
    sides = zip(scout["box"], region.box, organ, region.shape, strict=True)
    reached = [
        0 < first >= outer.start + part.start or size > stop <= outer.start + part.stop
        for (first, stop), outer, part, size in sides
    ]
    return [BOX_TOO_SMALL] * any(reached)
