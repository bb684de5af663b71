"""Liver and liver tumor segmentation in abdominal CT: the Python code behind the bundle's configs and `liverseg`."""

import getpass
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custom_networks.api import Result, segment

    __version__: str

try:  # MONAI calls this when it is imported, and in a container the user may have no name
    getpass.getuser()
except (ImportError, KeyError, OSError):
    os.environ["USER"] = str(os.getuid()) if hasattr(os, "getuid") else "user"

__all__ = ["Result", "__version__", "segment"]


def __getattr__(name: str) -> Any:
    """Import attributes on first use (PEP 562).

    `__version__` is read from the bundle's metadata.json; `segment` and `Result` import PyTorch and MONAI.
    """
    if name == "__version__":
        from custom_networks.bundle_files import bundle_version

        return bundle_version()
    if name not in ("Result", "segment"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from custom_networks import api

    return getattr(api, name)
