"""Spatial prediction of quantiser indices from their neighbours in the plane (SPEC 8.7.1)."""

from __future__ import annotations

import numpy as np

from ..compiler import at, compiled, inlined
from ..errors import ReconstructionError

LEFT, UP, MEDIAN, PLANAR, AVERAGE = range(5)       # spatial_predictor
INDEX_LIMIT = 1 << 31                              # indices lie in -INDEX_LIMIT .. INDEX_LIMIT - 1


@inlined
def _predicted(predictor: int, left: int, up: int, upper_left: int) -> int:
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
def _predict(given: np.ndarray, made: np.ndarray, add: int, predictor: int, plane_rows: int, first_row: int) -> int:
    """made = given + prediction (add 1: indices from differences) or given - prediction; returns 1 if one is out of
    range."""
    rows, cols = given.shape
    indices = made if add else given
    for i in range(rows):
        inner = 1 if i > 0 and (first_row + i) % plane_rows else 0
        left, upper_left = 0, 0
        for j in range(cols):
            up = int(indices[at(i - 1), at(j)]) if inner else 0
            predicted, x = _predicted(predictor, left, up, upper_left), int(given[at(i), at(j)])
            result = x + predicted if add else x - predicted
            if result < -INDEX_LIMIT or result >= INDEX_LIMIT:
                return 1
            made[at(i), at(j)] = result
            left, upper_left = result if add else x, up
    return 0


def add_spatial(levels: np.ndarray, predictor: int, plane_rows: int, first_row: int) -> np.ndarray:
    """Indices of a segment from its levels, which are differences from the prediction (SPEC 8.7.1).

    levels: [rows, columns], integers of -2^31 .. 2^31 - 1.  predictor: spatial_predictor, 0..4.
    plane_rows: rows of a plane, at least 1; first_row: where in a plane the segment begins.
    Neighbours outside the plane or the segment count as 0.  Returns int64 [rows, columns].
    Raises ReconstructionError OUT_OF_RANGE where an index is not in -2^31 .. 2^31 - 1.
    """
    return _predicted_matrix(levels, 1, predictor, plane_rows, first_row)


def subtract_spatial(indices: np.ndarray, predictor: int, plane_rows: int, first_row: int) -> np.ndarray:
    """Inverse of add_spatial: the levels, int32 [rows, columns].

    Raises ReconstructionError OUT_OF_RANGE where a difference is beyond 32 bits (never if |index| <= 2^29).
    """
    return _predicted_matrix(indices, 0, predictor, plane_rows, first_row).astype(np.int32)


def _predicted_matrix(given: np.ndarray, add: int, predictor: int, plane_rows: int, first_row: int) -> np.ndarray:
    made = np.empty(given.shape, np.int64)
    if _predict(np.ascontiguousarray(given, np.int64), made, add, int(predictor), int(plane_rows), int(first_row)):
        raise ReconstructionError("OUT_OF_RANGE", "SPEC 8.7.1: an index or a difference of indices is beyond 32 bits",
                                  rules="R8.7.1-1")
    return made
