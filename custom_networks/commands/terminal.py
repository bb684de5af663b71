"""Printing, and the exit codes of the commands."""

import sys

BANNER = "Research use only: this is not a medical device."
OK, SOME_FAILED, NOTHING_STARTED, INTERRUPTED = 0, 1, 2, 130


def counted(number: int, noun: str) -> str:
    """A number and a noun, in the plural unless the number is 1."""
    return f"{number} {noun}{'s' * (number != 1)}"


def say(text: str, stream: str = "stdout") -> None:
    """Print a line to "stdout" or "stderr" and flush it."""
    print(text, file=getattr(sys, stream), flush=True)


def complain(message: str) -> None:
    """Print an error message to stderr, preceded by the program's name."""
    say(f"liverseg: {message}", "stderr")
