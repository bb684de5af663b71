"""`segment(...)`: the masks, volumes and lesions of one CT in two lines of Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from custom_networks.batch.run import ready_folder, segment_into
from custom_networks.bundle_files import bundle_root
from custom_networks.errors import UsageError
from custom_networks.inference.settings import settings
from custom_networks.io import Case, case_of_array, case_of_image, only_case
from custom_networks.pipeline import Pipeline
from custom_networks.progress import Stage, stage_callback
from custom_networks.result import Result, check_page

if TYPE_CHECKING:
    from nibabel.spatialimages import SpatialImage

__all__ = ["Result", "segment"]


def segment(
    ct: str | Path | Case | SpatialImage | npt.NDArray[Any],
    output: str | Path | None = None,
    *,
    affine: npt.NDArray[np.float64] | None = None,
    probability: bool = False,
    overlay: bool = True,
    page: str = "full",
    key_images: bool = False,
    pdf: bool = False,
    with_phi: bool = False,
    keep_empty_frames: bool = False,
    allow_large: bool = False,
    device: str | None = None,
    runtime: str | None = None,
    precision: str | None = None,
    scout: bool = True,
    fast: bool = False,
    segments: bool = False,
    bundle: str | None = None,
    checkpoint: str | None = None,
    overrides: Mapping[str, Any] | None = None,
    progress: bool | Stage = False,
) -> Result:
    """Segment the liver and its tumors in one CT, and return label map, volumes, lesions and verdict as a `Result`.

    The first call loads the network. The next call reuses it if the settings and the weights file are still the same.

    Args:
        ct: a NIfTI, NRRD or MetaImage file; a folder (of any depth) or zip archive of DICOM files, from which the most
            suitable series is taken (`PATH::N` takes number N in the list of `liverseg series PATH`); a case from
            `custom_networks.io.find_cases`; a nibabel image; or an array (i, j, k) of HU with its affine.
        output: folder in which the case's folder is created, with the files that `liverseg segment` writes; by default
            nothing is written.
        affine: affine (4, 4) of an array, from voxel indices to RAS mm.
        probability: whether the result also contains the tumor probability.
        overlay: whether to draw `overlay.png`, if files are written.
        page: the kind of `report.html`, if files are written: "full", "light" (without the viewer) or "off".
        key_images: whether to write key images of a DICOM input as secondary captures, if files are written.
        pdf: whether to write the report of a DICOM input as an encapsulated PDF, if files are written.
        with_phi: whether page, key images and PDF show what the DICOM header says about the patient.
        keep_empty_frames: whether to write a DICOM SEG frame for every slice and segment, which some viewers need.
        allow_large: whether to read inputs that exceed the memory limits.
        device: "cpu", "cuda", "cuda:1"; by default a GPU if there is one.
        runtime: "torch" or "openvino"; by default OpenVINO on a CPU if it is installed.
        precision: "float32" or "bfloat16"; by default bfloat16 if runtime and processor support it, but float32 with
            PyTorch on a CPU.
        scout: whether to find the liver first, so that the network runs only on its box.
        fast: whether to trade some accuracy for speed; it takes about a third of the time.
        segments: whether to also label Couinaud's liver segments.
        bundle: folder of another bundle.
        checkpoint: file with other weights, a state dict.
        overrides: values for ids of inference.json that have no argument here, such as `{"anatomy#1#neck_mm": 0.0}`.
        progress: whether to show a progress bar; or a function `progress(stage, done, total)` that is called when a
            stage (read, prepare, network, measure) begins, and after each of the network's `total` slabs.

    Raises:
        UsageError: an argument is wrong; for example, the path contains several volumes or none, an array has no
            affine, `output` cannot be written to, or a device is not available.
        InputError: the volume cannot be segmented.
        BundleError: the bundle or the weights are missing or cannot be used.
        OSError: the results cannot be written.
    """
    check_page(page)
    case = _case(ct, affine)
    case = replace(case, allow_large=case.allow_large or allow_large)
    folder = ready_folder(output) if output is not None else None
    asked = {"progress": False, **(overrides or {}), **settings(device, runtime, precision, scout, fast, segments)}
    pipeline = shared_pipeline(bundle, asked, checkpoint)
    with stage_callback(progress) as pipeline.on_stage:
        if folder is None:
            return pipeline.predict(case, probability=probability)
        options = {"overlay": overlay, "keep_empty_frames": keep_empty_frames, "page": page}
        options |= {"key_images": key_images, "pdf": pdf, "with_phi": with_phi}
        return segment_into(folder, case, pipeline, probability=probability, **options)


def _case(ct: Any, affine: npt.NDArray[np.float64] | None) -> Case:
    """The case to segment; UsageError if `affine` is missing for an array, or given for anything else."""
    if affine is not None and not isinstance(ct, np.ndarray):
        raise UsageError(
            f"affine= is only for arrays, got a {type(ct).__name__}: leave affine= out; the input has its own."
        )
    if isinstance(ct, Case):
        return ct
    if isinstance(ct, np.ndarray):
        if affine is None:
            raise UsageError("An array of HU needs its affine (4, 4), voxel index to RAS mm: pass it as affine=.")
        return case_of_array(ct, affine)
    return only_case(ct) if isinstance(ct, (str, Path)) else case_of_image(ct)


_LAST: dict[str, Pipeline] = {}


def shared_pipeline(bundle: str | None, asked: Mapping[str, Any], checkpoint: str | None) -> Pipeline:
    """The most recent pipeline, if its settings and weights file are still the same, or else a new one.

    Args:
        bundle: folder of another bundle.
        asked: values for ids of inference.json.
        checkpoint: file with other weights.
    """
    weights = Path(checkpoint).expanduser() if checkpoint else bundle_root(bundle) / "models" / "model.pt"
    state = weights.stat() if weights.is_file() else None
    version = (state.st_mtime_ns, state.st_size) if state else None
    key = repr((bundle, sorted(asked.items()), checkpoint, version))
    pipeline = _LAST.get(key)  # look it up only once, since another thread may replace it at any time
    if pipeline is None:
        pipeline = Pipeline(bundle, asked, checkpoint)
        _LAST.clear()
        _LAST[key] = pipeline
    return pipeline
