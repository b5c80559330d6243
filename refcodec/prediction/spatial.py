"""Spatial prediction of quantiser indices from their neighbours in the plane (SPEC 8.7.1)."""

from __future__ import annotations

import numpy as np

from ..compiler import at, compiled, inlined
from ..errors import ReconstructionError

LEFT, UP, MEDIAN, PLANAR, AVERAGE = range(5)       # spatial_predictor
INDEX_LIMIT = 1 << 31                              # indices lie in -INDEX_LIMIT .. INDEX_LIMIT - 1


@inlined
def _predicted(predictor, left, up, upper_left):
    if predictor == LEFT:
        return left
    if predictor == UP:
        return up
    planar = left + up - upper_left
    if predictor == MEDIAN:                        # of left, up and planar, as in LOCO-I
        return max(min(left, up), min(max(left, up), planar))
    if predictor == PLANAR:
        return planar
    return (left + up) >> 1


@compiled
def _add(residuals, indices, predictor, plane_rows, first_row):
    # Fills indices; returns 1 if one is out of range, else 0.
    rows, cols = residuals.shape
    for i in range(rows):
        inner = 1 if i > 0 and (first_row + i) % plane_rows else 0
        left, upper_left = 0, 0
        for j in range(cols):
            up = int(indices[at(i - 1), at(j)]) if inner else 0
            left = int(residuals[at(i), at(j)]) + _predicted(predictor, left, up, upper_left)
            if left < -INDEX_LIMIT or left >= INDEX_LIMIT:
                return 1
            indices[at(i), at(j)] = left
            upper_left = up
    return 0


@compiled
def _subtract(indices, residuals, predictor, plane_rows, first_row):
    rows, cols = indices.shape
    for i in range(rows):
        inner = 1 if i > 0 and (first_row + i) % plane_rows else 0
        left, upper_left = 0, 0
        for j in range(cols):
            up = int(indices[at(i - 1), at(j)]) if inner else 0
            n = int(indices[at(i), at(j)])
            residuals[at(i), at(j)] = n - _predicted(predictor, left, up, upper_left)
            left, upper_left = n, up


def add_spatial(levels: np.ndarray, predictor: int, plane_rows: int, first_row: int) -> np.ndarray:
    """Indices of a segment from its levels, which are differences from the prediction (SPEC 8.7.1).

    levels: [rows, columns], integers of -2^31 .. 2^31 - 1.  predictor: spatial_predictor, 0..4.
    plane_rows: rows of a plane, at least 1; first_row: where in a plane the segment begins.
    Neighbours outside the plane or the segment count as 0.  Returns int64 [rows, columns].
    Raises ReconstructionError OUT_OF_RANGE where an index is not in -2^31 .. 2^31 - 1.
    """
    out = np.empty(levels.shape, np.int64)
    if _add(np.ascontiguousarray(levels, np.int64), out, int(predictor), int(plane_rows), int(first_row)):
        raise ReconstructionError("OUT_OF_RANGE", "SPEC 8.7.1: a spatially predicted index is beyond 32 bits")
    return out


def subtract_spatial(indices: np.ndarray, predictor: int, plane_rows: int, first_row: int) -> np.ndarray:
    """Inverse of add_spatial: the levels, int32 [rows, columns].

    Raises ReconstructionError OUT_OF_RANGE where a difference is beyond 32 bits (never if |index| <= 2^29).
    """
    out = np.empty(indices.shape, np.int64)
    _subtract(np.ascontiguousarray(indices, np.int64), out, int(predictor), int(plane_rows), int(first_row))
    if out.size and not -INDEX_LIMIT <= int(out.min()) <= int(out.max()) < INDEX_LIMIT:
        raise ReconstructionError("OUT_OF_RANGE", "SPEC 8.7.1: a difference of indices is beyond 32 bits")
    return out.astype(np.int32)
