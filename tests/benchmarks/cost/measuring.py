"""Run the rows alternately, each in a separate process, and record time and memory."""

import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch

from custom_networks.bundle_files import bundle_version
from tests.benchmarks.cost import machine
from tests.benchmarks.cost.clock import STAGES
from tests.benchmarks.cost.contestants import Contestant, Setting, Skipped
from tests.benchmarks.cost.context import context_cost
from tests.benchmarks.cost.ours import Ours
from tests.benchmarks.cost.rows import GROWTH, ROWS
from tests.benchmarks.cost.volumes import write_scan

SLOW, FEW = 10.0, 3  # a row whose run takes longer (s) is run this often only
FITTED_FROM = 100  # slices
Make = Callable[[], Contestant]


def row_contestant(row: str, setting: Setting) -> Contestant:
    """The contestant of a row."""
    return ROWS[row].contestant(setting)


def growth_contestant(kind: str, setting: Setting) -> Contestant:
    """The contestant for growth measurements."""
    if kind != "default" and "scout" not in known_ids():
        raise Skipped("inference.json has no id scout: the default is the full pass")
    return Ours(setting, {"runtime": "auto", **GROWTH[kind]} if "runtime" in known_ids() else GROWTH[kind])


def known_ids() -> Any:
    """The ids of inference.json."""
    from custom_networks.bundle_files import bundle_root, read_config

    return read_config(bundle_root())


class Here:
    """A contestant in this process, for trials, in which peak memory is meaningless."""

    def __init__(self, make: Callable[[str, Setting], Contestant], name: str, setting: Setting) -> None:
        self._make, self._name, self._setting = make, name, setting

    def ask(self, question: str) -> Any:
        """The response to "prepare", "run", "warm", "peak" or "cost"."""
        if question == "prepare":
            self._contestant = self._make(self._name, self._setting)
            return self._contestant.prepare()
        if question == "warm":
            return self._contestant.label(self._setting.scan.of_length(self._setting.lengths[0]))  # type: ignore
        return getattr(self._contestant, question)() if question in ("run", "cost") else None

    def end(self) -> None:
        """Release the contestant."""
        vars(self).pop("_contestant", None)


def _serve(pipe: Connection, seat: Here) -> None:
    """Handle the parent's requests in a separate process."""
    while (question := pipe.recv()) != "end":
        try:
            answer = machine.peak_mb() if question == "peak" else seat.ask(question)
            if question == "prepare":
                machine.forget_peak()
            pipe.send((True, answer))
            machine.give_memory_back()
        except Skipped as reason:
            pipe.send((False, str(reason)))
        except Exception as error:  # the other rows are measured all the same, and the table says what happened
            pipe.send((False, f"failed: {type(error).__name__}: {' '.join(str(error).split())[:200]}"))


class Apart:
    """A contestant in a new process."""

    def __init__(self, make: Callable[[str, Setting], Contestant], name: str, setting: Setting) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, Here(make, name, setting)), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: str) -> Any:
        """Like `Here.ask`; raises Skipped with the reason if the process failed."""
        try:
            self._pipe.send(question)
            good, answer = self._pipe.recv()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            raise Skipped("its process ended: out of memory?") from None
        if not good:
            raise Skipped(answer)
        return answer

    def end(self) -> None:
        """End the process."""
        with suppress(BrokenPipeError):
            self._pipe.send("end")
        self._process.join()


