"""Scaled half-precision grid: float32 values that are rounded products of float16 and a row's scale (SPEC 8.5.7)."""

from __future__ import annotations

import numpy as np

from ..dtypes import BY_NAME
from ..errors import ReconstructionError
from .rounding import round_to_dtype

_ROWS_IN_FLIGHT = 1 << 18     # elements


def reconstruct_grid(halves: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """float32 values of a scaled half-precision grid.

    halves: uint16 words of float16, shape [rows, columns].  scales: float32, shape [rows].
    value = Round(float32, h * s): the product of 11 and 24 significant bits is exact in float64.
    Returns float32 [rows, columns].
    Raises ReconstructionError OVERFLOW where h, s or the value is not finite.
    """
    rows, columns = halves.shape
    out = np.empty((rows, columns), dtype=np.float32)
    if not np.isfinite(scales).all():
        raise ReconstructionError("OVERFLOW", "a scale of the grid is not finite", rules="R8.5-8")
    step = max(1, _ROWS_IN_FLIGHT // max(1, columns))
    for start in range(0, rows, step):
        part = slice(start, start + step)
        h = np.ascontiguousarray(halves[part]).view(np.float16).astype(np.float64)
        if not np.isfinite(h).all():
            raise ReconstructionError("OVERFLOW", "a word of the grid is not finite", rules="R8.5-8")
        out[part] = round_to_dtype(h * scales[part].astype(np.float64)[:, None], BY_NAME["float32"])
    return out
