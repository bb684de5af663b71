"""`liverseg segment`: liver and tumors in CT volumes."""

import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from custom_networks.commands.talk import Talk
from custom_networks.commands.terminal import BANNER, NOTHING_STARTED, OK, SOME_FAILED, say
from custom_networks.errors import ClusterLost

if TYPE_CHECKING:
    from custom_networks.batch.start import Runner
    from custom_networks.io import Case

logger = logging.getLogger(__name__)


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
    page: str = "full",
    key_images: bool = False,
    pdf: bool = False,
    with_phi: bool = False,
    probability: bool = False,
    keep_empty_frames: bool = False,
    allow_large: bool = False,
    progress: bool = True,
    quiet: bool = False,
    verbose: bool = False,
    json: bool = False,
    log_file: str | None = None,
    jobs: int = 1,
    shard: str | None = None,
    cluster: str | None = None,
    force: bool = False,
    rehash: bool = False,
    dry_run: bool = False,
    bundle: str | None = None,
    checkpoint: str | None = None,
) -> int:
    """Segment liver and tumors in CT volumes.

    Each input gets a folder of its own: OUTPUT/<case>/<case>_seg.nii.gz, a label map on the input's grid (0 background,
    1 liver, 2 tumor), report.json and lesions.csv with volumes and lesions, report.html and overlay.png to look at, and
    for DICOM a SEG and an SR. summary.csv and index.html in OUTPUT have a row for each case. Exit code 0: all inputs
    were segmented; 1: at least one was refused or failed; 2: nothing could start.

    Args:
        inputs: NIfTI, NRRD or MetaImage files, a folder of such files, or a folder (of any depth) or zip archive of
            DICOM files; PATH::N takes the series that `liverseg series PATH` numbers N.
        output: folder for the results.
        device: cpu, cuda, cuda:1, ...; by default a GPU where there is one.
        runtime: torch, openvino, or auto: OpenVINO on a CPU where it is installed, else PyTorch.
        precision: float32, bfloat16, or auto: bfloat16 where runtime and processor compute in it, but float32 in
            PyTorch on a CPU.
        scout: find the liver first and run the network only on its box; --scout=false runs it on the whole volume.
        fast: a coarser answer in about a third of the time, from wider pixels and only some of the thin slices.
        segments: label the liver's Couinaud segments, too: OUTPUT/<case>/<case>_segments.nii.gz, segments.csv,
            and the segments of each lesion.
        overlay: draw overlay.png.
        page: report.html: full; light, without the viewer, in under 500 KB; or off.
        key_images: for DICOM, write key images as secondary captures, for archives that show no SEG.
        pdf: for DICOM, write the report as an encapsulated PDF, for the same archives.
        with_phi: show what the DICOM header says about the patient on the page, the key images and the PDF.
        probability: write the tumor probability, too: OUTPUT/<case>/<case>_tumor_probability.nii.gz.
        keep_empty_frames: give the DICOM SEG a frame for every slice and segment, which some viewers need.
        allow_large: read inputs that exceed the memory limits; the limits on what a body can measure stay.
        progress: say which case is worked on and how long it will take; on a terminal show a bar.
        quiet: print nothing but errors.
        verbose: say more about what the program does.
        json: print one JSON object per case instead of lines: its report.json and its folder, or the error.
        log_file: append everything that is printed to this file.
        jobs: how many processes share the cores, each with a case of its own; cut to what memory has room for.
        shard: i/N: only the i-th of N equal parts of the cases, as for a task of a SLURM array.
        cluster: address of a Dask scheduler, tcp://HOST:8786, whose workers segment the cases.
        force: segment all cases again, also those with whole and unchanged results.
        rehash: read inputs and results to see whether they have changed, instead of trusting sizes and times.
        dry_run: list the cases that would be segmented, and why; nothing is written.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.

    Examples:
        liverseg segment ct.nii.gz --output results
        liverseg segment scans/ exam.zip other_exam.zip::2 -o results --quiet
        liverseg segment scans/ -o results --json | jq .verdict.level
    """
    from custom_networks.batch.shards import absolute, own_inputs, shard_of
    from custom_networks.io import find_cases
    from custom_networks.result import check_page, output_folder

    with Talk(quiet=quiet, verbose=verbose, progress=progress, as_json=json, log_file=log_file) as talk:
        shown = {"page": check_page(page), "key_images": key_images, "pdf": pdf, "with_phi": with_phi}
        folder = output_folder(output, make=False)
        given, part = own_inputs(shard_of(shard) if shard else None, absolute(inputs) if cluster else inputs)
        cases, failures = find_cases(given)
        for message in failures:
            talk.refused(message)
        if not cases and given:
            return NOTHING_STARTED
        cases = [replace(case, allow_large=allow_large) for case in (part.of(cases) if part else cases)]
        if not cases:
            talk.say(f"Part {shard} has no cases.")
            return SOME_FAILED if failures else OK
        talk.say(BANNER)  # before PyTorch is imported, which takes seconds
        from custom_networks.batch.run import forget_inputs
        from custom_networks.batch.start import opened, to_do
        from custom_networks.batch.work import Work
        from custom_networks.inference.settings import settings

        asked = settings(device, runtime, precision, scout, fast, segments) | {"progress": progress and not quiet}
        written = {"overlay": overlay, "keep_empty_frames": keep_empty_frames, **shown}
        work = Work(folder, asked, bundle, checkpoint, probability, written, logger.isEnabledFor(logging.DEBUG))
        if dry_run:
            return _list_cases(to_do(work, cases, work.promised(work.pipeline()), force, rehash), len(cases))
        with opened(work, jobs, cluster, talk.stage) as run:
            forget_inputs(folder, given, cases)
            reasons = to_do(work, cases, run.options, force, rehash)
            _say_skipped(talk, len(cases) - len(reasons), len(cases))
            code = _segment_all(run, list(reasons), bool(failures), talk)
        talk.closing(folder / "summary.csv")
        return code


def _say_skipped(talk: Talk, done: int, number: int) -> None:
    """Say how many cases need not be segmented again."""
    if done:
        talk.say(f"{done} of {number} cases are done and unchanged: skipped (--force segments them again).")


def _list_cases(reasons: "Mapping[Case, str]", number: int) -> int:
    """Say which cases would be segmented, and why."""
    for case, reason in reasons.items():
        say(f"{case.source}: {reason}")
    say(f"{len(reasons)} of {number} cases would be segmented.")
    return OK


def _segment_all(run: "Runner", cases: "Sequence[Case]", failed: bool, talk: Talk) -> int:
    """Segment and report each case; the summary is written whatever ends the run."""
    try:
        for outcome in run.outcomes(cases, _beginning(talk, cases)):
            if outcome.error and logger.isEnabledFor(logging.DEBUG):
                traceback.print_exception(outcome.error)
            talk.result(outcome.result) if outcome.result else talk.refused(outcome.message, outcome.case)
            failed |= outcome.result is None
    except ClusterLost as error:
        talk.error(str(error))
        failed = True
    finally:
        if unwritten := run.sum_up():
            talk.error(unwritten)
    return SOME_FAILED if failed or unwritten else OK


def _beginning(talk: Talk, cases: "Sequence[Case]") -> "Callable[[Case], None]":
    """What says that a case begins, and which one of how many it is."""
    numbers = {case: number for number, case in enumerate(cases, start=1)}
    return lambda case: talk.begin(numbers[case], len(cases), case)
