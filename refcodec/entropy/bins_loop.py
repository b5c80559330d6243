"""The compiled loops of BINS (SPEC 9.12): headers, symbols by eight rANS states, raw planes, bins to values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler import at, compiled, inlined, signed, unsigned
from .bit_packing import get_bits
from .levels import trellis_masks
from .watch import clause

OK, ENDED, BAD_BIN, BAD_TABLE = range(4)

CHUNK_ELEMENTS = 1 << 17        # the integers of a chunk
LANES = 8                       # element i of a chunk is decoded by state i % LANES
TABLES_LOG2_MAX = 4
SLOT_BITS = 12           # of a frequency; those of a table add up to TOTAL
TOTAL = 1 << SLOT_BITS
STATE_MIN = 1 << 16
STATE_BYTES = 4 * LANES        # of a plane of a chunk, before its words
SYMBOLS_MAX = 256                   # most bins of a plane
PLAIN, SIGNED, FLOAT, TAIL = range(4)          # kinds of values: 9.12.2; a TAIL is a byte below the head
GROUPS, CONTEXTS = 0, 1         # the table of an element: that of its group, or of its own
SIZE_START = 5                  # bits of the first frequency of a table, plus one, about
RUN = 64                        # elements that are looked at together


class Plane(NamedTuple):
    """What the loops know of a plane: numbers only.

    bits: of a whole value.  last: the highest value of the plane.  mask: of a value in its place: a word has its bits
    only, a level, and what has 64 bits, is signed there.  top: the highest bit of a head if it is the sign of 64 bits,
    else 0.  shift: bits of the tails below this plane.  raw_bits: 0, 4 or 8.  base: first value of the narrow bins.
    narrow, bins: how many bins are narrow, and there are.  group: log2 of the elements of a group.  choice_bits: that
    choose a table.  first_table, first_bin: where its tables and bins begin.
    """

    bits: int
    last: int
    mask: int
    top: int
    shift: int
    raw_bits: int
    base: int
    narrow: int
    bins: int
    group: int
    choice_bits: int
    first_table: int
    first_bin: int


class Bins(NamedTuple):
    """low: least value of each bin, uint32.  extra: bits above the raw ones, uint8."""

    low: np.ndarray
    extra: np.ndarray


# Symbols

@inlined
def _word16(data, q):
    return unsigned(data[at(q)]) | unsigned(data[at(q + unsigned(1))]) << unsigned(8)


@inlined
def _state(data, q):
    return _word16(data, unsigned(q)) | _word16(data, unsigned(q + 2)) << unsigned(16)


@inlined
def _advanced(x, entry):
    return (entry >> unsigned(20)) * (x >> unsigned(SLOT_BITS)) + (
        (entry >> unsigned(8)) & unsigned(TOTAL - 1))


@inlined
def _step(x, q, data, tables, first, symbols, i):
    # One symbol. An entry of a table: frequency << 20 | (slot - start) << 8 | symbol.
    entry = unsigned(tables[at(first + (x & unsigned(TOTAL - 1)))])
    symbols[at(i)] = entry & unsigned(255)
    x = _advanced(x, entry)
    more = x < unsigned(STATE_MIN)
    longer = x << unsigned(16) | _word16(data, q)          # computed always: a choice is faster than a branch here
    return (longer if more else x), q + (unsigned(2) if more else unsigned(0))


@clause("9.12.7")
@inlined
def _choice(data, choices, bits, g):
    # The table of group g: `bits` bits, lowest first, from byte `choices` on.
    if bits == 0:
        return 0
    k = g * bits
    value = signed(data[at(choices + (k >> 3))])
    if (k & 7) + bits > 8:
        value |= signed(data[at(choices + (k >> 3) + 1)]) << 8
    return (value >> (k & 7)) & ((1 << bits) - 1)


@clause("9.12.7")
@inlined
def _first(mode, plane, data, choices, contexts, i):
    # Where the table of element i begins.
    t = signed(contexts[at(i)]) if mode == CONTEXTS else _choice(data, choices, plane.choice_bits, i >> plane.group)
    return unsigned((plane.first_table + t) << SLOT_BITS)


@inlined
def _lane(k, x0, x1, x2, x3, x4, x5, x6, x7):
    # State k. Eight states in variables stay in registers, an array of them would not.
    low = (x1 if k == 1 else x0) if k < 2 else (x3 if k == 3 else x2)
    high = (x5 if k == 5 else x4) if k < 6 else (x7 if k == 7 else x6)
    return low if k < 4 else high


@inlined
def _least(x0, x1, x2, x3, x4, x5, x6, x7):
    return min(min(min(x0, x1), min(x2, x3)), min(min(x4, x5), min(x6, x7)))


@inlined
def _most(x0, x1, x2, x3, x4, x5, x6, x7):
    return max(max(max(x0, x1), max(x2, x3)), max(max(x4, x5), max(x6, x7)))


@clause("9.12.7")
@inlined
def _symbols(mode, plane, data, begin, end, tables, choices, contexts, symbols, n):
    # The symbols of a chunk's plane, whose states and words are data[begin:end]. Returns the status.
    x0, x1, x2, x3 = _state(data, begin), _state(data, begin + 4), _state(data, begin + 8), _state(data, begin + 12)
    x4, x5, x6, x7 = (_state(data, begin + 16), _state(data, begin + 20), _state(data, begin + 24),
                      _state(data, begin + 28))
    if _least(x0, x1, x2, x3, x4, x5, x6, x7) < unsigned(STATE_MIN):
        return ENDED
    q = unsigned(begin + STATE_BYTES)
    last = unsigned(end - 2 * LANES)                      # up to here eight steps cannot pass the end
    i, full = 0, n & -LANES
    while i < full and q <= last:
        first = _first(mode, plane, data, choices, contexts, i)
        stop = full if mode == CONTEXTS else min(((i >> plane.group) + 1) << plane.group, full)
        while i < stop and q <= last:
            if mode == CONTEXTS:
                x0, q = _step(x0, q, data, tables, _first(mode, plane, data, choices, contexts, i), symbols, i)
                x1, q = _step(x1, q, data, tables, _first(mode, plane, data, choices, contexts, i + 1), symbols, i + 1)
                x2, q = _step(x2, q, data, tables, _first(mode, plane, data, choices, contexts, i + 2), symbols, i + 2)
                x3, q = _step(x3, q, data, tables, _first(mode, plane, data, choices, contexts, i + 3), symbols, i + 3)
                x4, q = _step(x4, q, data, tables, _first(mode, plane, data, choices, contexts, i + 4), symbols, i + 4)
                x5, q = _step(x5, q, data, tables, _first(mode, plane, data, choices, contexts, i + 5), symbols, i + 5)
                x6, q = _step(x6, q, data, tables, _first(mode, plane, data, choices, contexts, i + 6), symbols, i + 6)
                x7, q = _step(x7, q, data, tables, _first(mode, plane, data, choices, contexts, i + 7), symbols, i + 7)
            else:
                x0, q = _step(x0, q, data, tables, first, symbols, i)
                x1, q = _step(x1, q, data, tables, first, symbols, i + 1)
                x2, q = _step(x2, q, data, tables, first, symbols, i + 2)
                x3, q = _step(x3, q, data, tables, first, symbols, i + 3)
                x4, q = _step(x4, q, data, tables, first, symbols, i + 4)
                x5, q = _step(x5, q, data, tables, first, symbols, i + 5)
                x6, q = _step(x6, q, data, tables, first, symbols, i + 6)
                x7, q = _step(x7, q, data, tables, first, symbols, i + 7)
            i += LANES
    # The last elements, and all that comes from the last words, step by step.
    p = signed(q)
    while i < n:
        k = i & (LANES - 1)
        x = _lane(k, x0, x1, x2, x3, x4, x5, x6, x7)
        entry = unsigned(tables[at(_first(mode, plane, data, choices, contexts, i) + (x & unsigned(TOTAL - 1)))])
        symbols[at(i)] = entry & unsigned(255)
        x = _advanced(x, entry)
        if x < unsigned(STATE_MIN):
            if p + 2 > end:
                return ENDED
            x = x << unsigned(16) | _word16(data, unsigned(p))
            p += 2
        x0, x1, x2, x3 = (x if k == 0 else x0), (x if k == 1 else x1), (x if k == 2 else x2), (x if k == 3 else x3)
        x4, x5, x6, x7 = (x if k == 4 else x4), (x if k == 5 else x5), (x if k == 6 else x6), (x if k == 7 else x7)
        i += 1
    if p != end:
        return ENDED
    return OK if _most(x0, x1, x2, x3, x4, x5, x6, x7) == unsigned(STATE_MIN) else ENDED      # none is below


@clause("9.12.7")
@inlined
def _odd(plane, bins, data, symbol, raw, half, extra, end, p, i):
    # Whether the level of element i is odd, and the position in the extra bits after it. A level is SIGNED.
    if symbol < plane.narrow:
        value = plane.base + (symbol << plane.raw_bits) + _raw(plane, data, raw, half, i)
    else:
        w = signed(bins.extra[at(plane.first_bin + symbol)])
        more = (_bits64(data, extra + (p >> 3), end) >> (p & 7)) & ((1 << w) - 1)
        p += w
        value = signed(bins.low[at(plane.first_bin + symbol)]) + (more << plane.raw_bits) + _raw(
            plane, data, raw, half, i)
    return (value ^ value >> 1) & 1, p


@clause("9.12.7")
@compiled
def symbols_with_trellis(plane, bins, data, begin, end, tables, choices, raw, extra, extra_end, states, symbols, n):
    """The symbols of levels whose tables the trellis chooses, too: one of a pair, by the parity of a lane's state.

    states: of the trellis.  data[raw:], data[extra:extra_end]: raw plane and extra bits.  Returns the status.
    """
    half, p, q = (n + 1) >> 1, 0, begin + STATE_BYTES
    mask_a, mask_b = trellis_masks(states)
    x, state = np.empty(LANES, np.uint64), np.zeros(LANES, np.int64)
    for k in range(LANES):
        x[at(k)] = _state(data, begin + 4 * k)
        if x[at(k)] < unsigned(STATE_MIN):
            return ENDED
    for i in range(n):
        k = at(i & (LANES - 1))
        odd_state = signed(state[k]) & 1
        t = plane.first_table + 2 * _choice(data, choices, plane.choice_bits, i >> plane.group) + odd_state
        entry = unsigned(tables[at(unsigned(t << SLOT_BITS) + (x[k] & unsigned(TOTAL - 1)))])
        symbol = signed(entry & unsigned(255))
        symbols[at(i)] = symbol
        y = _advanced(x[k], entry)
        if y < unsigned(STATE_MIN):
            if q + 2 > end:
                return ENDED
            y = y << unsigned(16) | _word16(data, unsigned(q))
            q += 2
        x[k] = y
        odd, p = _odd(plane, bins, data, symbol, raw, half, extra, extra_end, p, i)
        state[k] = (signed(state[k]) >> 1) ^ (mask_a if odd_state else 0) ^ (mask_b if odd else 0)
    for k in range(LANES):
        if x[at(k)] != unsigned(STATE_MIN):
            return ENDED
    return OK if q == end else ENDED


@compiled
def symbols_by_group(plane, data, begin, end, tables, choices, symbols, n):
    """The symbols (uint8 [n]) of a chunk's plane whose groups choose their tables. Returns the status."""
    return _symbols(GROUPS, plane, data, begin, end, tables, choices, symbols, symbols, n)


