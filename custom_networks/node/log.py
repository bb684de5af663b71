"""The node's log: one JSON object per line. Studies appear as digests; peers' and patients' text is never logged."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone

logger = logging.getLogger(__name__)

DISCREET = ("custom_networks.node", "custom_networks.inference")  # these never log text from data sets


def record(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log an event with the current time and the given facts, in the order given."""
    logger.log(level, "%s", _line(event, level, facts))


def log_to_stderr(*, debug: bool) -> None:
    """Configure this process to log JSON to stderr.

    Only the loggers in `DISCREET` are shown, unless `debug` is set: other loggers' messages can quote a patient.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    if not debug:
        handler.addFilter(lambda logged: logged.name.startswith(DISCREET))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("custom_networks").setLevel(logging.DEBUG if debug else logging.INFO)


class JsonLines(logging.Formatter):
    """Formats every log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return a log record as a line; records not made by `record` become an event "log" with the logger's name."""
        if record.name == __name__:
            return record.getMessage()
        facts: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return _line("log", record.levelno, facts)


class Tally:
    """Thread-safe counts of events in this run."""

    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[str]()

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def add(self, name: str, why: str = "", **facts: object) -> None:
        """Count an event; if a reason is given, log a warning with it and the given facts."""
        with self._lock:
            self._counts[name] += 1
        if why:
            record(name, level=logging.WARNING, message=why, **facts)


def _line(event: str, level: int, facts: Mapping[str, object]) -> str:
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps(
        {"time": time, "level": logging.getLevelName(level).lower(), "event": event, **facts}, default=str
    )
