"""The symbols of BINS where the trellis of each lane chooses the table, too (SPEC 9.12.7, 8.5.4)."""

from __future__ import annotations

from ..compiler import at, inlined, signed, unsigned
from .bins_plane import ENDED, LANES, OK, SLOT_BITS, STATE_BYTES, STATE_MIN, TOTAL
from .bins_symbols import advanced, choice, lane, least, most, state, word16
from .bins_values import extra_bits, raw_bits
from .levels import trellis_masks
from .watch import clause

# Each lane has a state of the coder, x, and one of its trellis, t. Whether a level is odd must be known before the next
# one of its lane, so wide bins are no branch here: every bin has extra bits, narrow ones none of them.


@inlined
def _bits(data, extra, p):
    # The bits from bit p of data[extra:] on, 32 of them or as many as there are. The eight bytes lie within data.
    q = min(extra + (p >> unsigned(3)), unsigned(len(data) - 8))
    bits = (unsigned(data[at(q)]) | unsigned(data[at(q + unsigned(1))]) << unsigned(8)
            | unsigned(data[at(q + unsigned(2))]) << unsigned(16) | unsigned(data[at(q + unsigned(3))]) << unsigned(24)
            | unsigned(data[at(q + unsigned(4))]) << unsigned(32) | unsigned(data[at(q + unsigned(5))]) << unsigned(40)
            | unsigned(data[at(q + unsigned(6))]) << unsigned(48) | unsigned(data[at(q + unsigned(7))]) << unsigned(56))
    return bits >> ((p + (extra << unsigned(3)) - (q << unsigned(3))) & unsigned(63))


@clause("9.12.7")
@inlined
def _turned(t, masks, value):
    # The state after a level, of whose SIGNED value the lowest bits tell whether it is odd.
    return (t >> unsigned(1)) ^ (masks[0] if t & unsigned(1) else unsigned(0)) ^ (
        masks[1] if (value ^ value >> unsigned(1)) & unsigned(1) else unsigned(0))


@inlined
def _step(x, t, j, p, data, base, slots, first, plane, bins, masks, raw, half, extra, symbols, i):
    # One symbol, whose word is there. Returns (states, word, extra bits).
    slot = unsigned(slots[at(first + ((t & unsigned(1)) << unsigned(SLOT_BITS)) + (x & unsigned(TOTAL - 1)))])
    symbol = slot & unsigned(255)
    symbols[at(i)] = symbol
    bin = at(unsigned(plane.first_bin) + symbol)
    log = unsigned(bins.extra[bin])
    value = unsigned(bins.low[bin]) + ((_bits(data, extra, p) & ((unsigned(1) << log) - unsigned(1)))
                                       << unsigned(plane.raw_bits))
    if plane.raw_bits:
        value += unsigned(raw_bits(plane, data, raw, half, i))
    x = advanced(x, slot)
    more = x < unsigned(STATE_MIN)
    longer = x << unsigned(16) | word16(data, base, j)
    return (longer if more else x), _turned(t, masks, value), j + (unsigned(1) if more else unsigned(0)), p + log


@clause("9.12.7")
@inlined
def decode_trellis(plane, bins, data, begin, end, slots, choices, raw, extra, extra_end, states, symbols, n):
    """decode_symbols() of levels: one of a pair of tables is chosen by the parity of the lane's state.

    states: of the trellis.  data[raw:], data[extra:extra_end]: raw plane and extra bits.  Returns the status.
    """
    base, words, half = unsigned(begin + STATE_BYTES), (end - begin - STATE_BYTES) >> 1, (n + 1) >> 1
    masks = unsigned(trellis_masks(states)[0]), unsigned(trellis_masks(states)[1])
    x0, x1, x2, x3 = state(data, begin, 0), state(data, begin, 1), state(data, begin, 2), state(data, begin, 3)
    x4, x5, x6, x7 = state(data, begin, 4), state(data, begin, 5), state(data, begin, 6), state(data, begin, 7)
    if least(x0, x1, x2, x3, x4, x5, x6, x7) < unsigned(STATE_MIN):
        return ENDED
    t0 = t1 = t2 = t3 = t4 = t5 = t6 = t7 = unsigned(0)
    j, p, safe = unsigned(0), unsigned(0), unsigned(max(words - LANES + 1, 0))
    i, start = 0, unsigned(extra)                                # extra bits beyond extra_end are told later
    for k in range(0, n & -LANES, LANES):
        if j >= safe:
            break
        first = unsigned((plane.first_table + 2 * choice(data, choices, plane.choice_bits, i >> plane.group))
                         << SLOT_BITS)
        x0, t0, j, p = _step(x0, t0, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i)
        x1, t1, j, p = _step(x1, t1, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i + 1)
        x2, t2, j, p = _step(x2, t2, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i + 2)
        x3, t3, j, p = _step(x3, t3, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i + 3)
        x4, t4, j, p = _step(x4, t4, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i + 4)
        x5, t5, j, p = _step(x5, t5, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i + 5)
        x6, t6, j, p = _step(x6, t6, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i + 6)
        x7, t7, j, p = _step(x7, t7, j, p, data, base, slots, first, plane, bins, masks, raw, half, start, symbols,
                               i + 7)
        i = k + LANES
    while i < n:
        k = i & (LANES - 1)
        x, t = lane(k, x0, x1, x2, x3, x4, x5, x6, x7), lane(k, t0, t1, t2, t3, t4, t5, t6, t7)
        first = (plane.first_table + 2 * choice(data, choices, plane.choice_bits, i >> plane.group)) << SLOT_BITS
        slot = unsigned(slots[at(unsigned(first) + ((t & unsigned(1)) << unsigned(SLOT_BITS))
                                 + (x & unsigned(TOTAL - 1)))])
        symbol = signed(slot & unsigned(255))
        symbols[at(i)] = symbol
        log = signed(bins.extra[at(plane.first_bin + symbol)])
        more = extra_bits(data, extra, extra_end, signed(p), log)
        value = signed(bins.low[at(plane.first_bin + symbol)]) + (more << plane.raw_bits) + raw_bits(
            plane, data, raw, half, i)
        p += unsigned(log)
        t = _turned(t, masks, unsigned(value))
        x = advanced(x, slot)
        if x < unsigned(STATE_MIN):
            if signed(j) == words:
                return ENDED
            x = x << unsigned(16) | word16(data, base, j)
            j += unsigned(1)
        x0, x1, x2, x3 = (x if k == 0 else x0), (x if k == 1 else x1), (x if k == 2 else x2), (x if k == 3 else x3)
        x4, x5, x6, x7 = (x if k == 4 else x4), (x if k == 5 else x5), (x if k == 6 else x6), (x if k == 7 else x7)
        t0, t1, t2, t3 = (t if k == 0 else t0), (t if k == 1 else t1), (t if k == 2 else t2), (t if k == 3 else t3)
        t4, t5, t6, t7 = (t if k == 4 else t4), (t if k == 5 else t5), (t if k == 6 else t6), (t if k == 7 else t7)
        i += 1
    if signed(j) != words:
        return ENDED
    return OK if most(x0, x1, x2, x3, x4, x5, x6, x7) == unsigned(STATE_MIN) else ENDED
