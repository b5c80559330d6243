"""Mixed coding (CM), the high-efficiency coder of quantised levels (SPEC 9.4).

The bins are those of CC.  Each is predicted by three contexts, and the predictions are mixed in the
logistic domain with weights that are learned as the coding goes: A sees the local neighbours, B the
magnitudes of row and column, C a linear prediction of the value, learned too, relative to its scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler import at, bit_length, compiled, inlined
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
    near,
    reciprocal,
    scales,
    sign,
    trellis_masks,
)
from .range_coder import LEVEL_COUNT_LIMIT, Coder, adapted, code_probability, new_contexts, start
from .tables import SQUASH, SQUASH_LIMIT, STRETCH
from .watch import COST, DECODE, ENCODE, clause

SIDES, SIDE_FIRST = 24, 12       # prediction B: buckets of a side, and the bucket of a mean that is its first
RATIOS = 13                      # prediction C: levels of the ratio of prediction to scale, -6 to 6
WEIGHT_START, WEIGHT_LIMIT = 21845, 1 << 18
LEARNING = 5                     # rate of the mixer's weights
INPUT_LIMIT = 1 << 23            # magnitude of an input, in 1/16 of n
TAP_LIMIT = 1 << 17
TAP_RATE = 1440

CM = LevelTable("9.4", Places("A ", (Part("place", BUCKETS, near),), (Part("place of signs", 9),)),
                Places("B ", (Part("side of row", SIDES), Part("side of column", SIDES)), (Part("place of signs", 9),)),
                Places("C ", (Part("scale", BUCKETS, scales), Part("ratio", RATIOS))))


Taps = tuple[int, int, int, int, int, int, int, int, int]      # one for each input of the linear prediction


class CmState(NamedTuple):
    """What persists through a joined stream: contexts of the predictions A, B, C and the mixer's weights (int32)."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray
    weights: np.ndarray


def new_cm_state() -> CmState:
    """The state of CM at the start of a stream."""
    return CmState(new_contexts(BUCKETS * NODES), new_contexts(SIDES * SIDES * NODES),
                   new_contexts(RATIOS * BUCKETS * NODES), np.full(3 * NODES, WEIGHT_START, np.int32))


@inlined
def _clip(x: int, limit: int) -> int:
    return min(max(x, -limit), limit)


@clause("9.4.3")
@inlined
def _trained(weight: int, gradient: int) -> int:
    return _clip(weight + ((gradient + (1 << 17)) >> 18), WEIGHT_LIMIT)


@clause("9.4.3")
@inlined
def _code(mode: int, r: Coder, buf: np.ndarray, model: CmState, place: tuple[int, int, int], node: int,
          bit: int) -> tuple[int, Coder]:
    """Code one bin with the mixture of three predictions, and let all of them learn. Returns (bin, coder)."""
    ia, ib, ic = at(place[0] + node), at(place[1] + node), at(place[2] + node)
    w0, w1, w2 = at(3 * node), at(3 * node + 1), at(3 * node + 2)
    a, b, c = int(model.a[ia]), int(model.b[ib]), int(model.c[ic])
    sa, sb, sc = int(STRETCH[at(a >> 18)]), int(STRETCH[at(b >> 18)]), int(STRETCH[at(c >> 18)])
    wa, wb, wc = int(model.weights[w0]), int(model.weights[w1]), int(model.weights[w2])
    p = int(SQUASH[at(_clip((sa * wa + sb * wb + sc * wc) >> 16, SQUASH_LIMIT) + SQUASH_LIMIT)])
    bit, r = code_probability(mode, r, buf, (place, node, (a, b, c)), p, bit)
    error = ((65535 if bit else 0) - p) * LEARNING
    model.weights[w0] = _trained(wa, sa * error)
    model.weights[w1] = _trained(wb, sb * error)
    model.weights[w2] = _trained(wc, sc * error)
    model.a[ia] = adapted(a, bit, LEVEL_COUNT_LIMIT)
    model.b[ib] = adapted(b, bit, LEVEL_COUNT_LIMIT)
    model.c[ic] = adapted(c, bit, LEVEL_COUNT_LIMIT)
    return bit, r


@clause("9.4.4")
@inlined
def _side(mean: int) -> int:
    return min(max(log_bucket(mean) - SIDE_FIRST, 0), SIDES - 1)


@clause("9.4.4")
@inlined
def _ratio(prediction: int, scale: int) -> int:
    """The level of prediction / scale (both in 1/16 of n), -6 to 6."""
    x = abs(prediction) * 20
    t = ((1 if x > 3 * scale else 0) + (1 if x > 7 * scale else 0) + (1 if x > 12 * scale else 0)
         + (1 if x > 18 * scale else 0) + (1 if x > 26 * scale else 0) + (1 if x > 36 * scale else 0))
    return t if prediction > 0 else -t


@inlined
def _product(x: Taps, y: Taps) -> int:
    # Scalar product of two vectors.
    return (x[0] * y[0] + x[1] * y[1] + x[2] * y[2] + x[3] * y[3] + x[4] * y[4] + x[5] * y[5] + x[6] * y[6]
            + x[7] * y[7] + x[8] * y[8])


@clause("9.4.4")
@inlined
def _learned(taps: Taps, x: Taps, error: int) -> Taps:
    """The taps after one step of the normalised least mean squares."""
    shift = bit_length(256 + (_product(x, x) >> 1)) - 1
    step = TAP_RATE * _clip(error, INPUT_LIMIT)
    return (_tap(taps[0], step * x[0], shift), _tap(taps[1], step * x[1], shift), _tap(taps[2], step * x[2], shift),
            _tap(taps[3], step * x[3], shift), _tap(taps[4], step * x[4], shift), _tap(taps[5], step * x[5], shift),
            _tap(taps[6], step * x[6], shift), _tap(taps[7], step * x[7], shift), _tap(taps[8], step * x[8], shift))


