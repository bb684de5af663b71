"""The interface of the table's rows: each labels a scan; it is prepared once, run repeatedly and counted at the end."""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.cost.machine import give_memory_back, keep_freed_memory
from tests.benchmarks.cost.networks import Forward, Shape, flop, parameters, runnable
from tests.benchmarks.cost.volumes import Scan, write_scan


class Skipped(Exception):
    """A row that cannot be run here; the message is the reason for the table."""


@dataclass(frozen=True)
class Setting:
    """Settings that all rows share.

    Attributes:
        folder: where scans and results are written.
        scan: the scan that every row labels.
        budget: seconds that a repeat may spend on the windows of a row.
        lengths: numbers of slices of longer scans for which windows are counted.
        side: side of the windows of 3D networks, smaller for trials; None for their own.
    """

    folder: Path
    scan: Scan
    budget: float
    lengths: tuple[int, ...]
    side: int | None = None


class Contestant(ABC):
    """One row: prepared once, run alternately with the others, counted at the end."""

    @abstractmethod
    def prepare(self) -> None:
        """Do everything that happens once for all scans; raise Skipped if the row cannot be run."""

    @abstractmethod
    def run(self) -> dict[str, float]:
        """Label the scan once; return seconds by name, including `network`, and for a sample the measured `windows`."""

    @abstractmethod
    def cost(self) -> dict[str, Any]:
        """Parameters, FLOP for the whole scan, voxels labelled (on the network's grid), and windows run."""


class Windowed(Contestant):
    """A network that is applied to a scan in windows; a repeat times some of them and is scaled to all.

    The first run covers the whole scan, including stitching, so that the process needs as much memory as in real use;
    for each shape of window only one is computed, and the others reuse its output.
    """

    def __init__(self, setting: Setting, runtime: str, precision: str) -> None:
        self.setting, self.runtime, self.precision = setting, runtime, precision
        self.windows: Counter[Shape] = Counter()
        self.forwards: dict[Shape, Forward] = {}
        self.seconds: dict[Shape, float] = {}
        self.labelled = 0

    @abstractmethod
    def network(self) -> nn.Module:
        """The network with random weights."""

    @abstractmethod
    def shapes(self) -> Sequence[Shape]:
        """The shapes of its windows, for which a runtime compiles it."""

    @abstractmethod
    def pass_over(self, predict: Forward) -> int:
        """Label the scan with `predict` for windows; return the number of labelled voxels."""

    def forward_of(self, shape: Shape) -> Forward:
        """The network for windows of one shape."""
        return runnable(self.network(), self.runtime, self.precision, shape)

    def prepare(self) -> None:
        """Write the scan and compile the network."""
        if self.runtime == "torch":
            keep_freed_memory()
        write_scan(self.setting.scan, self.setting.folder)
        torch.manual_seed(0)
        self.forwards = {shape: self.forward_of(shape) for shape in self.shapes()}

    def run(self) -> dict[str, float]:
        """See `Contestant.run`."""
        if not self.windows:
            self._first_pass()
            measured = {shape: 1 for shape in self.windows}
        else:
            share = self.setting.budget / sum(n * self.seconds[shape] for shape, n in self.windows.items())
            measured = {shape: max(1, min(n, round(n * share))) for shape, n in self.windows.items()}
            self.seconds = {shape: self._timed(shape, n) for shape, n in measured.items()}
        seconds = sum(n * self.seconds[shape] for shape, n in self.windows.items())
        return {"network": seconds, "windows": sum(measured.values())}

    def _first_pass(self) -> None:
        answers: dict[Shape, Tensor] = {}

        def predict(x: Tensor) -> Tensor:
            shape = tuple(x.shape)
            self.windows[shape] += 1
            if shape not in answers:
                self.forwards[shape] = self.forwards.get(shape) or self.forward_of(shape)
                started = time.perf_counter()
                answers[shape] = self.forwards[shape](x.contiguous()).float()
                self.seconds[shape] = time.perf_counter() - started
            return answers[shape]

        self.labelled = self.pass_over(predict)
        answers.clear()
        give_memory_back()

    def _timed(self, shape: Shape, windows: int) -> float:
        x = torch.rand(shape)
        started = time.perf_counter()
        for _ in range(windows):
            self.forwards[shape](x)
        return (time.perf_counter() - started) / windows

    def cost(self) -> dict[str, Any]:
        """See `Contestant.cost`."""
        network = self.network()
        return {
            "parameters": parameters(network),
            "flop": sum(n * flop(network, shape) for shape, n in self.windows.items()),
            "labelled": self.labelled,
            "windows": self.windows.total(),
        }
