"""What the two level coders share: trellis state, magnitude statistics and binarisation (SPEC 9.3.2 to 9.3.4)."""

from __future__ import annotations

from ..compiler import at, bit_length, inlined
from .range_coder import code_bypass
from .tables import LOG_BITS, LOG_BUCKET, RECIPROCAL, STEPS_PER_OCTAVE

OK, EXHAUSTED, OUT_OF_RANGE = 0, 1, 2   # status of a level coder; EXHAUSTED: no room, or no payload, is left
LEVEL_MAX = (1 << 30) - 1
ROOM = 256                              # bytes of room that the encoder asks for before each level

# Nodes of the binarisation. Q is the parity of the trellis state, g the class index.
SIGNIFICANT, GREATER_1, GREATER_2 = 0, 2, 4   # + Q
CLASS = 6                                     # + min(g, 13)
SIGN = 20
TOP_BIT = 21                                  # + min(g, 13)
SECOND_BIT = 35                               # + 2 min(g, 13) + top bit
NODES = 64
CLASS_MAX = 28                                # the class of LEVEL_MAX

BUCKETS = 44 * STEPS_PER_OCTAVE + 2           # buckets of any sum of magnitudes below 2^44


@inlined
def trellis_masks(states):
    """The pair (A, B) of the state update; (0, 0) where there is no trellis."""
    if states == 4:
        return 2, 1
    if states == 8:
        return 5, 2
    if states == 16:
        return 9, 2
    if states == 32:
        return 18, 4
    if states == 64:
        return 33, 10
    return 0, 0


@inlined
def sign(x):
    return (1 if x > 0 else 0) - (1 if x < 0 else 0)


@inlined
def log_bucket(v):
    """Logarithmic bucket of v >= 0 (SPEC 9.3.3)."""
    # In steps of four, until v >> octaves is in the table.
    octaves = (max(bit_length(v), LOG_BITS - 3) - (LOG_BITS - 3)) & -4
    return int(LOG_BUCKET[at(v >> octaves)]) + octaves * STEPS_PER_OCTAVE


@inlined
def reciprocal(divisor):
    """65536 / divisor, rounded down, 1 <= divisor <= 256."""
    return int(RECIPROCAL[at(divisor)])


@inlined
def moved(mean, value, part):
    """The running mean after a value: a step of part / 65536 towards it."""
    return mean + (((value - mean) * part) >> 16)


@inlined
def code_level(code, mode, r, buf, model, place, sign_place, positive_place, negative_place, q, k):
    """Code level k in parity q (SPEC 9.3.4). Returns (k, coder); |k| > LEVEL_MAX tells that it is out of range.

    code(mode, r, buf, model, place, node, bit) codes one bin and returns (bin, coder).
    """
    m = abs(k)
    bit, r = code(mode, r, buf, model, place, SIGNIFICANT + q, 1 if m > 0 else 0)
    if not bit:
        return 0, r
    negative, r = code(mode, r, buf, model, sign_place, SIGN, 1 if k < 0 else 0)
    rest_place = negative_place if negative else positive_place
    bit, r = code(mode, r, buf, model, rest_place, GREATER_1 + q, 1 if m > 1 else 0)
    if not bit:
        return (-1 if negative else 1), r
    bit, r = code(mode, r, buf, model, rest_place, GREATER_2 + q, 1 if m > 2 else 0)
    if not bit:
        return (-2 if negative else 2), r
    v = m - 1                     # class g holds 2^(g+1) <= v < 2^(g+2)
    g = 0
    while g <= CLASS_MAX:
        bit, r = code(mode, r, buf, model, rest_place, CLASS + min(g, 13), 1 if v >> (g + 2) else 0)
        if not bit:
            break
        g += 1
    if g > CLASS_MAX:
        return LEVEL_MAX + 1, r
    top, r = code(mode, r, buf, model, rest_place, TOP_BIT + min(g, 13), (v >> g) & 1)
    out = 2 | top
    if g > 0:
        second, r = code(mode, r, buf, model, rest_place, SECOND_BIT + 2 * min(g, 13) + top, (v >> (g - 1)) & 1)
        out = out << 1 | second
        rest, r = code_bypass(mode, r, buf, v & ((1 << (g - 1)) - 1), g - 1)
        out = (out << (g - 1)) | rest
    return (-1 - out if negative else 1 + out), r
