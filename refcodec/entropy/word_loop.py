"""The loop that codes words (SPEC 9.5.3): one source, run as encoder and as decoder."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler import at, compiled, inlined
from .bit_packing import room
from .range_coder import Coder, code_bypass
from .watch import DECODE, ENCODE, clause
from .word_parts import (
    BAD_SHIFT,
    BUFFER_FULL,
    ENDED,
    OCTAVE,
    OK,
    POWER_FLOOR,
    RATE,
    RAW_EXHAUSTED,
    ROOM,
    clip,
    float_parts,
    float_word,
    integer_of,
    integer_parts,
    moved_mean,
    word_bin,
)
from .word_steps import (
    COLUMN_WINDOW,
    ROW_WINDOW,
    SLOPES,
    ZERO_SIGN_PLACE,
    Means,
    Source,
    code_magnitude,
    code_repeat,
    code_rest,
    code_row_shift,
    code_zero,
    format_of,
    logarithm,
    row_shift,
    updated,
)


@clause("9.5.3")
@inlined
def _code_rows(mode: int, values: np.ndarray, exponents: np.ndarray, layout: np.ndarray, columns: np.ndarray,
               above: np.ndarray, past: np.ndarray, table: np.ndarray, state: np.ndarray, contexts: np.ndarray,
               r: Coder, buf: np.ndarray, raw: np.ndarray, raw_bit: int) -> tuple[Coder, int, int]:
    # columns: mean << 8 | count; above: 0 nothing, 1 a zero, 2 a positive word, 4 a negative one.
    rows, cols = values.shape
    f = format_of(layout, exponents, rows, cols)
    shift_limit = f.mantissa_bits if f.is_float else f.max_class - 1
    means = Means(int(state[0]), int(state[1]), int(state[2]), int(state[3]), int(state[4]))
    shift, repeats, n = int(state[5]), int(state[6]), int(state[7])
    source = Source(int(state[8]), int(state[9]), int(state[10]), int(state[11]))
    for i in range(rows):
        if mode == ENCODE and r.pos + r.pending + ROOM > len(buf):
            return r, raw_bit, BUFFER_FULL
        if n == 0 and f.is_float:
            repeats, r = code_bypass(mode, r, buf, 1, repeats)
        if f.row_shifts:
            wanted = row_shift(values, i, shift_limit) if mode == ENCODE else 0
            shift, r = code_row_shift(mode, r, buf, contexts, shift_limit, shift, wanted)
            if shift > shift_limit:
                return r, raw_bit, BAD_SHIFT
        row, row_count, left, left2, left_sign, rate = means.overall, 0, 0, 0, 0, 0
        for j in range(cols):
            if mode == ENCODE and (r.pos + r.pending + ROOM > len(buf) or not room(raw, raw_bit, 128)):
                return r, raw_bit, BUFFER_FULL
            if mode == DECODE and r.pos > r.end + 3:
                return r, raw_bit, ENDED
            if j & 15 == 0:
                rate = RATE // (POWER_FLOOR + means.power)
            v, parts = 0, (0, 0, 0)                # the word, and its class, sign and mantissa
            if mode == ENCODE:
                v = int(values[at(i), at(j)])
                parts = (float_parts(v, f.magnitude_bits, f.mantissa_bits, shift) if f.is_float
                         else integer_parts(v, shift))

            # 1. A repeat: the magnitude at the source again.
            repeated = 0
            if repeats:
                repeated, parts, source, r = code_repeat(mode, r, buf, contexts, f, shift, n, past, table, source, v,
                                                          parts)
            cls, sign, mantissa = parts

            # 2. The expected logarithmic magnitude, and whether the element is zero.
            e = int(exponents[at(i), at(j)]) * OCTAVE if f.predicted else 0
            column, column_count = int(columns[at(j)]) >> 8, int(columns[at(j)]) & 255
            if column_count == 0:
                column = row
            x, y = row - means.overall, column - means.overall
            expected = means.overall + ((means.row_weight * x + means.column_weight * y) >> 16) - e
            up_zero, up_sign = int(above[at(j)]) & 1, int(above[at(j)]) >> 1
            if f.zeros and not repeated:
                zero, r = code_zero(mode, r, buf, contexts, f, expected, e, up_zero * 4 + left2 * 2 + left,
                                     1 if cls == 0 else 0)
            else:
                zero = 1 if repeated and cls == 0 else 0
            left2, left = left, zero
            if zero:
                if f.is_float and f.signs and not repeated:
                    sign, r = word_bin(mode, r, buf, contexts, ZERO_SIGN_PLACE, sign)
                cls, mantissa, left_sign = 0, 0, 0
                above[at(j)] = 1
            else:
                # 3. Class and top bits. 4. The rest of the mantissa.
                if not repeated:
                    slope = SLOPES // 2 if f.steady else clip(0, (row - column + 5 * OCTAVE // 2) >> 8, SLOPES - 1)
                    cls, top, width, r, status = code_magnitude(mode, r, buf, contexts, f, shift, expected, e, slope,
                                                                 cls, mantissa)
                    if status != OK:
                        return r, raw_bit, status
                    sign, mantissa, next_bit, r = code_rest(mode, r, buf, contexts, f, left_sign * 3 + up_sign, raw,
                                                             raw_bit, cls, sign, top, width, mantissa)
                    if next_bit < 0:
                        return r, raw_bit, RAW_EXHAUSTED
                    raw_bit = next_bit
                # 5. The means, and the weights of row and column in the expectation.
                log = logarithm(f, cls, mantissa, shift) + e
                gain = (clip(-512, log - e - expected, 512) * rate) >> 8
                if means.elements == 0:
                    row = log
                means = updated(means, f, log, gain, x, y)
                column = moved_mean(column, log, min(column_count + 2, COLUMN_WINDOW)) if column_count else log
                columns[at(j)] = column << 8 | min(column_count + 1, COLUMN_WINDOW)
                row_count += 1
                row = moved_mean(row, log, min(row_count + 1, ROW_WINDOW))
                left_sign = 1 + sign
                above[at(j)] = left_sign << 1
            if mode == DECODE:
                v = (float_word(cls, sign, mantissa, f.magnitude_bits, f.mantissa_bits, shift) if f.is_float
                     else integer_of(cls, sign, mantissa, shift))
                values[at(i), at(j)] = v
            if repeats:
                past[at(n & (len(past) - 1))] = v
            n += 1
    for k, s in enumerate((means.overall, means.elements, means.row_weight, means.column_weight, means.power, shift,
                           repeats, n, source.position, source.direction, source.length, source.flips)):
        state[k] = s
    return r, raw_bit, OK


@compiled
def encode_rows(values: np.ndarray, exponents: np.ndarray, layout: np.ndarray, columns: np.ndarray, above: np.ndarray,
                past: np.ndarray, table: np.ndarray, state: np.ndarray, contexts: np.ndarray, r: Coder, buf: np.ndarray,
                raw: np.ndarray, raw_bit: int) -> tuple[Coder, int, int]:
    """Code rows of values (int64) into buf and raw; the arguments are made in words.py. Returns (coder, next raw bit,
    status)."""
    return _code_rows(ENCODE, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw,
                      raw_bit)


@compiled
def decode_rows(values: np.ndarray, exponents: np.ndarray, layout: np.ndarray, columns: np.ndarray, above: np.ndarray,
                past: np.ndarray, table: np.ndarray, state: np.ndarray, contexts: np.ndarray, r: Coder, buf: np.ndarray,
                raw: np.ndarray, raw_bit: int) -> tuple[Coder, int, int]:
    """Decode into values (int64) what encode_rows coded."""
    return _code_rows(DECODE, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw,
                      raw_bit)


class Survey(NamedTuple):
    """How many values are of which kind. zeros: of both signs.  gathered: all values, put together by OR."""

    negative: int
    positive: int
    zeros: int
    minus_zeros: int
    gathered: int


@compiled
def survey(values: np.ndarray, magnitude: int, sign: int, found: np.ndarray) -> None:
    """Adds values (int64, flat) to `found` (int64, fields of Survey). magnitude: mask of it.  sign: its bit's place."""
    for i in range(len(values)):
        v = values[at(i)]
        below = v >> sign & 1
        if v & magnitude:
            found[at(1 - below)] += 1
        else:
            found[2] += 1
            found[3] += below
        found[4] |= v
