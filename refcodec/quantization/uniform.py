"""Uniform and trellis-coded quantisers: levels to values (SPEC 8.5.3, 8.5.4)."""

from __future__ import annotations

import numpy as np

from ..compiler import compiled
from ..dtypes import DType
from ..errors import ReconstructionError
from .rounding import round_to_dtype

# Trellises by number of states: state' = (state >> 1) ^ (A if state is odd) ^ (B if the level is odd).
TRELLIS: dict[int, tuple[int, int]] = {4: (2, 1), 8: (5, 2), 16: (9, 2), 32: (18, 4), 64: (33, 10)}

# |level| <= 2^31 and mantissa < 2^16, so |index * mantissa| < 2^48 is exact in float64. With
# these exponents so is the product with 2^exponent, subnormal or not: nothing is rounded before the dtype.
STEP_EXPONENT_MIN, STEP_EXPONENT_MAX = -1074, 970

_CHUNK = 1 << 18      # elements in flight


def step_value(mantissa: int, exponent: int) -> float:
    """The step mantissa * 2^exponent as an exact float64; ReconstructionError OUT_OF_RANGE outside SPEC 8.5.3."""
    if not (1 <= mantissa <= 0xFFFF and STEP_EXPONENT_MIN <= exponent <= STEP_EXPONENT_MAX):
        raise ReconstructionError("OUT_OF_RANGE", f"step {mantissa} * 2^{exponent} is not allowed")
    return float(np.ldexp(float(mantissa), exponent))


def trellis(states: int) -> tuple[int, int]:
    """(A, B) of the trellis; (0, 0) for 0 states. ReconstructionError OUT_OF_RANGE for other numbers than SPEC's."""
    if states == 0:
        return 0, 0
    if states not in TRELLIS:
        raise ReconstructionError("OUT_OF_RANGE", f"there is no trellis of {states} states")
    return TRELLIS[states]


def indices(levels: np.ndarray, states: int) -> np.ndarray:
    """Reconstruction indices n of the levels of one segment (SPEC 8.5.4): value = step * n.

    levels: int32, any shape, scanned in row-major order.  states: 0, 4, 8, 16, 32 or 64.
    Returns int64 of the same shape.
    """
    a, b = trellis(states)
    out = np.empty(levels.shape, dtype=np.int64)
    _indices(_flat(levels), out.reshape(-1), states, a, b, 0)
    return out


def reconstruct(levels: np.ndarray, states: int, step_mantissa: int, step_exponent: int, dtype: DType,
                prediction: np.ndarray | None = None) -> np.ndarray:
    """Values of the levels of one segment (SPEC 8.5.3 to 8.5.5).

    levels: int32, any shape, scanned in row-major order; the trellis starts in state 0.
    step_mantissa: 1..65535.  step_exponent: -1074..970.
    prediction: array of the shape of `levels` and of dtype.numpy; float64(prediction) + residual is
    rounded to float64 (elements that are not finite predict 0) and then to dtype.  The residual
    itself is exact, so for float64 there is one rounding in all, for other types at most two.
    Returns an array of that shape and of dtype.numpy.
    Raises ReconstructionError: OUT_OF_RANGE for a step or a number of states outside SPEC, OVERFLOW
    where a value does not fit into the dtype.
    """
    step = step_value(step_mantissa, step_exponent)
    a, b = trellis(states)
    flat = _flat(levels)
    out = np.empty(flat.size, dtype=dtype.numpy)
    predicted = None if prediction is None else np.ascontiguousarray(prediction).reshape(-1)
    n = np.empty(min(_CHUNK, flat.size), dtype=np.int64)
    state = 0
    for start in range(0, flat.size, _CHUNK):
        part = slice(start, min(start + _CHUNK, flat.size))
        count = part.stop - part.start
        state = _indices(flat[part], n[:count], states, a, b, state)
        values = n[:count] * step                      # exact: see STEP_EXPONENT_MIN
        if predicted is not None:
            values = _predict(predicted[part]) + values
        out[part] = round_to_dtype(values, dtype)
    return out.reshape(levels.shape)


def _predict(words: np.ndarray) -> np.ndarray:
    base = words.astype(np.float64)
    base[~np.isfinite(base)] = 0.0
    return base


def _flat(levels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(levels, dtype=np.int32).reshape(-1)


@compiled
def _indices(levels, out, states, a, b, state):
    # One index per level; returns the state after the last one.
    if states == 0:
        for i in range(len(levels)):
            out[i] = int(levels[i])
        return 0
    for i in range(len(levels)):
        k = int(levels[i])
        q = state & 1
        out[i] = 2 * k - (q if k > 0 else (-q if k < 0 else 0))
        state = (state >> 1) ^ (a if q else 0) ^ (b if k & 1 else 0)
    return state
