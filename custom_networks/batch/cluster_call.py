"""Function calls serialised to bytes.

Dask's scheduler unpickles the tasks that it forwards, and would have to import PyTorch for that. Bytes contain nothing
to import.
"""

import pickle
from collections.abc import Callable
from typing import Any


def packed_call(function: Callable[..., Any], *arguments: Any) -> bytes:
    """Serialise a call, which `unpacked_call` executes on another machine."""
    return pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)


def unpacked_call(call: bytes) -> Any:
    """Execute a call serialised by `packed_call` and return its result."""
    function, arguments = pickle.loads(call)
    return function(*arguments)
