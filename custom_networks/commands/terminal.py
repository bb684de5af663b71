"""What the commands say, and the exit codes that they end with."""

import sys

BANNER = "Research use only: this is not a medical device."
OK, SOME_FAILED, NOTHING_STARTED, INTERRUPTED = 0, 1, 2, 130


def say(text: str, stream: str = "stdout") -> None:
    """Print results to stdout and talk to stderr, at once."""
    print(text, file=getattr(sys, stream), flush=True)


def complain(message: str) -> None:
    """Say on stderr what went wrong."""
    say(f"liverseg: {message}", "stderr")
