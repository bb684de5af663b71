"""Replacements for stdout and stderr that cannot make a run fail when they are closed, full or badly encoded."""

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
    """A text stream that discards its output once the underlying stream fails."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write the text, or discard it if the stream fails."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError):  # a closed pipe, a full disk; a closed file
            self._fall_silent()
            return len(text)

    def flush(self) -> None:
        """Flush the stream; if that fails, discard all further output."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._fall_silent()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _fall_silent(self) -> None:
        """Discard buffered text, which Python would flush at exit, and anything written to the descriptor later."""
        nowhere = open(os.devnull, "w", encoding="utf-8")
        with suppress(OSError, ValueError):  # no underlying file, as in tests
            os.dup2(nowhere.fileno(), self._stream.fileno())
        self._stream = nowhere


@contextmanager
def unbreakable_streams() -> Iterator[None]:
    """A context in which stdout and stderr are `Unbreakable` and, in the main thread, SIGTERM acts like Ctrl-C."""
    _open_missing_descriptors()
    before = {name: getattr(sys, name) for name in STREAMS}
    for name, stream in before.items():
        if isinstance(stream, io.TextIOWrapper):  # names of folders may not fit the terminal's encoding
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
    """Prints this package's log records on stderr, each on one line; at debug level, all records, with tracebacks."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record if it is meant for the user."""
        debug = logging.getLogger("custom_networks").isEnabledFor(logging.DEBUG)
        if debug or record.name.startswith("custom_networks"):
            text = self.format(record) if debug else " ".join(record.getMessage().split())
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()


def _open_missing_descriptors() -> None:
    """Open standard descriptors that are closed (`>&-`).

    Otherwise a results file could get such a number, and libraries would print into it.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the system returns the lowest free number
