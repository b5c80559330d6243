"""The values of BINS: symbols, raw and extra bits put together (SPEC 9.12.2, 9.12.8)."""

from __future__ import annotations

from ..compiler import at, inlined, signed, unsigned
from ..vectors import MARKED as RUN
from ..vectors import at_least, lowest_one, ones
from .bins_plane import CHUNK_ELEMENTS, FLOAT, PLAIN, SIGNED, TAIL
from .watch import clause

USUAL = 4                              # wide bins of RUN elements, mostly at most
PLACES = CHUNK_ELEMENTS + USUAL        # of wide bins, and what is noted beyond the last

# How the value of a plane lies in a word is linear over its bits (_spread), so planes are put in one after another by
# XOR, and wide bins, which are few, by the difference to what stands there as if they were narrow.


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


@inlined
def extra_bits(data, extra, end, p, n):
    """The n bits, n <= 32, from bit p on of data[extra:end], lowest first; beyond the end they are 0."""
    return (_bits64(data, extra + (p >> 3), end) >> (p & 7)) & ((1 << n) - 1)


@clause("9.12.8")
@inlined
def raw_bits(plane, data, raw, half, i):
    """The raw bits of element i: a byte, or a nibble, of which the first half of a chunk has the low ones."""
    if plane.raw_bits == 8:
        return signed(data[at(raw + i)])
    if plane.raw_bits == 4:
        return signed(data[at(raw + i)]) & 15 if i < half else signed(data[at(raw + i - half)]) >> 4
    return 0


# Forms, literal in loops so that these take many elements at once: ANY; WHOLE: a value fills the word of the array;
# RAW_BELOW: it is the upper half of 32 bits, and the bytes below are raw.
ANY, WHOLE, RAW_BELOW = range(3)


@clause("9.12.2")
@inlined
def _spread(form, kind, size, plane, value):
    # A value of a plane in its place in a word of `size` bits, which is a literal.
    if form == ANY:
        value &= plane.ones
        bits, shift = plane.bits, plane.shift
    else:
        value &= (1 << (size if form == WHOLE else 16)) - 1
        bits, shift = size, 0 if form == WHOLE else 16
    if kind == FLOAT:
        return (value >> 1) << shift | (-(value & 1) << (bits - 1)) & plane.mask
    if kind == SIGNED:
        return ((value >> 1) << shift ^ -(value & 1)) & plane.mask
    if kind == PLAIN:                                  # with ANY only
        return (value - ((value & plane.top) << 1)) << shift
    return value << shift


@clause("9.12.8")
@inlined
def _put(form, kind, plane, out, i, value, below):
    # A TAIL meets zeros, or the sign of a SIGNED head.
    word = _spread(form, kind, 8 * out.itemsize, plane, value)
    if kind == TAIL:
        out[at(i)] ^= word
    elif form == RAW_BELOW:
        out[at(i)] = word ^ below
    else:
        out[at(i)] = word


@inlined
def _below(form, data, tails, i):
    # The bytes of the two raw tails of element i. tails: where each begins.
    return signed(data[at(tails[1] + i)]) << 8 | signed(data[at(tails[0] + i)]) if form == RAW_BELOW else 0


@clause("9.12.8")
@inlined
def _join_narrow(form, kind, plane, symbols, data, raw, tails, n, out, o):
    # All values, as if all bins were narrow.
    half, base = (n + 1) >> 1, plane.base
    if form == ANY:
        for i in range(n):
            value = base + (signed(symbols[at(i)]) << plane.raw_bits) + raw_bits(plane, data, raw, half, i)
            _put(form, kind, plane, out, o + i, value, 0)
    elif plane.raw_bits == 8:
        for i in range(n):
            value = base + (signed(symbols[at(i)]) << 8) + signed(data[at(raw + i)])
            _put(form, kind, plane, out, o + i, value, _below(form, data, tails, i))
    elif plane.raw_bits == 4:
        for i in range(half):
            value = base + (signed(symbols[at(i)]) << 4) + (signed(data[at(raw + i)]) & 15)
            _put(form, kind, plane, out, o + i, value, _below(form, data, tails, i))
        for i in range(n - half):
            value = base + (signed(symbols[at(half + i)]) << 4) + (signed(data[at(raw + i)]) >> 4)
            _put(form, kind, plane, out, o + half + i, value, _below(form, data, tails, half + i))
    else:
        for i in range(n):
            _put(form, kind, plane, out, o + i, base + signed(symbols[at(i)]), _below(form, data, tails, i))


