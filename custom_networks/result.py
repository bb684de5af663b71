"""`Result`, the result of one CT in memory, and `write`, which writes it to a case folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from custom_networks.case_folder import Claim, Input, claim
from custom_networks.dicom_out.results import write_dicom_results
from custom_networks.io import Case, Volume
from custom_networks.io.files import medical_suffix
from custom_networks.report.lesion import MeasuredLesion
from custom_networks.report.measurements import Measurements
from custom_networks.report.notebook import case_html, overlay_png
from custom_networks.report.organ_region import OrganRegion
from custom_networks.report.overlay import draw_overlay
from custom_networks.report.page.written import FULL
from custom_networks.report.page.written import check_page as check_page
from custom_networks.report.pictures import CasePictures
from custom_networks.report.report import case_report, write_report
from custom_networks.report.run import source_block as source_block  # noqa: F401
from custom_networks.report.segments import Segments
from custom_networks.report.verdict import Verdict
from custom_networks.showing import Saved, or_note, write_shown
from custom_networks.staging import output_folder as output_folder  # noqa: F401
from custom_networks.transforms.save import write_label_map
from custom_networks.transforms.save_as_input import write_as_input

OVERLAY = "overlay.png"
REPLACED = "The input has changed since its last results were written: they were replaced."


@dataclass(frozen=True)
class Written:
    """Where a result was written.

    Attributes:
        folder: the case folder; it is named after the case, with a number such as `_2` if another input has the name.
        files: names of its files by kind.
        report: the contents of `report.json`.
        notes: remarks about the result and its files, one sentence each.
    """

    folder: Path
    files: Mapping[str, str]
    report: Mapping[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """The result of one CT; arrays are (i, j, k) on its own grid.

    Attributes:
        input: the case that was segmented.
        belongs_to: the digests that identify the case and its folder, taken when the case was read.
        ct: the CT's voxels in HU, with the affine to RAS mm and, for DICOM, the headers that results refer to.
        region: label map and lesion numbers of the organ and its surroundings.
        measurements: volumes and lesions.
        operating_point: the thresholds that decided which voxels and lesions count.
        options: the options that affect the result; stored in the manifest.
        run: how the result was made, as the `run` block of report.json.
        notes: remarks about the input and the result, one sentence each.
        probability: tumor probability x 255 of the whole image, uint8, if it was requested.
        verdict: how trustworthy the result is, and what to check.
        segments: Couinaud's segments of the liver, or the reason why there are none, if they were requested.
        written: folder, files and report, once the result has been written.
    """

    input: Case
    belongs_to: Input
    ct: Volume
    region: OrganRegion
    measurements: Measurements
    operating_point: Mapping[str, float]
    options: Mapping[str, Any]
    run: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    probability: npt.NDArray[np.uint8] | None = None
    verdict: Verdict | None = None
    segments: Segments | None = None
    written: Written | None = field(default=None)

    @property
    def case(self) -> str:
        """Name of the case or, once the result has been written, of its folder."""
        return self.written.folder.name if self.written else self.input.name

    @property
    def folder(self) -> Path | None:
        """The case folder, once the result has been written."""
        return self.written.folder if self.written else None

    @property
    def lesions(self) -> tuple[MeasuredLesion, ...]:
        """The lesions, largest first."""
        return self.measurements.lesions

    @property
    def liver_ml(self) -> float:
        """Volume of the liver with its tumors, ml."""
        return self.measurements.liver_ml

    @property
    def tumor_ml(self) -> float:
        """Volume of the tumors, ml."""
        return self.measurements.tumor_ml

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Affine (4, 4) from voxel indices to patient coordinates in mm, RAS+ (nibabel's convention)."""
        return self.ct.affine

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """Label map (i, j, k): 0 background, 1 liver, 2 tumor; a new array each time."""
        return self.region.whole_labels()

    @property
    def liver(self) -> npt.NDArray[np.bool_]:
        """Mask of the liver with its tumors."""
        return np.asarray(self.labels > 0)

    @property
    def tumor(self) -> npt.NDArray[np.bool_]:
        """Mask of the tumors."""
        return np.asarray(self.labels == 2)

    @property
    def lesion_map(self) -> npt.NDArray[np.int32]:
        """The id of the lesion at each voxel, 0 where there is none."""
        return self.measurements.lesion_map()

    @property
    def segment_map(self) -> npt.NDArray[np.uint8] | None:
        """Couinaud's segment at each voxel, 1 to 8 in the liver and 0 outside; None if unknown."""
        if self.segments is None or not self.segments.volumes_ml:
            return None
        whole = np.zeros(self.region.shape, np.uint8)
        whole[self.region.box] = self.segments.labels
        return whole

    @property
    def tumor_probability(self) -> npt.NDArray[np.float32] | None:
        """Tumor probability, 0 to 1; None if it was not requested."""
        return None if self.probability is None else self.probability.astype(np.float32) / np.float32(255)

    @property
    def report(self) -> Mapping[str, Any]:
        """The contents of `report.json`, whether or not it was written."""
        if self.written:
            return self.written.report
        return self._report_with({}, self.run, self.notes)

    def _report_with(
        self, files: Mapping[str, str], run: Mapping[str, Any], notes: tuple[str, ...], name: str | None = None
    ) -> dict[str, Any]:
        """Build the contents of report.json; `name` overrides the name of the case."""
        source, point = self.input.source, self.operating_point
        found, judged = self.measurements, self.verdict.as_json() if self.verdict else None
        return case_report(name or self.case, source, found, files, point, run, notes, judged, self.segments)

    def _repr_html_(self) -> str:
        """HTML for notebooks: overlay (if matplotlib is installed), volumes, verdict and lesions."""
        return case_html(self.report, overlay_png(self.folder, self.report["files"], self._draw_overlay))

    def _draw_overlay(self, path: Path) -> None:
        draw_overlay(self.ct, self.labels, path, f"{self.case}_seg.nii.gz")

    def without_arrays(self) -> Result:
        """A copy without voxels and DICOM headers, for callers that only need the numbers."""
        nothing = np.empty((0, 0, 0), np.uint8)
        return replace(
            self.without_ct(),
            region=replace(self.region, labels=nothing, numbers=nothing),
            measurements=replace(self.measurements, numbers=nothing),
            probability=None,
            segments=self.segments and replace(self.segments, labels=nothing),
        )

    def without_ct(self) -> Result:
        """A copy without the CT's voxels and DICOM headers."""
        return replace(self, ct=replace(self.ct, array=np.empty((0, 0, 0), np.int16), headers=()))

    def __repr__(self) -> str:
        lesions = len(self.lesions)
        return (
            f"Result({self.case!r}: liver {self.liver_ml:.1f} ml, tumor {self.tumor_ml:.1f} ml in {lesions} "
            f"lesion{'s' * (lesions != 1)}, {' x '.join(map(str, self.region.shape))} voxels)"
        )


