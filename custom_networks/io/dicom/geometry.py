"""The geometry of a series: the order of its slices, irregular positions, and the affine.

Coordinates are LPS mm, as in DICOM; only `series_affine` returns RAS. `axes` is (2, 3): the unit vectors of
ImageOrientationPatient, first along a row (column index ascending), then along a column. `positions` is (n, 3).
"""

from collections.abc import Sequence

import numpy as np

from custom_networks.io.checks import SHEAR_DEGREES

AXIAL_DEGREES = 25.0
# Some real series consist of two acquisitions that are 0.005 mm apart where they meet.
SAME_POSITION_MM = 0.01


def normal_of(axes: np.ndarray) -> np.ndarray:
    """Return the unit normal (3,) of slices, along which they are sorted: the cross product of their two axes."""
    normal: np.ndarray = np.cross(axes[0], axes[1])
    return normal / np.linalg.norm(normal)


def mixed_orientation_reasons(all_axes: Sequence[np.ndarray]) -> list[str]:
    """Return a reason if slices differ in orientation, else []."""
    mixed = np.ptp(np.array(all_axes), axis=0).max() > 1e-3
    return ["Its slices differ in orientation (ImageOrientationPatient): export one reconstruction."] * bool(mixed)


def axial_reasons(axes: np.ndarray) -> list[str]:
    """Return a reason if slices with this orientation are not axial, else []."""
    degrees = np.degrees(np.arccos(min(1.0, abs(normal_of(axes)[2]))))
    reason = f"Its slices are not axial (normal {degrees:.0f} degrees off the patient's z): give the axial series."
    return [reason] if degrees > AXIAL_DEGREES else []


def covered_mm(positions: np.ndarray, axes: np.ndarray) -> float | None:
    """Return the depth that slices cover along their normal in mm; None if they all share a plane.

    It is the distance from the first to the last slice plus the median step.
    """
    steps = np.diff(np.sort(positions @ normal_of(axes)))
    distinct = steps[steps >= SAME_POSITION_MM]
    return round(float(distinct.sum() + np.median(distinct)), 3) if distinct.size else None


def stack_reasons(positions: np.ndarray, axes: np.ndarray) -> list[str]:
    """Return the reasons why slices, sorted along the normal of `axes`, are not a regular stack; [] if they are.

    A stack is regular if no two slices share a position, it is not tilted by more than `SHEAR_DEGREES`, and each
    coordinate of each slice deviates from the best fitting even grid by at most 2 % of the median step or 0.05 mm,
    whichever is larger. The latter allows for programs that round positions to 0.1 mm. A single slice is regular.
    """
    steps = np.diff(positions @ normal_of(axes))
    distinct = steps[steps >= SAME_POSITION_MM]
    if not distinct.size:
        same = f"All {len(positions)} slices lie at one position (z = {positions[0, 2]:g} mm)"
        return [f"{same}: a time series is not a volume. Give the series of the liver."] if len(positions) > 1 else []
    step = float(np.median(distinct))
    tolerance = max(0.02 * step, 0.05)
    tilt = _tilt_reasons(positions, axes)
    if distinct.size == steps.size and off_best_grid(positions) <= tolerance + 1e-6:
        return tilt
    return [*_step_reasons(positions, steps, step, tolerance), *tilt] or _drift_reasons(positions)


def off_best_grid(positions: np.ndarray) -> float:
    """Return the largest deviation, in any coordinate, of positions (n, 3) from the best fitting even grid, in mm.

    For a given step, the error of the best grid is half the range of the residuals. This is a convex function of the
    step, minimised by ternary search for each coordinate.
    """
    numbers, last = np.arange(len(positions))[:, None], len(positions) - 1
    step = (positions[-1] - positions[0]) / last

    def error(step: np.ndarray) -> np.ndarray:
        left: np.ndarray = np.ptp(positions - numbers * step, axis=0) / 2
        return left

    low, high = step - 2 * error(step) / last, step + 2 * error(step) / last
    for _ in range(60):
        third = (high - low) / 3
        rises = error(low + third) < error(high - third)
        low, high = np.where(rises, low, low + third), np.where(rises, high - third, high)
    return float(error((low + high) / 2).max())


def _step_reasons(positions: np.ndarray, steps: np.ndarray, step: float, tolerance: float) -> list[str]:
    """Return reasons for duplicate positions, missing slices (too wide a step) and slices that are too close."""
    same = np.flatnonzero(steps < SAME_POSITION_MM)
    wide = np.flatnonzero(steps > step + tolerance)
    close = np.flatnonzero((steps < step - tolerance) & (steps >= SAME_POSITION_MM))
    reasons = []
    if same.size:
        k, more = same[0], f" and {same.size - 1} more" * (same.size > 1)
        z = " and ".join(f"{value:.3f}" for value in positions[k : k + 2, 2])
        which = f"Slices {k + 1} and {k + 2}{more}"
        reasons.append(f"{which} lie at the same position (z = {z} mm): export a single acquisition.")
    if wide.size:
        k, more = wide[np.argmax(steps[wide].round(3))], f" (and {wide.size - 1} more)" * (wide.size > 1)
        reasons.append(
            f"Slice positions jump from {positions[k, 2]:.2f} to {positions[k + 1, 2]:.2f} mm after slice {k + 1}{more}"
            f", a gap of {steps[k]:.2f} mm instead of {step:.2f}: slices are missing. Export the whole series again."
        )
    if close.size:
        reasons.append(
            f"Slice distance varies from {steps[close].min():.2f} to {steps.max():.2f} mm (smallest after slice "
            f"{close[np.argmin(steps[close])] + 1}): it must be even. Export one reconstruction."
        )
    return reasons


def _tilt_reasons(positions: np.ndarray, axes: np.ndarray) -> list[str]:
    """Return a reason if the stack does not run along the slice normal; no attribute states the tilt reliably."""
    run, normal = positions[-1] - positions[0], normal_of(axes)
    degrees = np.degrees(np.arctan2(np.linalg.norm(run - run @ normal * normal), run @ normal))
    reason = (
        f"Its slices are sheared by a gantry tilt of {degrees:.1f} degrees: export a series resampled without tilt."
    )
    return [reason] if degrees > SHEAR_DEGREES else []


def _drift_reasons(positions: np.ndarray) -> list[str]:
    """Return a reason that names the slice farthest from an even grid between the first and the last slice."""
    distances = np.linalg.norm(positions - np.linspace(positions[0], positions[-1], len(positions)), axis=1)
    k = int(np.argmax(distances))
    return [f"Slice {k + 1} lies {distances[k]:.2f} mm off the even grid of the others: export one reconstruction."]


def series_affine(positions: np.ndarray, axes: np.ndarray, spacing: Sequence[float]) -> np.ndarray:
    """Return the (4, 4) affine of at least two slices, (column, row, slice) index to RAS mm.

    `spacing` is PixelSpacing: the distance between rows, then between columns, in mm.
    """
    affine = np.eye(4)
    affine[:3, 0] = axes[0] * spacing[1]
    affine[:3, 1] = axes[1] * spacing[0]
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(positions) - 1)
    affine[:3, 3] = positions[0]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