@compiled
def symbols_by_context(plane, data, begin, end, tables, contexts, symbols, n):
    """The same where each element has a table of its own: contexts, uint8 [n]."""
    return _symbols(CONTEXTS, plane, data, begin, end, tables, 0, contexts, symbols, n)


# Values

@inlined
def _bits64(data, q, end):
    # The bytes from q on, lowest first, as far as they lie before end. The top bits of the eighth byte may be lost.
    if q + 8 <= end:
        return (signed(data[at(q)]) | signed(data[at(q + 1)]) << 8 | signed(data[at(q + 2)]) << 16
                | signed(data[at(q + 3)]) << 24 | signed(data[at(q + 4)]) << 32 | signed(data[at(q + 5)]) << 40
                | signed(data[at(q + 6)]) << 48 | (signed(data[at(q + 7)]) & 127) << 56)
    value = 0
    for k in range(q, end):
        value |= signed(data[at(k)]) << (8 * (k - q))
    return value


@clause("9.12.2")
@inlined
def _put(kind, plane, out, i, value):
    # A value of a plane into its place. A TAIL meets zeros there, or the sign of a SIGNED head.
    value &= plane.last                        # _join_narrow takes wide bins for narrow ones that go on beyond it
    if kind == TAIL:
        out[at(i)] ^= value << plane.shift
    elif kind == FLOAT:
        out[at(i)] = (value >> 1) << plane.shift | (-(value & 1) << (plane.bits - 1)) & plane.mask
    elif kind == SIGNED:
        out[at(i)] = (((value >> 1) << plane.shift) ^ -(value & 1)) & plane.mask
    else:
        out[at(i)] = (value - ((value & plane.top) << 1)) << plane.shift


