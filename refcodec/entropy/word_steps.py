"""The steps of an element of words (SPEC 9.5.4 to 9.5.7), and what their contexts are for.

1. code_repeat: a magnitude that came before, or not.  2. code_zero: zero or not.  3. code_magnitude: the class away
from the expected one, and the two top bits of the mantissa.  4. code_rest: the sign, trailing zeros, and the rest in
the bypass substream.  5. updated: the expected logarithmic magnitude is a weighted sum of the running means of row and
column, with weights that adapt.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler import at, inlined
from .bit_packing import get_bits, put_bits, room
from .range_coder import WORD_COUNT_LIMIT, Coder, code_bypass
from .watch import DECODE, ContextTable, clause, step
from .word_parts import (
    BAD_ESCAPE,
    CLASS_NODES,
    MALFORMED,
    OCTAVE,
    OK,
    OVERALL_WINDOW,
    TRAILING_MAX,
    UP_STEPS,
    clip,
    code_class,
    float_parts,
    moved_mean,
    word_bin,
)

NO_SIGNS, RAW_SIGNS, MODELLED_SIGNS = 0, 1, 2
ROW_WINDOW, COLUMN_WINDOW = 64, 128
WEIGHT_START, WEIGHT_MAX = (32768, 65536, 0), 1 << 17      # by scale_rule; 1.0 is 65536
WINDOW_MAX = 1 << 16        # elements back that a repeat may lie
STEADY = 2                  # scale_rule: no weights, contexts by the overall mean or the predictor's exponent alone
ZERO_BUCKETS, REPEAT_MAX = 32, 15
PHASES, SLOPES = 4, 5


def _no_mantissa(i: int, bit: int) -> bool:
    # Each four have one too many; integers of class 1 have no bits (set 9), those of class 2 one (set 10).
    return i % 4 == 3 or i // 4 == 9 or i // 4 == 10 and i % 4 > 0


def _below_class_1(i: int, bit: int) -> bool:
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


class Format(NamedTuple):
    """What the steps have to know of the words, from layout_of( ) of words.py.

    steady: word_scale_rule is 2.  predicted: the predictor's exponents are known.  by_exponent: they choose contexts.
    """

    is_float: int
    magnitude_bits: int
    mantissa_bits: int
    max_class: int
    zeros: int
    signs: int
    row_shifts: int
    steady: int
    trailing: int
    predicted: int
    by_exponent: int


@clause("9.5.2")
@inlined
def format_of(layout: np.ndarray, exponents: np.ndarray, rows: int, cols: int) -> Format:
    steady = 1 if int(layout[7]) == STEADY else 0
    predicted = 1 if exponents.shape[0] == rows and exponents.shape[1] == cols else 0
    return Format(int(layout[0]), int(layout[1]), int(layout[2]), int(layout[3]), int(layout[4]), int(layout[5]),
                  int(layout[6]), steady, int(layout[8]), predicted, 1 if steady and predicted else 0)


@inlined
def row_shift(values: np.ndarray, i: int, limit: int) -> int:
    """How many more low bits are zero in all of a row, at most limit."""
    gathered, shift = 0, 0
    for j in range(values.shape[1]):
        gathered |= int(values[at(i), at(j)])
    while shift < limit and not (gathered >> shift) & 1:
        shift += 1
    return shift


@step("row shift")
@clause("9.5.4")
@inlined
def code_row_shift(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, limit: int, before: int,
                   shift: int) -> tuple[int, Coder]:
    """The shift of a row, by that of the row before. limit: for those who choose it. Returns (shift, coder)."""
    same, r = word_bin(mode, r, buf, contexts, SHIFT_PLACE, 1 if shift == before else 0)
    return (before, r) if same else code_bypass(mode, r, buf, 6, shift)


# 1. Repeats

class Source(NamedTuple):
    """Where the next repeat is looked for (SPEC 9.5.5); flips: the last two signs of repeats."""

    position: int
    direction: int
    length: int
    flips: int


@clause("9.5.5")
@inlined
def _find_repeat(n: int, past: np.ndarray, table: np.ndarray, mask: int) -> tuple[int, int]:
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


@clause("9.5.5")
@inlined
def code_repeat(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, f: Format, shift: int, n: int,
                past: np.ndarray, table: np.ndarray, source: Source, v: int,
                parts: tuple[int, int, int]) -> tuple[int, tuple[int, int, int], Source, Coder]:
    """Whether the magnitude at the source comes again as element n; then its sign. v: the word; parts: its class, sign
    and mantissa. Returns (repeated, parts, source, coder)."""
    position, direction, length, flips = source
    magnitude_mask = (1 << f.magnitude_bits) - 1
    if length and (position < 0 or n - position > len(past) - 2):
        length = 0
    found, found_direction = _find_repeat(n, past, table, magnitude_mask)
    if not length and found >= 0:
        position, direction, length = found, found_direction, 1
    if not length:
        return 0, parts, Source(position, direction, length, flips), r
    there = int(past[at(position & (len(past) - 1))])
    repeated, r = word_bin(mode, r, buf, contexts, REPEAT_PLACE + length,
                           1 if (v & magnitude_mask) == (there & magnitude_mask) else 0)
    position += direction
    if not repeated:
        return 0, parts, Source(position, direction, 0, flips), r
    cls, sign, mantissa = float_parts(there, f.magnitude_bits, f.mantissa_bits, 0)
    flip, r = word_bin(mode, r, buf, contexts, REPEAT_SIGN_PLACE + (flips & 3), parts[1] ^ sign)
    flips = flips << 1 & 3 | flip
    return 1, (cls, flip ^ sign, mantissa >> shift), Source(position, direction, min(length + 1, REPEAT_MAX), flips), r


# 2. Zero or not

@clause("9.5.3")
@inlined
def code_zero(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, f: Format, expected: int, e: int,
              zeros_around: int, zero: int) -> tuple[int, Coder]:
    """Whether an element is zero, by the zeros around it and the expected logarithmic magnitude, or by the predictor's
    exponent. Returns (zero, coder)."""
    place = ZERO_PLACE + zeros_around * ZERO_BUCKETS + clip(0, (expected >> 7) + 12, ZERO_BUCKETS - 1)
    if f.by_exponent:
        place = EXPONENT_PLACE + ((e >> 8) & 31) * (1 + CLASS_NODES)
    return word_bin(mode, r, buf, contexts, place, zero)


# 3. Class and top bits

@clause("9.5.6")
@inlined
def _width(f: Format, cls: int, shift: int) -> int:
    # Bits of a mantissa.
    return f.mantissa_bits - shift if f.is_float else cls - 1


@clause("9.5.6")
@inlined
def _code_top(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, place: int, width: int,
              mantissa: int) -> tuple[int, int, Coder]:
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
def code_magnitude(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, f: Format, shift: int, expected: int,
                   e: int, slope: int, cls: int, mantissa: int) -> tuple[int, int, int, Coder, int]:
    """The class of what is not zero, and the top bits of its mantissa. slope: of magnitudes between row and column.
    Returns (class, top bits, bits below them, coder, status)."""
    centre = clip(1, (expected + OCTAVE // 2) >> 8, f.max_class)
    phase = ((expected + OCTAVE // 2) & 255) >> 6
    place = CLASS_PLACE + (phase * SLOPES + slope) * CLASS_NODES
    if f.by_exponent:
        centre, place = 1, EXPONENT_PLACE + ((e >> 8) & 31) * (1 + CLASS_NODES) + 1
    cls, r, ok = code_class(mode, r, buf, contexts, place, centre, cls)
    if not ok:
        return cls, 0, 0, r, BAD_ESCAPE
    if cls < 1 or cls + (0 if f.is_float else shift) > f.max_class:
        return cls, 0, 0, r, MALFORMED
    place = MANTISSA_PLACE + 4 * (clip(-4, cls - centre, 4) + 4 if f.is_float or cls > 3 else 8 + cls)
    top, width, r = _code_top(mode, r, buf, contexts, place, _width(f, cls, shift), mantissa)
    return cls, top, width, r, OK


# 4. The rest of the mantissa

@clause("9.5.6")
@inlined
def _code_trailing(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, cls: int, width: int,
                   mantissa: int) -> tuple[int, int, Coder]:
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


@clause("9.5.6")
@inlined
def code_rest(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, f: Format, signs_around: int, raw: np.ndarray,
              raw_bit: int, cls: int, sign: int, top: int, width: int, mantissa: int) -> tuple[int, int, int, Coder]:
    """The sign, the trailing zeros, and the `width` bits below the top bits that remain, as they are. Returns (sign,
    mantissa, next raw bit or -1, coder)."""
    if f.signs == MODELLED_SIGNS:
        sign, r = word_bin(mode, r, buf, contexts, SIGN_PLACE + signs_around, sign)
    low, known = 0, 0                # the low bits of the mantissa, where they are modelled
    if f.trailing:
        low, known, r = _code_trailing(mode, r, buf, contexts, cls, width, mantissa)
    width -= known
    bits = width + (1 if f.signs == RAW_SIGNS else 0)
    if mode == DECODE:
        if not room(raw, raw_bit, bits):
            return sign, mantissa, -1, r
        rest = get_bits(raw, raw_bit, bits)
        if f.signs == RAW_SIGNS:
            sign = rest >> width
        mantissa = (top << width | (rest & ((1 << width) - 1))) << known | low
    else:
        rest = (mantissa >> known) & ((1 << width) - 1)
        put_bits(raw, raw_bit, sign << width | rest if f.signs == RAW_SIGNS else rest, bits)
    return sign, mantissa, raw_bit + bits, r


# 5. Means and weights

class Means(NamedTuple):
    """What a magnitude is expected from, through a segment (SPEC 9.5.2)."""

    overall: int
    elements: int       # that it is the mean of, at most OVERALL_WINDOW
    row_weight: int
    column_weight: int
    power: int


@clause("9.5.7")
@inlined
def logarithm(f: Format, cls: int, mantissa: int, shift: int) -> int:
    """The magnitude in 1/256 octave, from the class and two bits of the mantissa."""
    width = _width(f, cls, shift)
    top = mantissa >> (width - 2) if width >= 2 else mantissa << (2 - width)
    return cls * OCTAVE + (top << 6) + 32


@clause("9.5.7")
@inlined
def updated(means: Means, f: Format, log: int, gain: int, x: int, y: int) -> Means:
    """The means after an element that is not zero, x and y being row and column against the mean of all."""
    row_weight, column_weight = means.row_weight, means.column_weight
    if not f.steady:
        row_weight = clip(-WEIGHT_MAX, row_weight + ((gain * x) >> 12), WEIGHT_MAX)
        column_weight = clip(-WEIGHT_MAX, column_weight + ((gain * y) >> 12), WEIGHT_MAX)
    power = means.power + ((x * x + y * y - means.power) >> 8)
    elements = min(means.elements + 1, OVERALL_WINDOW)
    overall = moved_mean(means.overall if means.elements else log, log, elements)
    return Means(overall, elements, row_weight, column_weight, power)
