"""One family of errors: each says in one sentence what is wrong, with which file, and what to do."""


class LiversegError(Exception):
    """Base of every error that a user can cause or cure; its text is one line, fit for stderr."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))  # a file's name may hold a line break


class UsageError(LiversegError):
    """Nothing could start: bad arguments, or no given path holds an image (exit code 2)."""


class InputError(LiversegError):
    """One input cannot be segmented; the others still are (exit code 1)."""


class BundleError(LiversegError):
    """The bundle's configuration or weights are missing or do not fit each other."""


def one_line(said: object) -> str:
    """What something says of itself, a message or another library's exception, without its line breaks."""
    return " ".join(str(said).split())
