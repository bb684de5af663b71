"""Output that cannot be written does not stop a run."""

import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from custom_networks.streams import Notices, unbreakable_streams

ROOT = Path(__file__).resolve().parents[1]


class Closed(io.StringIO):
    """A stream whose reader is closed."""

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("stream", [Closed(), None, "closed"])
def test_a_failing_stream_discards_its_output(monkeypatch: pytest.MonkeyPatch, stream: object) -> None:
    if stream == "closed":
        stream = io.StringIO()
        stream.close()
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setattr("sys.stderr", stream)
    with unbreakable_streams():
        for _ in range(2):
            print("text", flush=True)
            print("text", file=sys.stderr, flush=True)
            assert sys.stderr.write("text") == 4
    assert sys.stdout is stream and sys.stderr is stream


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="NO /dev/full on this system")
def test_output_buffered_for_a_full_disk_is_discarded(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")
    monkeypatch.setattr("sys.stdout", full)
    with unbreakable_streams():
        print("text")
    full.close()  # flushes, which must be no error
    assert full.closed and sys.stdout is full


def test_sigterm_interrupts_like_ctrl_c() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with unbreakable_streams(), pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    assert signal.getsignal(signal.SIGTERM) is before


def test_only_log_records_of_this_package_are_printed_each_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("custom_networks.test")
    logging.getLogger("custom_networks").setLevel(logging.WARNING)
    try:
        raise ValueError("inner")
    except ValueError:
        record = logger.makeRecord(logger.name, logging.WARNING, "", 1, "two\nlines", (), sys.exc_info())
    foreign = logging.getLogger("monai").makeRecord("monai", logging.ERROR, "", 1, "20 lines", (), None)
    for one in (record, foreign):
        Notices().emit(one)
    assert capsys.readouterr().err == "two lines\n"
    logging.getLogger("custom_networks").setLevel(logging.DEBUG)
    try:
        for one in (record, foreign):
            Notices().emit(one)
    finally:
        logging.getLogger("custom_networks").setLevel(logging.NOTSET)
    assert "ValueError: inner" in (said := capsys.readouterr().err) and "20 lines" in said


@pytest.mark.parametrize("ending", ["| head -0", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full 2>/dev/full"])
def test_a_command_succeeds_with_closed_streams(ending: str) -> None:
    command = f'"{sys.executable}" -m custom_networks --version {ending}; exit ${{PIPESTATUS[0]}}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True)
    assert run.returncode == 0 and run.stderr == ""


def test_the_package_can_be_imported_by_a_user_without_a_name() -> None:
    script = (
        "import os, pwd\n"
        "def nobody(uid): raise KeyError('uid not found')\n"
        "pwd.getpwuid = nobody\n"
        "for name in ('USER', 'LOGNAME', 'LNAME', 'USERNAME'): os.environ.pop(name, None)\n"
        "import custom_networks, getpass; print(getpass.getuser() == str(os.getuid()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
    assert run.stdout == "True\n", run.stderr
