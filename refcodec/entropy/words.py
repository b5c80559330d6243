"""Lossless coding of words: floats, integers, and their differences against a predictor (SPEC 8.4, 9.5).

Every word becomes (zero or not, class, sign, mantissa): the class is the order of magnitude, the
mantissa the bits below it.  Classes and the two top mantissa bits are arithmetic coded with a scale
expected from the row and the column; the bits that look random go to the bypass substream `raw`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..compiler import compiled, inlined
from ..dtypes import DType
from .bit_packing import get_bits, put_bits, room
from .range_coder import DECODE, ENCODE, Coder, code_bin, code_bypass, encoder_start, new_contexts

OK, BUFFER_FULL, MALFORMED, RAW_EXHAUSTED = 0, 1, 2, 3
NO_SIGNS, RAW_SIGNS, MODELLED_SIGNS = 0, 1, 2

CHUNK = 1 << 15             # elements staged as int64 at a time
ROOM = 256                  # bytes of buf that one element may need at most
OCTAVE = 256                # logarithmic magnitudes are in 1/256 octave
ROW_WINDOW, COLUMN_WINDOW, OVERALL_WINDOW = 16, 32, 1024
RECIPROCAL = np.array([0] + [65536 // d for d in range(1, OVERALL_WINDOW + 1)], dtype=np.int64)

WEIGHT_START, WEIGHT_MAX = (32768, 65536), 1 << 17      # by scale_rule; 1.0 is 65536
WINDOW_MAX = 1 << 16        # elements back that a repeat may lie
ESCAPE_MAX = 13             # zeros before the one of an Exp-Golomb escape: fewer than this

# Contexts: zero flags, signs, signs of zeros, row shifts, repeats, mantissa bits, classes.
ZERO_BUCKETS, REPEAT_MAX = 32, 15
UP_STEPS, DOWN_STEPS = 12, 15
CLASS_NODES = 1 + UP_STEPS + DOWN_STEPS     # direction, steps up, steps down
PHASES, SLOPES = 4, 5
ZERO_PLACE = 0
SIGN_PLACE = ZERO_PLACE + 8 * ZERO_BUCKETS
ZERO_SIGN_PLACE = SIGN_PLACE + 9
SHIFT_PLACE = ZERO_SIGN_PLACE + 1
REPEAT_PLACE = SHIFT_PLACE + 1
REPEAT_SIGN_PLACE = REPEAT_PLACE + REPEAT_MAX + 1
MANTISSA_PLACE = REPEAT_SIGN_PLACE + 4
CLASS_PLACE = MANTISSA_PLACE + 12 * 4
CONTEXTS = CLASS_PLACE + PHASES * SLOPES * CLASS_NODES


@dataclass
class WordParameters:
    """Syntax elements of word_parameters() (SPEC 7.9).

    zeros:      word_zeros_flag, 0..1: a zero flag is coded for every element; 0: no element is zero.
    signs:      word_sign_mode, 0..2: no element is negative; sign in the bypass substream; sign modelled.
    scale_rule: word_scale_rule, 0..1: first weights of row and column in the expected scale: one half each, or one each.
    row_shifts: word_row_shift_flag, 0..1: each row codes how many more low bits are zero.
    shift:      word_shift, 0..63: low bits of mantissa (float) or integer that are zero in all elements.
    offset:     word_offset, 0..2^bits-1: subtracted modulo 2^bits from integer words without predictor.
    repeats:    not in the descriptor (each segment of floats without predictor starts with this bit): repeats are coded.
    """

    zeros: int = 1
    signs: int = RAW_SIGNS
    scale_rule: int = 0
    row_shifts: int = 0
    shift: int = 0
    offset: int = 0
    repeats: int = 0


def new_word_contexts() -> np.ndarray:
    """The contexts of word coding in their starting state: int32, one dimension. They persist through a joined stream."""
    return new_contexts(CONTEXTS)


# Words and values (SPEC 8.4): all arrays are int64 here, 64-bit words as their two's complement.

def _signed(x: np.ndarray, bits: int) -> np.ndarray:
    """Modulo 2^bits into -2^(bits-1) .. 2^(bits-1)-1."""
    return x << (64 - bits) >> (64 - bits)


def _ordered(words: np.ndarray, dtype: DType) -> np.ndarray:
    """Words as signed integers whose order is that of the values; -0 takes the free one, -2^(bits-1)."""
    if dtype.kind != "f" or not dtype.sign:
        return words
    magnitude = words & ((1 << (dtype.bits - 1)) - 1)
    negative = (words >> (dtype.bits - 1)) & 1
    return np.where(negative & (magnitude != 0), -magnitude, magnitude - (negative << (dtype.bits - 1)))


def _unordered(x: np.ndarray, dtype: DType) -> np.ndarray:
    """Inverse of _ordered, x modulo 2^bits."""
    if dtype.kind != "f" or not dtype.sign:
        return x
    x = _signed(x, dtype.bits)
    top = -1 << (dtype.bits - 1)
    return np.where((x < 0) & (x != top), -x | top, x)


def _values(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters) -> np.ndarray:
    """Words as the int64 values that are coded: the words (floats) or signed differences, less their shift."""
    words = words.astype(np.int64)
    if predictor is not None:
        words = _signed(_ordered(words, dtype) - _ordered(predictor.astype(np.int64), dtype), dtype.bits)
    elif dtype.kind != "f":
        words = _signed(words - _as_int64(params.offset), dtype.bits)
    return words >> params.shift


def _words(values: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters) -> np.ndarray:
    """Inverse of _values: unsigned words."""
    words = values << params.shift
    if predictor is not None:
        words = _unordered(words + _ordered(predictor.astype(np.int64), dtype), dtype)
    elif dtype.kind != "f":
        words = words + _as_int64(params.offset)
    if dtype.bits < 64:
        words &= (1 << dtype.bits) - 1
    return words.astype(dtype.word)


def _as_int64(word: int) -> int:
    return word - (1 << 64) if word >> 63 else word


def _exponents(predictor: np.ndarray | None, dtype: DType) -> np.ndarray:
    """Exponent fields of a float predictor as int32; one zero where there is none."""
    if predictor is None or dtype.kind != "f":
        return np.zeros((1, 1), np.int32)
    return ((predictor >> dtype.mantissa) & ((1 << dtype.exponent) - 1)).astype(np.int32)


# The coding loop (SPEC 9.5.3): one source, run as encoder and as decoder.

@inlined
def _clip(low, x, high):
    return min(max(x, low), high)


@inlined
def _bit_length(x):
    # Of 0 <= x < 2^63.
    n = 0
    for step in (32, 16, 8, 4, 2, 1):
        if x >> step:
            n += step
            x >>= step
    return n + x


@inlined
def _moved(mean, value, divisor):
    return mean + (((value - mean) * int(RECIPROCAL[divisor])) >> 16)


@inlined
def _code_steps(mode, r, buf, contexts, place, limit, steps):
    # Unary with `limit` contexts, then Exp-Golomb. Returns (steps, coder, 1 if well formed).
    n = 0
    while n < limit:
        more, r = code_bin(mode, r, buf, contexts, place + n, 1 if n < steps else 0)
        if not more:
            return n, r, 1
        n += 1
    rest = steps - limit + 1
    width = _bit_length(rest) - 1 if mode == ENCODE else 0
    zeros = 0
    while zeros < ESCAPE_MAX:
        stop, r = code_bypass(mode, r, buf, 1 if zeros == width else 0, 1)
        if stop:
            low, r = code_bypass(mode, r, buf, rest & ((1 << zeros) - 1), zeros)
            return limit - 1 + (1 << zeros | low), r, 1
        zeros += 1
    return 0, r, 0


@inlined
def _code_class(mode, r, buf, contexts, place, centre, value):
    # Unary away from the centre. Returns (class, coder, 1 if well formed).
    up, r = code_bin(mode, r, buf, contexts, place, 1 if value > centre else 0)
    if up:
        steps, r, ok = _code_steps(mode, r, buf, contexts, place + 1, UP_STEPS, value - centre - 1)
        return centre + 1 + steps, r, ok
    steps, r, ok = _code_steps(mode, r, buf, contexts, place + 1 + UP_STEPS, DOWN_STEPS, centre - value)
    return centre - steps, r, ok


@inlined
def _code_top(mode, r, buf, contexts, place, width, mantissa):
    # The two top bits of a mantissa, or fewer where it is narrower. Returns (known bits, bits left, coder).
    known = 0
    if width > 0:
        width -= 1
        known, r = code_bin(mode, r, buf, contexts, place, (mantissa >> width) & 1)
        if width > 0:
            width -= 1
            bit, r = code_bin(mode, r, buf, contexts, place + 1 + known, (mantissa >> width) & 1)
            known = known << 1 | bit
    return known, width, r


@inlined
def _float_parts(v, layout, shift):
    # (class, sign, mantissa) of a float word; _float_word is the inverse.
    magnitude = v & ((1 << int(layout[1])) - 1)
    cls = 0 if magnitude == 0 else 1 + (magnitude >> int(layout[2]))
    return cls, (v >> int(layout[1])) & 1, (magnitude & ((1 << int(layout[2])) - 1)) >> shift


@inlined
def _float_word(cls, sign, mantissa, layout, shift):
    return (-sign << int(layout[1])) | (max(cls, 1) - 1) << int(layout[2]) | mantissa << shift


@inlined
def _integer_parts(v, shift):
    # (class, sign, mantissa) of an integer; _integer is the inverse. -2^63 has class 64.
    v >>= shift
    sign = 1 if v < 0 else 0
    if v == -(1 << 63):
        return 64, sign, 0
    magnitude = -v if sign else v
    cls = _bit_length(magnitude)
    return cls, sign, magnitude & ((1 << max(cls - 1, 0)) - 1)


@inlined
def _integer(cls, sign, mantissa, shift):
    if cls == 0:
        return 0
    if cls + shift == 64:
        return -(1 << 63)
    magnitude = (1 << (cls - 1) | mantissa) << shift
    return -magnitude if sign else magnitude


@inlined
def _code_row_shift(mode, values, i, limit, shift, contexts, r, buf):
    # How many more low bits are zero in a row, against the row before. Returns (shift, coder).
    wanted = 0
    if mode == ENCODE:
        gathered = 0
        for j in range(values.shape[1]):
            gathered |= int(values[i, j])
        while wanted < limit and not (gathered >> wanted) & 1:
            wanted += 1
    same, r = code_bin(mode, r, buf, contexts, SHIFT_PLACE, 1 if wanted == shift else 0)
    return (shift, r) if same else code_bypass(mode, r, buf, wanted, 6)


@inlined
def _find_repeat(n, past, table, mask):
    # Where the last two magnitudes stood before: (position whose word should come next, direction), or (-1, 0).
    window = len(past)
    if n < 2:
        return -1, 0
    a, b = int(past[(n - 2) & (window - 1)]) & mask, int(past[(n - 1) & (window - 1)]) & mask
    key = a ^ b
    slot = ((((key ^ (key >> 32)) & 0x7FFFFFFF) * 0x9E3779B1) >> 15) & (window - 1)
    q = int(table[slot])
    table[slot] = n - 1
    if q < 1 or n - q > window - 2:
        return -1, 0
    first, second = int(past[(q - 1) & (window - 1)]) & mask, int(past[q & (window - 1)]) & mask
    if first == a and second == b:
        return q + 1, 1
    if first == b and second == a:
        return q - 2, -1
    return -1, 0


@inlined
def _code_rows(mode, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit):
    rows, cols = values.shape
    is_float, magnitude_mask, mantissa_bits = int(layout[0]), (1 << int(layout[1])) - 1, int(layout[2])
    max_class, zeros, signs, row_shifts = int(layout[3]), int(layout[4]), int(layout[5]), int(layout[6])
    shift_limit = mantissa_bits if is_float else max_class - 1
    predicted = 1 if exponents.shape[0] == rows and exponents.shape[1] == cols else 0
    overall, count, row_weight, column_weight, power = (int(state[0]), int(state[1]), int(state[2]), int(state[3]),
                                                        int(state[4]))
    shift, repeats, n, source, direction, length, flips = (int(state[5]), int(state[6]), int(state[7]), int(state[8]),
                                                           int(state[9]), int(state[10]), int(state[11]))
    for i in range(rows):
        if mode == ENCODE and r.pos + r.pending + ROOM > len(buf):
            return r, raw_bit, BUFFER_FULL
        if n == 0 and is_float:
            repeats, r = code_bypass(mode, r, buf, repeats, 1)
        if row_shifts:
            shift, r = _code_row_shift(mode, values, i, shift_limit, shift, contexts, r, buf)
            if shift > shift_limit:
                return r, raw_bit, MALFORMED
        row, row_count, left, left2, left_sign = overall, 0, 0, 0, 0
        for j in range(cols):
            if mode == ENCODE and (r.pos + r.pending + ROOM > len(buf) or not room(raw, raw_bit, 128)):
                return r, raw_bit, BUFFER_FULL
            if mode == DECODE and r.pos > r.end + 3:
                return r, raw_bit, MALFORMED
            v, cls, sign, mantissa = 0, 0, 0, 0
            if mode == ENCODE:
                v = int(values[i, j])
                cls, sign, mantissa = _float_parts(v, layout, shift) if is_float else _integer_parts(v, shift)

            # 1. A repeat: the magnitude at the source again.
            repeated = 0
            if repeats:
                if length and (source < 0 or n - source > len(past) - 2):
                    length = 0
                found, found_direction = _find_repeat(n, past, table, magnitude_mask)
                if not length and found >= 0:
                    source, direction, length = found, found_direction, 1
                if length:
                    there = int(past[source & (len(past) - 1)])
                    cls_there, sign_there, mantissa_there = _float_parts(there, layout, 0)
                    repeated, r = code_bin(mode, r, buf, contexts, REPEAT_PLACE + length,
                                           1 if (v & magnitude_mask) == (there & magnitude_mask) else 0)
                    source += direction
                    length = min(length + 1, REPEAT_MAX) if repeated else 0
                    if repeated:
                        flip, r = code_bin(mode, r, buf, contexts, REPEAT_SIGN_PLACE + (flips & 3), sign ^ sign_there)
                        flips = flips << 1 & 3 | flip
                        cls, sign, mantissa = cls_there, flip ^ sign_there, mantissa_there >> shift

            # 2. The expected logarithmic magnitude, and whether the element is zero.
            e = int(exponents[i, j]) * OCTAVE if predicted else 0
            column, column_count = int(columns[j]) >> 8, int(columns[j]) & 255
            if column_count == 0:
                column = row
            x, y = row - overall, column - overall
            expected = overall + ((row_weight * x + column_weight * y) >> 16) - e
            up_zero, up_sign = int(above[j]) & 1, int(above[j]) >> 1
            if zeros and not repeated:
                place = ZERO_PLACE + (up_zero * 4 + left2 * 2 + left) * ZERO_BUCKETS
                zero, r = code_bin(mode, r, buf, contexts, place + _clip(0, (expected >> 7) + 12, ZERO_BUCKETS - 1),
                                   1 if cls == 0 else 0)
            else:
                zero = 1 if repeated and cls == 0 else 0
            left2, left = left, zero
            if zero:
                if is_float and signs and not repeated:
                    sign, r = code_bin(mode, r, buf, contexts, ZERO_SIGN_PLACE, sign)
                cls, mantissa, left_sign = 0, 0, 0
                above[j] = 1
            else:
                # 3. Class and mantissa.
                centre = _clip(1, (expected + OCTAVE // 2) >> 8, max_class)
                top = 0
                if not repeated:
                    phase = ((expected + OCTAVE // 2) & 255) >> 6
                    slope = _clip(0, (row - column + 5 * OCTAVE // 2) >> 8, SLOPES - 1)
                    cls, r, ok = _code_class(mode, r, buf, contexts,
                                             CLASS_PLACE + (phase * SLOPES + slope) * CLASS_NODES, centre, cls)
                    if not ok or cls < 1 or cls + (0 if is_float else shift) > max_class:
                        return r, raw_bit, MALFORMED
                    width = mantissa_bits - shift if is_float else cls - 1
                    place = MANTISSA_PLACE + 4 * (_clip(-4, cls - centre, 4) + 4 if is_float or cls > 3 else 8 + cls)
                    top, width, r = _code_top(mode, r, buf, contexts, place, width, mantissa)
                    if signs == MODELLED_SIGNS:
                        sign, r = code_bin(mode, r, buf, contexts, SIGN_PLACE + left_sign * 3 + up_sign, sign)
                    # 4. The rest of the mantissa, and the sign before it, as they are.
                    bits = width + (1 if signs == RAW_SIGNS else 0)
                    if mode == DECODE:
                        if not room(raw, raw_bit, bits):
                            return r, raw_bit, RAW_EXHAUSTED
                        rest = get_bits(raw, raw_bit, bits)
                        if signs == RAW_SIGNS:
                            sign = rest >> width
                        mantissa = top << width | (rest & ((1 << width) - 1))
                    else:
                        rest = mantissa & ((1 << width) - 1)
                        put_bits(raw, raw_bit, sign << width | rest if signs == RAW_SIGNS else rest, bits)
                    raw_bit += bits
                # 5. The means, and the weights of row and column in the expectation.
                width = mantissa_bits - shift if is_float else cls - 1
                top = mantissa >> (width - 2) if width >= 2 else mantissa << (2 - width)
                log = cls * OCTAVE + e + (top << 6) + 32
                gain = _clip(-512, log - e - expected, 512) * (655 << 12) // (1311 + power)
                row_weight = _clip(-WEIGHT_MAX, row_weight + ((gain * x) >> 12), WEIGHT_MAX)
                column_weight = _clip(-WEIGHT_MAX, column_weight + ((gain * y) >> 12), WEIGHT_MAX)
                power += (x * x + y * y - power) >> 8
                if count == 0:
                    row, column, overall = log, log, log
                column = _moved(column, log, min(column_count + 2, COLUMN_WINDOW)) if column_count else log
                columns[j] = column << 8 | min(column_count + 1, COLUMN_WINDOW)
                row_count += 1
                row = _moved(row, log, min(row_count + 1, ROW_WINDOW))
                count = min(count + 1, OVERALL_WINDOW)
                overall = _moved(overall, log, count)
                left_sign = 1 + sign
                above[j] = left_sign << 1
            if mode == DECODE:
                v = _float_word(cls, sign, mantissa, layout, shift) if is_float else _integer(cls, sign, mantissa, shift)
                values[i, j] = v
            if repeats:
                past[n & (len(past) - 1)] = v
            n += 1
    for k, s in enumerate((overall, count, row_weight, column_weight, power, shift, repeats, n, source, direction,
                           length, flips)):
        state[k] = s
    return r, raw_bit, OK


@compiled
def _encode_rows(values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit):
    return _code_rows(ENCODE, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit)


@compiled
def _decode_rows(values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit):
    return _code_rows(DECODE, values, exponents, layout, columns, above, past, table, state, contexts, r, buf, raw, raw_bit)


def _layout(dtype: DType, predictor: np.ndarray | None, params: WordParameters) -> np.ndarray:
    """What the loop needs to know of the type and of the parameters, as int64."""
    is_float = dtype.kind == "f" and predictor is None
    mantissa = max(dtype.mantissa - params.shift, 0) if is_float else 0
    max_class = 1 << dtype.exponent if is_float else max(dtype.bits - params.shift, 1)
    return np.array([is_float, dtype.exponent + mantissa, mantissa, max_class, params.zeros, params.signs,
                     params.row_shifts], np.int64)


def _new_state(shape: tuple[int, int], dtype: DType, predictor: np.ndarray | None, params: WordParameters) -> tuple:
    """Column means and counts, zeros and signs of the row above, past words and their table, scalars (SPEC 9.5.2)."""
    usual = 4 if dtype.kind != "f" else (1 << dtype.exponent >> 1) - 5 + (0 if predictor is None else dtype.mantissa - 7)
    weight = WEIGHT_START[params.scale_rule]
    window = 1
    if dtype.kind == "f" and predictor is None:
        window = min(WINDOW_MAX, 1 << max(shape[0] * shape[1] - 1, 1).bit_length())
    scalars = [usual * OCTAVE, 0, weight, weight, 0, 0, params.repeats, 0, 0, 0, 0, 0]
    return (np.zeros(shape[1], np.int64), np.zeros(shape[1], np.int64), np.zeros(window, np.int64),
            np.zeros(window, np.int32), np.array(scalars, np.int64))


def _chunks(shape: tuple[int, ...]):
    step = max(1, CHUNK // max(1, shape[1]))
    return (slice(i, min(i + step, shape[0])) for i in range(0, shape[0], step))


def encode_words(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters,
                 contexts: np.ndarray, r: Coder, buf: np.ndarray, raw: np.ndarray, raw_bit: int
                 ) -> tuple[Coder, int, int]:
    """Code one segment (whole rows of a folded tensor) of words (SPEC 9.5).

    words: [rows, cols], unsigned of dtype.word, below 2^dtype.bits.  predictor: the same, or None.
    contexts: from new_word_contexts(), adapted in place.  r, buf: range coder and its uint8 buffer.
    raw: uint8 buffer of the bypass substream, written from bit raw_bit on.
    Returns (coder, next raw bit, status).  Status BUFFER_FULL: grow buf and raw and code the segment
    anew from copies of contexts, r and raw_bit made before; OK otherwise.
    """
    layout = _layout(dtype, predictor, params)
    state = _new_state(words.shape, dtype, predictor, params)
    for rows in _chunks(words.shape):
        part = None if predictor is None else predictor[rows]
        values = _values(words[rows], part, dtype, params)
        r, raw_bit, status = _encode_rows(values, _exponents(part, dtype), layout, *state,
                                          contexts, Coder(*r), buf, raw, raw_bit)
        if status != OK:
            return r, raw_bit, status
    return r, raw_bit, OK


def decode_words(words: np.ndarray, predictor: np.ndarray | None, dtype: DType, params: WordParameters,
                 contexts: np.ndarray, r: Coder, buf: np.ndarray, raw: np.ndarray, raw_bit: int
                 ) -> tuple[Coder, int, int]:
    """Inverse of encode_words: fills words [rows, cols], reading buf through r and raw from bit raw_bit on.

    Returns (coder, next raw bit, status): OK, MALFORMED (a class that the type does not have, or the
    payload ran out) or RAW_EXHAUSTED; after an error the contents of words are undefined.
    """
    layout = _layout(dtype, predictor, params)
    state = _new_state(words.shape, dtype, predictor, params)
    for rows in _chunks(words.shape):
        part = None if predictor is None else predictor[rows]
        values = np.empty(words[rows].shape, np.int64)
        r, raw_bit, status = _decode_rows(values, _exponents(part, dtype), layout, *state,
                                          contexts, Coder(*r), buf, raw, raw_bit)
        if status != OK:
            return r, raw_bit, status
        words[rows] = _words(values, part, dtype, params)
    return r, raw_bit, OK


# The encoder's choices (informative).

def choose_parameters(words: np.ndarray, dtype: DType, predictor: np.ndarray | None = None) -> WordParameters:
    """Parameters that suit the words [rows, cols]; predictor: None or an array like them."""
    params = WordParameters()
    if predictor is None and dtype.kind != "f" and words.size:
        params.offset = _median(words, dtype)
    is_float = dtype.kind == "f" and predictor is None
    gathered, negative, positive, zeros = 0, 0, 0, 0
    magnitude = (1 << (dtype.bits - dtype.sign)) - 1
    for rows in _chunks(words.shape):
        values = _values(words[rows], None if predictor is None else predictor[rows], dtype, params)
        gathered |= int(np.bitwise_or.reduce(values, axis=None))
        nonzero = (values & magnitude if is_float else values) != 0
        below = (values >> (dtype.bits - 1)) & 1 if is_float else values < 0
        below = below.astype(bool) if dtype.sign or not is_float else np.zeros_like(nonzero)
        zeros += values.size - int(nonzero.sum())
        negative += int((nonzero & below).sum())
        positive += int((nonzero & ~below).sum())
        params.signs |= int((below & ~nonzero).any()) << 8     # a -0 somewhere
    minus_zero, params.signs = params.signs >> 8, params.signs & 255
    params.zeros = int(zeros > 0)
    if negative == 0 and not minus_zero:
        params.signs = NO_SIGNS
    elif min(negative, positive) < 0.45 * (negative + positive):
        params.signs = MODELLED_SIGNS
    bits = dtype.mantissa if is_float else dtype.bits - 1
    while params.shift < bits and not gathered >> params.shift & 1:
        params.shift += 1
    if words.shape[1] >= 16:
        plain = estimate_bits(words, predictor, dtype, params)
        params.row_shifts = 1
        if estimate_bits(words, predictor, dtype, params) >= plain:
            params.row_shifts = 0
    if dtype.kind == "f" and predictor is None:
        params.repeats = 1
        if estimate_bits(words, predictor, dtype, params) >= estimate_bits(words, predictor, dtype, replace(params, repeats=0)):
            params.repeats = 0
    if min(words.shape) > 4:
        plain = estimate_bits(words, predictor, dtype, params)
        params.scale_rule = 1
        if estimate_bits(words, predictor, dtype, params) >= plain:
            params.scale_rule = 0
    return params


def _median(words: np.ndarray, dtype: DType) -> int:
    """The word in the middle of a sample, if it spares an unsigned or shifted array its bias; else 0."""
    sample = words.reshape(-1)[:: max(1, words.size // 65536)].astype(np.int64)
    if dtype.kind == "i":
        sample = _signed(sample, dtype.bits)
    middle = np.sort(sample)[sample.size // 2]
    spread = np.abs(sample - middle)
    if np.median(spread) * 4 > abs(int(middle)):
        return 0
    return int(middle) & ((1 << dtype.bits) - 1)


SAMPLE = 1 << 15


def estimate_bits(words: np.ndarray, predictor: np.ndarray | None, dtype: DType,
                  params: WordParameters | None = None) -> float:
    """Estimate of the coded size in bits, from a band of rows of at most about 32768 elements, coded for real."""
    if words.size == 0:
        return 0.0
    rows = max(1, min(words.shape[0], SAMPLE // max(1, words.shape[1])))
    first = (words.shape[0] - rows) // 2
    words_part = words[first:first + rows, :SAMPLE]
    part = None if predictor is None else predictor[first:first + rows, :SAMPLE]
    params = params or choose_parameters(words_part, dtype, part)
    raw = np.zeros(words_part.size * (dtype.bits // 8 + 2) + 64, np.uint8)
    buf = np.zeros(words_part.size * 5 + 1024, np.uint8)
    r, raw_bit, status = encode_words(words_part, part, dtype, params, new_word_contexts(), encoder_start(buf), buf,
                                      raw, 0)
    assert status == OK
    return (8.0 * (r.pos + r.pending) + raw_bit) * words.size / words_part.size
