"""What training and evaluation need beside MONAI: losses, sampling, synthetic lesions, scores."""

from custom_networks.training.case_report import CaseScoresHandler
from custom_networks.training.evaluation import case_scores
from custom_networks.training.structures import OrganAndTumord

__all__ = ["CaseScoresHandler", "OrganAndTumord", "case_scores"]
