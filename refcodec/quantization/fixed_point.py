"""Dynamic fixed point: integers of n bits with g of them, or more, or fewer than none, after the point (SPEC 8.5.9).

The value of a level is level * 2^-g: see values.py.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import ReconstructionError
from .uniform import STEP_EXPONENT_MAX, STEP_EXPONENT_MIN

WIDTH_MAX = 32
FRACTION_MIN, FRACTION_MAX = -STEP_EXPONENT_MAX, -STEP_EXPONENT_MIN


def level_range(width: int) -> tuple[int, int]:
    """Least and largest integer of `width` bits in two's complement; OUT_OF_RANGE for a width that is not in 1..32."""
    if not 1 <= width <= WIDTH_MAX:
        raise ReconstructionError("OUT_OF_RANGE", f"width {width} is not in 1..{WIDTH_MAX}")
    return -1 << (width - 1), (1 << (width - 1)) - 1


def check_width(levels: np.ndarray, width: int) -> None:
    """Raises ReconstructionError OUT_OF_RANGE where a level does not fit into `width` bits of two's complement."""
    low, high = level_range(width)
    if levels.size and not low <= int(levels.min()) <= int(levels.max()) <= high:
        raise ReconstructionError("OUT_OF_RANGE", f"a level does not fit into {width} bits", rules="R8.5-10")


def fixed_point_levels(values: np.ndarray, width: int, fraction_bits: int) -> np.ndarray:
    """Levels (int32) nearest to finite float values, ties to even, clipped to `width` bits (informative)."""
    low, high = level_range(width)
    scaled = np.ldexp(values.astype(np.float64), fraction_bits)
    return np.clip(np.rint(scaled), low, high).astype(np.int32)


def best_fraction_bits(values: np.ndarray, width: int) -> int:
    """Fraction bits with the least squared error of finite float values at a width (informative).

    Tried are the most that clip nothing, and up to three more: clipping a few large values may pay.
    0 where all values are 0.
    """
    x = values.reshape(-1).astype(np.float64)
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0.0:
        return 0
    safe = width - 1 - math.frexp(largest)[1]          # largest * 2^safe < 2^(width - 1)

    def squared_error(fraction_bits: int) -> float:
        rebuilt = np.ldexp(fixed_point_levels(x, width, fraction_bits).astype(np.float64), -fraction_bits)
        return float(np.square(rebuilt - x).sum())

    candidates = [min(max(g, FRACTION_MIN), FRACTION_MAX) for g in range(safe, safe + 4)]
    return min(candidates, key=squared_error)
