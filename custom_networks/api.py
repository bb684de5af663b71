"""`segment(path)`: the masks, volumes and lesions of one CT as plain objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from custom_networks.errors import UsageError
from custom_networks.io import name_cases, read_label_map, volumes_of
from custom_networks.pipeline import CaseResult, Pipeline
from custom_networks.report.measurements import Measured, Measurements


@dataclass(frozen=True, eq=False)
class Segmentation(Measured):
    """What was found in one CT; arrays are (i, j, k) on its own grid.

    Attributes:
        case: its name.
        labels: uint8: 0 background, 1 liver, 2 tumor.
        affine: (4, 4) voxel index to patient coordinates in mm, RAS+ (nibabel's convention).
        measurements: volumes and lesions.
        report: what `report.json` holds.
        notes: what the reader had to say about the input.
        tumor_probability: float32, 0 to 1, where it was asked for.
        folder: where the files were written, if they were to be kept.
    """

    case: str
    labels: npt.NDArray[np.uint8]
    affine: npt.NDArray[np.float64]
    measurements: Measurements
    report: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    tumor_probability: npt.NDArray[np.float32] | None = None
    folder: Path | None = None

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


def segment(
    path: str | Path,
    output: str | Path | None = None,
    *,
    probability: bool = False,
    overlay: bool = True,
    keep_empty_frames: bool = False,
    device: str | None = None,
    bundle: str | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Segmentation:
    """Segment liver and tumors in one CT.

    Each call loads the network anew, some seconds; for many volumes use `custom_networks.pipeline.Pipeline`.

    Args:
        path: a NIfTI, NRRD or MetaImage file, or a folder (of any depth) or zip archive of DICOM files, of which the
            fittest series is taken; `PATH::N` takes the one that `liverseg series PATH` numbers N.
        output: folder for the case's folder with the files that `liverseg segment` writes; by default none is kept.
        probability: whether to give the tumor probability, too.
        overlay: whether to draw `overlay.png`, where files are kept.
        keep_empty_frames: whether a DICOM SEG gets a frame for every slice and segment, which some viewers need.
        device: "cpu", "cuda", "cuda:1"; by default a GPU where there is one.
        bundle: folder of another bundle.
        overrides: further ids of inference.json, such as `{"precision": "float32"}`.

    Raises:
        UsageError: the path holds several volumes, or none.
        InputError: the volume cannot be segmented.
        BundleError: the bundle or its weights are missing.
    """
    volumes = volumes_of(path)
    if len(volumes) != 1:
        raise UsageError(f"{path} holds {len(volumes)} volumes: give one of them, such as {volumes[0]}.")
    settings: dict[str, Any] = {"progress": False, "save_probability": probability}
    if device:
        settings["device"] = f"$torch.device({device!r})"
    with TemporaryDirectory() as temporary:
        pipeline = Pipeline(
            output or temporary,
            bundle,
            {**settings, **(overrides or {})},
            overlay=overlay and output is not None,
            keep_empty_frames=keep_empty_frames,
        )
        return _loaded(pipeline.segment(name_cases(volumes)[0]), keep=output is not None)


def _loaded(result: CaseResult, keep: bool) -> Segmentation:
    """The result with its arrays in memory."""
    labels = read_label_map(result.mask)
    probability = None
    if result.probability:
        probability = np.asarray(nib.load(result.probability).dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    return Segmentation(
        case=result.case,
        labels=labels.array,
        affine=labels.affine,
        measurements=result.measurements,
        report=result.report,
        notes=result.notes,
        tumor_probability=probability,
        folder=result.mask.parent if keep else None,
    )
