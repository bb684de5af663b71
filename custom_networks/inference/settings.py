"""Translate a caller's options into overrides of inference.json."""

from typing import Any

from custom_networks.inference.precision import checked_precision, device_override
from custom_networks.inference.runtimes import checked_runtime


def settings(
    device: str | None, runtime: str | None, precision: str | None, scout: bool, fast: bool, segments: bool = False
) -> dict[str, Any]:
    """The overrides of inference.json for these options, by id; options that are None or the default are left out.

    Args:
        device: "cpu", "cuda", "cuda:1", ...
        runtime: "torch", "openvino" or "auto".
        precision: "float32", "bfloat16" or "auto".
        scout: whether to find the liver first, so that the network runs only on its box.
        fast: whether to trade some accuracy for speed.
        segments: whether to also label Couinaud's liver segments.

    Raises:
        UsageError: the device or runtime is unknown or not available here, or the precision is unknown.
    """
    chosen: dict[str, Any] = {}
    if device:
        chosen["device"] = device_override(device)
    if runtime:
        chosen["runtime"] = checked_runtime(runtime)
    if precision:
        chosen["precision"] = checked_precision(precision)
    if not scout:
        chosen["scout"] = False
    if fast:
        chosen["fast"] = True
    if segments:
        chosen["segments"] = True
    return chosen
