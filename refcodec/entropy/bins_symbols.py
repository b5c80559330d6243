"""The symbols of BINS: eight states of an asymmetric numeral system, and the table of each element (SPEC 9.12.7)."""

from __future__ import annotations

from ..compiler import at, inlined, signed, unsigned
from .bins_plane import ENDED, LANES, OK, SLOT_BITS, STATE_BYTES, STATE_MIN, TOTAL
from .watch import clause

# The loop is wholly of uint64. Words are counted in words, not in bytes, which leaves one addition of a carry to a
# step; a choice between two values is faster than a branch; and eight states in variables stay in registers.


@inlined
def word16(data, base, j):
    """Word j of those that begin at byte `base`."""
    q = base + (j << unsigned(1))
    return unsigned(data[at(q)]) | unsigned(data[at(q + unsigned(1))]) << unsigned(8)


@inlined
def state(data, begin, k):
    """The first value of state k."""
    j = unsigned(2 * k)
    return word16(data, unsigned(begin), j) | word16(data, unsigned(begin), j + unsigned(1)) << unsigned(16)


@inlined
def advanced(x, slot):
    """State x after a symbol, before it takes a word. slot: slot - start << 20 | frequency << 8 | symbol."""
    return ((slot >> unsigned(8)) & unsigned(TOTAL - 1)) * (x >> unsigned(SLOT_BITS)) + (slot >> unsigned(20))


@inlined
def least(x0, x1, x2, x3, x4, x5, x6, x7):
    return min(min(min(x0, x1), min(x2, x3)), min(min(x4, x5), min(x6, x7)))


@inlined
def most(x0, x1, x2, x3, x4, x5, x6, x7):
    return max(max(max(x0, x1), max(x2, x3)), max(max(x4, x5), max(x6, x7)))


@inlined
def lane(k, x0, x1, x2, x3, x4, x5, x6, x7):
    """State k."""
    low = (x1 if k == 1 else x0) if k < 2 else (x3 if k == 3 else x2)
    high = (x5 if k == 5 else x4) if k < 6 else (x7 if k == 7 else x6)
    return low if k < 4 else high


@inlined
def _step(x, j, data, base, slots, first, symbols, i):
    # One symbol.
    slot = unsigned(slots[at(first + (x & unsigned(TOTAL - 1)))])
    symbols[at(i)] = slot & unsigned(255)
    x = advanced(x, slot)
    more = x < unsigned(STATE_MIN)
    longer = x << unsigned(16) | word16(data, base, j)
    return (longer if more else x), j + (unsigned(1) if more else unsigned(0))


@clause("9.12.7")
@inlined
def choice(data, choices, bits, g):
    """The table of group g: `bits` bits, lowest first, from byte `choices` on."""
    if bits == 0:
        return 0
    k = g * bits
    value = signed(data[at(choices + (k >> 3))])
    if (k & 7) + bits > 8:
        value |= signed(data[at(choices + (k >> 3) + 1)]) << 8
    return (value >> (k & 7)) & ((1 << bits) - 1)


@clause("9.12.7")
@inlined
def _first(by_exponent, plane, data, choices, contexts, i):
    # Where the table of element i begins.
    t = signed(contexts[at(i)]) if by_exponent else choice(data, choices, plane.choice_bits, i >> plane.group)
    return unsigned((plane.first_table + t) << SLOT_BITS)


