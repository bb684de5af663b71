"""Compare the fast answer with the full one on the dev list, and print the table of docs/operating-point.md.

A lesion is found if any voxel of it is marked as tumor; a false lesion touches no labelled tumor.

    python tests/benchmarks/fast_effect.py SHARED/ct
"""

import argparse
from pathlib import Path
from statistics import fmean

import numpy as np
from scout_effect import dice

from custom_networks.evaluation.lesion_matching import shared_voxels
from custom_networks.io import case_of_array, read_label_map, read_volume
from custom_networks.labelmap.grid import voxel_mm3
from custom_networks.pipeline import Pipeline
from custom_networks.training.data.cases import validation_cases

COMMON = {"device": "cpu", "precision": "float32", "progress": False}
LEAST_MM3 = 30.0  # smaller labelled lesions are not counted


def row(name: str, pipeline: Pipeline, cases: list[dict[str, str]]) -> str:
    """A row of the table: means of Dice over the cases (of tumor, over those with tumor), and sums of lesions."""
    liver, tumor, found, true, false = [], [], 0, 0, 0
    for item in cases:
        image, label = read_volume(item["image"]), read_label_map(item["label"])
        labels, truth = pipeline.predict(case_of_array(image.array, image.affine)).labels, np.asarray(label.array)
        liver.append(dice(labels > 0, truth > 0))
        if (truth == 2).any():
            tumor.append(dice(labels == 2, truth == 2))
        shared = shared_voxels(labels == 2, truth == 2)
        counted = shared[1:].sum(axis=1) * voxel_mm3(image.affine) >= LEAST_MM3
        found += int((counted & shared[1:, 1:].any(axis=1)).sum())
        true += int(counted.sum())
        false += int((~shared[1:, 1:].any(axis=0)).sum())
    return f"| {name} | {fmean(liver):.3f} | {fmean(tumor):.3f} | {found} of {true} | {false} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    root = parser.parse_args().root
    cases = validation_cases(str(root / "dataset.json"), str(root), fold="all")
    for name, fast in (("full answer", False), ("`--fast`", True)):
        print(row(name, Pipeline(overrides={**COMMON, "fast": fast}), cases), flush=True)


if __name__ == "__main__":
    main()