@clause("9.4.4")
@inlined
def _tap(tap: int, gradient: int, shift: int) -> int:
    return _clip(tap + (gradient >> shift), TAP_LIMIT)


@clause("9.4.4")
@inlined
def _levels(mode: int, levels: np.ndarray, states: int, kernel_size: int, model: CmState, columns: np.ndarray,
            history: np.ndarray, r: Coder, buf: np.ndarray) -> tuple[Coder, int]:
    # columns: running means of |n| << 8 and of n << 4; history: n << 4 of this row and the two before; all 0.
    rows, cols = levels.shape
    mask_a, mask_b = trellis_masks(states)
    double = 1 if states else 0
    column, column_value = columns[0], columns[1]
    taps = (0, 0, 0, 0, 0, 0, 0, 0, 0)
    overall = state = 0
    for i in range(rows if cols else 0):
        here, above, above2 = history[i % 3], history[(i + 2) % 3], history[(i + 1) % 3]
        column_part, value_part = reciprocal(min(i + 2, 64)), reciprocal(min(i + 1, 64))
        row = slow = overall                     # running means of |n| << 8, over 16 and over 128 elements
        row_value = left = left2 = up_left = 0
        up = int(above[0])
        for j in range(cols):
            if mode == ENCODE and r.pos + r.pending + ROOM > len(buf) or mode == DECODE and r.pos > r.end + 3:
                return r, EXHAUSTED
            k = 0 if mode == DECODE else int(levels[at(i), at(j)])
            if abs(k) > LEVEL_MAX:
                return r, OUT_OF_RANGE
            mean = int(column[at(j)]) if i else row    # in the first row that is all that is known
            up_right = int(above[at(j + 1)])
            up2, past = int(above2[at(j)]), int(here[at(j - kernel_size)]) if 1 < kernel_size <= j else 0
            mean_value = int(column_value[at(j)])
            x = (left, left2, up, up_left, up_right, past, mean_value, row_value, up2)
            prediction = _product(x, taps) >> 16
            scale = row + mean
            ratio = _ratio(prediction, scale >> 5)
            a = log_bucket(2 * abs(left) + abs(left2) + 2 * abs(up) + abs(up_left) + abs(up_right) + abs(up2)) * NODES
            b = (_side(slow) * SIDES + _side(mean)) * NODES
            c = (log_bucket(scale) * RATIOS + RATIOS // 2) * NODES
            sign_place = ((sign(left) * 3 + sign(up) + 4) * NODES, (sign(mean_value) * 3 + sign(row_value) + 4) * NODES,
                          c + ratio * NODES)
            q = state & 1
            k, r = code_level(mode, r, buf, _code, model, (a, b, c + abs(ratio) * NODES), sign_place,
                              (a, b, c + ratio * NODES), (a, b, c - ratio * NODES), q, k)
            if mode == DECODE:
                if abs(k) > LEVEL_MAX:
                    return r, OUT_OF_RANGE
                levels[at(i), at(j)] = k
            n = (k << double) - (sign(k) if q else 0)
            value = _clip(n << 4, INPUT_LIMIT)
            taps = _learned(taps, x, value - prediction)
            here[at(j)] = value
            left2, left, up_left, up = left, value, up, up_right
            row_part = reciprocal(min(j + 2, 16))
            row = moved(row, abs(n) << 8, row_part)
            row_value = moved(row_value, value, row_part)
            slow = moved(slow, abs(n) << 8, reciprocal(min(j + 2, 128)))
            column[at(j)] = moved(mean, abs(n) << 8, column_part)
            column_value[at(j)] = moved(mean_value, value, value_part)
            state = (state >> 1) ^ (mask_a if q else 0) ^ (mask_b if k & 1 else 0)
        overall = moved(overall, row, reciprocal(min(i + 1, 16)))
    return r, OK


@inlined
def _shapes(levels: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]]:
    # Of the arrays `columns` and `history`.
    return (2, levels.shape[1]), (3, levels.shape[1] + 1)


@compiled
def encode_levels_cm(levels: np.ndarray, states: int, kernel_size: int, model: CmState, r: Coder,
                     buf: np.ndarray) -> tuple[Coder, int]:
    """Code levels (int32 [rows, cols]) into buf (uint8) with mixing (SPEC 9.4). Returns (coder, status).

    The arguments are those of encode_levels_cc, and so is the status.
    """
    columns, history = _shapes(levels)
    return _levels(ENCODE, levels, states, kernel_size, model, np.zeros(columns, np.int64), np.zeros(history, np.int64),
                   r, buf)


@compiled
def decode_levels_cm(levels: np.ndarray, states: int, kernel_size: int, model: CmState, r: Coder,
                     buf: np.ndarray) -> tuple[Coder, int]:
    """Decode into levels (int32 [rows, cols]) what encode_levels_cm coded. Returns (coder, status)."""
    columns, history = _shapes(levels)
    return _levels(DECODE, levels, states, kernel_size, model, np.zeros(columns, np.int64), np.zeros(history, np.int64),
                   r, buf)


@compiled
def cost_levels_cm(levels: np.ndarray, states: int, kernel_size: int, model: CmState) -> float:
    """Bits that encode_levels_cm would spend, for the encoder's decisions. The model learns as it would then."""
    buf = np.zeros(1, np.uint8)
    columns, history = _shapes(levels)
    r, _ = _levels(COST, levels, states, kernel_size, model, np.zeros(columns, np.int64), np.zeros(history, np.int64),
                   start(COST, buf, 0, 0), buf)
    return r.cost / 4096
