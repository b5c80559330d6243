"""The loop that codes the words of feature maps (SPEC 9.6): one source, run as encoder and as decoder.

Per element: zero or not, by the zeros around it; a repeat of the word above, to the left, or repeated last; class,
sign and three mantissa bits, by the magnitudes around it; trailing zeros, by class; the rest in the bypass substream.
Left, upper left, upper and upper right neighbour count if they lie in the same plane of `plane_rows` rows.
"""

from __future__ import annotations

import numpy as np

from ..compiler import at, compiled, inlined
from .bit_packing import get_bits, put_bits, room
from .range_coder import WORD_COUNT_LIMIT, Coder
from .watch import DECODE, ENCODE, ContextTable, clause
from .word_parts import (
    BAD_ESCAPE,
    BUFFER_FULL,
    CLASS_NODES,
    ENDED,
    MALFORMED,
    OCTAVE,
    OK,
    POWER_FLOOR,
    RATE,
    RAW_EXHAUSTED,
    ROOM,
    TRAILING_MAX,
    clip,
    code_class,
    float_parts,
    float_word,
    integer_of,
    integer_parts,
    moved_mean,
    word_bin,
)

PLANE_WINDOW, OVERALL_WINDOW = 256, 1024
WEIGHT_ONE, WEIGHT_MAX = 65536, 1 << 17

# How an element came about, as its neighbours see it.
CODED, AS_UP, AS_LEFT, AS_BEFORE = 0, 1, 2, 3

# What is known of the magnitude: 0..3 by the ratio of left and upper neighbour, 4 they differ in sign, 5 one of them is
# zero, 6..9 by the ratio of the predictor to them.
SETTINGS, PREDICTED = 10, 6
PHASES, DISTANCES = 8, 7
TOP_BITS = 3                # of the mantissa, modelled


def _no_mantissa(i: int, bit: int) -> bool:
    # Each eight have one too many; integers of class 2 have one bit (distance 5), those of class 3 two (distance 6).
    distance, node = i // (PHASES << TOP_BITS), i % (1 << TOP_BITS)
    return node == 0 or distance == 5 and node > 1 or distance == 6 and node > 3


MAPS = ContextTable("9.6", "map", WORD_COUNT_LIMIT)
ZERO_PLACE = MAPS.add("map_zero_flag", "zero flags", 16 * 16, row=16)
ZERO_PREDICTED_PLACE = MAPS.add("map_zero_flag", "zero flags with predictor", 16 * 3 * 8, row=8)
ZERO_SIGN_PLACE = MAPS.add("map_zero_sign_flag", "signs of zeros", 1)
SAME_PLACE = MAPS.add("map_as_predictor_flag", "as the predictor", 4)
UP_PLACE = MAPS.add("map_as_above_flag", "as above", 16)
# If the left word is as the one above, and that one as its left, both are equal: the left one is not tried.
LEFT_PLACE = MAPS.add("map_as_left_flag", "as to the left", 16, unused=lambda i, bit: i == 4 * AS_LEFT + AS_UP)
# A left word that is itself as another is the one repeated last.
BEFORE_PLACE = MAPS.add("map_as_repeated_flag", "as repeated last", 16, unused=lambda i, bit: i % 4 != CODED)
SIGN_PLACE = MAPS.add("map_value_sign_flag", "signs", 27)
MANTISSA_PLACE = MAPS.add("map_mantissa_bit", "mantissa bits", DISTANCES * PHASES << TOP_BITS, unused=_no_mantissa)
CLASS_PLACE = MAPS.add("map_class_bin", "classes", SETTINGS * PHASES * CLASS_NODES, row=CLASS_NODES)
TRAILING_PLACE = MAPS.add("map_trailing_zero_flag", "trailing zeros", 32 * TRAILING_MAX, row=TRAILING_MAX)
CONTEXTS = MAPS.size


@clause("9.6.2")
@inlined
def _logarithm(cls: int, mantissa: int, width: int) -> int:
    # In 1/256 octave, from class and eight mantissa bits.
    return cls * OCTAVE + (mantissa >> (width - 8) if width >= 8 else mantissa << (8 - width))


