"""Scores of predictions against the truth, for cases and for lesions."""

from custom_networks.evaluation.case_report import CaseScoresHandler
from custom_networks.evaluation.case_scores import case_scores
from custom_networks.evaluation.kept_probabilities import KeepProbabilitiesd
from custom_networks.evaluation.organ_and_tumor import OrganAndTumord

__all__ = ["CaseScoresHandler", "KeepProbabilitiesd", "OrganAndTumord", "case_scores"]
