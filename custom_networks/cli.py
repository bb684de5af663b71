"""liverseg: segment liver and tumors in CT from the command line."""

import logging
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fire

from custom_networks.arguments import HELP, check_complete, fire_arguments, unknown_command
from custom_networks.bundle_files import bundle_version
from custom_networks.errors import BundleError, LiversegError, UsageError, reason_of
from custom_networks.streams import Notices, unbreakable_streams

if TYPE_CHECKING:
    from custom_networks.batch.run import Run
    from custom_networks.io import Case
    from custom_networks.pipeline import Pipeline
    from custom_networks.result import Result

BANNER = "Research use only: this is not a medical device."
OK, SOME_FAILED, NOTHING_STARTED, INTERRUPTED = 0, 1, 2, 130


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
        _complain(message)
    if not cases:
        return NOTHING_STARTED
    cases = [replace(case, allow_large=allow_large) for case in cases]
    from custom_networks.inference.precision import checked_precision, device_override
    from custom_networks.inference.runtimes import checked_runtime

    settings: dict[str, Any] = {"progress": progress, "precision": checked_precision(precision)}
    settings["runtime"] = checked_runtime(runtime)
    if not scout:
        settings["scout"] = False
    if fast:
        settings["fast"] = True
    if device:
        settings["device"] = device_override(device)
    _say(BANNER, "stderr")
    from custom_networks.batch.run import Run, forget_inputs
    from custom_networks.pipeline import Pipeline

    _tune_this_process()
    pipeline = Pipeline(bundle, settings, checkpoint)
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


def series(path: str) -> int:
    """List the DICOM series of a folder or zip archive: which would be segmented, which skipped, and why.

    Args:
        path: a folder (of any depth) or zip archive of DICOM files.
    """
    from custom_networks.io import list_dicom
    from custom_networks.io.files import is_zip

    source = Path(path).expanduser()
    if not source.is_dir() and not (source.is_file() and is_zip(source)):
        raise UsageError(f"{source} is neither a folder nor a zip archive: give one that holds DICOM files.")
    for line in list_dicom(source):
        _say(line)
    return OK


def phantom(output: str, *, cases: int = 1, seed: int = 0, format: str = "nifti") -> int:
    """Write synthetic abdominal CT with exact truth, in the layout of the Medical Segmentation Decathlon.

    Args:
        output: folder to write to.
        cases: how many.
        seed: the same seed gives the same cases.
        format: nifti or dicom.
    """
    from custom_networks.phantom import write_phantoms

    for path in write_phantoms(output, cases, seed, format):  # type: ignore[arg-type]
        _say(str(path))
    return OK


def pack(output: str, *, weights_url: str | None = None) -> int:
    """Pack the bundle with the code that it needs into one zip archive, the same bytes each time.

    The archive holds one folder, liver_tumor_ct_25d, that MONAI runs without this package. It is checked first.

    Args:
        output: the archive to write, OUT.zip.
        weights_url: leave files over 1 MiB out, and name this address for them in large_files.yml; one that ends in /
            is a folder that holds them under their paths in the bundle.
    """
    from custom_networks.packing import pack_bundle

    packed = pack_bundle(output, weights_url)
    _say(f"{packed.path}: version {bundle_version()}, {len(packed.files)} files, {packed.size} bytes")
    _say(f"  sha256  {packed.sha256}")
    for name, size in packed.left_out.items():
        _say(f"  left out {name}, {size} bytes")
    return OK


def export(format: str, output: str, *, bundle: str | None = None, checkpoint: str | None = None) -> int:
    """Write the network in a format that runs without this package, checked against the network itself.

    It takes images of any batch, depth, height and width (multiples of 16), as the network does; reading, resampling
    and the anatomy rules are not in it.

    Args:
        format: torchscript or onnx.
        output: the file to write, OUT.ts or OUT.onnx.
        bundle: folder of another bundle.
        checkpoint: other weights, a state dict.
    """
    from custom_networks.packing.export import export_network

    exported = export_network(format, output, bundle, checkpoint)
    _say(f"{exported.path}: {format}, {exported.size} bytes")
    _say(f"  sha256  {exported.sha256}")
    _say(f"  logits differ from the network's by at most {exported.difference:.1e}")
    return OK


