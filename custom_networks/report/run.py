"""Parts of the `run` block of report.json: the source of the CT, and the scout."""

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
    """Return the `source` block: UID and number of the DICOM series (None if unknown), spacing and number of slices."""
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
    """Return the `scout` block: the state ("off" without a scout), the hash of the weights, and the box.

    The box, in which the network ran, has the start and stop index along each axis of the CT. It is None unless the
    scout found a liver.

    Args:
        scout: output of `FindLiverd`; empty if the scout is off.
        sha256: SHA-256 of the scout's weights, or None if the scout is off.
        seen: (4, 2) opposite outer corners of the volume that the network saw, homogeneous RAS mm.
        ct: the whole CT.
    """
    box = None
    if scout.get("state") == "found":
        corners = np.linalg.solve(ct.affine, seen)[:3] + 0.5
        box = np.clip(np.sort(corners).round().astype(int), 0, np.array(ct.array.shape)[:, None]).tolist()
    return {"state": scout.get("state", "off"), "sha256": sha256, "box": box}


def scout_notes(scout: Mapping[str, Any], region: OrganRegion) -> list[str]:
    """Return a note if the scout found no liver, or if the liver reaches a side of the scout's box, else [].

    A side on the border of the image does not count.

    Args:
        scout: the block from `scout_block`.
        region: the liver that the network found.
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
