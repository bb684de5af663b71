"""Calls packed as bytes: Dask's scheduler unpickles what it passes on, and need not import PyTorch for that."""

import pickle
from collections.abc import Callable
from typing import Any


def packed_call(function: Callable[..., Any], *arguments: Any) -> bytes:
    """A call that `unpacked_call` makes on another machine."""
    return pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)


def unpacked_call(call: bytes) -> Any:
    """Make a packed call; returns what it returns."""
    function, arguments = pickle.loads(call)
    return function(*arguments)
