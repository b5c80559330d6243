"""The symbols of four chunks of BINS at once (SPEC 9.12.7).

The steps of a chunk wait for each other, those of several chunks do not; and the eight states of a chunk make the same
step. So four chunks whose states are vectors go on together, until words of one of them run out; bins_symbols ends each
of them, as it decodes what has no three others beside it.
"""

from __future__ import annotations

from ..compiler import compiled, inlined, unsigned
from ..vectors import bytes_at, eight_at, lane_of, looked_up, put_bytes, refilled
from .bins_plane import CHUNK_ELEMENTS, LANES, SLOT_BITS, STATE_BYTES, STATE_MIN, TOTAL, plane_of
from .bins_symbols import choice, end_symbols
from .watch import clause

FOUR = 4


@inlined
def _step(x, q, data, slots, first, symbols, i):
    # One symbol of each state. q: where the words begin that come next.
    slot = looked_up(slots, first, x & (TOTAL - 1))
    put_bytes(symbols, unsigned(i), slot)
    x, taken = refilled((slot >> 8 & (TOTAL - 1)) * (x >> SLOT_BITS) + (slot >> 20), unsigned(STATE_MIN), data, q)
    return x, q + (taken << unsigned(1))


@inlined
def _step_by_exponent(x, q, data, slots, first, contexts, symbols, i):
    # The same, where each element has a table of its own.
    slot = looked_up(slots, first, (bytes_at(contexts, unsigned(i)) << SLOT_BITS) + (x & (TOTAL - 1)))
    put_bytes(symbols, unsigned(i), slot)
    x, taken = refilled((slot >> 8 & (TOTAL - 1)) * (x >> SLOT_BITS) + (slot >> 20), unsigned(STATE_MIN), data, q)
    return x, q + (taken << unsigned(1))


@inlined
def _table(plane, data, choices, i):
    return unsigned((plane.first_table + choice(data, choices, plane.choice_bits, i >> plane.group)) << SLOT_BITS)


@inlined
def _ended(data, begin, end, x, q, i, plane, slots, choices, contexts, symbols):
    # The status of a chunk of which elements from i on are left.
    zero = unsigned(0)
    j = (q - unsigned(begin + STATE_BYTES)) >> unsigned(1)
    return end_symbols(plane.by_exponent, plane, data, begin, end, slots, choices, contexts, symbols, i, CHUNK_ELEMENTS,
                       j, lane_of(x, zero), lane_of(x, unsigned(1)), lane_of(x, unsigned(2)), lane_of(x, unsigned(3)),
                       lane_of(x, unsigned(4)), lane_of(x, unsigned(5)), lane_of(x, unsigned(6)),
                       lane_of(x, unsigned(7)))


@clause("9.12.7")
@compiled
def decode_four(planes, data, starts, choices, ends, slots, contexts, symbols, statuses):
    """The symbols of the heads of four whole chunks, into symbols (uint8 [4, CHUNK_ELEMENTS]).

    planes: of which the first counts.  choices, starts, ends: int64 [4], the bytes of data where the choices of each
    chunk begin, its states, and what follows its words.  contexts: like symbols, the tables of the elements, where
    exponents of the predictor choose them.  statuses: int64 [4], what became of each.
    """
    plane = plane_of(planes, 0)
    s0, s1, s2, s3 = symbols[0], symbols[1], symbols[2], symbols[3]
    c0, c1, c2, c3 = contexts[0], contexts[1], contexts[2], contexts[3]
    x0, x1 = eight_at(data, unsigned(starts[0])), eight_at(data, unsigned(starts[1]))
    x2, x3 = eight_at(data, unsigned(starts[2])), eight_at(data, unsigned(starts[3]))
    q0, q1 = unsigned(starts[0] + STATE_BYTES), unsigned(starts[1] + STATE_BYTES)
    q2, q3 = unsigned(starts[2] + STATE_BYTES), unsigned(starts[3] + STATE_BYTES)
    # Up to these places eight words are there.
    e0, e1 = unsigned(ends[0] - 2 * LANES), unsigned(ends[1] - 2 * LANES)
    e2, e3 = unsigned(ends[2] - 2 * LANES), unsigned(ends[3] - 2 * LANES)
    i, whole = 0, unsigned(plane.first_table << SLOT_BITS)
    if plane.by_exponent:
        while i < CHUNK_ELEMENTS and (q0 <= e0) & (q1 <= e1) & (q2 <= e2) & (q3 <= e3):
            x0, q0 = _step_by_exponent(x0, q0, data, slots, whole, c0, s0, i)
            x1, q1 = _step_by_exponent(x1, q1, data, slots, whole, c1, s1, i)
            x2, q2 = _step_by_exponent(x2, q2, data, slots, whole, c2, s2, i)
            x3, q3 = _step_by_exponent(x3, q3, data, slots, whole, c3, s3, i)
            i += LANES
    while i < CHUNK_ELEMENTS and (q0 <= e0) & (q1 <= e1) & (q2 <= e2) & (q3 <= e3) and not plane.by_exponent:
        t0, t1 = _table(plane, data, choices[0], i), _table(plane, data, choices[1], i)
        t2, t3 = _table(plane, data, choices[2], i), _table(plane, data, choices[3], i)
        stop = ((i >> plane.group) + 1) << plane.group
        while i < stop and (q0 <= e0) & (q1 <= e1) & (q2 <= e2) & (q3 <= e3):
            x0, q0 = _step(x0, q0, data, slots, t0, s0, i)
            x1, q1 = _step(x1, q1, data, slots, t1, s1, i)
            x2, q2 = _step(x2, q2, data, slots, t2, s2, i)
            x3, q3 = _step(x3, q3, data, slots, t3, s3, i)
            i += LANES
    statuses[0] = _ended(data, starts[0], ends[0], x0, q0, i, plane, slots, choices[0], c0, s0)
    statuses[1] = _ended(data, starts[1], ends[1], x1, q1, i, plane, slots, choices[1], c1, s1)
    statuses[2] = _ended(data, starts[2], ends[2], x2, q2, i, plane, slots, choices[2], c2, s2)
    statuses[3] = _ended(data, starts[3], ends[3], x3, q3, i, plane, slots, choices[3], c3, s3)
