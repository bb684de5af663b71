"""What the node writes to its log, and what it never does."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from custom_networks.node.log import log_to_stderr, record

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """The parsed log lines; earlier handlers and levels are restored."""
    root, own = logging.getLogger(), logging.getLogger("custom_networks")
    handlers, levels = root.handlers[:], (root.level, own.level)
    root.handlers = []
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    root.handlers = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def quote_a_patient() -> None:
    """Log a message that quotes a patient, as libraries do for invalid values."""
    logging.getLogger("py.warnings").warning("Invalid value for VR CS: 'Secret^Name'")
    logging.getLogger("custom_networks.io.dicom.case").warning("series 'Secret^Name' is not segmented")
    try:
        raise ValueError("Secret^Name")
    except ValueError:
        logging.getLogger("custom_networks.node.segmenting").debug("a study", exc_info=True)


def test_an_event_is_one_line_of_json(lines: Lines) -> None:
    log_to_stderr(debug=False)
    record("refused", level=logging.WARNING, study="ab", images=3, message="two\nlines")
    [line] = lines()
    assert line.pop("time").endswith("+00:00")
    assert list(line.items()) == [
        *(("level", "warning"), ("event", "refused"), ("study", "ab"), ("images", 3), ("message", "two\nlines")),
    ]


def test_messages_of_libraries_are_dropped_without_debug(lines: Lines) -> None:
    log_to_stderr(debug=False)
    quote_a_patient()
    logging.getLogger("custom_networks.inference.weights").warning("other weights than those released")
    [line] = lines()
    assert line.items() >= {"level": "warning", "event": "log", "message": "other weights than those released"}.items()


def test_debug_logs_everything_as_json(lines: Lines) -> None:
    log_to_stderr(debug=True)
    quote_a_patient()
    warning, skipped, failure = lines()
    assert (warning["logger"], skipped["logger"]) == ("py.warnings", "custom_networks.io.dicom.case")
    assert failure["level"] == "debug" and failure["traceback"].endswith("ValueError: Secret^Name")
