"""Readers: a path becomes a volume with its affine, or one sentence that says why not.

Importing this package is cheap: ITK is loaded when the first NRRD or MetaImage file is read.
"""

from custom_networks.io.cases import find_cases, find_volumes, list_cases, name_cases, volumes_of
from custom_networks.io.dicom.read import list_dicom, read_source_headers
from custom_networks.io.files import MEDICAL_SUFFIXES, case_stem
from custom_networks.io.read import read_label_map, read_volume
from custom_networks.io.volume import Volume

__all__ = [
    "MEDICAL_SUFFIXES",
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