def info(*, json: bool = False) -> int:
    """Say what liverseg takes, gives and returns.

    Args:
        json: as JSON.
    """
    from json import dumps

    from custom_networks.info import info_lines, known_facts

    known = known_facts(COMMANDS)
    _say(dumps(known, indent=2) if json else "\n".join(info_lines(known)))
    return OK


_COMMANDS: tuple[Callable[..., int], ...] = (segment, series, phantom, info, pack, export)
COMMANDS = {command.__name__: command for command in _COMMANDS}


def main(argv: Sequence[str] | None = None) -> int:
    """Run `liverseg`; the exit code is returned, or raised as SystemExit by Fire for a usage error of its own."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    with unbreakable_streams():
        return _guarded(arguments)


def _guarded(arguments: list[str]) -> int:
    """Run, and end with one line and an exit code whatever happens; tracebacks are for `--debug`."""
    logging.basicConfig(level=logging.WARNING, handlers=[Notices()])
    logging.captureWarnings(True)
    level = (own := logging.getLogger("custom_networks")).level
    try:
        if arguments == ["--version"]:
            _say(f"liverseg {bundle_version()}")
            return OK
        return _run(arguments)
    except LiversegError as error:
        _complain(str(error))
        return NOTHING_STARTED
    except KeyboardInterrupt:
        _complain("interrupted; the cases reported above were written.")
        return INTERRUPTED
    except Exception as error:
        logging.getLogger(__name__).debug("liverseg %s", arguments[:1], exc_info=True)
        _complain(f"nothing could start: {reason_of(error)} (--debug shows where).")
        return NOTHING_STARTED
    finally:
        logging.captureWarnings(False)
        own.setLevel(level)  # `--debug` is for this run alone


def _run(arguments: list[str]) -> int:
    if not arguments or arguments[0] == "help" or any(flag in arguments for flag in HELP):
        shown = [a for a in arguments[:1] if a in COMMANDS] + ["--help"]
        os.environ.setdefault("PAGER", "cat")
        fire.Fire(COMMANDS, command=shown, name="liverseg")
        return OK
    command, *rest = arguments
    if command not in COMMANDS:
        raise unknown_command(command, COMMANDS)
    ready = fire_arguments(COMMANDS[command], rest)
    check_complete(command, ready)
    return int(fire.Fire(COMMANDS, command=[command, *ready], name="liverseg", serialize=lambda code: None))


def _segment_all(run: "Run", cases: "Sequence[Case]", failed: bool, debug: bool) -> int:
    """Segment and report each case; the summary is written whatever ends the run."""
    try:
        for case in cases:
            outcome = run.segment(case)
            if debug and outcome.error:
                traceback.print_exception(outcome.error)
            _report(outcome.result) if outcome.result else _complain(outcome.message)
            failed |= outcome.result is None
    finally:
        if unwritten := run.sum_up():
            _complain(unwritten)
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
        _say(f"  note: {note}", "stderr")
    count, seconds = len(result.lesions), result.run["seconds"]["total"]
    lesions = f" in {count} lesion{'s' * (count != 1)}" if count else ""
    found = f"liver {result.liver_ml:.1f} ml, tumor {result.tumor_ml:.1f} ml{lesions}"
    _say(f"{result.case}: {found if result.liver_ml else 'no liver found'} ({seconds:.1f} s)")
    for kind, name in result.report["files"].items():
        _say(f"  {kind.removeprefix('dicom_').replace('_', ' '):<7} {result.folder / name}")


def _complain(message: str) -> None:
    _say(f"liverseg: {message}", "stderr")


def _say(text: str, stream: str = "stdout") -> None:
    print(text, file=getattr(sys, stream), flush=True)
