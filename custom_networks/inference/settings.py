"""What a caller may choose about a run, as ids of inference.json."""

from typing import Any

from custom_networks.inference.precision import checked_precision, device_override
from custom_networks.inference.runtimes import checked_runtime


def settings(
    device: str | None, runtime: str | None, precision: str | None, scout: bool, fast: bool, segments: bool = False
) -> dict[str, Any]:
    """The overrides of inference.json for what was chosen; None leaves a choice to the config.

    Args:
        device: "cpu", "cuda", "cuda:1", ...
        runtime: "torch", "openvino" or "auto".
        precision: "float32", "bfloat16" or "auto".
        scout: whether the liver is found first, so that the network runs on its box alone.
        fast: whether a coarser answer will do.
        segments: whether the liver's segments are wanted, too.

    Raises:
        UsageError: one of them is not there.
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