@clause("9.6.3")
@inlined
def _ratio(x: int, y: int) -> int:
    # 0..3: how far two logarithmic magnitudes lie apart.
    d = abs(x - y)
    return (1 if d >= 64 else 0) + (1 if d >= 160 else 0) + (1 if d >= 384 else 0)


@clause("9.6.5")
@inlined
def _code_mantissa(mode: int, contexts: np.ndarray, cls: int, place: int, width: int, mantissa: int, r: Coder,
                   buf: np.ndarray, raw: np.ndarray, raw_bit: int) -> tuple[int, Coder, int]:
    # Top bits, trailing zeros, and what is between in the bypass substream. Returns (mantissa, coder, next raw bit).
    node, low, known = 1, 0, 0
    while width > 0 and node < 1 << TOP_BITS:
        width -= 1
        bit, r = word_bin(mode, r, buf, contexts, place + node, (mantissa >> width) & 1)
        node = node << 1 | bit
    place = TRAILING_PLACE + (cls & 31) * TRAILING_MAX
    limit = min(width, TRAILING_MAX)
    while known < limit and low == 0:
        zero, r = word_bin(mode, r, buf, contexts, place + known, 1 if (mantissa >> known) & 1 == 0 else 0)
        low = 0 if zero else 1 << known
        known += 1
    top = node - (1 << (1 if node < 4 else 2 if node < 8 else 3)) if node > 1 else 0
    bits = width - known
    if mode == DECODE:
        if not room(raw, raw_bit, bits):
            return 0, r, -1
        return (top << bits | get_bits(raw, raw_bit, bits)) << known | low, r, raw_bit + bits
    put_bits(raw, raw_bit, (mantissa >> known) & ((1 << bits) - 1), bits)
    return mantissa, r, raw_bit + bits


@clause("9.6.3")
@inlined
def _expectation(left: int, up: int, there_log: int, plane: int, weights: np.ndarray) -> tuple[int, int, int, int]:
    # (expected logarithmic magnitude, setting, the neighbours and the predictor against the mean of the plane).
    left_log, up_log = left >> 5, up >> 5
    x, y, setting = 0, 0, 5
    if left_log and up_log:
        x = (left_log + up_log >> 1) - plane
        setting = _ratio(left_log, up_log) if (left ^ up) & 24 == 0 else 4
    elif left_log or up_log:
        x = left_log + up_log - plane
    if there_log:
        y = there_log - plane
        setting = PREDICTED + _ratio(x, y)
    return plane + ((int(weights[at(setting), 0]) * x + int(weights[at(setting), 1]) * y) >> 16), setting, x, y


@clause("9.6.3")
@inlined
def _code_zero(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, left: int, up: int, upper_left: int,
               upper_right: int, predicted: int, there_log: int, expected: int, overall: int,
               zero: int) -> tuple[int, Coder]:
    pattern = ((1 if left >> 5 else 0) | (2 if up >> 5 else 0) | (4 if upper_left >> 5 else 0)
               | (8 if upper_right >> 5 else 0))
    if predicted:
        same = (left >> 2 & 1) + (up >> 2 & 1)
        place = ZERO_PREDICTED_PLACE + (pattern * 3 + same) * 8
        if there_log:
            place += 1 + clip(0, (there_log - overall >> 8) + 3, 6)
    else:
        place = ZERO_PLACE + pattern * 16 + clip(0, (expected - overall >> 7) + 8, 15)
    return word_bin(mode, r, buf, contexts, place, zero)


