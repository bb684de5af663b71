"""Console output and log file of a run: progress, results and errors."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

from custom_networks.commands.terminal import complain, counted, say
from custom_networks.errors import UsageError

if TYPE_CHECKING:
    from custom_networks.io import Case
    from custom_networks.result import Result

LEVELS = ("ok", "look", "stop")
KEY_IMAGE = "dicom_key_image_"


class Talk:
    """Prints results to stdout and messages to stderr, and appends both to a log file if requested.

    Args:
        quiet: print only errors and, with `as_json`, the JSON objects.
        verbose: print more details.
        progress: print the current case and the estimated time left, unless `quiet`.
        as_json: print one JSON object per case to stdout instead of lines.
        log_file: file to which results and messages are appended, even those that are not printed.

    Raises:
        UsageError: both `quiet` and `verbose` are set or, on entering the context, the log file cannot be written.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        verbose: bool = False,
        progress: bool = True,
        as_json: bool = False,
        log_file: str | None = None,
    ) -> None:
        if quiet and verbose:
            raise UsageError("--quiet and --verbose contradict each other: leave one out.")
        self._quiet, self._verbose, self._as_json, self._log_file = quiet, verbose, as_json, log_file
        self._progress = progress and not quiet
        self._log: TextIO | None = None
        self._held = ExitStack()
        self._started = self._case_started = time.monotonic()
        self._levels: Counter[str] = Counter()
        self._done = self._failed = 0

    def __enter__(self) -> "Talk":
        with ExitStack() as held:
            held.enter_context(_stderr_level(logging.ERROR if self._quiet else None))
            if self._log_file:
                self._log = held.enter_context(_opened(self._log_file))
                held.enter_context(_logged_to(self._log, self._verbose))
            elif self._verbose:
                held.enter_context(_own_level(logging.INFO))
            self._held = held.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._held.close()

    def say(self, text: str) -> None:
        """Print a message to stderr, unless quiet."""
        self._write_log(text)
        if not self._quiet:
            say(text, "stderr")

    def begin(self, number: int, count: int, case: "Case") -> None:
        """If there are several cases, announce the next one and, once one has ended, the estimated time left."""
        now = self._case_started = time.monotonic()
        if count > 1:
            finished = self._done + self._failed
            left = (
                f", about {_duration((now - self._started) / finished * (count - finished))} left" if finished else ""
            )
            self._say_progress(f"[{number}/{count}] {case.name}{left}")

    def stage(self, name: str, done: int, total: int) -> None:
        """After the first slab of a case, print the estimated time for the others, unless there is a progress bar."""
        if name == "network" and done == 1 and total > 1 and self._progress and not sys.stderr.isatty():
            left = (time.monotonic() - self._case_started) * (total - 1)
            self.say(f"  network: 1 of {total} slabs, about {_duration(left)} left")

    def result(self, result: "Result") -> None:
        """Print the notes of a result, and then its measurements and files, or its JSON."""
        self._done += 1
        if result.verdict:
            self._levels[result.verdict.level] += 1
        for line in note_lines(result):
            self.say(line)
        if self._verbose:
            steps = ", ".join(f"{step} {seconds:.1f} s" for step, seconds in result.run["seconds"].items())
            self.say(f"  took: {steps}")
        for line in case_lines(result):
            self._write_log(line)
            if not (self._quiet or self._as_json):
                say(line)
        if self._as_json:
            say(json.dumps({**result.report, "folder": str(result.folder)}))

    def refused(self, message: str, case: "Case | None" = None) -> None:
        """Report why an input was not segmented, even if quiet."""
        self._failed += 1
        self.error(message)
        if self._as_json:
            named = {"case": case.name, "input": case.source} if case else {}
            say(json.dumps({**named, "error": message}))

    def error(self, message: str) -> None:
        """Print an error to stderr and the log, even if quiet."""
        self._write_log(f"liverseg: {message}")
        complain(message)

    def closing(self, table: Path) -> None:
        """Summarise a run if it had several inputs; `table` is the path of summary.csv."""
        count = self._done + self._failed
        if count < 2:
            return
        verdicts = ", ".join(f"{self._levels[level]} {level}" for level in LEVELS if self._levels[level])
        judged = f" (verdicts: {verdicts})" if verdicts else ""
        took = _duration(time.monotonic() - self._started)
        self._say_progress(
            f"[done] {self._done} of {count} segmented{judged}, {self._failed} refused, in {took}: {table}"
        )

    def _say_progress(self, text: str) -> None:
        """Print a message about progress if that was requested; the log always gets it."""
        if self._progress:
            self.say(text)
        else:
            self._write_log(text)

    def _write_log(self, text: str) -> None:
        if self._log:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
            self._log.flush()


