"""What the loops of words and of maps share: bins, classes, and words in their parts (SPEC 8.4.3, 9.5.6)."""

from __future__ import annotations

import numpy as np

from ..compiler import at, bit_length, inlined
from .range_coder import WORD_COUNT_LIMIT, Coder, code_bin, code_bypass
from .watch import ENCODE, clause, step

# Statuses. MALFORMED: a class that does not exist; ENDED: the payload ended early; BUFFER_FULL is the encoder's.
OK, BUFFER_FULL, MALFORMED, RAW_EXHAUSTED, BAD_SHIFT, BAD_ESCAPE, ENDED = range(7)

ROOM = 256                  # bytes of buf that one element may need at most
OCTAVE = 256                # logarithmic magnitudes are in 1/256 octave
OVERALL_WINDOW = 1024
RATE, POWER_FLOOR = 655 << 20, 1311                     # of the adaptation of weights
UP_STEPS, DOWN_STEPS = 12, 15
CLASS_NODES = 1 + UP_STEPS + DOWN_STEPS     # direction, steps up, steps down
ESCAPE_MAX = 13             # zeros before the one of an Exp-Golomb escape: fewer than this
TRAILING_MAX = 12           # trailing zero bits of a mantissa that are modelled
RECIPROCAL = np.array([0] + [65536 // d for d in range(1, OVERALL_WINDOW + 1)], dtype=np.int64)


@inlined
def word_bin(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, i: int, bit: int) -> tuple[int, Coder]:
    return code_bin(mode, r, buf, contexts, i, WORD_COUNT_LIMIT, bit)


@inlined
def clip(low: int, x: int, high: int) -> int:
    return min(max(x, low), high)


@inlined
def moved_mean(mean: int, value: int, divisor: int) -> int:
    return mean + (((value - mean) * int(RECIPROCAL[at(divisor)])) >> 16)


@clause("9.5.6")
@inlined
def _code_steps(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, place: int, limit: int,
                steps: int) -> tuple[int, Coder, int]:
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
def code_class(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, place: int, centre: int,
               value: int) -> tuple[int, Coder, int]:
    # Unary away from the centre. Returns (class, coder, 1 if well formed).
    up, r = word_bin(mode, r, buf, contexts, place, 1 if value > centre else 0)
    first, limit = (place + 1, UP_STEPS) if up else (place + 1 + UP_STEPS, DOWN_STEPS)
    steps, r, ok = _code_steps(mode, r, buf, contexts, first, limit, value - centre - 1 if up else centre - value)
    return (centre + 1 + steps if up else centre - steps), r, ok


@clause("8.4.3")
@inlined
def float_parts(v: int, magnitude_bits: int, mantissa_bits: int, shift: int) -> tuple[int, int, int]:
    # (class, sign, mantissa) of a float word; float_word is the inverse.
    magnitude = v & ((1 << magnitude_bits) - 1)
    cls = 0 if magnitude == 0 else 1 + (magnitude >> mantissa_bits)
    return cls, (v >> magnitude_bits) & 1, (magnitude & ((1 << mantissa_bits) - 1)) >> shift


@clause("8.4.3")
@inlined
def float_word(cls: int, sign: int, mantissa: int, magnitude_bits: int, mantissa_bits: int, shift: int) -> int:
    return (-sign << magnitude_bits) | (max(cls, 1) - 1) << mantissa_bits | mantissa << shift


@inlined
def integer_parts(v: int, shift: int) -> tuple[int, int, int]:
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
def integer_of(cls: int, sign: int, mantissa: int, shift: int) -> int:
    if cls == 0:
        return 0
    if cls + shift == 64:
        return -(1 << 63)
    magnitude = (1 << (cls - 1) | mantissa) << shift
    return -magnitude if sign else magnitude
