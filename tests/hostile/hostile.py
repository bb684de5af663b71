"""Hostile inputs: how each is made, and how reading it must end. Every input is read in a separate process."""

import hashlib
import importlib
import multiprocessing
import resource
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

READ, NOTED, REFUSED, CRASHED, HUNG = "read", "noted", "refused", "crashed", "hung"
TIME_LIMIT = 60.0  # seconds
MEMORY_LIMIT = 4 << 30  # bytes that one input may take; the least that the project promises
MOST_COMPARED = 10**7  # voxels
MODULES = ("inputs_volume_files", "inputs_dicom", "inputs_enhanced", "inputs_selection")


@dataclass(frozen=True)
class Hostile:
    """One hostile input.

    Attributes:
        name: unique name, words joined by "_".
        family: kind of problem.
        make: writes it below an empty folder and returns the path to pass to liverseg.
        ends: required outcome: READ (without a note), NOTED (with a note), or REFUSED; alternatives are joined by "|".
        says: a regular expression that a note or the refusal must match; "" for none.
        quick: whether the fast tests include it.
        truth: `digest` of the slices that may be read; None if the input contains other slices on purpose.
    """

    name: str
    family: str
    make: Callable[[Path], Path]
    ends: str
    says: str = ""
    quick: bool = False
    truth: frozenset[str] | None = None


@dataclass(frozen=True)
class Outcome:
    """The outcome of reading an input.

    Attributes:
        ended: one of the five outcomes.
        said: notes, or the reason of the refusal.
        peak_mb: peak memory of the process, MB.
        slices: `digest` of every slice that was read.
    """

    ended: str
    said: tuple[str, ...]
    peak_mb: float
    slices: frozenset[str] = frozenset()


def digest(slice_: np.ndarray) -> str:
    """A digest of a slice (i, j) of HU, independent of its type."""
    return hashlib.sha256(np.ascontiguousarray(slice_, np.float64).tobytes()).hexdigest()


def with_truth(inputs: Iterable[Hostile], slices: Iterable[np.ndarray], but: Sequence[str] = ()) -> list[Hostile]:
    """Set the truth of inputs to these slices (i, j), except for inputs with the given names."""
    truth = frozenset(map(digest, slices))
    return [one if one.name in but else replace(one, truth=truth) for one in inputs]


def all_inputs() -> list[Hostile]:
    """The inputs of all modules in this folder."""
    return [hostile for name in MODULES for hostile in importlib.import_module(name).INPUTS]


def outcome_of(path: Path, time_limit: float = TIME_LIMIT) -> Outcome:
    """List and read all cases of an input in a forked process, so that a crash or hang does not affect the tests."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_read_all, args=(path, sender))
    process.start()
    sender.close()
    answer = Outcome(HUNG, (), 0.0)
    try:
        if receiver.poll(time_limit):
            answer = receiver.recv()
    except EOFError:  # the process died before it could say anything
        answer = Outcome(CRASHED, (), 0.0)
    process.kill()
    process.join()
    receiver.close()
    return answer


def _read_all(path: Path, answer: Connection) -> None:
    """Read all cases, in the child process, and send what they report and the worst outcome."""
    from custom_networks.errors import LiversegError
    from custom_networks.io import find_cases

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (2 * MEMORY_LIMIT, 2 * MEMORY_LIMIT))
    cases, said = find_cases([str(path)])
    ended, slices = REFUSED if said else READ, set()
    for case in cases:
        try:
            volume = case.read()
            notes = volume.notes
            if volume.array.size < MOST_COMPARED:
                slices |= {digest(volume.array[..., k]) for k in range(volume.array.shape[-1])}
        except LiversegError as error:
            ended, notes = REFUSED, (str(error),)
        ended = NOTED if ended == READ and notes else ended
        said = [*said, *notes]
    unit = 1 << (20 if sys.platform == "darwin" else 10)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    answer.send(Outcome(ended, tuple(said), peak, frozenset(slices)))
