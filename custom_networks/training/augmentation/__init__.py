"""Random transforms of training stacks: synthetic lesions, decoys, deformation, scanners and contrast."""

from custom_networks.training.augmentation.decoys import RandDecoysd
from custom_networks.training.augmentation.in_plane_deform import RandInPlaneDeformd
from custom_networks.training.augmentation.intensity_sources import RandCTNoised, RandQuantised, RandSharpnessd
from custom_networks.training.augmentation.scanner_geometry import RandFieldOfViewd, RandScanEndsd, RandThickSlicesd
from custom_networks.training.augmentation.synthetic_lesions import RandSyntheticLesionsd
from custom_networks.training.augmentation.tissue_contrast import RandTissueShiftd

__all__ = [
    "RandCTNoised",
    "RandDecoysd",
    "RandFieldOfViewd",
    "RandInPlaneDeformd",
    "RandQuantised",
    "RandScanEndsd",
    "RandSharpnessd",
    "RandSyntheticLesionsd",
    "RandThickSlicesd",
    "RandTissueShiftd",
]
