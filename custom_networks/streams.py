"""stdout and stderr that never stop work: closed, full or unable to spell a name, they only fall silent."""

import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

STREAMS = ("stdout", "stderr")


class Unbreakable:
    """A text stream that writes to nowhere once the stream beneath fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, or let it be."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # a closed pipe, a full disk; a closed file
            self._fall_silent()
            return len(text)

    def flush(self) -> None:
        """Flush, or let it be."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._fall_silent()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _fall_silent(self) -> None:
        """Send what is still buffered, and what libraries write to the descriptor, nowhere: Python flushes at exit."""
        nowhere = open(os.devnull, "w", encoding="utf-8")
        with suppress(OSError, ValueError):  # no file beneath, as in tests
            os.dup2(nowhere.fileno(), self._stream.fileno())
        self._stream = nowhere


@contextmanager
def unbreakable_streams() -> Iterator[None]:
    """For a while, stdout and stderr that write what they can; SIGTERM is an interruption like Ctrl-C."""
    _open_missing_descriptors()
    before = {name: getattr(sys, name) for name in STREAMS}
    for name, stream in before.items():
        if isinstance(stream, io.TextIOWrapper):  # a folder's name need not fit the terminal's encoding
            stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, Unbreakable(stream or open(os.devnull, "w", encoding="utf-8")))
    at_main = threading.current_thread() is threading.main_thread()
    terminated = signal.signal(signal.SIGTERM, signal.default_int_handler) if at_main else None
    try:
        yield
    finally:
        if at_main:
            signal.signal(signal.SIGTERM, terminated)
        for name, stream in before.items():
            getattr(sys, name).flush()
            setattr(sys, name, stream)


class Notices(logging.Handler):
    """One line on stderr for what this package has to say; other libraries' records, and tracebacks, with `debug`."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record, if it is for the user."""
        debug = logging.getLogger("custom_networks").isEnabledFor(logging.DEBUG)
        if debug or record.name.startswith("custom_networks"):
            text = self.format(record) if debug else " ".join(record.getMessage().split())
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def _open_missing_descriptors() -> None:
    """Open what was closed (`>&-`): a results file would get the number, and with it what libraries print."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system gives the lowest number that is free
