"""One family of errors: each says in one sentence what is wrong, with which file, and what to do."""


class LiversegError(Exception):
    """Base of every error that a user can cause or cure; its text is one line, fit for stderr."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # a file's name may hold a line break


class UsageError(LiversegError):
    """Nothing could start: bad arguments, or no given path holds an image (exit code 2)."""


class InputError(LiversegError):
    """One input cannot be segmented; the others still are (exit code 1)."""


class BundleError(LiversegError):
    """The bundle's configuration or weights are missing or do not fit each other."""


def one_line(text: object, limit: int = 160) -> str:
    """`text` on one line, cut at `limit` characters: libraries report over many lines."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
