"""Readers: a path becomes a volume with its affine, or one sentence that says why not.

Importing this package is cheap: ITK is loaded when the first NRRD or MetaImage file is read, MONAI when `LoadVolumed`
or a writer is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from custom_networks.io.cases import find_cases, find_volumes, list_cases, name_cases, volumes_of
from custom_networks.io.dicom import list_dicom, read_source_headers
from custom_networks.io.files import MEDICAL_SUFFIXES, case_stem
from custom_networks.io.read import read_label_map, read_volume
from custom_networks.io.volume import Volume

if TYPE_CHECKING:
    from custom_networks.io.monai_reader import LoadVolumed
    from custom_networks.io.monai_writer import SaveLabelMapd, SaveTumorProbabilityd

__all__ = [
    "MEDICAL_SUFFIXES",
    "LoadVolumed",
    "SaveLabelMapd",
    "SaveTumorProbabilityd",
    "Volume",
    "case_stem",
    "find_cases",
    "find_volumes",
    "list_cases",
    "list_dicom",
    "name_cases",
    "read_label_map",
    "read_source_headers",
    "read_volume",
    "volumes_of",
]

_NEED_MONAI = {
    "LoadVolumed": "monai_reader",
    "SaveLabelMapd": "monai_writer",
    "SaveTumorProbabilityd": "monai_writer",
}


def __getattr__(name: str) -> Any:
    """Import what is built on MONAI, and with it MONAI (seconds), only when somebody names it (PEP 562)."""
    if name not in _NEED_MONAI:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"custom_networks.io.{_NEED_MONAI[name]}"), name)
