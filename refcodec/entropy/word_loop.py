"""The loop that codes words (SPEC 9.5.3): one source, run as encoder and as decoder.

Per element: a repeat of earlier words or not, zero or not, the class away from the expected one, the two top
bits of the mantissa, the rest in the bypass substream.  The expected logarithmic magnitude is a weighted
sum of the running means of row and column, with weights that adapt.
"""

from __future__ import annotations

import numpy as np

from ..compiler import at, bit_length, compiled, inlined
from .bit_packing import get_bits, put_bits, room
from .range_coder import WORD_COUNT_LIMIT, code_bin, code_bypass
from .watch import DECODE, ENCODE, ContextTable, clause, step

# Statuses. MALFORMED: a class that does not exist; ENDED: the payload ended early; BUFFER_FULL is the encoder's.
OK, BUFFER_FULL, MALFORMED, RAW_EXHAUSTED, BAD_SHIFT, BAD_ESCAPE, ENDED = range(7)
NO_SIGNS, RAW_SIGNS, MODELLED_SIGNS = 0, 1, 2

ROOM = 256                  # bytes of buf that one element may need at most
OCTAVE = 256                # logarithmic magnitudes are in 1/256 octave
ROW_WINDOW, COLUMN_WINDOW, OVERALL_WINDOW = 64, 128, 1024
RECIPROCAL = np.array([0] + [65536 // d for d in range(1, OVERALL_WINDOW + 1)], dtype=np.int64)

WEIGHT_START, WEIGHT_MAX = (32768, 65536, 0), 1 << 17      # by scale_rule; 1.0 is 65536
RATE, POWER_FLOOR = 655 << 20, 1311                     # of the weights' adaptation
WINDOW_MAX = 1 << 16        # elements back that a repeat may lie
ESCAPE_MAX = 13             # zeros before the one of an Exp-Golomb escape: fewer than this

STEADY = 2                  # scale_rule: no weights, contexts by the overall mean or the predictor's exponent alone
ZERO_BUCKETS, REPEAT_MAX = 32, 15
UP_STEPS, DOWN_STEPS = 12, 15
CLASS_NODES = 1 + UP_STEPS + DOWN_STEPS     # direction, steps up, steps down
PHASES, SLOPES = 4, 5
TRAILING_MAX = 12           # trailing zero bits of a mantissa that are modelled, if word_trailing_flag


def _no_mantissa(i, bit):
    # Each four have one too many; integers of class 1 have no bits (set 9), those of class 2 one (set 10).
    return i % 4 == 3 or i // 4 == 9 or i // 4 == 10 and i % 4 > 0


def _below_class_1(i, bit):
    # Steps down by the predictor's exponent, where class 1 is expected.
    down = i % (1 + CLASS_NODES) - 2 - UP_STEPS
    return down > 0 or down == 0 and bit == 1


WORDS = ContextTable("9.5", "word", WORD_COUNT_LIMIT)
ZERO_PLACE = WORDS.add("word_zero_flag", "zero flags", 8 * ZERO_BUCKETS, row=ZERO_BUCKETS)
SIGN_PLACE = WORDS.add("word_sign_flag", "signs", 9)
ZERO_SIGN_PLACE = WORDS.add("word_zero_sign_flag", "signs of zeros", 1)
SHIFT_PLACE = WORDS.add("word_same_shift_flag", "same row shift", 1)
REPEAT_PLACE = WORDS.add("word_repeat_flag", "repeats", REPEAT_MAX + 1, unused=lambda i, bit: i == 0)
REPEAT_SIGN_PLACE = WORDS.add("word_repeat_sign_flag", "signs of repeats", 4)
MANTISSA_PLACE = WORDS.add("word_mantissa_bit", "mantissa bits", 12 * 4, unused=_no_mantissa)
CLASS_PLACE = WORDS.add("word_class_bin", "classes", PHASES * SLOPES * CLASS_NODES, row=CLASS_NODES)
EXPONENT_PLACE = WORDS.add("word_exponent_bin", "by the predictor's exponent", 32 * (1 + CLASS_NODES),
                           unused=_below_class_1)                # of each set one for a zero flag, then a class
TRAILING_PLACE = WORDS.add("word_trailing_zero_flag", "trailing zeros", 32 * TRAILING_MAX, row=TRAILING_MAX)
CONTEXTS = WORDS.size


@inlined
def word_bin(mode, r, buf, contexts, i, bit):
    return code_bin(mode, r, buf, contexts, i, WORD_COUNT_LIMIT, bit)


@inlined
def clip(low, x, high):
    return min(max(x, low), high)


@inlined
def moved_mean(mean, value, divisor):
    return mean + (((value - mean) * int(RECIPROCAL[at(divisor)])) >> 16)


@clause("9.5.6")
@inlined
def _code_steps(mode, r, buf, contexts, place, limit, steps):
    # Unary with `limit` contexts, then Exp-Golomb. Returns (steps, coder, 1 if well formed).
    n = 0
    while n < limit:
        more, r = word_bin(mode, r, buf, contexts, place + n, 1 if n < steps else 0)
        if not more:
            return n, r, 1
        n += 1
    rest = steps - limit + 1
    width = bit_length(rest) - 1 if mode == ENCODE else 0
    zeros = 0
    while zeros < ESCAPE_MAX:
        stop, r = code_bypass(mode, r, buf, 1, 1 if zeros == width else 0)
        if stop:
            low, r = code_bypass(mode, r, buf, zeros, rest & ((1 << zeros) - 1))
            return limit - 1 + (1 << zeros | low), r, 1
        zeros += 1
    return 0, r, 0


@step("class")
@clause("9.5.6")
@inlined
def code_class(mode, r, buf, contexts, place, centre, value):
    # Unary away from the centre. Returns (class, coder, 1 if well formed).
    up, r = word_bin(mode, r, buf, contexts, place, 1 if value > centre else 0)
    first, limit = (place + 1, UP_STEPS) if up else (place + 1 + UP_STEPS, DOWN_STEPS)
    steps, r, ok = _code_steps(mode, r, buf, contexts, first, limit, value - centre - 1 if up else centre - value)
    return (centre + 1 + steps if up else centre - steps), r, ok


@clause("9.5.6")
@inlined
def _code_top(mode, r, buf, contexts, place, width, mantissa):
    # The two top bits of a mantissa, or fewer where it is narrower. Returns (known bits, bits left, coder).
    known = 0
    if width > 0:
        width -= 1
        known, r = word_bin(mode, r, buf, contexts, place, (mantissa >> width) & 1)
        if width > 0:
            width -= 1
            bit, r = word_bin(mode, r, buf, contexts, place + 1 + known, (mantissa >> width) & 1)
            known = known << 1 | bit
    return known, width, r


@clause("9.5.6")
@inlined
def _code_trailing(mode, r, buf, contexts, cls, width, mantissa):
    # The trailing zeros among the low `width` bits, by class, and the one before them. Returns (low bits, their
    # number, coder).
    limit = min(width, TRAILING_MAX)
    place = TRAILING_PLACE + (cls & 31) * TRAILING_MAX
    n = 0
    while n < limit:
        zero, r = word_bin(mode, r, buf, contexts, place + n, 1 if (mantissa >> n) & 1 == 0 else 0)
        n += 1
        if not zero:
            return 1 << (n - 1), n, r
    return 0, n, r


@clause("8.4.3")
@inlined
def float_parts(v, magnitude_bits, mantissa_bits, shift):
    # (class, sign, mantissa) of a float word; float_word is the inverse.
    magnitude = v & ((1 << magnitude_bits) - 1)
    cls = 0 if magnitude == 0 else 1 + (magnitude >> mantissa_bits)
    return cls, (v >> magnitude_bits) & 1, (magnitude & ((1 << mantissa_bits) - 1)) >> shift


@clause("8.4.3")
@inlined
def float_word(cls, sign, mantissa, magnitude_bits, mantissa_bits, shift):
    return (-sign << magnitude_bits) | (max(cls, 1) - 1) << mantissa_bits | mantissa << shift


@inlined
def integer_parts(v, shift):
    # (class, sign, mantissa) of an integer; integer_of is the inverse. -2^63 has class 64.
    v >>= shift
    sign = 1 if v < 0 else 0
    if v == -(1 << 63):
        return 64, sign, 0
    magnitude = -v if sign else v
    cls = bit_length(magnitude)
    return cls, sign, magnitude & ((1 << max(cls - 1, 0)) - 1)


@clause("8.4.3")
@inlined
def integer_of(cls, sign, mantissa, shift):
    if cls == 0:
        return 0
    if cls + shift == 64:
        return -(1 << 63)
    magnitude = (1 << (cls - 1) | mantissa) << shift
    return -magnitude if sign else magnitude


@inlined
def _row_shift(values, i, limit):
    # How many more low bits are zero in all of a row, at most limit.
    gathered, shift = 0, 0
    for j in range(values.shape[1]):
        gathered |= int(values[at(i), at(j)])
    while shift < limit and not (gathered >> shift) & 1:
        shift += 1
    return shift


@step("row shift")
@clause("9.5.4")
@inlined
def _code_row_shift(mode, r, buf, contexts, limit, before, shift):
    # before: the shift of the row before; limit: for those who choose. Returns (shift, coder).
    same, r = word_bin(mode, r, buf, contexts, SHIFT_PLACE, 1 if shift == before else 0)
    return (before, r) if same else code_bypass(mode, r, buf, 6, shift)


@clause("9.5.5")
@inlined
def _find_repeat(n, past, table, mask):
    # Where the last two magnitudes stood before: (position whose word should come next, direction), or (-1, 0).
    window = len(past)
    if n < 2:
        return -1, 0
    a, b = int(past[at((n - 2) & (window - 1))]) & mask, int(past[at((n - 1) & (window - 1))]) & mask
    key = a ^ b
    slot = ((((key ^ (key >> 32)) & 0x7FFFFFFF) * 0x9E3779B1) >> 15) & (window - 1)
    q = int(table[at(slot)])
    table[at(slot)] = n - 1
    if q < 1 or n - q > window - 2:
        return -1, 0
    first, second = int(past[at((q - 1) & (window - 1))]) & mask, int(past[at(q & (window - 1))]) & mask
    if first == a and second == b:
        return q + 1, 1
    if first == b and second == a:
        return q - 2, -1
    return -1, 0


@clause("9.5.3")
@inlined
def _code_rows(mode, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit):
    rows, cols = values.shape
    is_float, magnitude_bits, mantissa_bits = int(layout[0]), int(layout[1]), int(layout[2])
    magnitude_mask = (1 << magnitude_bits) - 1
    max_class, zeros, signs, row_shifts = int(layout[3]), int(layout[4]), int(layout[5]), int(layout[6])
    shift_limit = mantissa_bits if is_float else max_class - 1
    steady = 1 if int(layout[7]) == STEADY else 0
    trailing = int(layout[8])
    predicted = 1 if exponents.shape[0] == rows and exponents.shape[1] == cols else 0
    by_exponent = 1 if steady and predicted else 0
    overall, count, row_weight, column_weight, power = (int(state[0]), int(state[1]), int(state[2]), int(state[3]),
                                                        int(state[4]))
    shift, repeats, n, source, direction, length, flips = (int(state[5]), int(state[6]), int(state[7]), int(state[8]),
                                                           int(state[9]), int(state[10]), int(state[11]))
    for i in range(rows):
        if mode == ENCODE and r.pos + r.pending + ROOM > len(buf):
            return r, raw_bit, BUFFER_FULL
        if n == 0 and is_float:
            repeats, r = code_bypass(mode, r, buf, 1, repeats)
        if row_shifts:
            wanted = _row_shift(values, i, shift_limit) if mode == ENCODE else 0
            shift, r = _code_row_shift(mode, r, buf, contexts, shift_limit, shift, wanted)
            if shift > shift_limit:
                return r, raw_bit, BAD_SHIFT
        row, row_count, left, left2, left_sign, rate = overall, 0, 0, 0, 0, 0
        for j in range(cols):
            if mode == ENCODE and (r.pos + r.pending + ROOM > len(buf) or not room(raw, raw_bit, 128)):
                return r, raw_bit, BUFFER_FULL
            if mode == DECODE and r.pos > r.end + 3:
                return r, raw_bit, ENDED
            if j & 15 == 0:
                rate = RATE // (POWER_FLOOR + power)
            v, cls, sign, mantissa = 0, 0, 0, 0
            if mode == ENCODE:
                v = int(values[at(i), at(j)])
                cls, sign, mantissa = (float_parts(v, magnitude_bits, mantissa_bits, shift) if is_float
                                       else integer_parts(v, shift))

            # 1. A repeat: the magnitude at the source again.
            repeated = 0
            if repeats:
                if length and (source < 0 or n - source > len(past) - 2):
                    length = 0
                found, found_direction = _find_repeat(n, past, table, magnitude_mask)
                if not length and found >= 0:
                    source, direction, length = found, found_direction, 1
                if length:
                    there = int(past[at(source & (len(past) - 1))])
                    cls_there, sign_there, mantissa_there = float_parts(there, magnitude_bits, mantissa_bits, 0)
                    repeated, r = word_bin(mode, r, buf, contexts, REPEAT_PLACE + length,
                                           1 if (v & magnitude_mask) == (there & magnitude_mask) else 0)
                    source += direction
                    length = min(length + 1, REPEAT_MAX) if repeated else 0
                    if repeated:
                        flip, r = word_bin(mode, r, buf, contexts, REPEAT_SIGN_PLACE + (flips & 3), sign ^ sign_there)
                        flips = flips << 1 & 3 | flip
                        cls, sign, mantissa = cls_there, flip ^ sign_there, mantissa_there >> shift

            # 2. The expected logarithmic magnitude, and whether the element is zero.
            e = int(exponents[at(i), at(j)]) * OCTAVE if predicted else 0
            column, column_count = int(columns[at(j)]) >> 8, int(columns[at(j)]) & 255
            if column_count == 0:
                column = row
            x, y = row - overall, column - overall
            expected = overall + ((row_weight * x + column_weight * y) >> 16) - e
            up_zero, up_sign = int(above[at(j)]) & 1, int(above[at(j)]) >> 1
            if zeros and not repeated:
                place = (ZERO_PLACE + (up_zero * 4 + left2 * 2 + left) * ZERO_BUCKETS
                         + clip(0, (expected >> 7) + 12, ZERO_BUCKETS - 1))
                if by_exponent:
                    place = EXPONENT_PLACE + ((e >> 8) & 31) * (1 + CLASS_NODES)
                zero, r = word_bin(mode, r, buf, contexts, place, 1 if cls == 0 else 0)
            else:
                zero = 1 if repeated and cls == 0 else 0
            left2, left = left, zero
            if zero:
                if is_float and signs and not repeated:
                    sign, r = word_bin(mode, r, buf, contexts, ZERO_SIGN_PLACE, sign)
                cls, mantissa, left_sign = 0, 0, 0
                above[at(j)] = 1
            else:
                # 3. Class and mantissa.
                centre = clip(1, (expected + OCTAVE // 2) >> 8, max_class)
                top = 0
                if not repeated:
                    phase = ((expected + OCTAVE // 2) & 255) >> 6
                    slope = SLOPES // 2 if steady else clip(0, (row - column + 5 * OCTAVE // 2) >> 8, SLOPES - 1)
                    place = CLASS_PLACE + (phase * SLOPES + slope) * CLASS_NODES
                    if by_exponent:
                        centre, place = 1, EXPONENT_PLACE + ((e >> 8) & 31) * (1 + CLASS_NODES) + 1
                    cls, r, ok = code_class(mode, r, buf, contexts, place, centre, cls)
                    if not ok:
                        return r, raw_bit, BAD_ESCAPE
                    if cls < 1 or cls + (0 if is_float else shift) > max_class:
                        return r, raw_bit, MALFORMED
                    width = mantissa_bits - shift if is_float else cls - 1
                    place = MANTISSA_PLACE + 4 * (clip(-4, cls - centre, 4) + 4 if is_float or cls > 3 else 8 + cls)
                    top, width, r = _code_top(mode, r, buf, contexts, place, width, mantissa)
                    if signs == MODELLED_SIGNS:
                        sign, r = word_bin(mode, r, buf, contexts, SIGN_PLACE + left_sign * 3 + up_sign, sign)
                    low, known = 0, 0                # the low bits of the mantissa, where they are modelled
                    if trailing:
                        low, known, r = _code_trailing(mode, r, buf, contexts, cls, width, mantissa)
                    # 4. The rest of the mantissa, and the sign before it, as they are.
                    width -= known
                    bits = width + (1 if signs == RAW_SIGNS else 0)
                    if mode == DECODE:
                        if not room(raw, raw_bit, bits):
                            return r, raw_bit, RAW_EXHAUSTED
                        rest = get_bits(raw, raw_bit, bits)
                        if signs == RAW_SIGNS:
                            sign = rest >> width
                        mantissa = (top << width | (rest & ((1 << width) - 1))) << known | low
                    else:
                        rest = (mantissa >> known) & ((1 << width) - 1)
                        put_bits(raw, raw_bit, sign << width | rest if signs == RAW_SIGNS else rest, bits)
                    raw_bit += bits
                # 5. The means, and the weights of row and column in the expectation.
                width = mantissa_bits - shift if is_float else cls - 1
                top = mantissa >> (width - 2) if width >= 2 else mantissa << (2 - width)
                log = cls * OCTAVE + e + (top << 6) + 32
                gain = (clip(-512, log - e - expected, 512) * rate) >> 8
                if not steady:
                    row_weight = clip(-WEIGHT_MAX, row_weight + ((gain * x) >> 12), WEIGHT_MAX)
                    column_weight = clip(-WEIGHT_MAX, column_weight + ((gain * y) >> 12), WEIGHT_MAX)
                power += (x * x + y * y - power) >> 8
                if count == 0:
                    row, column, overall = log, log, log
                column = moved_mean(column, log, min(column_count + 2, COLUMN_WINDOW)) if column_count else log
                columns[at(j)] = column << 8 | min(column_count + 1, COLUMN_WINDOW)
                row_count += 1
                row = moved_mean(row, log, min(row_count + 1, ROW_WINDOW))
                count = min(count + 1, OVERALL_WINDOW)
                overall = moved_mean(overall, log, count)
                left_sign = 1 + sign
                above[at(j)] = left_sign << 1
            if mode == DECODE:
                v = (float_word(cls, sign, mantissa, magnitude_bits, mantissa_bits, shift) if is_float
                     else integer_of(cls, sign, mantissa, shift))
                values[at(i), at(j)] = v
            if repeats:
                past[at(n & (len(past) - 1))] = v
            n += 1
    for k, s in enumerate((overall, count, row_weight, column_weight, power, shift, repeats, n, source, direction,
                           length, flips)):
        state[k] = s
    return r, raw_bit, OK


@compiled
def encode_rows(values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit):
    return _code_rows(ENCODE, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw,
                      raw_bit)


@compiled
def decode_rows(values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit):
    return _code_rows(DECODE, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw,
                      raw_bit)
