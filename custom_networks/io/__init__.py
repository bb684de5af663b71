"""Readers: a path becomes a volume with its affine, or one sentence that says why not.

Importing this package is cheap: ITK is loaded when the first NRRD or MetaImage file is read, MONAI when `LoadVolumed`
is first asked for.
"""

from typing import TYPE_CHECKING, Any

from custom_networks.io.files import MEDICAL_SUFFIXES, case_stem, find_volumes
from custom_networks.io.read import read_label_map, read_volume
from custom_networks.io.volume import Volume

if TYPE_CHECKING:
    from custom_networks.io.monai_reader import LoadVolumed

__all__ = ["MEDICAL_SUFFIXES", "LoadVolumed", "Volume", "case_stem", "find_volumes", "read_label_map", "read_volume"]


def __getattr__(name: str) -> Any:
    """Import `LoadVolumed`, and with it MONAI (seconds), only when somebody names it (PEP 562)."""
    if name != "LoadVolumed":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from custom_networks.io.monai_reader import LoadVolumed

    return LoadVolumed
