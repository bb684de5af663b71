"""Errors of volumes and diameters on balls and ellipsoids of known size; docs/outputs.md has the largest.

python tests/benchmarks/measurement_errors.py
"""

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "report")]

from shapes import LIVER_RADIUS, ORIENTATIONS, Ellipsoid, grid, measured, truth  # noqa: E402

SPACINGS = [(0.7, 0.7, 1.0), (0.8, 0.8, 2.5), (0.8, 0.8, 5.0), (1.5, 1.0, 3.0)]
SHAPES = {
    "ball, 10 mm": Ellipsoid((8, 5, -3), (5, 5, 5)),
    "ball, 20 mm": Ellipsoid((8, 5, -3), (10, 10, 10)),
    "ball, 40 mm": Ellipsoid((8, 5, -3), (20, 20, 20)),
    "ellipsoid, 40 x 24 x 20 mm, turned": Ellipsoid((8, 5, -3), (20, 12, 10), about_z=35, about_x=20),
}


def errors(shape: Ellipsoid, spacing: tuple[float, float, float]) -> list[list[float]]:
    """Per orientation, straight and 12 degrees oblique: volume in %, then diameters, centroid, surface in mm."""
    rows = []
    for orientation in ORIENTATIONS:
        for oblique in (0.0, 12.0):
            affine, size = grid(spacing, orientation, oblique)
            axis = ORIENTATIONS[orientation][0].index(2)
            lesion, true = measured([shape], affine, size).lesions[0], truth(shape, affine, axis)
            is_ball = len(set(shape.half_axes)) == 1
            depth = LIVER_RADIUS - float(np.linalg.norm(shape.middle)) - shape.half_axes[0]
            rows.append(
                [
                    100 * (lesion.volume_mm3 / true.volume_mm3 - 1),
                    lesion.longest_mm - true.longest_mm,
                    lesion.perpendicular_mm - true.perpendicular_mm,
                    float(np.linalg.norm(np.array(lesion.centroid) - true.centroid_lps)),
                    (lesion.surface_distance_mm or 0.0) - depth if is_ball else float("nan"),
                ]
            )
    return rows


def main() -> None:
    """Print the table."""
    print("| shape | voxel, mm | volume, % | longest, mm | perpendicular, mm | centroid, mm | to the surface, mm |")
    print("|---|---|---|---|---|---|---|")
    for name, shape in SHAPES.items():
        for spacing in SPACINGS:
            columns = np.array(errors(shape, spacing)).T
            cells = [f"{c.min():+.1f} to {c.max():+.1f}" if np.isfinite(c).all() else "" for c in columns]
            print(f"| {name} | {' x '.join(f'{mm:g}' for mm in spacing)} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