def case_lines(result: "Result") -> list[str]:
    """Return a line with volumes and verdict, and one for each file."""
    count, seconds = len(result.lesions), result.run["seconds"]["total"]
    lesions = f" in {counted(count, 'lesion')}" if count else ""
    found = f"liver {result.liver_ml:.1f} ml, tumor {result.tumor_ml:.1f} ml{lesions}"
    judged = f", verdict: {result.verdict.level}" if result.verdict else ""
    lines = [f"{result.case}: {found if result.liver_ml else 'no liver found'} ({seconds:.1f} s){judged}"]
    for kind, name in _listed(result.report["files"]):
        lines.append(f"  {kind.removeprefix('dicom_').replace('_', ' '):<7} {(result.folder or Path()) / name}")
    return lines


def _listed(files: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return kind and name of each file to list, without the thumbnail.

    All key images share one entry: the name of the first one, and the number of the others.
    """
    keys = [name for kind, name in files.items() if kind.startswith(KEY_IMAGE)]
    listed = [(kind, name) for kind, name in files.items() if kind != "thumbnail" and not kind.startswith(KEY_IMAGE)]
    more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
    return listed + [("key images", f"{name}{more}") for name in keys[:1]]


def note_lines(result: "Result") -> list[str]:
    """Return a line for each finding of the verdict, and for each note that is not also a finding."""
    findings = result.verdict.findings if result.verdict else ()
    findings_text = {finding.text for finding in findings}
    lines = [f"  {finding.level}: {finding.text}" for finding in findings]
    return lines + [f"  note: {note}" for note in result.notes if note not in findings_text]


def _duration(seconds: float) -> str:
    """Format a duration, in seconds if under two minutes, else in minutes."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


@contextmanager
def _opened(path: str) -> Iterator[TextIO]:
    try:
        stream = Path(path).expanduser().open("a", encoding="utf-8", errors="backslashreplace")
    except (OSError, RuntimeError, ValueError) as error:
        raise UsageError(f"The log file {path} cannot be written ({error}): choose another one.") from error
    with stream:
        yield stream


@contextmanager
def _own_level(level: int) -> Iterator[None]:
    """Lower the level of this package's logger in this block; an even lower level, such as for --debug, is kept."""
    own = logging.getLogger("custom_networks")
    before = own.level
    own.setLevel(min(own.getEffectiveLevel(), level))
    try:
        yield
    finally:
        own.setLevel(before)


@contextmanager
def _stderr_level(level: int | None) -> Iterator[None]:
    """Set the level of the root logger's handlers in this block; None leaves it unchanged."""
    handlers = logging.getLogger().handlers
    before = [handler.level for handler in handlers]
    try:
        for handler in handlers:
            handler.setLevel(handler.level if level is None else level)
        yield
    finally:
        for handler, old in zip(handlers, before, strict=False):
            handler.setLevel(old)


@contextmanager
def _logged_to(stream: TextIO, verbose: bool) -> Iterator[None]:
    """Write this package's log to a stream in this block; the level on stderr changes only if `verbose`."""
    root, handler = logging.getLogger(), logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%d %H:%M:%S"))
    debug = logging.getLogger("custom_networks").isEnabledFor(logging.DEBUG)
    with _stderr_level(None if verbose or debug else max(logging.WARNING, *(h.level for h in root.handlers), 0)):
        with _own_level(logging.INFO):
            root.addHandler(handler)
            try:
                yield
            finally:
                root.removeHandler(handler)
