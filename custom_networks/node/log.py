"""The node's log: one JSON object per line, with digests for studies and no text from a peer or about a patient."""

import json
import logging
import threading
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone

logger = logging.getLogger(__name__)

DISCREET = ("custom_networks.node", "custom_networks.inference")  # nothing that they log comes from a data set


def record(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log an event with its time and the facts about it, in the order given."""
    logger.log(level, "%s", _line(event, level, facts))


def log_to_stderr(*, debug: bool) -> None:
    """Have this process log JSON to stderr; with `debug` also what libraries say, which can quote a patient."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    if not debug:
        handler.addFilter(lambda logged: logged.name.startswith(DISCREET))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("custom_networks").setLevel(logging.DEBUG if debug else logging.INFO)


class JsonLines(logging.Formatter):
    """One JSON object per line, whichever library logs."""

    def format(self, record: logging.LogRecord) -> str:
        """The line; what does not come from `record` is an event `log` with the name of its logger."""
        if record.name == __name__:
            return record.getMessage()
        facts: dict[str, object] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            facts["traceback"] = self.formatException(record.exc_info)
        return _line("log", record.levelno, facts)


class Tally:
    """Counts of this run; any thread may add to them."""

    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[str]()

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def add(self, name: str, why: str = "", **facts: object) -> None:
        """Count an event, and log it if there is a reason to give."""
        with self._lock:
            self._counts[name] += 1
        if why:
            record(name, level=logging.WARNING, message=why, **facts)


def _line(event: str, level: int, facts: Mapping[str, object]) -> str:
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    return json.dumps(
        {"time": time, "level": logging.getLevelName(level).lower(), "event": event, **facts}, default=str
    )
