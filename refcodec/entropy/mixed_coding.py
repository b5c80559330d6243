"""Mixed coding (CM), the high-efficiency coder of quantised levels (SPEC 9.4).

The bins are those of CC.  Each is predicted by three contexts, and the predictions are mixed in the
logistic domain with weights that are learned as the coding goes: A sees the local neighbours, B the
magnitudes of row and column, C a linear prediction of the value, learned too, relative to its scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler import compiled, inlined
from .levels import (BUCKETS, EXHAUSTED, LEVEL_MAX, NODES, OK, OUT_OF_RANGE, ROOM, code_level, log_bucket, moved,
                     sign, trellis_masks)
from .range_coder import COST, DECODE, ENCODE, Coder, adapted, code_probability, new_contexts, start
from .tables import SQUASH, SQUASH_LIMIT, STEPS_PER_OCTAVE, STRETCH

SIDES, SIDE_FIRST = 24, 12       # prediction B: buckets of a side, and the bucket of a mean that is its first
RATIOS = 13                      # prediction C: levels of the ratio of prediction to scale, -6 to 6
WEIGHT_START, WEIGHT_LIMIT = 21845, 1 << 18
LEARNING = 5                     # rate of the mixer's weights
TAPS = 9                         # inputs of the linear prediction
INPUT_LIMIT = 1 << 23            # magnitude of an input, in 1/16 of n
TAP_LIMIT = 1 << 17
TAP_RATE = 1440


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
def _clip(x, limit):
    return min(max(x, -limit), limit)


@inlined
def _trained(weight, gradient):
    return _clip(weight + ((gradient + (1 << 17)) >> 18), WEIGHT_LIMIT)


@inlined
def _code(mode, r, buf, model, place, node, bit):
    """Code one bin with the mixture of three predictions, and let all of them learn. Returns (bin, coder)."""
    ia, ib, ic, w = place[0] + node, place[1] + node, place[2] + node, 3 * node
    a, b, c = int(model.a[ia]), int(model.b[ib]), int(model.c[ic])
    sa, sb, sc = int(STRETCH[a >> 12]), int(STRETCH[b >> 12]), int(STRETCH[c >> 12])
    wa, wb, wc = int(model.weights[w]), int(model.weights[w + 1]), int(model.weights[w + 2])
    p = int(SQUASH[_clip((sa * wa + sb * wb + sc * wc) >> 16, SQUASH_LIMIT) + SQUASH_LIMIT])
    bit, r = code_probability(mode, r, buf, p, bit)
    error = ((65535 if bit else 0) - p) * LEARNING
    model.weights[w] = _trained(wa, sa * error)
    model.weights[w + 1] = _trained(wb, sb * error)
    model.weights[w + 2] = _trained(wc, sc * error)
    model.a[ia] = adapted(a, bit)
    model.b[ib] = adapted(b, bit)
    model.c[ic] = adapted(c, bit)
    return bit, r


@inlined
def _side(mean):
    return min(max(log_bucket(mean) - SIDE_FIRST, 0), SIDES - 1)


@inlined
def _ratio(prediction, scale):
    """The level of prediction / scale (both in 1/16 of n), -6 to 6."""
    x = abs(prediction) * 20
    t = 0
    for bound in (3, 7, 12, 18, 26, 36):
        t += 1 if x > bound * scale else 0
    return t if prediction > 0 else -t


@inlined
def _inputs(x, history, i, j, kernel_size, row_value, column_value):
    """Gather the inputs of the linear prediction into x, in 1/16 of n."""
    here, up, up2 = i % 3, (i + 2) % 3, (i + 1) % 3   # column j stands at j + 2
    x[0] = history[here, j + 1]
    x[1] = history[here, j]
    x[2] = history[up, j + 2]
    x[3] = history[up, j + 1]
    x[4] = history[up, j + 3]
    x[5] = history[here, j + 2 - kernel_size] if 1 < kernel_size <= j else 0
    x[6] = column_value
    x[7] = row_value
    x[8] = history[up2, j + 2]


@inlined
def _predicted(x, taps):
    total = 0
    for t in range(TAPS):
        total += int(x[t]) * int(taps[t])
    return total >> 16


@inlined
def _learn(x, taps, error):
    """One step of the normalised least mean squares."""
    power = 0
    for t in range(TAPS):
        power += int(x[t]) * int(x[t])
    shift = (log_bucket(256 + (power >> 1)) - 1) // STEPS_PER_OCTAVE   # floor of the binary logarithm
    step = TAP_RATE * _clip(error, INPUT_LIMIT)
    for t in range(TAPS):
        taps[t] = _clip(int(taps[t]) + ((step * int(x[t])) >> shift), TAP_LIMIT)


@inlined
def _levels(mode, levels, states, kernel_size, model, r, buf):
    rows, cols = levels.shape
    mask_a, mask_b = trellis_masks(states)
    double = 1 if states else 0
    column, column_value = np.zeros(cols, np.int64), np.zeros(cols, np.int64)   # means of |n| << 8 and of n << 4
    history = np.zeros((3, cols + 3), np.int64)                                 # n << 4 of the last three rows
    x, taps = np.zeros(TAPS, np.int64), np.zeros(TAPS, np.int64)
    overall = state = 0
    for i in range(rows if cols else 0):
        row = slow = overall                     # running means of |n| << 8, over 16 and over 128 elements
        row_value = 0
        for j in range(cols):
            if mode == ENCODE and r.pos + r.pending + ROOM > len(buf) or mode == DECODE and r.pos > r.end + 3:
                return r, EXHAUSTED
            k = 0 if mode == DECODE else int(levels[i, j])
            if abs(k) > LEVEL_MAX:
                return r, OUT_OF_RANGE
            if i == 0:
                column[j] = row                  # all that is known yet
            _inputs(x, history, i, j, kernel_size, row_value, int(column_value[j]))
            prediction = _predicted(x, taps)
            scale = row + int(column[j])
            ratio = _ratio(prediction, scale >> 5)
            near = (2 * abs(int(x[0])) + abs(int(x[1])) + 2 * abs(int(x[2])) + abs(int(x[3])) + abs(int(x[4]))
                    + abs(int(x[8])))
            a = log_bucket(near) * NODES
            b = (_side(slow) * SIDES + _side(int(column[j]))) * NODES
            c = (log_bucket(scale) * RATIOS + RATIOS // 2) * NODES
            sign_place = ((sign(int(x[0])) * 3 + sign(int(x[2])) + 4) * NODES,
                          (sign(int(x[6])) * 3 + sign(row_value) + 4) * NODES, c + ratio * NODES)
            q = state & 1
            k, r = code_level(_code, mode, r, buf, model, (a, b, c + abs(ratio) * NODES), sign_place,
                              (a, b, c + ratio * NODES), (a, b, c - ratio * NODES), q, k)
            if mode == DECODE:
                if abs(k) > LEVEL_MAX:
                    return r, OUT_OF_RANGE
                levels[i, j] = k
            n = (k << double) - (sign(k) if q else 0)
            value = _clip(n << 4, INPUT_LIMIT)
            _learn(x, taps, value - prediction)
            history[i % 3, j + 2] = value
            row = moved(row, abs(n) << 8, min(j + 2, 16))
            slow = moved(slow, abs(n) << 8, min(j + 2, 128))
            row_value = moved(row_value, value, min(j + 2, 16))
            column[j] = moved(int(column[j]), abs(n) << 8, min(i + 2, 64))
            column_value[j] = moved(int(column_value[j]), value, min(i + 1, 64))
            state = (state >> 1) ^ (mask_a if q else 0) ^ (mask_b if k & 1 else 0)
        overall = moved(overall, row, min(i + 1, 16))
    return r, OK


@compiled
def encode_levels_cm(levels: np.ndarray, states: int, kernel_size: int, model: CmState, r: Coder,
                     buf: np.ndarray) -> tuple[Coder, int]:
    """Code levels (int32 [rows, cols]) into buf (uint8) with mixing (SPEC 9.4). Returns (coder, status).

    The arguments are those of encode_levels_cc, and so is the status.
    """
    return _levels(ENCODE, levels, states, kernel_size, model, r, buf)


@compiled
def decode_levels_cm(levels: np.ndarray, states: int, kernel_size: int, model: CmState, r: Coder,
                     buf: np.ndarray) -> tuple[Coder, int]:
    """Decode into levels (int32 [rows, cols]) what encode_levels_cm coded. Returns (coder, status)."""
    return _levels(DECODE, levels, states, kernel_size, model, r, buf)


@compiled
def cost_levels_cm(levels: np.ndarray, states: int, kernel_size: int, model: CmState) -> float:
    """Bits that encode_levels_cm would spend, for the encoder's decisions. The model learns as it would then."""
    buf = np.zeros(1, np.uint8)
    r, _ = _levels(COST, levels, states, kernel_size, model, start(COST, buf, 0, 0), buf)
    return r.cost / 4096
