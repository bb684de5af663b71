"""Time of each stage of a run, measured where MONAI's Compose calls transforms and the pipeline measures lesions."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from monai.transforms import compose

import custom_networks.pipeline as pipeline_module

REST = "labels, anatomy and the rest"
STAGES = ("load", "resample", "scout", "network", "measure", "write", REST)
LOADING = ("LoadVolumed", "EnsureChannelFirstd", "Orientationd")
SCOUTING = ("FindLiverd",)
FIRST_AFTER_NETWORK = "LabelsOnInputGridd"


class Clock:
    """Adds up seconds by stage; stages within a stage count as part of it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._inside = self._answered = False

    def stage_of(self, transform: Any) -> str:
        """The stage that a transform (or its bound inverse) belongs to."""
        name = type(getattr(transform, "__self__", transform)).__name__
        self._answered = self._answered or name == FIRST_AFTER_NETWORK
        if self._answered:
            return REST
        if name in SCOUTING:
            return "scout"
        return "load" if name in LOADING else "resample"

    def timed(self, stage: str, call: Callable[[], Any]) -> Any:
        """Call a function, and add the seconds to `stage` unless another stage is running."""
        if self._inside:
            return call()
        self._inside, started = True, time.perf_counter()
        try:
            return call()
        finally:
            self._inside = False
            self.seconds[stage] += time.perf_counter() - started


@contextmanager
def stage_clock() -> Iterator[Clock]:
    """Yield a clock that times transforms and measuring during the block."""
    clock, apply = Clock(), compose.apply_transform

    def apply_timed(transform: Any, *args: Any, **kwargs: Any) -> Any:
        return clock.timed(clock.stage_of(transform), lambda: apply(transform, *args, **kwargs))

    def timed(call: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: clock.timed("measure", lambda: call(*args, **kwargs))

    with ExitStack() as stack:
        stack.enter_context(patch.object(compose, "apply_transform", apply_timed))
        for name in ("organ_region", "measure"):
            if hasattr(pipeline_module, name):
                stack.enter_context(patch.object(pipeline_module, name, timed(getattr(pipeline_module, name))))
        yield clock