def said(text: str) -> None:
    """Log a line of progress."""
    print(text, file=sys.stderr, flush=True)


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, minimum and maximum of some values with four digits, and their number."""
    known = list(values)
    found = {"median": statistics.median(known), "min": min(known), "max": max(known)}
    return {**{name: float(f"{value:.4g}") for name, value in found.items()}, "n": len(known)}


def measure(rows: Sequence[str], setting: Setting, repeats: int, apart: bool = True) -> dict[str, Any]:
    """Measure the rows (ids) alternately, `repeats` times after a warm-up; return the record of this machine."""
    seat = Apart if apart else Here
    wanted = [row for row in ROWS.values() if row.id in rows]
    run = list(dict.fromkeys(row.measured_by for row in wanted))
    write_scan(setting.scan, setting.folder)
    found: dict[str, Any] = {**heading(setting), "skipped": {}}
    seats: dict[str, Any] = {}
    for row in run:
        said(f"prepare {row}")
        seats[row] = seat(row_contestant, row, setting)
        _try(seats, row, "prepare", found["skipped"])
    taken: dict[str, list[dict[str, float]]] = {row: [] for row in run}
    rates: list[dict[str, float]] = []
    for repeat in range(-1, repeats):  # the first round warms up and takes the memory
        rates.append(machine_rates())
        for row in list(seats):
            if repeat >= FEW and taken[row] and taken[row][0]["network"] > SLOW:
                continue
            seconds = _try(seats, row, "run", found["skipped"])
            if seconds is not None:
                said(f"{row}: {seconds['network']:.2f} s")
                taken[row] += [seconds] * (repeat >= 0)
    records = {row: _record(row, seats, taken[row], found["skipped"]) for row in list(seats)}
    for one in seats.values():
        one.end()
    found["machine_rates"] = {name: spread(rate[name] for rate in rates[1:]) for name in rates[0]}
    found["rows"] = {
        row.id: _multiplied(records[row.measured_by], row.times) for row in wanted if records.get(row.measured_by)
    }
    found["skipped"] |= {r.id: found["skipped"][r.measured_by] for r in wanted if r.measured_by in found["skipped"]}
    return found


def _try(seats: dict[str, Any], row: str, question: str, skipped: dict[str, str]) -> Any:
    """The response of a row; if it fails, the row is dropped and the reason is stored in `skipped`."""
    try:
        return seats[row].ask(question)
    except Skipped as reason:
        said(f"{row}: skipped, {reason}")
        skipped[row] = str(reason)
        seats.pop(row).end()
        return None


def heading(setting: Setting) -> dict[str, Any]:
    """Facts about machine and scan, known before measuring."""
    return {
        "machine": machine.processor(),
        "versions": machine.versions(),
        "bundle": bundle_version(),
        "date": date.today().isoformat(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "scan": {"shape": list(setting.scan.shape), "spacing": list(setting.scan.spacing)},
    }


def machine_rates() -> dict[str, float]:
    """Current GEMM and copy rates."""
    gemm = {name: machine.gemm_gflops(getattr(torch, name)) for name in machine.torch_formats()}
    return {**gemm, "copy_gb_s": machine.copy_gb_s()}


def _record(row: str, seats: dict[str, Any], taken: list[dict[str, float]], skipped: dict[str, str]) -> dict[str, Any]:
    """The record of a row: seconds, memory, cost."""
    peak = _try(seats, row, "peak", skipped)
    cost = _try(seats, row, "cost", skipped) if row in seats else None
    if cost is None or not taken:
        return {}
    record = {"network": spread(one["network"] for one in taken), "peak_mb": peak and round(peak), **cost}
    if "windows" in taken[0]:
        record["windows_measured"] = int(sum(one["windows"] for one in taken))
        per_window = record["network"]["median"] / cost["windows"]
        at = cost.get("windows_at", {})
        record["longer"] = {slices: float(f"{per_window * n:.4g}") for slices, n in at.items()}
    if "whole" in taken[0]:
        record["whole"] = spread(one["whole"] for one in taken)
        record["stages"] = {s: round(statistics.median(one[f"stage {s}"] for one in taken), 3) for s in STAGES}
    return record


def _multiplied(record: dict[str, Any], times: int) -> dict[str, Any]:
    """The record of the same windows run `times` times."""
    if times == 1:
        return record
    seconds = {name: v * (1 if name == "n" else times) for name, v in record["network"].items()}
    longer = {slices: v * times for slices, v in record.get("longer", {}).items()}
    scaled = {name: record[name] * times for name in ("flop", "windows")}
    return {**record, **scaled, "network": seconds, "longer": longer}


def measure_growth(setting: Setting, lengths: Sequence[int], apart: bool = True) -> dict[str, Any]:
    """Seconds and peak memory for scans of different lengths, each in a new process, and slopes of the logarithms.

    The network is warmed up on the shortest scan. Scans of up to 100 slices are run three times.
    """
    seat, found = Apart if apart else Here, {}
    for kind in GROWTH:
        points = []
        for slices in lengths:
            own = replace(setting, scan=setting.scan.of_length(slices), lengths=tuple(lengths))
            write_scan(own.scan, own.folder)
            one = seat(growth_contestant, kind, own)
            try:
                one.ask("prepare")
                one.ask("warm")
                runs = [one.ask("run") for _ in range(3 if apart and slices <= FITTED_FROM else 1)]
                peak = one.ask("peak")
            except Skipped as reason:
                found[kind] = {"skipped": str(reason)}
                break
            finally:
                one.end()
            seconds = {name: statistics.median(run[name] for run in runs) for name in ("whole", "network")}
            said(f"growth, {kind}: {slices} slices, {seconds['whole']:.1f} s")
            rounded = {name: float(f"{value:.4g}") for name, value in seconds.items()}
            points.append({"slices": slices, **rounded, "peak_mb": peak and round(peak)})
        else:
            found[kind] = {"points": points, **slopes(points)}
    return found


def slopes(points: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Exponents of time and memory over slices, fitted from 100 to 800 slices (in a trial, over all)."""
    fitted = [point for point in points if FITTED_FROM <= point["slices"] <= 8 * FITTED_FROM]
    fitted = fitted if len(fitted) > 1 else list(points)
    names = [name for name in ("whole", "peak_mb") if len(fitted) > 1 and all(point[name] for point in fitted)]
    x = np.log([point["slices"] for point in fitted])
    return {f"slope_{n}": round(float(np.polyfit(x, np.log([p[n] for p in fitted]), 1)[0]), 3) for n in names}


def measure_context(side: int, repeats: int) -> list[dict[str, float]]:
    """See `context_cost`."""
    said("cost against context")
    return context_cost(side, repeats)
