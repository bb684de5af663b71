"""A case for pages and pictures: a ball-shaped liver with known lesions, and its measurements and report."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from shapes import Ellipsoid, grid, scene

from custom_networks.io import Volume
from custom_networks.labelmap.lesions import list_lesions
from custom_networks.report.measurements import Measurements, measure
from custom_networks.report.organ_region import OrganRegion, organ_region
from custom_networks.report.pictures import CasePictures
from custom_networks.report.report import case_report

TWO = [Ellipsoid((8, 5, -3), (6, 6, 6)), Ellipsoid((-12, 0, 5), (9, 8, 8))]
RUN: dict[str, Any] = {
    "date": "2025-11-29T02:30:00+00:00",
    "version": "1.0.0",
    "weights": {"sha256": "0" * 64, "released": False},
    "runtime": "torch",
    "precision": "float32",
    "device": "cpu",
    "processor": "x86_64",
    "fast": False,
    "seconds": {"total": 9.5, "read": 0.5, "prepare": 1.0, "scout": 0.5, "network": 6.5, "write": 1.0},
    "source": {"series_instance_uid": None, "series_number": 4, "spacing_mm": [2.0, 2.0, 4.0], "slices": 26},
    "scout": {"state": "found", "sha256": "0" * 64, "box": [[8, 20], [0, 16], [2, 24]]},
}


class PageCase(NamedTuple):
    """The data of a page."""

    ct: Volume
    region: OrganRegion
    measured: Measurements
    report: dict[str, Any]

    @property
    def parts(self) -> tuple[Volume, OrganRegion, Measurements]:
        """CT, region and measurements."""
        return self.ct, self.region, self.measured

    def times(self, number: int) -> "PageCase":
        """The case with its first lesion repeated, for tests of many lesions, since measuring them takes long."""
        (lesion, *_), rows = self.measured.lesions, self.report["lesions"]
        many = tuple(replace(lesion, id=id_) for id_ in range(1, number + 1))
        listed = [{**rows[0], "id": id_} for id_ in range(1, number + 1)]
        return self._replace(measured=replace(self.measured, lesions=many), report={**self.report, "lesions": listed})

    @property
    def pictures(self) -> CasePictures:
        """The case's pictures, not yet drawn."""
        return CasePictures(*self.parts)


def page_case(
    lesions: list[Ellipsoid] | None = None,
    spacing: tuple[float, float, float] = (1.5, 1.5, 4.0),
    orientation: str = "LPS, feet first",
    notes: tuple[str, ...] = (),
    case: str = "ct",
) -> PageCase:
    """The case of a ball-shaped liver with these lesions, two by default."""
    affine, shape = grid(spacing, orientation)
    labels, hu = scene(TWO if lesions is None else lesions, affine, shape)
    return case_of(labels, hu, affine, notes, case)


def case_of(
    labels: npt.NDArray[Any],
    hu: npt.NDArray[Any],
    affine: npt.NDArray[Any],
    notes: tuple[str, ...] = (),
    case: str = "ct",
) -> PageCase:
    """The case of a label map and its HU; every lesion counts."""
    found = list_lesions(labels, np.full((2, *labels.shape), 204, np.uint8), affine)
    found = found.largest_first(np.ones(found.volume_mm3.shape, bool))
    region = organ_region(labels, found.number_map(labels.shape), affine)
    measured = measure(region, hu[region.box], found.listed(), calibrated=False)
    report = case_report(case, f"scans/{case}.nii.gz", measured, {"mask": f"{case}_seg.nii.gz"}, {}, RUN, notes)
    return PageCase(Volume(hu, affine, source=Path("ct.nii.gz")), region, measured, report)
