"""Find the cases in files and folders, and read each as a volume with its affine."""

from custom_networks.io.case import Case, case_of_array, case_of_image
from custom_networks.io.cases import find_cases, list_cases, only_case, read_volume
from custom_networks.io.dicom.case import list_dicom
from custom_networks.io.files import MEDICAL_SUFFIXES, case_stem
from custom_networks.io.image_files import read_label_map, read_segment_map
from custom_networks.io.volume import Volume

__all__ = [
    "MEDICAL_SUFFIXES",
    "Case",
    "Volume",
    "case_of_array",
    "case_of_image",
    "case_stem",
    "find_cases",
    "list_cases",
    "list_dicom",
    "only_case",
    "read_label_map",
    "read_segment_map",
    "read_volume",
]
