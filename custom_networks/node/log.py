"""The node's log: one JSON object a line, with digests for studies and nothing that a peer or a patient is called."""

import json
import logging
from datetime import datetime, timezone

logger = logging.getLogger(__name__)


def record(event: str, *, level: int = logging.INFO, **facts: object) -> None:
    """Log what happened, when, and the facts about it, in the order in which they are given."""
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": time, "level": logging.getLevelName(level).lower(), "event": event, **facts}
    logger.log(level, "%s", json.dumps(line, default=str))
