"""`Pipeline`, which turns a `Case` into a `Result` as the bundle's inference.json declares."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.io.dictionary import SaveImaged
from monai.transforms.transform import apply_transform

from custom_networks.bundle_files import (
    bundle_root,
    config_text,
    metadata,
    operating_point,
    read_config,
    unusable,
    weights_path,
)
from custom_networks.case_folder import Input
from custom_networks.errors import BundleError, LiversegError, UsageError, root_cause
from custom_networks.inference.precision import processor_name
from custom_networks.inference.weights import announce_weights, load_weights, weights_in
from custom_networks.io import Case, Volume
from custom_networks.labelmap.doubt import unsure_shares
from custom_networks.report.measurements import measure
from custom_networks.report.organ_region import OrganRegion, organ_region
from custom_networks.report.run import NO_LIVER_SEEN as NO_LIVER_SEEN  # noqa: F401
from custom_networks.report.run import scout_block, scout_notes, source_block
from custom_networks.report.segments import Segments, segments_of_case
from custom_networks.report.verdict import CUT, verdict
from custom_networks.report.verdict_numbers import verdict_numbers
from custom_networks.result import Result

logger = logging.getLogger(__name__)

# Overrides that do not affect the result, or whose effect is recorded in the run block.
RECORDED_ELSEWHERE = ("progress", "runtime", "precision", "device")


class Pipeline:
    """The pipeline that `configs/inference.json` declares, built once and used for one case after another.

    It takes `preprocessing`, `inferer`, `network` and `postprocessing` from the config and calls them without the steps
    that save files, as MONAI Label does; `monai.bundle run` runs the evaluator of the same file, including those steps.
    The caller's logging, random numbers, `sys.path` and default number type are not changed.

    Args:
        bundle: the bundle's folder; by default the one that belongs to this package.
        overrides: values for ids of inference.json, such as `{"device": "$torch.device('cpu')"}`.
        checkpoint: file with other weights, a state dict.

    Attributes:
        released: whether the weights are those released with this version.
        on_stage: called as `on_stage(stage, done, total)` when a stage (read, prepare, network, measure) begins, and
            after each of the network's `total` slabs; or None.

    Raises:
        BundleError: the bundle is not found, or its weights are missing, damaged, not finite or not for its network.
        UsageError: the environment or an override prevents building the bundle, or the requested runtime is not
            installed or cannot run the network.
    """

    def __init__(
        self, bundle: str | None = None, overrides: Mapping[str, Any] | None = None, checkpoint: str | None = None
    ) -> None:
        started = time.perf_counter()
        self.on_stage: Callable[[str, int, int], None] | None = None
        _check_environment()
        root = bundle_root(bundle)
        own = {"checkpoint": config_text(str(checkpoint))} if checkpoint else {}
        asked = {name: value for name, value in (overrides or {}).items() if name not in RECORDED_ELSEWHERE}
        with _callers_state_kept():
            self._parser = read_config(root, {"keep_for_measuring": True, **(overrides or {}), **own})
            try:
                path = weights_path(self._parser)
                self._build()
            except Exception as error:  # JSON, MONAI and Python have no common error for a config that cannot be built
                cause = root_cause(error)
                raise cause if isinstance(cause, BundleError) else unusable(root, error, asked) from error
            sha256 = load_weights(self._network, path)
        self._run = self._fixed_run_block(
            root, path, sha256, fitted=not any(name.startswith("confidence_coefficients") for name in asked)
        )
        self.released: bool = self._run["weights"]["released"]
        settled = {
            "weights": sha256,
            "scout": self._scout_weights,
            "segments": self._segments_weights,
            **{name: self._run[name] for name in ("runtime", "precision")},
            "overrides": asked,
        }
        self._options = json.loads(json.dumps(settled, default=lambda value: type(value).__name__))
        self._seconds_to_prepare = time.perf_counter() - started

    def options(self, probability: bool = False) -> dict[str, Any]:
        """All settings that affect a result, ready for JSON; they become `Result.options`."""
        return {**self._options, "probability": probability}

    def predict(self, case: Case, *, probability: bool = False) -> Result:
        """Segment one case from `custom_networks.io` and return its `Result`; nothing is written.

        With `probability`, the result includes the tumor probability of the whole image.

        Raises:
            InputError: the input cannot be segmented.
            BundleError: the network's output is not finite.
            UsageError: this process was forked after its parent had loaded a network.
            RuntimeError: an unexpected error, wrapped by MONAI; its cause is the original error.
        """
        started, date = time.perf_counter(), datetime.now(timezone.utc)
        _check_process()
        state = case.state()
        self._tell("read")
        volume = case.read()
        # Recorded now, because the files may be replaced or moved in the minutes that follow.
        belongs_to = Input(case.name, case.identity, case.content, case.geometry, case.place, state)
        read = time.perf_counter() - started
        with _callers_state_kept(), torch.no_grad():
            data, network_seconds = self._segmented(volume, probability)
        self._tell("measure")
        ct = replace(volume, source=Path(case.source))
        scout = scout_block(data.get("scout", {}), self._scout_weights, data["seen"], ct)
        region = organ_region(_voxels(data.pop("pred")), _voxels(data.pop("lesion_numbers")), ct.affine)
        measurements = measure(region, ct.array[region.box], data["lesions"], self._calibrated)
        unsure = data.get("unsure", (None, None))
        numbers = verdict_numbers(ct, region, measurements, series=case.series, scout=scout, unsure=unsure)
        segments = self._segments(data, region)
        seconds = {"total": time.perf_counter() - started, "read": read, "network": network_seconds}
        seconds["scout"] = data.get("scout", {}).get("seconds", 0.0)
        return Result(
            input=case,
            belongs_to=belongs_to,
            ct=ct,
            region=region,
            measurements=measurements,
            operating_point=operating_point(self._parser),
            options=self.options(probability),
            run={**self._run_block(date, case, ct, seconds), "scout": scout},
            notes=(
                *ct.notes,
                *scout_notes(scout, region),
                *[CUT] * measurements.touches_border,
                *(segments.notes if segments else ()),
            ),
            probability=_voxels(data["probabilities"])[1].copy() if probability else None,
            verdict=verdict(numbers),
            segments=segments,
        )

    def _build(self) -> None:
        """Build the parts of the config that are called for every case."""
        content = self._parser.get_parsed_content
        self._preprocessing, self._inferer = content("preprocessing"), content("inferer")
        self._network, self._device = content("network").eval(), torch.device(content("device"))
        steps = content("postprocessing").transforms
        on = content("scout", default=False)
        self._scout_weights = weights_in(content("scout_checkpoint"))[1] if on else None
        asked = content("segments", default=False)
        self._segments_weights = weights_in(content("segments_checkpoint"))[1] if asked else None
        self._postprocessing = [step for step in steps if not isinstance(step, SaveImaged)]

    def _fixed_run_block(self, root: Path, weights: Path, sha256: str, fitted: bool) -> dict[str, Any]:
        """The part of the run block that is the same for every case; also sets whether confidence is calibrated.

        `fitted` says whether the confidence's coefficients are the bundle's own; `sha256` is the digest of `weights`.
        """
        valid_for = self._parser.get_parsed_content("confidence_valid_for", default=None)
        fast = bool(self._parser.get_parsed_content("fast", default=False))
        self._calibrated = fitted and valid_for == sha256 and not fast  # not fitted on fast predictions
        return {
            "version": metadata(root).get("version"),
            "weights": {"sha256": sha256, "released": announce_weights(str(weights), str(root), sha256)},
            **self._runtime_and_precision(),
            "device": str(self._device),
            "processor": processor_name(),
            "fast": fast,
        }

    def _runtime_and_precision(self) -> dict[str, str]:
        """Runtime and precision of the network; inferers other than ours run it in PyTorch, in float32."""
        if not hasattr(self._inferer, "open"):
            return {"runtime": "torch", "precision": "float32"}
        runtime = self._inferer.open(self._network, self._device)
        return {"runtime": runtime.name, "precision": runtime.precision}

    def _segmented(self, volume: Volume, probability: bool) -> tuple[dict[str, Any], float]:
        """Run the bundle's transforms and network; return the data dictionary and the time of forward passes in s.

        Probabilities take twice the volume's memory, so they are brought to the file's grid only on request.
        """
        try:
            self._tell("prepare")
            data = self._preprocessing({"image": volume})
            started = time.perf_counter()
            self._tell("network")
            if hasattr(self._inferer, "on_slab"):
                self._inferer.on_slab = partial(self.on_stage, "network") if self.on_stage else None
            data["pred"] = self._inferer(data["image"][None].to(self._device), self._network)[0]
            seconds = getattr(self._inferer, "network_seconds", time.perf_counter() - started)
            data["seen"] = _corners(data["image"])
            data["image"] = data["image"][:, :0].clone()  # only its metadata are needed from here on
            for step in self._postprocessing:  # one by one, because a Compose would keep its first input in memory
                if getattr(step, "keys", None) == ("probabilities",):
                    data["unsure"] = unsure_shares(_voxels(data["probabilities"]))
                if not probability and getattr(step, "keys", None) == ("probabilities",):
                    del data["probabilities"]
                else:
                    data = apply_transform(step, data)
            return data, seconds
        except Exception as error:
            cause = root_cause(error)
            if isinstance(cause, LiversegError):
                raise cause from None
            raise

    def _tell(self, stage: str, done: int = 0, total: int = 0) -> None:
        """Report a stage to `on_stage`, if it is set."""
        if self.on_stage:
            self.on_stage(stage, done, total)

    def _segments(self, data: dict[str, Any], region: OrganRegion) -> Segments | None:
        """The segments, or the reason why there are none; None if they were not requested."""
        if self._segments_weights is None:
            return None
        labels = _voxels(data.pop("segments")) if "segments" in data else None
        return segments_of_case(data["segments_state"], labels, region, self._segments_weights)

    def _run_block(self, date: datetime, case: Case, ct: Volume, seconds: Mapping[str, float]) -> dict[str, Any]:
        """The run block of report.json before files are written; the times of the first case include building."""
        prepare, self._seconds_to_prepare = self._seconds_to_prepare, 0.0
        times = {**seconds, "total": seconds["total"] + prepare, "prepare": prepare, "write": 0.0}
        return {
            "date": date.isoformat(timespec="seconds"),
            **self._run,
            "seconds": {name: round(value, 3) for name, value in times.items()},
            "source": source_block(case, ct),
        }


def _voxels(item: MetaTensor) -> npt.NDArray[Any]:
    """A channel-first tensor as an array; a single channel is removed."""
    array = item.as_tensor().cpu().numpy()
    return array[0] if len(array) == 1 else array


def _corners(image: MetaTensor) -> npt.NDArray[np.float64]:
    """Two opposite corners of an image (1, H, W, D) in homogeneous patient coordinates, one per column: (4, 2)."""
    ends = np.array([[-0.5, size - 0.5] for size in image.shape[1:]] + [[1.0, 1.0]])
    return np.asarray(image.affine.cpu().numpy() @ ends)


_process: list[int] = []  # ID of the process that first built a network


def _check_environment() -> None:
    """Raise UsageError if the network would hang in this process, or MONAI's config expressions are disabled."""
    _check_process()
    if not _process:
        _process.append(os.getpid())
    if os.environ.get("MONAI_EVAL_EXPR", "1") == "0":
        raise UsageError(
            "MONAI_EVAL_EXPR=0 in the environment disables the expressions in the bundle's config: unset it."
        )


def _check_process() -> None:
    """Raise UsageError in a process that was forked after its parent built a network.

    A forward pass would wait for threads that exist only in the parent.
    """
    if _process and _process[0] != os.getpid():
        raise UsageError(
            "This process was forked after its parent had loaded the network, whose threads are missing here: start "
            "workers with multiprocessing's spawn method, or load the network only in the workers."
        )


@contextmanager
def _callers_state_kept() -> Iterator[None]:
    """Context manager: float32 is the default dtype inside; the earlier one and the CPU's random state are restored."""
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
