"""What training needs beyond MONAI: case lists, balanced stacks, augmentation, the loss, averaged weights, scores."""

from custom_networks.training.case_report import CaseScoresHandler
from custom_networks.training.cases import (
    image_names,
    training_cases,
    validation_cases,
)
from custom_networks.training.checkpoints import BestModelSaver, FinalModelSaver
from custom_networks.training.decoys import RandDecoysd
from custom_networks.training.ema import AveragedWeights, estimate_batch_statistics
from custom_networks.training.estimate import TrainingPace, announce_cache
from custom_networks.training.evaluation import case_scores
from custom_networks.training.in_plane_deform import RandInPlaneDeformd
from custom_networks.training.intensity_sources import (
    RandCTNoised,
    RandQuantised,
    RandSharpnessd,
)
from custom_networks.training.kept_probabilities import KeepProbabilitiesd
from custom_networks.training.label_grid import LabelOnImaged
from custom_networks.training.loader import RaisingThreadDataLoader
from custom_networks.training.loss import OrganTumorLoss
from custom_networks.training.loss_guard import FiniteLossGuard
from custom_networks.training.partial_labels import MarkPartialLabelsd
from custom_networks.training.resume import ResumableState
from custom_networks.training.scanner_geometry import (
    RandFieldOfViewd,
    RandScanEndsd,
    RandThickSlicesd,
)
from custom_networks.training.slice_stacks import RandSliceStacksd
from custom_networks.training.structures import OrganAndTumord
from custom_networks.training.synthetic_lesions import RandSyntheticLesionsd
from custom_networks.training.tissue_contrast import RandTissueShiftd
from custom_networks.training.tuning import tune_operating_point

__all__ = [
    "AveragedWeights",
    "BestModelSaver",
    "CaseScoresHandler",
    "FinalModelSaver",
    "FiniteLossGuard",
    "LabelOnImaged",
    "KeepProbabilitiesd",
    "MarkPartialLabelsd",
    "OrganAndTumord",
    "OrganTumorLoss",
    "RandCTNoised",
    "RandDecoysd",
    "RandFieldOfViewd",
    "RandInPlaneDeformd",
    "RandQuantised",
    "RandScanEndsd",
    "RandSharpnessd",
    "RandSliceStacksd",
    "RandSyntheticLesionsd",
    "RandThickSlicesd",
    "RandTissueShiftd",
    "RaisingThreadDataLoader",
    "ResumableState",
    "TrainingPace",
    "announce_cache",
    "case_scores",
    "estimate_batch_statistics",
    "image_names",
    "training_cases",
    "tune_operating_point",
    "validation_cases",
]