@inlined
def _wide_places(symbols, n, narrow, places):
    # The numbers of the elements whose bins are wide, ascending, into places. Returns how many there are. Of RUN
    # elements as many as there usually are, USUAL, are noted without a look at their number, which spares branches.
    count, low = 0, unsigned(narrow)
    for i in range(0, n, RUN):
        more = at_least(symbols, unsigned(i), low)
        if n - i < RUN:
            more &= (unsigned(1) << unsigned(n - i)) - unsigned(1)
        end = count + signed(ones(more))
        for k in range(count, count + USUAL):
            places[at(k)] = unsigned(i) + lowest_one(more)
            more &= more - unsigned(1)
        count += USUAL
        while more != unsigned(0):
            places[at(count)] = unsigned(i) + lowest_one(more)
            more &= more - unsigned(1)
            count += 1
        count = end
    return count


@clause("9.12.8")
@inlined
def _join_wide(form, kind, plane, bins, symbols, data, raw, extra, end, n, out, o, places):
    # The values of wide bins, put in the place of those of _join_narrow. Returns the number of extra bits.
    half, p, size = (n + 1) >> 1, 0, 8 * out.itemsize
    for k in range(_wide_places(symbols, n, plane.narrow, places)):
        i = signed(places[at(k)])
        s = signed(symbols[at(i)])
        log = signed(bins.extra[at(plane.first_bin + s)])
        more = extra_bits(data, extra, end, p, log)
        p += log
        r = raw_bits(plane, data, raw, half, i)
        value = signed(bins.low[at(plane.first_bin + s)]) + (more << plane.raw_bits) + r
        as_narrow = plane.base + (s << plane.raw_bits) + r
        out[at(o + i)] ^= _spread(form, kind, size, plane, value) ^ _spread(form, kind, size, plane, as_narrow)
    return p


@inlined
def _join(form, kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places):
    _join_narrow(form, kind, plane, symbols, data, raw, tails, n, out, o)
    if plane.narrow == plane.bins:
        return 0
    return _join_wide(form, kind, plane, bins, symbols, data, raw, extra, end, n, out, o, places)


@inlined
def join(kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places):
    """Bins, raw and extra bits of a chunk's plane to values in out[o:o + n]. Returns the number of extra bits.

    out: unsigned words, int64 for those of 64 bits; int32 or int64 for levels.  tails: where the bytes of two raw tails
    of float32 begin that are joined, too, the lower one first; (-1, -1) for none.

    symbols: uint8 [n].  data[raw:extra], data[extra:end]: raw plane and extra bits, long enough for n elements of
    raw_bits; extra bits beyond the end are 0.  places: room, int32 [PLACES].
    """
    # signed(): one function for all literals, so that it is compiled once; inlined, they are literals again.
    whole = out.itemsize <= 4 and plane.shift == 0 and (plane.bits == 8 * out.itemsize or plane.mask < 0)
    if kind == FLOAT:
        kind = signed(FLOAT)
        if whole:
            return _join(signed(WHOLE), kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places)
        if out.itemsize == 4 and tails[0] >= 0:
            return _join(signed(RAW_BELOW), kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places)
        return _join(signed(ANY), kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places)
    if kind == SIGNED:
        kind = signed(SIGNED)
        if whole:
            return _join(signed(WHOLE), kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places)
        return _join(signed(ANY), kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places)
    if kind == TAIL:
        return _join(signed(ANY), signed(TAIL), plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places)
    return _join(signed(ANY), signed(PLAIN), plane, bins, symbols, data, raw, extra, end, tails, n, out, o, places)