def write(
    result: Result,
    output: Path,
    *,
    overlay: bool = True,
    keep_empty_frames: bool = False,
    page: str = FULL,
    key_images: bool = False,
    pdf: bool = False,
    with_phi: bool = False,
) -> Result:
    """Write a result to its case folder in `output`, where it replaces older results of the same input.

    The folder keeps its older files until all new ones have been written elsewhere. Label maps and the report are
    essential. If a page, picture or DICOM file cannot be made, the result has a note instead.

    Args:
        result: from `Pipeline.predict` or `measure_mask`.
        output: folder of all cases.
        overlay: draw `overlay.png`.
        keep_empty_frames: write a DICOM SEG frame for every slice and segment, which some viewers need.
        page: the kind of report.html: full, light (without the viewer), or off.
        key_images: for DICOM inputs, write key images as secondary captures.
        pdf: for DICOM inputs, write the report as an encapsulated PDF of two pages.
        with_phi: show text about the patient on page, key images and PDF.

    Returns:
        A copy of the result with `written` set, and the notes and duration of writing added.

    Raises:
        UsageError: `page` is unknown.
        InputError: another process has changed the case folder, or a foreign file in it has the name of a new one.
        OSError: a label map or the report cannot be written.
    """
    started = time.perf_counter()
    shown: Any = {"page": check_page(page), "key_images": key_images, "pdf": pdf, "with_phi": with_phi}
    with claim(output, result.belongs_to) as claimed:
        notes = result.notes + (REPLACED,) * claimed.content_changed
        labels = result.labels
        files = _label_maps(result, labels, claimed)
        pictures = CasePictures(result.ct, result.region, result.measurements)
        drawn = or_note(OVERLAY, lambda: _drawn(result, labels, claimed, pictures)) if overlay else ({}, ())
        dicom = write_dicom_results(
            claimed.staging,
            claimed.name,
            headers=result.ct.headers,
            affine=result.affine,
            labels=labels,
            measured=result.measurements,
            keep_empty_frames=keep_empty_frames,
            remarks=result.verdict.remarks() if result.verdict else (),
            segments=result.segment_map,
            lesion_segments=result.segments.lesions if result.segments else {},
        )
        for names, remarks in (drawn, dicom):
            files |= names
            notes += tuple(note for note in remarks if note not in notes)
        report = result._report_with(files, result.run, notes, claimed.name)
        parts = result.ct, result.region, result.measurements
        for names, remarks in write_shown(claimed.staging, claimed.name, pictures, *parts, report=report, **shown):
            files |= names
            notes += tuple(note for note in remarks if note not in notes)
        seconds, writing = result.run["seconds"], time.perf_counter() - started
        seconds = {**seconds, "total": round(seconds["total"] + writing, 3), "write": round(writing, 3)}
        run = {**result.run, "seconds": seconds}
        report = result._report_with(files, run, notes, claimed.name)
        write_report(report, claimed.staging)
        options = {**result.options, "overlay": overlay, "keep_empty_frames": keep_empty_frames, **shown}
        folder = claimed.commit(options)
    return replace(result, run=run, notes=notes, written=Written(folder, files, report, notes))


