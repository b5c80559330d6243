"""Context coding (CC), the low-complexity coder of quantised levels (SPEC 9.3).

One context per bin, chosen by the magnitudes lately seen in the same row and the same column.
"""

from __future__ import annotations

import numpy as np

from ..compiler import at, compiled, inlined
from .levels import (
    BUCKETS,
    EXHAUSTED,
    LEVEL_MAX,
    NODES,
    OK,
    OUT_OF_RANGE,
    ROOM,
    LevelTable,
    Part,
    Places,
    code_level,
    log_bucket,
    moved,
    reciprocal,
    scales,
    sign,
    trellis_masks,
)
from .range_coder import LEVEL_COUNT_LIMIT, Coder, code_bin, new_contexts, start
from .watch import COST, DECODE, ENCODE, clause

SIGN_PLACES = BUCKETS * NODES     # after the buckets: the signs of the left and the upper neighbour, 3 x 3
CC = LevelTable("9.3", Places("", (Part("place", BUCKETS, scales),), (Part("place of signs", 9),), BUCKETS))


def new_cc_contexts() -> np.ndarray:
    """The contexts of CC at the start of a stream: int32, one dimension. They persist through a joined stream."""
    return new_contexts((BUCKETS + 9) * NODES)


@inlined
def _code(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, place: int, node: int,
          bit: int) -> tuple[int, Coder]:
    return code_bin(mode, r, buf, contexts, place + node, LEVEL_COUNT_LIMIT, bit)


@clause("9.3.3")
@inlined
def _levels(mode: int, levels: np.ndarray, states: int, contexts: np.ndarray, column: np.ndarray, r: Coder,
            buf: np.ndarray) -> tuple[Coder, int]:
    # column: running means of |n| << 8, all 0.
    rows, cols = levels.shape
    mask_a, mask_b = trellis_masks(states)
    double = 1 if states else 0
    overall = state = 0
    for i in range(rows if cols else 0):
        row, left = overall, 0
        column_part = reciprocal(min(i + 2, 64))
        for j in range(cols):
            if mode == ENCODE and r.pos + r.pending + ROOM > len(buf) or mode == DECODE and r.pos > r.end + 3:
                return r, EXHAUSTED
            k = 0 if mode == DECODE else int(levels[at(i), at(j)])
            if abs(k) > LEVEL_MAX:
                return r, OUT_OF_RANGE
            mean = int(column[at(j)]) if i else row    # in the first row that is all that is known
            up = sign(int(levels[at(i - 1), at(j)])) if i else 0
            place = log_bucket(row + mean) * NODES
            q = state & 1
            k, r = code_level(mode, r, buf, _code, contexts, place, SIGN_PLACES + (3 * left + up + 4) * NODES,
                              place, place, q, k)
            if mode == DECODE:
                if abs(k) > LEVEL_MAX:
                    return r, OUT_OF_RANGE
                levels[at(i), at(j)] = k
            left = sign(k)
            magnitude = ((abs(k) << double) - (q if k else 0)) << 8
            row = moved(row, magnitude, reciprocal(min(j + 2, 16)))
            column[at(j)] = moved(mean, magnitude, column_part)
            state = (state >> 1) ^ (mask_a if q else 0) ^ (mask_b if k & 1 else 0)
        overall = moved(overall, row, reciprocal(min(i + 1, 16)))
    return r, OK


@compiled
def encode_levels_cc(levels: np.ndarray, states: int, kernel_size: int, contexts: np.ndarray, r: Coder,
                     buf: np.ndarray) -> tuple[Coder, int]:
    """Code levels (int32 [rows, cols]) into buf (uint8) with contexts (SPEC 9.3). Returns (coder, status).

    states: trellis states (0, 4, 8, 16, 32, 64).  kernel_size: not used here; encode_levels_cm has it.
    contexts: new_cc_contexts(), which learn.  r: from encoder_start, or from the array before in a joined stream.
    status: OK, EXHAUSTED (buf is too small: start again with a larger one), OUT_OF_RANGE (|level| > LEVEL_MAX).
    """
    return _levels(ENCODE, levels, states, contexts, np.zeros(levels.shape[1], np.int64), r, buf)


@compiled
def decode_levels_cc(levels: np.ndarray, states: int, kernel_size: int, contexts: np.ndarray, r: Coder,
                     buf: np.ndarray) -> tuple[Coder, int]:
    """Decode into levels (int32 [rows, cols]) what encode_levels_cc coded. Returns (coder, status).

    status: OK, EXHAUSTED (the payload ended too early), OUT_OF_RANGE (|level| > LEVEL_MAX).
    """
    return _levels(DECODE, levels, states, contexts, np.zeros(levels.shape[1], np.int64), r, buf)


@compiled
def cost_levels_cc(levels: np.ndarray, states: int, kernel_size: int, contexts: np.ndarray) -> float:
    """Bits that encode_levels_cc would spend, for the encoder's decisions. The contexts learn as they would then."""
    buf = np.zeros(1, np.uint8)
    r, _ = _levels(COST, levels, states, contexts, np.zeros(levels.shape[1], np.int64), start(COST, buf, 0, 0), buf)
    return r.cost / 4096
