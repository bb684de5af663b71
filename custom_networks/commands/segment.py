"""`liverseg segment`: liver and tumors in CT volumes."""

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from custom_networks.commands.terminal import BANNER, NOTHING_STARTED, OK, SOME_FAILED, complain, say
from custom_networks.errors import ClusterLost

if TYPE_CHECKING:
    from custom_networks.batch.start import Runner
    from custom_networks.io import Case
    from custom_networks.result import Result


def segment(
    *inputs: str,
    output: str,
    device: str | None = None,
    runtime: str = "auto",
    precision: str = "auto",
    scout: bool = True,
    fast: bool = False,
    overlay: bool = True,
    probability: bool = False,
    keep_empty_frames: bool = False,
    allow_large: bool = False,
    progress: bool = True,
    jobs: int = 1,
    shard: str | None = None,
    cluster: str | None = None,
    force: bool = False,
    rehash: bool = False,
    dry_run: bool = False,
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
        overlay: draw overlay.png.
        probability: write the tumor probability, OUTPUT/<case>/<case>_tumor_probability.nii.gz.
        keep_empty_frames: give the DICOM SEG a frame for every slice and segment, which some viewers need.
        allow_large: read inputs that exceed the limits on memory; those on what a body can be stay.
        progress: show a progress bar.
        jobs: how many processes share the cores, each with a case of its own; cut to what memory has room for.
        shard: i/N, to do the i-th of N equal parts of the cases, such as a task of a SLURM array.
        cluster: address of a Dask scheduler, tcp://HOST:8786, whose workers do the cases.
        force: segment cases again that have whole and unchanged results.
        rehash: read inputs and results to tell whether they have changed, and do not trust sizes and times.
        dry_run: say which cases would be segmented, and why, and do nothing.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.
        debug: show the traceback of a failure.
    """
    from custom_networks.batch.shards import absolute, own_inputs, shard_of
    from custom_networks.io import find_cases
    from custom_networks.result import output_folder

    if debug:
        logging.getLogger("custom_networks").setLevel(logging.DEBUG)
    folder = output_folder(output, make=False)
    given, part = own_inputs(shard_of(shard) if shard else None, absolute(inputs) if cluster else inputs)
    cases, failures = find_cases(given)
    for message in failures:
        complain(message)
    if not cases and given:
        return NOTHING_STARTED
    cases = [replace(case, allow_large=allow_large) for case in (part.of(cases) if part else cases)]
    if not cases:
        say(f"No case is left for part {shard}.", "stderr")
        return SOME_FAILED if failures else OK
    say(BANNER, "stderr")  # before PyTorch is imported, which takes seconds
    from custom_networks.batch.run import forget_inputs
    from custom_networks.batch.start import opened, to_do
    from custom_networks.batch.work import Work
    from custom_networks.inference.settings import settings

    asked = settings(device, runtime, precision, scout, fast) | {"progress": progress}
    written = {"overlay": overlay, "keep_empty_frames": keep_empty_frames}
    work = Work(folder, asked, bundle, checkpoint, probability, written, debug)
    if dry_run:
        return _list_cases(to_do(work, cases, work.promised(work.pipeline()), force, rehash), len(cases))
    with opened(work, jobs, cluster) as run:
        forget_inputs(folder, given, cases)
        reasons = to_do(work, cases, run.options, force, rehash)
        _say_skipped(len(cases) - len(reasons), len(cases))
        return _segment_all(run, list(reasons), bool(failures), debug)


def _say_skipped(done: int, number: int) -> None:
    """Say how many cases need not be segmented again."""
    if done:
        say(f"{done} of {number} cases are done and unchanged: skipped (--force segments them again).", "stderr")


def _list_cases(reasons: "Mapping[Case, str]", number: int) -> int:
    """Say which cases would be segmented, and why."""
    for case, reason in reasons.items():
        say(f"{case.source}: {reason}")
    say(f"{len(reasons)} of {number} cases would be segmented.")
    return OK


def _segment_all(run: "Runner", cases: "Sequence[Case]", failed: bool, debug: bool) -> int:
    """Segment and report each case; the summary is written whatever ends the run."""
    try:
        for outcome in run.outcomes(cases):
            if debug and outcome.error:
                traceback.print_exception(outcome.error)
            _report(outcome.result) if outcome.result else complain(outcome.message)
            failed |= outcome.result is None
    except ClusterLost as error:
        complain(str(error))
        failed = True
    finally:
        if unwritten := run.sum_up():
            complain(unwritten)
    return SOME_FAILED if failed or unwritten else OK


def _report(result: "Result") -> None:
    for note in result.notes:
        say(f"  note: {note}", "stderr")
    count, seconds = len(result.lesions), result.run["seconds"]["total"]
    lesions = f" in {count} lesion{'s' * (count != 1)}" if count else ""
    found = f"liver {result.liver_ml:.1f} ml, tumor {result.tumor_ml:.1f} ml{lesions}"
    say(f"{result.case}: {found if result.liver_ml else 'no liver found'} ({seconds:.1f} s)")
    for kind, name in result.report["files"].items():
        say(f"  {kind.removeprefix('dicom_').replace('_', ' '):<7} {result.folder / name}")
