"""Context is millimetres, not slices: which slices of a volume make up a stack."""

import math


def slice_step(spacing: float, target: float = 3.0) -> int:
    """Every how many slices a stack takes one, so that its slices lie nearest to `target` mm apart.

    The spacing (mm) is rounded to 0.05 mm first and ties go up, so that 1.999, 2.0 and 2.001 mm give the same step.

    Raises:
        ValueError: if `spacing` or `target` is not positive and finite.
    """
    if not (0 < spacing < math.inf and 0 < target < math.inf):
        raise ValueError(f"slice spacing and target must be positive and finite, got {spacing} and {target} mm")
    twentieths = max(1, round(spacing * 20))
    below = max(1, math.floor(20 * target / twentieths))
    return min((below + 1, below), key=lambda step: round(abs(step * twentieths - 20 * target), 6))
