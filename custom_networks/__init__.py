"""Liver and liver tumor segmentation in abdominal CT: what the bundle's JSON cannot declare."""

import getpass
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from custom_networks.api import Result, segment

    __version__: str

try:  # MONAI asks for it when it is imported; in a container, a user need not have a name
    getpass.getuser()
except (ImportError, KeyError, OSError):
    os.environ["USER"] = str(os.getuid()) if hasattr(os, "getuid") else "user"

__all__ = ["Result", "__version__", "segment"]


def __getattr__(name: str) -> Any:
    """Import only what somebody names (PEP 562).

    `__version__` is read from the bundle's metadata.json, which states it; `segment` and its result bring PyTorch and
    MONAI with them.
    """
    if name == "__version__":
        from custom_networks.bundle_files import bundle_version

        return bundle_version()
    if name not in ("Result", "segment"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from custom_networks import api

    return getattr(api, name)