@clause("9.12.8")
@inlined
def _raw(plane, data, raw, half, i):
    # The raw bits of element i: a byte, or a nibble, of which the first half of a chunk has the low ones.
    if plane.raw_bits == 8:
        return signed(data[at(raw + i)])
    if plane.raw_bits == 4:
        return signed(data[at(raw + i)]) & 15 if i < half else signed(data[at(raw + i - half)]) >> 4
    return 0


@clause("9.12.8")
@inlined
def _join_narrow(kind, plane, symbols, data, raw, n, out, o):
    # All values, as if all bins were narrow.
    half = (n + 1) >> 1
    if plane.raw_bits == 8:
        for i in range(n):
            _put(kind, plane, out, o + i, plane.base + (signed(symbols[at(i)]) << 8) + signed(data[at(raw + i)]))
    elif plane.raw_bits == 4:
        for i in range(half):
            _put(kind, plane, out, o + i, plane.base + (signed(symbols[at(i)]) << 4) + (signed(data[at(raw + i)]) & 15))
        for i in range(n - half):
            _put(kind, plane, out, o + half + i,
                 plane.base + (signed(symbols[at(half + i)]) << 4) + (signed(data[at(raw + i)]) >> 4))
    else:
        for i in range(n):
            _put(kind, plane, out, o + i, plane.base + signed(symbols[at(i)]))