@clause("9.12.7")
@inlined
def end_symbols(by_exponent, plane, data, begin, end, slots, choices, contexts, symbols, i, n, j,
                x0, x1, x2, x3, x4, x5, x6, x7):
    """The symbols from i on, with the states x0 to x7 and j words taken, step by step. Returns the status."""
    base, words, p = unsigned(begin + STATE_BYTES), (end - begin - STATE_BYTES) >> 1, signed(j)
    if least(state(data, begin, 0), state(data, begin, 1), state(data, begin, 2), state(data, begin, 3),
             state(data, begin, 4), state(data, begin, 5), state(data, begin, 6), state(data, begin, 7)
             ) < unsigned(STATE_MIN):
        return ENDED
    while i < n:
        k = i & (LANES - 1)
        x = lane(k, x0, x1, x2, x3, x4, x5, x6, x7)
        slot = unsigned(slots[at(_first(by_exponent, plane, data, choices, contexts, i) + (x & unsigned(TOTAL - 1)))])
        symbols[at(i)] = slot & unsigned(255)
        x = advanced(x, slot)
        if x < unsigned(STATE_MIN):
            if p == words:
                return ENDED
            x = x << unsigned(16) | word16(data, base, unsigned(p))
            p += 1
        x0, x1, x2, x3 = (x if k == 0 else x0), (x if k == 1 else x1), (x if k == 2 else x2), (x if k == 3 else x3)
        x4, x5, x6, x7 = (x if k == 4 else x4), (x if k == 5 else x5), (x if k == 6 else x6), (x if k == 7 else x7)
        i += 1
    if p != words:
        return ENDED
    return OK if most(x0, x1, x2, x3, x4, x5, x6, x7) == unsigned(STATE_MIN) else ENDED       # none is below


@clause("9.12.7")
@inlined
def decode_symbols(by_exponent, plane, data, begin, end, slots, choices, contexts, symbols, n):
    """The symbols (uint8 [n]) of a chunk's plane, whose states and words are data[begin:end]. Returns the status.

    slots: tables of all planes (build_tables).  choices: byte where those of the groups begin.  by_exponent: 1, a
    literal, where contexts, uint8 [n], are the tables of the elements.
    """
    base, words = unsigned(begin + STATE_BYTES), (end - begin - STATE_BYTES) >> 1
    x0, x1, x2, x3 = state(data, begin, 0), state(data, begin, 1), state(data, begin, 2), state(data, begin, 3)
    x4, x5, x6, x7 = state(data, begin, 4), state(data, begin, 5), state(data, begin, 6), state(data, begin, 7)
    j, safe = unsigned(0), unsigned(max(words - LANES + 1, 0))    # below it eight steps cannot pass the end
    i, full = 0, n & -LANES
    while i < full and j < safe:
        first = _first(by_exponent, plane, data, choices, contexts, i)
        stop = full if by_exponent else min(((i >> plane.group) + 1) << plane.group, full)
        while i < stop and j < safe:
            first = _first(by_exponent, plane, data, choices, contexts, i) if by_exponent else first
            x0, j = _step(x0, j, data, base, slots, first, symbols, i)
            first = _first(by_exponent, plane, data, choices, contexts, i + 1) if by_exponent else first
            x1, j = _step(x1, j, data, base, slots, first, symbols, i + 1)
            first = _first(by_exponent, plane, data, choices, contexts, i + 2) if by_exponent else first
            x2, j = _step(x2, j, data, base, slots, first, symbols, i + 2)
            first = _first(by_exponent, plane, data, choices, contexts, i + 3) if by_exponent else first
            x3, j = _step(x3, j, data, base, slots, first, symbols, i + 3)
            first = _first(by_exponent, plane, data, choices, contexts, i + 4) if by_exponent else first
            x4, j = _step(x4, j, data, base, slots, first, symbols, i + 4)
            first = _first(by_exponent, plane, data, choices, contexts, i + 5) if by_exponent else first
            x5, j = _step(x5, j, data, base, slots, first, symbols, i + 5)
            first = _first(by_exponent, plane, data, choices, contexts, i + 6) if by_exponent else first
            x6, j = _step(x6, j, data, base, slots, first, symbols, i + 6)
            first = _first(by_exponent, plane, data, choices, contexts, i + 7) if by_exponent else first
            x7, j = _step(x7, j, data, base, slots, first, symbols, i + 7)
            i += LANES
    return end_symbols(by_exponent, plane, data, begin, end, slots, choices, contexts, symbols, i, n, j,
                       x0, x1, x2, x3, x4, x5, x6, x7)
