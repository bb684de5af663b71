"""The node's log: one JSON object per line, with digests for studies and no text from a peer or about a patient."""

import json
import logging
import threading
from collections import Counter
from datetime import datetime, timezone

logger = logging.getLogger(__name__)


def record(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log an event with its time and the facts about it, in the order given."""
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": time, "level": logging.getLevelName(level).lower(), "event": event, **facts}
    logger.log(level, "%s", json.dumps(line, default=str))


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
