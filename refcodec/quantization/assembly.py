"""From residuals to elements: plus the prediction, rounded once to the type of the tensor (SPEC 8.5.3)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from ..dtypes import DType
from .rounding import round_to_dtype

CHUNK = 1 << 18      # elements in flight


def chunks(flat: np.ndarray) -> Iterator[np.ndarray]:
    """Views of at most CHUNK elements of an array of one dimension, in order."""
    for start in range(0, flat.size, CHUNK):
        yield flat[start:start + CHUNK]


def assemble(residuals: Iterable[np.ndarray], shape: tuple[int, ...], dtype: DType,
             prediction: np.ndarray | None = None) -> np.ndarray:
    """The elements that residuals, and a prediction if there is one, give.

    residuals: float64, one array for each of the chunks() of the elements, in row-major order; used up one by one.
    prediction: array of `shape` and dtype.numpy; float64(prediction) + residual is rounded to float64 (elements
    that are not finite predict 0) before it is rounded to dtype.
    Returns an array of `shape` and dtype.numpy.
    Raises ReconstructionError OVERFLOW where a value does not fit into the dtype.
    """
    out = np.empty(shape, dtype=dtype.numpy)
    predicted = None if prediction is None else chunks(np.ascontiguousarray(prediction).reshape(-1))
    for part, values in zip(chunks(out.reshape(-1)), residuals):
        if predicted is not None:
            base = next(predicted).astype(np.float64)
            base[~np.isfinite(base)] = 0.0
            values = base + values
        part[:] = round_to_dtype(values, dtype)
    return out
