"""A `Case` becomes a `Result`, by the bundle's own inference.json: the one pipeline that every caller runs."""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.io.dictionary import SaveImaged

from custom_networks.bundle_files import (
    bundle_root,
    config_text,
    load_weights,
    metadata,
    read_config,
    unusable,
    weights_path,
)
from custom_networks.case_folder import Input
from custom_networks.errors import BundleError, LiversegError
from custom_networks.inference.precision import chosen_precision
from custom_networks.inference.weights import announce_weights
from custom_networks.io import Case, Volume
from custom_networks.report.measurements import measure
from custom_networks.report.organ_region import organ_region
from custom_networks.result import Result

logger = logging.getLogger(__name__)

# Ids that change no result, or whose effect the run block states.
SAID_ELSEWHERE = ("progress", "precision", "device")
CUT = "The liver reaches the border of the image and may be cut: volumes are those of the part that is seen."


class Pipeline:
    """What `configs/inference.json` declares, built once and called for one case after another.

    It takes `preprocessing`, `inferer`, `network` and `postprocessing` from the config and calls them without the steps
    that save, as MONAI Label does; `monai.bundle run` runs the evaluator of the same file, saving included. The
    caller's logging, random numbers, `sys.path` and default number type stay as they are.

    Args:
        bundle: the bundle's folder; by default the one that belongs to this package.
        overrides: further ids of inference.json, such as `{"device": "$torch.device('cpu')"}`.
        checkpoint: other weights, a state dict.

    Raises:
        BundleError: the bundle is not found, or its weights are missing or not its own.
    """

    def __init__(
        self, bundle: str | None = None, overrides: Mapping[str, Any] | None = None, checkpoint: str | None = None
    ) -> None:
        started = time.perf_counter()
        root = bundle_root(bundle)
        own = {"checkpoint": config_text(checkpoint)} if checkpoint else {}
        asked = {name: value for name, value in (overrides or {}).items() if name not in SAID_ELSEWHERE}
        with _callers_state_kept():
            self._parser = read_config(root, {"keep_for_measuring": True, **(overrides or {}), **own})
            try:
                path = weights_path(self._parser)
                self._build()
            except BundleError:
                raise
            except Exception as error:  # JSON, MONAI and Python each have their own for a config that cannot be built
                raise unusable(root, error, asked) from error
            sha256 = load_weights(self._network, path)
        self._run = self._how_it_runs(root, path, sha256, fitted="confidence_coefficients" not in asked)
        settled = {"weights": sha256, "precision": self._run["precision"], "overrides": asked}
        self._options = json.loads(json.dumps(settled, default=lambda value: type(value).__name__))
        self._seconds_to_prepare = time.perf_counter() - started

    def predict(self, case: Case, *, probability: bool = False) -> Result:
        """Segment one case of `custom_networks.io`; nothing is written.

        With `probability`, the tumor probability of the whole image is kept, too.

        Raises:
            LiversegError: the input cannot be segmented.
        """
        started, date = time.perf_counter(), datetime.now(timezone.utc)
        volume = case.read()
        # Now, before minutes pass in which a file may be replaced or moved away.
        belongs_to = Input(case.name, case.identity, case.content, case.geometry)
        read = time.perf_counter() - started
        notes, affine, headers, forms = volume.notes, volume.affine, volume.headers, volume.nifti_geometry
        single_use = _SingleUseVolume(volume)
        del volume  # its voxels come back with the answer
        with _callers_state_kept(), torch.no_grad():
            data, network_seconds = self._answer(single_use)
        source, hu = Path(case.source), _voxels(data["hu"])
        ct = Volume(hu, affine, notes, source=source, headers=headers, nifti_geometry=forms)
        probabilities = _voxels(data["probabilities"])
        region = organ_region(_voxels(data["pred"]), probabilities, _voxels(data["lesion_numbers"]), affine)
        measurements = measure(region, ct.array[region.box], data["lesions"], self._calibrated)
        seconds = {"total": time.perf_counter() - started, "read": read, "network": network_seconds}
        return Result(
            input=case,
            belongs_to=belongs_to,
            ct=ct,
            region=region,
            measurements=measurements,
            operating_point=self._operating_point(),
            options={**self._options, "probability": probability},
            run=self._run_block(date, case, ct, seconds),
            notes=notes + (CUT,) * measurements.touches_border,
            probability=probabilities[1].copy() if probability else None,
        )

    def _build(self) -> None:
        """Build the parts of the config that are called for every case."""
        content = self._parser.get_parsed_content
        self._preprocessing, self._inferer = content("preprocessing"), content("inferer")
        self._network, self._device = content("network").eval(), torch.device(content("device"))
        steps = content("postprocessing").transforms
        self._postprocessing = Compose([step for step in steps if not isinstance(step, SaveImaged)])

    def _how_it_runs(self, root: Path, weights: Path, sha256: str, fitted: bool) -> dict[str, Any]:
        """The part of the run block that is the same for every case."""
        valid_for = self._parser.get_parsed_content("confidence_valid_for", default=None)
        self._calibrated = fitted and valid_for == sha256
        return {
            "version": metadata(root).get("version"),
            "weights": {"sha256": sha256, "released": announce_weights(str(weights), str(root), sha256)},
            "runtime": "torch",
            "precision": chosen_precision(self._device, getattr(self._inferer, "precision", "float32")),
            "device": str(self._device),
            "processor": _processor(),
        }

    def _answer(self, volume: "_SingleUseVolume") -> tuple[dict[str, Any], float]:
        """The data dictionary after post-processing, and the seconds that the forward passes took."""
        try:
            data = self._preprocessing({"image": volume})
            started = time.perf_counter()
            data["pred"] = self._inferer(data["image"][None].to(self._device), self._network)[0]
            seconds = getattr(self._inferer, "network_seconds", time.perf_counter() - started)
            data["image"] = data["image"][:, :0].clone()  # its record alone is needed from here on
            return dict(self._postprocessing(data)), seconds
        except Exception as error:
            own = _own_cause(error)
            if own:
                raise own from None
            raise

    def _operating_point(self) -> dict[str, float]:
        """The numbers of the anatomy rules by name."""
        steps = self._parser["anatomy"]
        content = self._parser.get_parsed_content
        named = {name: content(f"anatomy#{i}#{name}") for i, step in enumerate(steps) for name in step}
        return {name: v for name, v in named.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}

    def _run_block(self, date: datetime, case: Case, ct: Volume, seconds: Mapping[str, float]) -> dict[str, Any]:
        """How a case was run, as report.json says it; the seconds of writing are added by who writes."""
        series = case.series
        prepare, self._seconds_to_prepare = self._seconds_to_prepare, 0.0
        times = {**seconds, "total": seconds["total"] + prepare, "prepare": prepare, "write": 0.0}
        return {
            "date": date.isoformat(timespec="seconds"),
            **self._run,
            "seconds": {name: round(value, 3) for name, value in times.items()},
            "source": {
                "series_instance_uid": series.series_instance_uid or None if series else None,
                "series_number": series.series_number or None if series else None,
                "spacing_mm": [round(mm, 4) for mm in ct.spacing],
                "slices": ct.array.shape[ct.slice_axis],
            },
        }


class _SingleUseVolume:
    """A volume that is given away once, so that nobody keeps it alive beside the copy on the network's grid."""

    def __init__(self, volume: Volume) -> None:
        self._volume: list[Volume] = [volume]

    def read(self) -> Volume:
        """The volume, for the first who asks."""
        return self._volume.pop()


def _voxels(item: MetaTensor) -> npt.NDArray[Any]:
    """The array of a tensor with channels, without the channel where there is only one."""
    array = item.as_tensor().cpu().numpy()
    return array[0] if len(array) == 1 else array


def _processor() -> str:
    """Name of the processor and the instruction set that PyTorch uses on it."""
    name = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        logger.debug("no /proc/cpuinfo with a model name")
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _own_cause(error: BaseException | None) -> LiversegError | None:
    """The project's own error beneath those that MONAI's Compose wraps around it."""
    while error is not None and not isinstance(error, LiversegError):
        error = error.__cause__ or error.__context__
    return error


@contextmanager
def _callers_state_kept() -> Iterator[None]:
    """Leave PyTorch's random numbers and default number type as they are found; build and run in float32."""
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]):
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
