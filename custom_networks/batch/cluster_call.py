"""Function calls serialised to bytes.

Dask's scheduler unpickles the tasks it forwards. Sent as bytes, they do not make it import PyTorch.
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
