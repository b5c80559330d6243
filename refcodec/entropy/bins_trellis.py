"""The symbols of BINS where the trellis of each lane chooses the table, too (SPEC 9.12.7, 8.5.4)."""

from __future__ import annotations

from ..compiler import at, inlined, signed, unsigned
from .bins_plane import ENDED, LANES, OK, SLOT_BITS, STATE_BYTES, STATE_MIN, TOTAL
from .bins_symbols import advanced, choice, lane, least, most, state, word16
from .bins_values import extra_bits, raw_bits
from .levels import trellis_masks
from .watch import clause

# The eight states of the trellises, below 64 each, are the bytes of one integer: that of the lane whose turn it is has
# the lowest byte, and goes to the top.


@clause("9.12.7")
@inlined
def _value(plane, bins, data, symbol, raw, half, extra, end, p, i):
    # The value of element i, and the position in the extra bits after it.
    r = raw_bits(plane, data, raw, half, i) if plane.raw_bits else 0
    if symbol < plane.narrow:
        return plane.base + (symbol << plane.raw_bits) + r, p
    log = signed(bins.extra[at(plane.first_bin + symbol)])
    more = extra_bits(data, extra, end, p, log)
    return signed(bins.low[at(plane.first_bin + symbol)]) + (more << plane.raw_bits) + r, p + log


@clause("9.12.7")
@inlined
def _turned(trellis, mask_a, mask_b, value):
    # The states after a level, the odd ones of which are those whose value, SIGNED, is so.
    q = trellis & 255
    q = (q >> 1) ^ (mask_a if q & 1 else 0) ^ (mask_b if (value ^ value >> 1) & 1 else 0)
    return trellis >> 8 | q << 56


@inlined
def _step(x, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra, end, symbols, i):
    # One symbol whose word is there. Returns (state, word, trellises, extra bits).
    slot = unsigned(slots[at(first + unsigned((trellis & 1) << SLOT_BITS) + (x & unsigned(TOTAL - 1)))])
    symbol = signed(slot & unsigned(255))
    symbols[at(i)] = symbol
    value, p = _value(plane, bins, data, symbol, raw, half, extra, end, p, i)
    x = advanced(x, slot)
    more = x < unsigned(STATE_MIN)
    longer = x << unsigned(16) | word16(data, base, j)
    return ((longer if more else x), j + (unsigned(1) if more else unsigned(0)),
            _turned(trellis, masks[0], masks[1], value), p)


@clause("9.12.7")
@inlined
def decode_trellis(plane, bins, data, begin, end, slots, choices, raw, extra, extra_end, states, symbols, n):
    """decode_symbols() of levels: one of a pair of tables is chosen by the parity of the lane's state.

    states: of the trellis.  data[raw:], data[extra:extra_end]: raw plane and extra bits.  Returns the status.
    """
    base, words = unsigned(begin + STATE_BYTES), (end - begin - STATE_BYTES) >> 1
    half, p, trellis, masks = (n + 1) >> 1, 0, 0, trellis_masks(states)
    x0, x1, x2, x3 = state(data, begin, 0), state(data, begin, 1), state(data, begin, 2), state(data, begin, 3)
    x4, x5, x6, x7 = state(data, begin, 4), state(data, begin, 5), state(data, begin, 6), state(data, begin, 7)
    if least(x0, x1, x2, x3, x4, x5, x6, x7) < unsigned(STATE_MIN):
        return ENDED
    j, safe = unsigned(0), unsigned(max(words - LANES + 1, 0))
    i, full = 0, n & -LANES
    while i < full and j < safe:
        first = unsigned((plane.first_table + 2 * choice(data, choices, plane.choice_bits, i >> plane.group))
                         << SLOT_BITS)
        x0, j, trellis, p = _step(x0, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i)
        x1, j, trellis, p = _step(x1, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i + 1)
        x2, j, trellis, p = _step(x2, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i + 2)
        x3, j, trellis, p = _step(x3, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i + 3)
        x4, j, trellis, p = _step(x4, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i + 4)
        x5, j, trellis, p = _step(x5, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i + 5)
        x6, j, trellis, p = _step(x6, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i + 6)
        x7, j, trellis, p = _step(x7, j, trellis, p, data, base, slots, first, plane, bins, masks, raw, half, extra,
                                   extra_end, symbols, i + 7)
        i += LANES
    while i < n:
        k = i & (LANES - 1)
        x = lane(k, x0, x1, x2, x3, x4, x5, x6, x7)
        t = plane.first_table + 2 * choice(data, choices, plane.choice_bits, i >> plane.group) + (trellis & 1)
        slot = unsigned(slots[at(unsigned(t << SLOT_BITS) + (x & unsigned(TOTAL - 1)))])
        symbol = signed(slot & unsigned(255))
        symbols[at(i)] = symbol
        value, p = _value(plane, bins, data, symbol, raw, half, extra, extra_end, p, i)
        trellis = _turned(trellis, masks[0], masks[1], value)
        x = advanced(x, slot)
        if x < unsigned(STATE_MIN):
            if signed(j) == words:
                return ENDED
            x = x << unsigned(16) | word16(data, base, j)
            j += unsigned(1)
        x0, x1, x2, x3 = (x if k == 0 else x0), (x if k == 1 else x1), (x if k == 2 else x2), (x if k == 3 else x3)
        x4, x5, x6, x7 = (x if k == 4 else x4), (x if k == 5 else x5), (x if k == 6 else x6), (x if k == 7 else x7)
        i += 1
    if signed(j) != words:
        return ENDED
    return OK if most(x0, x1, x2, x3, x4, x5, x6, x7) == unsigned(STATE_MIN) else ENDED
