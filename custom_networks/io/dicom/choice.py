"""Which of a patient's series suits a liver best, by its depth, its contrast phase and how it was made."""

from __future__ import annotations

import re

import numpy as np

from custom_networks.io.dicom.header import SliceHeader
from custom_networks.io.dicom.series import DicomSeries

# A liver is seldom higher than this, mm: volumes that cover as much are equals.
LIVER_MM = 150.0
# Stacks of the network span slices of about 3 mm.
USUAL_STEP_MM = 3.0
# What SeriesDescription and ProtocolName call the phases, in English, German and French; the first that fits counts.
PHASES = (
    ("", r"w(ith|/)?\s*(and|&|/|\+)?\s*w(ithout|o|/o)\b"),  # an exam with and without says nothing about the series
    (
        "without contrast",
        r"\bnon.?con|\bno con|\bwithout|\bw/?o\b|unenhanced|\bplain\b|pre.?contrast|\bnati[fv]|\bsans\b|\bnc\b",
    ),
    ("arterial", r"arter|\bcta\b|angio|\bart\b"),
    ("portal venous", r"portal|ven(ous|ös|oes)|veineu|\bven\b|\bpvp?\b|\bvp\b|\b[67]\d ?s(ec)?\b"),
    ("delayed", r"delay|\blate\b|equilib|\bspät|tardi"),
)
PREFERRED = ("portal venous", "with contrast", "", "delayed", "arterial", "without contrast")
ELSEWHERE = r"\b(head|brain|kopf|schädel|neck|hals|sinus|knee|foot|ankle|wrist|shoulder|lung|bone|knochen)\b"


def contrast_phase(header: SliceHeader) -> str:
    """One of `PREFERRED`, by what the series, else its protocol, is called, or by the contrast agent; "" if unknown."""
    for text in (header.description.lower(), header.protocol.lower()):
        named = next((phase for phase, pattern in PHASES if re.search(pattern, text)), "")
        if named:
            return named
    return "with contrast" if header.contrast else ""


def preference_key(series: DicomSeries) -> tuple[float, ...]:
    """Key that sorts the CT volumes of one patient, the one that suits a liver best first.

    Compared are, in this order: depth up to that of a liver, region and kernel, contrast phase, derived or lossy
    images, slice distance, depth. What cannot be read comes last.
    """
    first = series.slices[0]
    step = series.depth_mm / len(series.slices)
    return (
        len(series.faults) > 0,
        -round(min(series.depth_mm, LIVER_MM)),
        bool(re.search(ELSEWHERE, first.description.lower())),
        PREFERRED.index(contrast_phase(first)),
        "DERIVED" in first.image_type,
        any(header.lossy for header in series.slices),
        round(abs(np.log(max(step, 0.01) / USUAL_STEP_MM)), 2),
        -series.depth_mm,
    )
