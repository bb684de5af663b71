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


class ClusterLost(LiversegError):
    """A cluster does not answer any more; what was reported is written, and a rerun goes on with the rest."""


def root_cause(error: BaseException) -> BaseException:
    """What an error was raised from: the project's own error where there is one, else the innermost cause.

    MONAI wraps what goes wrong in a transform into a RuntimeError that names an object's address and no reason.
    """
    chain: list[BaseException] = []
    here: BaseException | None = error
    while here is not None and here not in chain:
        chain.append(here)
        here = here.__cause__
    own: BaseException | None = error
    seen = set()
    while own is not None and id(own) not in seen:
        if isinstance(own, LiversegError):
            return own
        seen.add(id(own))
        own = own.__cause__ or own.__context__
    return chain[-1]


def reason_of(error: BaseException) -> str:
    """One line on why something failed, fit to stand in a message: what a user knows by name comes in those words."""
    cause = root_cause(error)
    if isinstance(cause, LiversegError):
        return str(cause)
    if isinstance(cause, MemoryError):
        return "the memory does not suffice"
    if isinstance(cause, OSError) and cause.strerror:
        return f"{cause.strerror}: {cause.filename}" if cause.filename else cause.strerror
    return f"{type(cause).__name__}: {one_line(cause, 300)}" if str(cause) else type(cause).__name__


def one_line(text: object, limit: int = 160) -> str:
    """`text` on one line, cut at `limit` characters: libraries report over many lines."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
