"""Estimate the memory of a training run before its cases are cached, and its duration after the first steps."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events

from custom_networks.training.data.headers import nifti_grid

logger = logging.getLogger(__name__)

GIB = 2**30
# A container's own limits (cgroup v2 and v1); "max" and values above the machine's memory mean no limit.
CONTAINER_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
BYTES_PER_VOXEL = 3  # cached: image float16, label uint8


def announce_cache(cases: Sequence[dict[str, Any]], spacing: float, cache_rate: float = 1.0) -> None:
    """Log how much memory the cached cases will take, estimated from their headers.

    Slices are assumed to be resampled to `spacing` mm, and each process to have its own cache. Cases that are not NIfTI
    files count with the average size; without any NIfTI file, nothing is logged. If the machine's memory is too small,
    a warning says which `cache_rate` would fit. Of several processes on a machine, only the first one logs.

    Raises:
        InputError: a file with a NIfTI suffix cannot be read as NIfTI.
    """
    sizes = [size for size in (_cached_bytes(case["image"], spacing) for case in cases) if size is not None]
    if not sizes or int(os.environ.get("LOCAL_RANK", 0)) > 0:  # set by torchrun
        return
    cached, processes = int(cache_rate * len(cases)), int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    needed, memory = sum(sizes) / len(sizes) * cached * processes, _machine_memory()
    logger.info(
        "Data cache: %d of %d cases, %d process%s, about %.1f GiB of this machine's %.1f GiB of memory",
        *(cached, len(cases), processes, "es" * (processes > 1), needed / GIB, memory / GIB),
    )
    if needed > 0.7 * memory:  # the rest is for the network, the batches and the cases being loaded
        fits = cache_rate * 0.7 * memory / needed
        logger.warning(
            "The data cache may not fit into memory: use --cache_rate %.2f; the other cases are then read each time",
            fits,
        )


def _machine_memory() -> float:
    """Total memory of this machine or container in bytes; infinity if it is unknown (Windows)."""
    limits = [path.read_text().strip() for path in CONTAINER_LIMITS if path.is_file()]
    if hasattr(os, "sysconf"):
        limits.append(str(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")))
    return min((float(limit) for limit in limits if limit.isdigit()), default=float("inf"))


def _cached_bytes(image: str, spacing: float) -> float | None:
    """Bytes that a case resampled in-plane to `spacing` mm takes in the cache; None if it is not a NIfTI file."""
    grid = nifti_grid(image)
    if grid is None:
        return None
    shape, affine = grid
    # Slices are assumed to be along the last axis, as in nearly all files.
    pixels = np.linalg.norm(affine[:3, :3], axis=0)[:2] / spacing
    return float(np.prod(shape[:3]) * pixels.prod() * BYTES_PER_VOXEL)


class TrainingPace:
    """Handler that logs how long a run will take and what share of the time is spent waiting for data.

    It measures the run's own first steps, with the real data, device and number of processes. After `steps` steps, of
    which the first quarter is ignored because libraries warm up, it logs the expected time of all steps and the peak
    memory, if known. After each epoch it logs the share of time spent waiting for the loader, and the time left at the
    average pace, including validation.

    Args:
        device: the trainer's device.
        steps: steps to measure.
    """

    def __init__(self, device: torch.device | str = "cpu", steps: int = 20) -> None:
        self.device = torch.device(device)
        self.steps = steps
        self.first_epoch = self.done = 0
        self.started = self.epoch_started = self.requested = self.waited = self.last_step = self.warm = 0.0

    def attach(self, engine: Engine) -> None:
        """Follow `engine`, only in the first of several processes; attach it after the handler that resumes the run."""
        if idist.get_rank() > 0:
            return
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.EPOCH_STARTED, self._start_epoch)
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._batch_requested)
        engine.add_event_handler(Events.GET_BATCH_COMPLETED, self._batch_received)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._step_completed)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._report)

    def _start(self, engine: Engine) -> None:
        self.first_epoch, self.done, self.started = engine.state.epoch, 0, time.perf_counter()

    def _start_epoch(self, engine: Engine) -> None:
        self.waited, self.epoch_started = 0.0, time.perf_counter()

    def _batch_requested(self, engine: Engine) -> None:
        self.requested = time.perf_counter()

    def _batch_received(self, engine: Engine) -> None:
        self.waited += time.perf_counter() - self.requested

    def _step_completed(self, engine: Engine) -> None:
        self.done += 1
        if self.done in (self.steps // 4, self.steps) and self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # a step returns before the GPU has finished it
        self.last_step = time.perf_counter()
        if self.done == self.steps // 4:
            self.warm = self.last_step
        if self.done == self.steps:
            self._estimate(engine, (self.last_step - (self.warm or self.started)) / (self.steps - self.steps // 4))

    def _estimate(self, engine: Engine, seconds: float) -> None:
        """Log how long all steps of the run will take at `seconds` per step, and the peak memory."""
        steps = (engine.state.max_epochs or 0) * (engine.state.epoch_length or 0) - engine.state.iteration + self.done
        peak = self._peak_bytes()
        memory = "" if peak is None else f"; peak memory so far {peak / GIB:.1f} GiB ({self.device})"
        text = "%d steps of about %.2f s: %s, and validation%s"
        logger.info(text, steps, seconds, _duration(steps * seconds), memory)

    def _peak_bytes(self) -> int | None:
        """Peak memory in bytes: what PyTorch allocated on a GPU, or what this process used on a CPU (cache included).

        It is None on a CPU under Windows, where Python has no module `resource`.
        """
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        try:
            import resource
        except ImportError:
            return None
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)

    def _report(self, engine: Engine) -> None:
        """Log the share of time spent waiting for data, and the time left if epochs keep taking as long as so far."""
        now, trained = time.perf_counter(), self.last_step - self.epoch_started
        left = (engine.state.max_epochs or 0) - engine.state.epoch
        pace = (now - self.started) / (engine.state.epoch - self.first_epoch)
        logger.info(
            "Epoch %d: %s, of which %.0f %% waiting for data; %s left at this pace",
            *(engine.state.epoch, _duration(trained), 100 * self.waited / trained, _duration(left * pace)),
        )


def _duration(seconds: float) -> str:
    """Format a duration in a suitable unit."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
