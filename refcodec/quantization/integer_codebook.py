"""Integer codebook: levels choose among listed multiples of a step (SPEC 8.5.10)."""

from __future__ import annotations

import numpy as np

from ..dtypes import DType
from .codebook import reconstruct_codebook
from .uniform import reconstruct_indices


def reconstruct_integer_codebook(levels: np.ndarray, integers: np.ndarray, zero_index: int, step_mantissa: int,
                                 step_exponent: int, dtype: DType, prediction: np.ndarray | None = None) -> np.ndarray:
    """Round(type, [prediction +] integers[level + zero_index] * step), with the step of the uniform quantiser.

    levels: int32, any shape.  integers: int64 [n], at most 2^32 in magnitude.
    step_mantissa: 1..65535.  step_exponent: -1074..970.  prediction: as of assemble().
    Returns an array of the shape of `levels` and of dtype.numpy.
    Raises ReconstructionError: OUT_OF_RANGE for an index outside the codebook, or an integer or a step beyond these;
    OVERFLOW where a value does not fit into the dtype.
    """
    n = reconstruct_codebook(levels, integers.astype(np.int64, copy=False), zero_index, "R8.5-11")
    return reconstruct_indices(n, step_mantissa, step_exponent, dtype, prediction)