def _label_maps(result: Result, labels: npt.NDArray[np.uint8], claimed: Claim) -> dict[str, str]:
    """Write the label map and, if requested, tumor probability and segments; return the file names by kind.

    For a MetaImage or NRRD input, the label map is also written in that format.
    """
    files = {"mask": f"{claimed.name}_seg.nii.gz"}
    forms = result.ct.nifti_geometry
    write_label_map(labels, result.affine, claimed.staging / files["mask"], nifti_geometry=forms)
    suffix = "" if result.input.series else medical_suffix(Path(result.input.source))
    as_input = write_as_input(labels, result.affine, claimed.staging, f"{claimed.name}_seg", suffix)
    if as_input:
        files["mask_as_input"] = as_input
    if result.probability is not None:
        files["tumor_probability"] = f"{claimed.name}_tumor_probability.nii.gz"
        path = claimed.staging / files["tumor_probability"]
        write_label_map(result.probability, result.affine, path, 1 / 255, forms)
    if (segments := result.segment_map) is not None:
        files["segments"] = f"{claimed.name}_segments.nii.gz"
        write_label_map(segments, result.affine, claimed.staging / files["segments"], nifti_geometry=forms)
    return files


def _drawn(result: Result, labels: npt.NDArray[np.uint8], claimed: Claim, pictures: CasePictures) -> Saved:
    """Draw `overlay.png`; return its name by kind, and no notes."""
    draw_overlay(result.ct, labels, claimed.staging / OVERLAY, f"{claimed.name}_seg.nii.gz", pictures)
    return {"overlay": OVERLAY}, ()
