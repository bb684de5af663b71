"""What training needs beyond MONAI: case lists, balanced stacks, augmentation, the loss, averaged weights, scores."""

from custom_networks.training.case_report import CaseScoresHandler
from custom_networks.training.cases import training_cases, validation_cases
from custom_networks.training.ema import AveragedWeights
from custom_networks.training.evaluation import case_scores
from custom_networks.training.in_plane_deform import RandInPlaneDeformd
from custom_networks.training.intensity_sources import (
    RandCTNoised,
    RandQuantised,
    RandSharpnessd,
)
from custom_networks.training.loss import OrganTumorLoss
from custom_networks.training.partial_labels import MarkPartialLabelsd
from custom_networks.training.resume import ResumableState
from custom_networks.training.scanner_geometry import (
    RandFieldOfViewd,
    RandScanEndsd,
    RandThickSlicesd,
)
from custom_networks.training.slice_stacks import RandSliceStacksd
from custom_networks.training.structures import OrganAndTumord
from custom_networks.training.tissue_contrast import RandTissueShiftd

__all__ = [
    "AveragedWeights",
    "CaseScoresHandler",
    "MarkPartialLabelsd",
    "OrganAndTumord",
    "OrganTumorLoss",
    "RandCTNoised",
    "RandFieldOfViewd",
    "RandInPlaneDeformd",
    "RandQuantised",
    "RandScanEndsd",
    "RandSharpnessd",
    "RandSliceStacksd",
    "RandThickSlicesd",
    "RandTissueShiftd",
    "ResumableState",
    "case_scores",
    "training_cases",
    "validation_cases",
]