@inlined
def _some_from(symbols, i, first):
    count = 0
    for k in range(RUN):
        count += 1 if symbols[at(i + k)] >= first else 0
    return count


@clause("9.12.8")
@inlined
def _join_wide(kind, plane, bins, symbols, data, raw, extra, end, n, out, o):
    # The values of wide bins, put in the place of those of _join_narrow. Returns the number of extra bits.
    half, p, i = (n + 1) >> 1, 0, 0
    while i < n:
        stop = min(i + RUN, n)
        if stop - i == RUN and not _some_from(symbols, i, np.uint8(plane.narrow)):
            i = stop
        while i < stop:
            s = signed(symbols[at(i)])
            if s >= plane.narrow:
                bin = plane.first_bin + s
                w = signed(bins.extra[at(bin)])
                more = (_bits64(data, extra + (p >> 3), end) >> (p & 7)) & ((1 << w) - 1)
                p += w
                value = signed(bins.low[at(bin)]) + (more << plane.raw_bits) + _raw(plane, data, raw, half, i)
                if kind == TAIL:
                    value ^= plane.base + (s << plane.raw_bits) + _raw(plane, data, raw, half, i)
                _put(kind, plane, out, o + i, value)
            i += 1
    return p


@inlined
def _join(kind, plane, bins, symbols, data, raw, extra, end, n, out, o):
    _join_narrow(kind, plane, symbols, data, raw, n, out, o)
    if plane.narrow == plane.bins:
        return 0
    return _join_wide(kind, plane, bins, symbols, data, raw, extra, end, n, out, o)


@compiled
def join(kind, plane, bins, symbols, data, raw, extra, end, n, out, o):
    """Bins, raw and extra bits of a chunk's plane to values in out[o:o + n]. Returns the number of extra bits.

    out: unsigned words, int64 for those of 64 bits; int32 or int64 for levels.

    symbols: uint8 [n].  data[raw:extra], data[extra:end]: raw plane and extra bits, long enough for n elements of
    raw_bits; extra bits beyond the end are 0.
    """
    if kind == FLOAT:
        return _join(FLOAT, plane, bins, symbols, data, raw, extra, end, n, out, o)
    if kind == SIGNED:
        return _join(SIGNED, plane, bins, symbols, data, raw, extra, end, n, out, o)
    if kind == TAIL:
        return _join(TAIL, plane, bins, symbols, data, raw, extra, end, n, out, o)
    return _join(PLAIN, plane, bins, symbols, data, raw, extra, end, n, out, o)


# Prediction

@clause("8.4.1")
@inlined
def ordered(floating, half, word):
    # SPEC 8.4.1. half: 2^(bits - 1).
    if not floating:
        return word
    magnitude = word & (half - 1)
    if not word & half:
        return word
    return -magnitude if magnitude else -half


@clause("9.10.1")
@inlined
def _add(floating, bits, predictor, out, o, n):
    # Differences in out[o:o + n] to words. Runs in which nothing changed are copied.
    half = 1 << (bits - 1)
    sign, i = (half if bits < 64 else -half), 0            # the word of -0: words of 64 bits are signed in their place
    while i < n:
        stop = min(i + RUN, n)
        changed = 0
        for k in range(i, stop):
            changed += 1 if out[at(o + k)] else 0
        if changed == 0:
            for k in range(i, stop):
                out[at(o + k)] = predictor[at(o + k)]
        else:
            for k in range(i, stop):
                x = signed(out[at(o + k)]) + ordered(floating, half, signed(predictor[at(o + k)]))
                x = ((x + half) & (2 * half - 1)) - half                # Signed(x)
                if floating and x < 0:
                    out[at(o + k)] = sign if x == -half else sign - x
                else:
                    out[at(o + k)] = x & (2 * half - 1) if bits < 64 else x
        i = stop