@clause("9.6.4")
@inlined
def _code_again(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, equals: int, v: int, left: int,
                left_value: int, up: int, up_value: int, before: tuple[int, int, int], there: int, there_log: int,
                there_sign: int) -> tuple[int, tuple[int, int, int], int, tuple[int, int, int], Coder]:
    # The predictor's, the upper, the left word, or the one repeated last. before: (word, logarithm, sign), as here is.
    # Returns (1 if so, here, origin, before, coder).
    if there_log:
        again, r = word_bin(mode, r, buf, contexts, SAME_PLACE + (left >> 1 & 2) + (up >> 2 & 1),
                            1 if v == there else 0)
        if again:
            return 1, (there, there_log, there_sign), CODED, before, r
    if equals:
        history = (up & 3) << 2 | left & 3
        if up >> 5:
            again, r = word_bin(mode, r, buf, contexts, UP_PLACE + history, 1 if v == up_value else 0)
            if again:
                here = (up_value, up >> 5, (up >> 3 & 3) - 1)
                return 1, here, AS_UP, here, r
        if left >> 5 and not (up >> 5 and left_value == up_value):
            again, r = word_bin(mode, r, buf, contexts, LEFT_PLACE + history, 1 if v == left_value else 0)
            if again:
                here = (left_value, left >> 5, (left >> 3 & 3) - 1)
                return 1, here, AS_LEFT, here, r
        if before[1] and not (up >> 5 and before[0] == up_value) and not (left >> 5 and before[0] == left_value):
            again, r = word_bin(mode, r, buf, contexts, BEFORE_PLACE + history, 1 if v == before[0] else 0)
            if again:
                return 1, before, AS_BEFORE, before, r
    return 0, (v, 0, 0), CODED, before, r


@clause("9.6.3")
@inlined
def _adapt(weights: np.ndarray, setting: int, gain: int, x: int, y: int) -> None:
    weights[at(setting), 0] = clip(-WEIGHT_MAX, int(weights[at(setting), 0]) + ((gain * x) >> 12), WEIGHT_MAX)
    weights[at(setting), 1] = clip(-WEIGHT_MAX, int(weights[at(setting), 1]) + ((gain * y) >> 12), WEIGHT_MAX)


@clause("9.6.2")
@inlined
def _parts(v: int, is_float: int, magnitude_bits: int, mantissa_bits: int) -> tuple[int, int, int]:
    return float_parts(v, magnitude_bits, mantissa_bits, 0) if is_float else integer_parts(v, 0)


