"""Decimal quantiser: levels counted in units of 10^-p (SPEC 8.5.8)."""

from __future__ import annotations

import numpy as np

from ..dtypes import DType
from ..errors import ReconstructionError
from .assembly import assemble, chunks

LEVEL_LIMIT = 1 << 53           # every integer up to here is a float64
EXPONENT_MAX = 22               # 10^22 = 5^22 * 2^22 is the largest power of ten that is a float64
POWERS = tuple(float(10**p) for p in range(EXPONENT_MAX + 1))


def reconstruct_decimal(levels: np.ndarray, decimal_exponent: int, dtype: DType,
                        prediction: np.ndarray | None = None) -> np.ndarray:
    """Round(type, [prediction +] float64(level) / 10^decimal_exponent): the quotient is one correctly rounded division.

    levels: int64, any shape, at most 2^53 in magnitude.  decimal_exponent: 0..22.
    prediction: as of assemble().  Returns an array of the shape of `levels` and of dtype.numpy.
    Raises ReconstructionError: OUT_OF_RANGE for levels or an exponent beyond these, OVERFLOW where a value does not
    fit into the dtype.
    """
    if not 0 <= decimal_exponent <= EXPONENT_MAX:
        raise ReconstructionError("OUT_OF_RANGE", f"decimal exponent {decimal_exponent} is not in 0..{EXPONENT_MAX}")
    if levels.size and not -LEVEL_LIMIT <= int(levels.min()) <= int(levels.max()) <= LEVEL_LIMIT:
        raise ReconstructionError("OUT_OF_RANGE", "a level is larger than 2^53 in magnitude", rules="R8.5-9")
    power = POWERS[decimal_exponent]
    quotients = (part.astype(np.float64) / power for part in chunks(np.ascontiguousarray(levels).reshape(-1)))
    return assemble(quotients, levels.shape, dtype, prediction)
