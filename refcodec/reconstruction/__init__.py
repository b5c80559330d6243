"""Reconstruction (SPEC 8.3): from the matrix that is coded to the tensor, and the fold that leads there."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..fold import Fold


def folded(words: np.ndarray, shape: Sequence[int], parts: int, fold: Fold, column_scan: int) -> np.ndarray:
    """A tensor as the matrix that is coded: [rows, columns * parts], C order.

    words: the elements in row-major order, one dimension, `parts` words each.  A view where the
    fold moves nothing.
    """
    array = words.reshape(*shape, parts).transpose(*fold.axis_order, len(shape))
    rows, columns = fold.matrix_shape(shape)
    array = array.reshape(rows, columns, parts)
    if column_scan:
        array = array.transpose(1, 0, 2)
    return np.ascontiguousarray(array).reshape(array.shape[0], array.shape[1] * parts)


def unfolded(matrix: np.ndarray, shape: Sequence[int], parts: int, fold: Fold, column_scan: int) -> np.ndarray:
    """Inverse of `folded`: the elements in row-major order, one dimension."""
    rows, columns = fold.matrix_shape(shape)
    if column_scan:
        matrix = matrix.reshape(columns, rows, parts).transpose(1, 0, 2)
    ordered = [shape[a] for a in fold.axis_order]
    array = matrix.reshape(*ordered, parts)
    inverse = np.argsort(fold.axis_order).tolist() if shape else []
    return np.ascontiguousarray(array.transpose(*inverse, len(shape))).reshape(-1)