@clause("9.6.3")
@inlined
def _code_planes(mode: int, values: np.ndarray, predictor: np.ndarray, layout: np.ndarray, above: np.ndarray,
                 above_values: np.ndarray, weights: np.ndarray, state: np.ndarray, contexts: np.ndarray, r: Coder,
                 buf: np.ndarray, raw: np.ndarray, raw_bit: int) -> tuple[Coder, int, int]:
    # above: of the last row, and one more: logarithm << 5 | sign (0 zero, 1 positive, 2 negative) << 3 | same << 2
    # | origin.
    rows, cols = values.shape
    is_float, magnitude_bits, mantissa_bits, max_class = int(layout[0]), int(layout[1]), int(layout[2]), int(layout[3])
    plane_rows, signs, equals = int(layout[4]), int(layout[5]), int(layout[6])
    predicted = 1 if predictor.shape[0] == rows else 0
    row, overall, count, plane, plane_count, power = (int(state[0]), int(state[1]), int(state[2]), int(state[3]),
                                                      int(state[4]), int(state[5]))
    before = (int(state[6]), int(state[7]), int(state[8]))
    for i in range(rows):
        if row % plane_rows == 0:
            above[:] = 0
            plane, plane_count = overall, 0
        left, left_value, upper_left, rate = 0, 0, 0, 0
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
                cls, sign, mantissa = _parts(v, is_float, magnitude_bits, mantissa_bits)
            up, upper_right, up_value = int(above[at(j)]), int(above[at(j + 1)]), int(above_values[at(j)])
            there, there_sign, there_log = 0, 0, 0
            if predicted:
                there = int(predictor[at(i), at(j)])
                there_cls, there_sign, there_mantissa = _parts(there, is_float, magnitude_bits, mantissa_bits)
                if there_cls:
                    there_log = _logarithm(there_cls, there_mantissa, mantissa_bits if is_float else there_cls - 1)

            # 1. What is expected, and zero or not.
            expected, setting, x, y = _expectation(left, up, there_log, plane, weights)
            zero, r = _code_zero(mode, r, buf, contexts, left, up, upper_left, upper_right, predicted, there_log,
                                 expected, overall, 1 if cls == 0 else 0)
            here = 0
            if zero:
                if is_float and signs:
                    sign, r = word_bin(mode, r, buf, contexts, ZERO_SIGN_PLACE, sign)
                v = float_word(0, sign, 0, magnitude_bits, mantissa_bits, 0) if is_float else 0
            else:
                # 2. A word again.
                again, (v, log, known_sign), origin, before, r = _code_again(
                    mode, r, buf, contexts, equals, v, left, left_value, up, up_value, before, there, there_log,
                    there_sign)
                sign = known_sign if again else sign
                if not again:
                    # 3. Class, sign and mantissa.
                    centre = clip(1, (expected + OCTAVE // 2) >> 8, max_class)
                    phase = (expected + OCTAVE // 2 & 255) >> 5
                    place = CLASS_PLACE + (setting * PHASES + phase) * CLASS_NODES
                    cls, r, ok = code_class(mode, r, buf, contexts, place, centre, cls)
                    if not ok:
                        return r, raw_bit, BAD_ESCAPE
                    if cls < 1 or cls > max_class:
                        return r, raw_bit, MALFORMED
                    if signs:
                        around = ((left >> 3 & 3) * 3 + (up >> 3 & 3)) * 3 + (1 + there_sign if there_log else 0)
                        sign, r = word_bin(mode, r, buf, contexts, SIGN_PLACE + around, sign)
                    width = mantissa_bits if is_float else cls - 1
                    distance = clip(-2, cls - centre, 2) + 2 if is_float or cls > 3 else 3 + cls
                    place = MANTISSA_PLACE + (distance * PHASES + phase << TOP_BITS)
                    mantissa, r, raw_bit = _code_mantissa(mode, contexts, cls, place, width, mantissa, r, buf, raw,
                                                          raw_bit)
                    if raw_bit < 0:
                        return r, raw_bit, RAW_EXHAUSTED
                    if mode == DECODE:
                        v = (float_word(cls, sign, mantissa, magnitude_bits, mantissa_bits, 0) if is_float
                             else integer_of(cls, sign, mantissa, 0))
                    log = _logarithm(cls, mantissa, width)

                # 4. The weights and the means.
                _adapt(weights, setting, (clip(-512, log - expected, 512) * rate) >> 8, x, y)
                power += (x * x + y * y - power) >> 8
                if count == 0:
                    overall, plane = log, log
                count = min(count + 1, OVERALL_WINDOW)
                overall = moved_mean(overall, log, count)
                plane_count = min(plane_count + 1, PLANE_WINDOW)
                plane = moved_mean(plane, log, plane_count + 8)
                here = log << 5 | (1 + sign) << 3 | origin
            if predicted and v == there:
                here |= 4
            if mode == DECODE:
                values[at(i), at(j)] = v
            above[at(j)], above_values[at(j)] = here, v
            upper_left, left, left_value = up, here, v
        row += 1
    for k, s in enumerate((row, overall, count, plane, plane_count, power, before[0], before[1], before[2])):
        state[k] = s
    return r, raw_bit, OK


@compiled
def encode_map_rows(values: np.ndarray, predictor: np.ndarray, layout: np.ndarray, above: np.ndarray,
                    above_values: np.ndarray, weights: np.ndarray, state: np.ndarray, contexts: np.ndarray, r: Coder,
                    buf: np.ndarray, raw: np.ndarray, raw_bit: int) -> tuple[Coder, int, int]:
    return _code_planes(ENCODE, values, predictor, layout, above, above_values, weights, state, contexts, r, buf, raw,
                            raw_bit)


@compiled
def decode_map_rows(values: np.ndarray, predictor: np.ndarray, layout: np.ndarray, above: np.ndarray,
                    above_values: np.ndarray, weights: np.ndarray, state: np.ndarray, contexts: np.ndarray, r: Coder,
                    buf: np.ndarray, raw: np.ndarray, raw_bit: int) -> tuple[Coder, int, int]:
    return _code_planes(DECODE, values, predictor, layout, above, above_values, weights, state, contexts, r, buf, raw,
                            raw_bit)
