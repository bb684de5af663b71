"""`liverseg segment`: segment liver and tumors in CT volumes."""

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
    from custom_networks.batch.work import Work
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

    The results of each input are written to a folder of its own: OUTPUT/<case>/<case>_seg.nii.gz, a label map on the
    input's grid (0 background, 1 liver, 2 tumor), report.json and lesions.csv with measurements, report.html and
    overlay.png to look at, and for DICOM a SEG and an SR. summary.csv and index.html in OUTPUT list all cases. Exit
    code 0: all inputs were segmented; 1: at least one was refused or failed; 2: nothing could start.

    Args:
        inputs: NIfTI, NRRD or MetaImage files, a folder of such files, or a folder (of any depth) or zip archive of
            DICOM files; PATH::N selects series N as numbered by `liverseg series PATH`.
        output: folder for the results.
        device: cpu, cuda, cuda:1, ...; by default a GPU if there is one.
        runtime: torch, openvino, or auto: OpenVINO on a CPU if it is installed, else PyTorch.
        precision: float32, bfloat16, or auto: bfloat16 if runtime and processor support it, but float32 for PyTorch
            on a CPU.
        scout: find the liver first and run the network only on its box; --scout=false runs it on the whole volume.
        fast: a coarser result in about a third of the time, from larger pixels and only some of the slices of thin
            series.
        segments: also label the liver's Couinaud segments: OUTPUT/<case>/<case>_segments.nii.gz, segments.csv,
            and the segments of each lesion.
        overlay: draw overlay.png.
        page: report.html: full, light (without the viewer, under 500 KB), or off.
        key_images: for DICOM, write key images as secondary captures, for archives that cannot display a SEG.
        pdf: for DICOM, write the report as an encapsulated PDF, for the same archives.
        with_phi: show patient data from the DICOM header on the page, the key images and the PDF.
        probability: also write the tumor probability: OUTPUT/<case>/<case>_tumor_probability.nii.gz.
        keep_empty_frames: write a DICOM SEG frame for every slice and segment, which some viewers need.
        allow_large: read inputs that exceed the memory limits; the limits on physical size still apply.
        progress: show the current case and the estimated time left; on a terminal also a progress bar.
        quiet: print only errors and, with --json, the JSON objects.
        verbose: print more details.
        json: print one JSON object per case instead of lines: its report.json and its folder, or the error.
        log_file: file to which results and messages are appended, even those that --quiet hides.
        jobs: number of processes, which share the cores and segment one case each; reduced if memory is short.
        shard: i/N: segment only the i-th of N equal parts of the cases, for example in a task of a SLURM job array.
        cluster: address of a Dask scheduler, tcp://HOST:8786, whose workers segment the cases.
        force: segment all cases again, even those with whole and unchanged results.
        rehash: detect changed inputs and results by reading them; otherwise, inputs count as unchanged if their size
            and modification time are, and results only have to exist.
        dry_run: list the cases that would be segmented, with the reasons, and write nothing.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.

    Examples:
        liverseg segment ct.nii.gz --output results
        liverseg segment scans/ exam.zip other_exam.zip::2 -o results --quiet
        liverseg segment scans/ -o results --json | jq .verdict.level
    """
    from custom_networks.batch.shards import absolute, own_inputs, shard_of
    from custom_networks.result import check_page, output_folder

    with Talk(quiet=quiet, verbose=verbose, progress=progress, as_json=json, log_file=log_file) as talk:
        shown = {"page": check_page(page), "key_images": key_images, "pdf": pdf, "with_phi": with_phi}
        folder = output_folder(output, make=False)
        given, part = own_inputs(shard_of(shard) if shard else None, absolute(inputs) if cluster else inputs)
        cases, failed = _find(given, talk)
        if not cases and given:
            return NOTHING_STARTED
        cases = [replace(case, allow_large=allow_large) for case in (part.of(cases) if part else cases)]
        if not cases:
            talk.say(f"Shard {shard} has no cases.")
            return SOME_FAILED if failed else OK
        talk.say(BANNER)  # before PyTorch is imported, which takes seconds
        from custom_networks.batch.start import opened, to_do
        from custom_networks.batch.work import Work
        from custom_networks.inference.settings import settings

        asked = settings(device, runtime, precision, scout, fast, segments) | {"progress": progress and not quiet}
        written = {"overlay": overlay, "keep_empty_frames": keep_empty_frames, **shown}
        work = Work(folder, asked, bundle, checkpoint, probability, written, logger.isEnabledFor(logging.DEBUG))
        if dry_run:
            return _list_cases(to_do(work, cases, work.promised(work.pipeline()), force, rehash), len(cases))
        with opened(work, jobs, cluster, talk.stage) as run:
            remaining = _remaining(work, given, cases, run.options, force, rehash, talk)
            code = _segment_all(run, remaining, failed, talk)
        talk.closing(folder / "summary.csv")
        return code


def _find(inputs: Sequence[str], talk: Talk) -> "tuple[list[Case], bool]":
    """Find the cases of the inputs and report refused inputs; return the cases, and whether any input was refused."""
    from custom_networks.io import find_cases

    cases, failures = find_cases(inputs)
    for message in failures:
        talk.refused(message)
    return cases, bool(failures)


def _remaining(
    work: "Work",
    inputs: Sequence[str],
    cases: "Sequence[Case]",
    options: Mapping[str, object],
    force: bool,
    rehash: bool,
    talk: Talk,
) -> "list[Case]":
    """Return the cases that must be segmented, and say how many are skipped; see `to_do` for the arguments.

    Records of refused inputs that are no longer cases themselves are deleted.
    """
    from custom_networks.batch.run import forget_inputs
    from custom_networks.batch.start import to_do

    forget_inputs(work.output, inputs, cases)
    remaining = list(to_do(work, cases, options, force, rehash))
    if skipped := len(cases) - len(remaining):
        talk.say(f"Skipped {skipped} of {len(cases)} cases, done and unchanged (--force segments them again).")
    return remaining


def _list_cases(reasons: "Mapping[Case, str]", number: int) -> int:
    """Print the cases that would be segmented, with the reasons, and return the exit code."""
    for case, reason in reasons.items():
        say(f"{case.source}: {reason}")
    say(f"{len(reasons)} of {number} cases would be segmented.")
    return OK


def _segment_all(run: "Runner", cases: "Sequence[Case]", failed: bool, talk: Talk) -> int:
    """Segment and report each case, write the summary however the run ends, and return the exit code."""
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
    """Return a callback that announces each case with its number."""
    numbers = {case: number for number, case in enumerate(cases, start=1)}
    return lambda case: talk.begin(numbers[case], len(cases), case)
