"""The node's log: one JSON object a line, with digests for studies and nothing that a peer or a patient is called."""

import json
import logging
import threading
from collections import Counter
from datetime import datetime, timezone

logger = logging.getLogger(__name__)


def record(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log what happened, when, and the facts about it, in the order in which they are given."""
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": time, "level": logging.getLevelName(level).lower(), "event": event, **facts}
    logger.log(level, "%s", json.dumps(line, default=str))


class Tally:
    """Counts of this run, by any thread."""

    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[str]()

    def __getitem__(self, name: str) -> int:
        return self._counts[name]

    def add(self, name: str, why: str = "", **facts: object) -> None:
        """Count an event, and log it where there is something to say."""
        with self._lock:
            self._counts[name] += 1
        if why:
            record(name, level=logging.WARNING, message=why, **facts)
