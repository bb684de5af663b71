"""Hostile inputs: what each is, how it is made, and how it must end. Every input is read in a process of its own."""

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
        name: what it is, unique, in words joined by "_".
        family: which kind of trouble it stands for.
        make: writes it below an empty folder and gives what liverseg is pointed at.
        ends: how it must end: READ without a word, NOTED (read, with a note), or REFUSED; several are parted by "|".
        says: a regular expression that a note or the refusal must hold; "" for none.
        quick: whether the fast tests run it, too.
        truth: `digest` of the slices that may be read; None where the input holds others on purpose.
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
    """How an input ended.

    Attributes:
        ended: one of the five words.
        said: notes, or why it was refused.
        peak_mb: greatest memory of the process.
        slices: `digest` of every slice that was read.
    """

    ended: str
    said: tuple[str, ...]
    peak_mb: float
    slices: frozenset[str] = frozenset()


def digest(slice_: np.ndarray) -> str:
    """Tells a slice (i, j) of HU from others, whatever its type."""
    return hashlib.sha256(np.ascontiguousarray(slice_, np.float64).tobytes()).hexdigest()


def with_truth(inputs: Iterable[Hostile], slices: Iterable[np.ndarray], but: Sequence[str] = ()) -> list[Hostile]:
    """Inputs that hold these slices (i, j), all but those that are named."""
    truth = frozenset(map(digest, slices))
    return [one if one.name in but else replace(one, truth=truth) for one in inputs]


def all_inputs() -> list[Hostile]:
    """The inputs of the modules beside this one."""
    return [hostile for name in MODULES for hostile in importlib.import_module(name).INPUTS]


def outcome_of(path: Path, time_limit: float = TIME_LIMIT) -> Outcome:
    """List and read every case of an input in a forked process: no crash, hang or hunger of it reaches the tests."""
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
    """In the child: what each case says, and the worst end of them."""
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