@compiled
def add_predictor(floating, bits, predictor, out, o, n):
    """Adds the predictor's words to differences modulo 2^bits in out[o:o + n], in place (SPEC 8.4.2).

    predictor, out: unsigned words, int64 for those of 64 bits.
    """
    if floating:
        _add(True, bits, predictor, out, o, n)
    else:
        _add(False, bits, predictor, out, o, n)


@clause("9.12.7")
@compiled
def contexts_of(predictor, o, mantissa, exponent_bits, top, tables, contexts):
    """The table of each element by its predictor's exponent: Clip3(0, tables - 1, top - exponent)."""
    for i in range(len(contexts)):
        exponent = (signed(predictor[at(o + i)]) >> mantissa) & ((1 << exponent_bits) - 1)
        contexts[at(i)] = min(max(top - exponent, 0), tables - 1)


# Header

@clause("9.12.1")
@inlined
def _ue(data, bit, end):
    # ue(v) of at most 32 bits at a bit position. Returns (value, position), or position -1.
    zeros = 0
    while zeros < 33 and bit < end and get_bits(data, bit, 1) == 0:
        zeros += 1
        bit += 1
    if zeros > 32 or bit + zeros + 1 > end:
        return 0, -1
    return (1 << zeros) - 1 + get_bits(data, bit + 1, zeros), bit + 1 + zeros


@compiled
def read_u(data, bit, n):
    """u(n), n <= 32. Returns (value, position), or position -1 past the end."""
    if bit + n > 8 * len(data):
        return 0, -1
    return get_bits(data, bit, n), bit + n


@compiled
def read_ue(data, bit):
    """ue(v) of at most 32 leading zeros. Returns (value, position), or position -1."""
    return _ue(data, bit, 8 * len(data))


@clause("9.12.4")
@compiled
def read_wide(data, bit, width, raw_bits, narrow, count, base, low, extra):
    """Wide bins narrow .. count - 1 of a plane of values below 2^width (SPEC 9.12.4). Returns (position, status)."""
    end, above, log = 8 * len(data), 0, raw_bits
    top = base + (narrow << raw_bits)
    for s in range(narrow, count):
        k, bit = _ue(data, bit, end)
        if bit < 0:
            return bit, ENDED
        log += (k + 1) >> 1 if k & 1 else -(k >> 1)
        gap, bit = _ue(data, bit, end)
        if bit < 0:
            return bit, ENDED
        if log < raw_bits or log > width or gap >> (width - log):         # so that none of 63 bits is lost below
            return bit, BAD_BIN
        first = (((above + (1 << log) - 1) >> log) + gap) << log
        above = first + (1 << log)
        if above > 1 << width or (first < top and base < above):
            return bit, BAD_BIN
        low[at(s)], extra[at(s)] = first, log - raw_bits
    return bit, OK


@clause("9.12.5")
@compiled
def read_frequencies(data, bit, frequencies):
    """Frequencies int64 [tables, bins] (SPEC 9.12.5). Returns (position, status)."""
    end = 8 * len(data)
    for t in range(frequencies.shape[0]):
        size, total = SIZE_START, 0
        for s in range(frequencies.shape[1]):
            k, bit = _ue(data, bit, end)
            if bit < 0:
                return bit, ENDED
            size += (k + 1) >> 1 if k & 1 else -(k >> 1)
            if size < 1 or size > SLOT_BITS + 1:
                return bit, BAD_TABLE
            if bit + size - 1 > end:
                return -1, ENDED
            frequency = (1 << (size - 1)) + get_bits(data, bit, size - 1) - 1
            bit += size - 1
            if frequency >= TOTAL:
                return bit, BAD_TABLE
            frequencies[at(t), at(s)] = frequency
            total += frequency
        if total != TOTAL:
            return bit, BAD_TABLE
    return bit, OK


@compiled
def build_tables(frequencies, first, tables):
    """Enters tables of frequencies (int64 [tables, bins], each summing to TOTAL) from table number `first` on."""
    for t in range(frequencies.shape[0]):
        slot = (first + t) << SLOT_BITS
        for s in range(frequencies.shape[1]):
            frequency = signed(frequencies[at(t), at(s)])
            for k in range(frequency):
                tables[at(slot)] = frequency << 20 | k << 8 | s
                slot += 1
