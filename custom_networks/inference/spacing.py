"""Choose the slices of a stack so that the network's context has a fixed extent in millimetres, not in slices."""

import math


def slice_step(spacing: float, target: float = 3.0) -> int:
    """How many slices apart the slices of a stack are, so that their distance is as close as possible to `target` mm.

    The slice spacing in mm is first rounded to 0.05 mm, and ties are rounded up, so that 1.999, 2.0 and 2.001 mm have
    the same step.

    Raises:
        ValueError: `spacing` or `target` is not positive and finite.
    """
    if not (0 < spacing < math.inf and 0 < target < math.inf):
        raise ValueError(f"slice spacing and target must be positive and finite, got {spacing} and {target} mm")
    twentieths = max(1, round(spacing * 20))
    below = max(1, math.floor(20 * target / twentieths))
    return min((below + 1, below), key=lambda step: round(abs(step * twentieths - 20 * target), 6))
