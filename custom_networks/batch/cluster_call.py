"""A call that travels as bytes: Dask's scheduler looks into what it hands on, and need not import PyTorch for that."""

import pickle
from collections.abc import Callable
from typing import Any


def packed_call(function: Callable[..., Any], *arguments: Any) -> bytes:
    """A call for `made` on another machine."""
    return pickle.dumps((function, arguments), protocol=pickle.HIGHEST_PROTOCOL)


def made(call: bytes) -> Any:
    """What a call gives."""
    function, arguments = pickle.loads(call)
    return function(*arguments)
