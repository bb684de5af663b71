"""The errors of this package: each says in one sentence what is wrong, with which file, and what to do."""


class LiversegError(Exception):
    """Base class of all errors that a user can cause or fix; the message is a single line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))  # a file's name may contain a line break


class UsageError(LiversegError):
    """Nothing could start: the arguments are wrong, or no path contains an image (exit code 2)."""


class InputError(LiversegError):
    """One input cannot be segmented; the others still are, and `liverseg segment` returns exit code 1."""


class BundleError(LiversegError):
    """The bundle's configuration or weights are missing or damaged, or do not match (exit code 2)."""


class ClusterLost(LiversegError):
    """The cluster no longer responds; the cases reported so far are written, and a rerun continues with the rest."""


def root_cause(error: BaseException) -> BaseException:
    """The first error of this package among `error`, its causes and contexts, or else the innermost cause.

    MONAI wraps errors of transforms in a RuntimeError that shows an object's address but no reason.
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
    """The reason why something failed, as one line for a message, avoiding Python terms where possible."""
    cause = root_cause(error)
    if isinstance(cause, LiversegError):
        return str(cause)
    if isinstance(cause, MemoryError):
        return "not enough memory"
    if isinstance(cause, OSError) and cause.strerror:
        return f"{cause.strerror}: {cause.filename}" if cause.filename else cause.strerror
    return f"{type(cause).__name__}: {one_line(cause, 300)}" if str(cause) else type(cause).__name__


def one_line(text: object, limit: int = 160) -> str:
    """`text` on one line, cut at `limit` characters; messages of libraries can have many lines."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 3] + "..."
