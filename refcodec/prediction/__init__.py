"""Prediction (SPEC 8.7): the array that coded values are added to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def fitted(array: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The predicting tensor in the shape of the predicted one: cropped or padded with zeros at the end of each axis.

    array: any dtype, of the same rank as `shape`.  Returns an array of `shape` (the same object where they agree).
    """
    if array.shape == tuple(shape):
        return array
    out = np.zeros(shape, array.dtype)
    common = tuple(slice(0, min(a, b)) for a, b in zip(array.shape, shape))
    out[common] = array[common]
    return out
