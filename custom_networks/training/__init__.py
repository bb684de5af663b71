"""What training needs beyond MONAI: case lists, balanced stacks, the loss, averaged weights, evaluation."""

from .case_report import CaseScoresHandler
from .cases import training_cases, validation_cases
from .ema import AveragedWeights
from .evaluation import case_scores
from .loss import OrganTumorLoss
from .partial_labels import MarkPartialLabelsd
from .resume import ResumableState
from .slice_stacks import RandSliceStacksd
from .structures import OrganAndTumord

__all__ = [
    "AveragedWeights",
    "CaseScoresHandler",
    "MarkPartialLabelsd",
    "OrganAndTumord",
    "OrganTumorLoss",
    "RandSliceStacksd",
    "ResumableState",
    "case_scores",
    "training_cases",
    "validation_cases",
]
