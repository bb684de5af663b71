"""`liverseg segment`: liver and tumors in CT volumes."""

import logging
import traceback
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from custom_networks.bundle_files import bundle_version
from custom_networks.commands.terminal import BANNER, NOTHING_STARTED, OK, SOME_FAILED, complain, say
from custom_networks.errors import BundleError

if TYPE_CHECKING:
    from custom_networks.batch.run import Run
    from custom_networks.io import Case
    from custom_networks.pipeline import Pipeline
    from custom_networks.result import Result


def segment(
    *inputs: str,
    output: str,
    device: str | None = None,
    runtime: str = "auto",
    precision: str = "auto",
    scout: bool = True,
    fast: bool = False,
    segments: bool = False,
    overlay: bool = True,
    probability: bool = False,
    keep_empty_frames: bool = False,
    allow_large: bool = False,
    progress: bool = True,
    bundle: str | None = None,
    checkpoint: str | None = None,
    debug: bool = False,
) -> int:
    """Segment liver and tumors in CT volumes.

    Each input gets a folder of its own: OUTPUT/<case>/<case>_seg.nii.gz, a label map on the input's grid (0 background,
    1 liver, 2 tumor), report.json and lesions.csv with volumes and lesions, overlay.png to look at, and for DICOM a SEG
    and an SR. summary.csv in OUTPUT has a row for each case. Exit code 0: all inputs were segmented; 1: at least one
    was refused or failed; 2: nothing could start.

    Args:
        inputs: NIfTI, NRRD or MetaImage files, a folder of such files, or a folder (of any depth) or zip archive of
            DICOM files; PATH::N takes the series that `liverseg series PATH` numbers N.
        output: folder for the results.
        device: cpu, cuda, cuda:1, ...; by default a GPU where there is one.
        runtime: torch, openvino, or auto: OpenVINO on a CPU where it is installed, else PyTorch.
        precision: float32, bfloat16, or auto: bfloat16 where runtime and processor compute in it, but float32 in
            PyTorch on a CPU.
        scout: find the liver first and run the network on its box alone; --scout=false runs it on the whole volume.
        fast: a coarser answer in about a third of the time, from wider pixels and a part of thin slices.
        segments: label the liver's segments after Couinaud, too: OUTPUT/<case>/<case>_segments.nii.gz, segments.csv,
            and the segments of each lesion.
        overlay: draw overlay.png.
        probability: write the tumor probability, OUTPUT/<case>/<case>_tumor_probability.nii.gz.
        keep_empty_frames: give the DICOM SEG a frame for every slice and segment, which some viewers need.
        allow_large: read inputs that exceed the limits on memory; those on what a body can be stay.
        progress: show a progress bar.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.
        debug: show the traceback of a failure.
    """
    from custom_networks.io import find_cases
    from custom_networks.result import output_folder

    if debug:
        logging.getLogger("custom_networks").setLevel(logging.DEBUG)
    folder = output_folder(output, make=False)
    cases, failures = find_cases(inputs)
    for message in failures:
        complain(message)
    if not cases:
        return NOTHING_STARTED
    cases = [replace(case, allow_large=allow_large) for case in cases]
    say(BANNER, "stderr")  # before PyTorch is imported, which takes seconds
    from custom_networks.inference.settings import settings

    asked = settings(device, runtime, precision, scout, fast, segments) | {"progress": progress}
    from custom_networks.batch.run import Run, forget_inputs
    from custom_networks.pipeline import Pipeline

    _tune_this_process()
    pipeline = Pipeline(bundle, asked, checkpoint)
    if bundle is None and checkpoint is None:
        _check_released(pipeline)
    run = Run(folder, pipeline, probability, {"overlay": overlay, "keep_empty_frames": keep_empty_frames})
    forget_inputs(folder, inputs, cases)
    return _segment_all(run, cases, bool(failures), debug)


def _tune_this_process() -> None:
    """What a library must leave to the process: PyTorch's threads (it knows no container's quota), the allocator."""
    import torch

    from custom_networks.inference.memory import manage_this_process
    from custom_networks.inference.threads import usable_cores

    torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
    manage_this_process()


def _segment_all(run: "Run", cases: "Sequence[Case]", failed: bool, debug: bool) -> int:
    """Segment and report each case; the summary is written whatever ends the run."""
    try:
        for case in cases:
            outcome = run.segment(case)
            if debug and outcome.error:
                traceback.print_exception(outcome.error)
            _report(outcome.result) if outcome.result else complain(outcome.message)
            failed |= outcome.result is None
    finally:
        if unwritten := run.sum_up():
            complain(unwritten)
    return SOME_FAILED if failed or unwritten else OK


def _check_released(pipeline: "Pipeline") -> None:
    """Refuse to call weights the package's own that are not the released ones; see `announce_weights`."""
    if not pipeline.released:
        raise BundleError(
            f"The weights of the installed bundle are not those released with version {bundle_version()}: install the "
            "package again, or name them by --checkpoint to use them all the same."
        )


def _report(result: "Result") -> None:
    for note in result.notes:
        say(f"  note: {note}", "stderr")
    count, seconds = len(result.lesions), result.run["seconds"]["total"]
    lesions = f" in {count} lesion{'s' * (count != 1)}" if count else ""
    found = f"liver {result.liver_ml:.1f} ml, tumor {result.tumor_ml:.1f} ml{lesions}"
    say(f"{result.case}: {found if result.liver_ml else 'no liver found'} ({seconds:.1f} s)")
    for kind, name in result.report["files"].items():
        say(f"  {kind.removeprefix('dicom_').replace('_', ' '):<7} {result.folder / name}")
