"""Uniform and trellis-coded quantisers: levels to values (SPEC 8.5.3, 8.5.4)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..compiler import compiled, inlined
from ..dtypes import DType
from ..entropy.bins_plane import CHUNK_ELEMENTS, LANES
from ..entropy.watch import clause
from ..errors import ReconstructionError
from .assembly import CHUNK, assemble, chunks

# Trellises by number of states: state' = (state >> 1) ^ (A if state is odd) ^ (B if the level is odd).
TRELLIS: dict[int, tuple[int, int]] = {4: (2, 1), 8: (5, 2), 16: (9, 2), 32: (18, 4), 64: (33, 10)}

# Indices are at most 2^32 in magnitude (levels: 2^31) and the mantissa is below 2^16, so index * mantissa is exact in
# float64. With these exponents so is the product with 2^exponent, subnormal or not: nothing is rounded before.
INDEX_LIMIT = 1 << 32
STEP_EXPONENT_MIN, STEP_EXPONENT_MAX = -1074, 970


def step_value(mantissa: int, exponent: int) -> float:
    """The step mantissa * 2^exponent as an exact float64; ReconstructionError OUT_OF_RANGE outside SPEC 8.5.3."""
    if not (1 <= mantissa <= 0xFFFF and STEP_EXPONENT_MIN <= exponent <= STEP_EXPONENT_MAX):
        raise ReconstructionError("OUT_OF_RANGE", f"step {mantissa} * 2^{exponent} is not allowed", rules="R8.5-5")
    return float(np.ldexp(float(mantissa), exponent))


def trellis(states: int) -> tuple[int, int]:
    """(A, B) of the trellis; (0, 0) for 0 states. ReconstructionError OUT_OF_RANGE for other numbers than SPEC's."""
    if states == 0:
        return 0, 0
    if states not in TRELLIS:
        raise ReconstructionError("OUT_OF_RANGE", f"there is no trellis of {states} states")
    return TRELLIS[states]


def indices(levels: np.ndarray, states: int, lanes: bool = False) -> np.ndarray:
    """Reconstruction indices n of the levels of one segment (SPEC 8.5.4): value = step * n.

    levels: int32, any shape, scanned in row-major order.  states: 0, 4, 8, 16, 32 or 64.  lanes: True where each lane
    of a chunk has a path of its own.
    Returns int64 of the same shape.
    """
    a, b = trellis(states)
    out = np.empty(levels.shape, dtype=np.int64)
    if lanes and states:
        _indices_in_lanes(_flat(levels), out.reshape(-1), a, b)
    else:
        _indices(_flat(levels), out.reshape(-1), states, a, b, 0)
    return out


def reconstruct(levels: np.ndarray, states: int, step_mantissa: int, step_exponent: int, dtype: DType,
                prediction: np.ndarray | None = None, *, lanes: bool = False) -> np.ndarray:
    """Values of the levels of one segment (SPEC 8.5.3 to 8.5.5).

    levels: int32, any shape, scanned in row-major order; the trellis starts in state 0.  lanes: see indices().
    step_mantissa: 1..65535.  step_exponent: -1074..970.
    prediction: array of the shape of `levels` and of dtype.numpy; float64(prediction) + residual is
    rounded to float64 (elements that are not finite predict 0) and then to dtype.  The residual
    itself is exact, so for float64 there is one rounding in all, for other types at most two.
    Returns an array of that shape and of dtype.numpy.
    Raises ReconstructionError: OUT_OF_RANGE for a step or a number of states outside SPEC, OVERFLOW
    where a value does not fit into the dtype.
    """
    step, masks = step_value(step_mantissa, step_exponent), trellis(states)
    if lanes and states:
        residuals = _residuals_in_lanes(_flat(levels), *masks, step)
    else:
        residuals = _residuals(_flat(levels), states, *masks, step)
    return assemble(residuals, levels.shape, dtype, prediction)


def reconstruct_indices(n: np.ndarray, step_mantissa: int, step_exponent: int, dtype: DType,
                        prediction: np.ndarray | None = None) -> np.ndarray:
    """Values of reconstruction indices that other processes than a trellis gave: step * n, else as reconstruct().

    n: int64, any shape.  Raises ReconstructionError OUT_OF_RANGE, too, where |n| is larger than 2^32.
    """
    step = step_value(step_mantissa, step_exponent)
    if n.size and not -INDEX_LIMIT <= int(n.min()) <= int(n.max()) <= INDEX_LIMIT:
        raise ReconstructionError("OUT_OF_RANGE", "an index is larger than 2^32 in magnitude")
    residuals = (part * step for part in chunks(np.ascontiguousarray(n).reshape(-1)))
    return assemble(residuals, n.shape, dtype, prediction)


def _residuals(flat: np.ndarray, states: int, a: int, b: int, step: float) -> Iterator[np.ndarray]:
    n = np.empty(min(CHUNK, flat.size), dtype=np.int64)
    state = 0
    for part in chunks(flat):
        state = _indices(part, n[:part.size], states, a, b, state)
        yield n[:part.size] * step                     # exact: see INDEX_LIMIT


def _residuals_in_lanes(flat: np.ndarray, a: int, b: int, step: float) -> Iterator[np.ndarray]:
    n = np.empty(min(CHUNK, flat.size), dtype=np.int64)
    for part in chunks(flat):                          # CHUNK is whole chunks of SPEC 9.12
        _indices_in_lanes(part, n[:part.size], a, b)
        yield n[:part.size] * step


def _flat(levels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(levels, dtype=np.int32).reshape(-1)


@inlined
def _index(k, parity):
    # Of level k where the state has this parity.
    return 2 * k - (parity if k > 0 else (-parity if k < 0 else 0))


@compiled
def _indices(levels: np.ndarray, out: np.ndarray, states: int, a: int, b: int, state: int) -> int:
    # One index per level; returns the state after the last one.
    if states == 0:
        for i in range(len(levels)):
            out[i] = int(levels[i])
        return 0
    for i in range(len(levels)):
        k = int(levels[i])
        q = state & 1
        out[i] = _index(k, q)
        state = (state >> 1) ^ (a if q else 0) ^ (b if k & 1 else 0)
    return state


@clause("8.5.4")
@compiled
def _indices_in_lanes(levels, out, a, b):
    # The same where each of LANES lanes has a state, from 0 on in each chunk of CHUNK_ELEMENTS levels.
    states = np.zeros(LANES, np.int64)
    for i in range(len(levels)):
        if i % CHUNK_ELEMENTS == 0:
            states[:] = 0
        k, lane = int(levels[i]), i % LANES
        q = states[lane] & 1
        out[i] = _index(k, q)
        states[lane] = (states[lane] >> 1) ^ (a if q else 0) ^ (b if k & 1 else 0)
