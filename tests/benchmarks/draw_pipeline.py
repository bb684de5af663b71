"""Draw the picture of the pipeline in README: the steps from a phantom's CT to its lesions.

python tests/benchmarks/draw_pipeline.py out/phantom_ct/imagesTr/phantom_000.nii.gz docs/images/pipeline.png
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, Rectangle

from custom_networks import segment
from custom_networks.api import Result

WINDOW = {"cmap": "gray", "vmin": -160, "vmax": 240}
LABELS = ListedColormap([(0, 0, 0, 0), (0.2, 0.75, 0.7, 0.55), (0.85, 0.25, 0.25, 0.75)])
TITLES = (
    "CT in HU",
    "Scout: where is the liver?",
    "Network: 9 slices give one",
    "Anatomy rules: label map",
    "Lesions, measured",
)
NOTES = (
    "a strict reader for each format",
    "46,000 parameters, 4 mm grid",
    "probability of tumor; 715,819 parameters",
    "liver turquoise, tumor red",
    "report, page, DICOM SEG and SR",
)


def draw(result: Result) -> Figure:
    """Draw five panels of the slice with the largest lesion's diameters; the scan's axes run to the left and back."""
    lesion = result.lesions[0]
    volumes = result.ct.array, result.labels, result.tumor_probability
    ct, labels, probability = (volume[..., lesion.slice_index].T for volume in volumes)
    figure = Figure(figsize=(15, 3.7), layout="constrained")
    panels = figure.subplots(1, 5)
    for panel, title, note in zip(panels, TITLES, NOTES):
        panel.imshow(ct, **WINDOW)
        panel.set_title(title, fontsize=12)
        panel.set_xlabel(note, fontsize=10)
        panel.set(xticks=[], yticks=[])
    (left, right), (front, back), _ = result.run["scout"]["box"]
    box = Rectangle((left, front), right - left, back - front, fill=False, color="gold", linewidth=2)
    panels[1].add_patch(box)
    panels[2].imshow(probability, cmap="inferno", alpha=np.clip(probability * 2, 0, 0.85), vmin=0, vmax=1)
    panels[3].imshow(labels, cmap=LABELS, vmin=0, vmax=2, interpolation="nearest")
    panels[4].contour(labels > 0, [0.5], colors="turquoise", linewidths=1)
    panels[4].contour(labels == 2, [0.5], colors="red", linewidths=1)
    to_voxel = np.linalg.inv(result.affine)
    for ends in (lesion.longest_ends, lesion.perpendicular_ends):
        columns, rows, _ = to_voxel[:3, :3] @ (np.array(ends) * (-1, -1, 1)).T + to_voxel[:3, 3:]
        panels[4].plot(columns, rows, "w-", linewidth=1.5)
    for before, after in zip(panels, panels[1:]):
        across = ConnectionPatch(
            (1, 0.5), (0, 0.5), before.transAxes, after.transAxes, arrowstyle="-|>", mutation_scale=20
        )
        figure.add_artist(across)
    return figure


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:])
    draw(segment(source, probability=True)).savefig(target, dpi=100)
