"""The compiled loops that make payloads of BINS (informative; the inverse of bins_loop.py)."""

from __future__ import annotations

from ..compiler import at, compiled, inlined, signed
from .bins_loop import FLOAT, LANES, SIGNED, SLOT_BITS, STATE_MIN
from .levels import trellis_masks

EXACT = 8          # octave cells: values below it have one each, others a quarter of an octave


@inlined
def _head(kind, bits, shift, word):
    # The head of a word, its sign in the lowest bit; the tails below `shift` are cut off.
    if kind == FLOAT:
        return ((word & ((1 << (bits - 1)) - 1)) >> shift) << 1 | (word >> (bits - 1)) & 1
    if kind == SIGNED:
        negative = word >> (bits - 1) & 1
        return (((word ^ -negative) & ((1 << (bits - 1)) - 1)) >> shift) << 1 | negative
    return (word >> shift) & 0xFFFFFFFF


@inlined
def _tail(kind, bits, shift, word):
    flipped = word ^ -(word >> (bits - 1) & 1) if kind == SIGNED else word
    return flipped >> shift & 255


@inlined
def _split(kind, bits, shift, tail, words, first, out):
    for i in range(len(out)):
        word = signed(words[at(first + i)])            # of 64 bits, it may be negative
        out[at(i)] = _tail(kind, bits, shift, word) if tail else _head(kind, bits, shift, word)


@compiled
def split(kind, bits, shift, tail, words, first, out):
    """Heads, or the tails at `shift`, of words[first:first + len(out)]; words as unsigned integers."""
    if kind == FLOAT:
        _split(FLOAT, bits, shift, tail, words, first, out)
    elif kind == SIGNED:
        _split(SIGNED, bits, shift, tail, words, first, out)
    else:
        _split(0, bits, shift, tail, words, first, out)


@inlined
def octave_cell(value):
    # Few cells for values of up to 32 bits.
    if value < EXACT:
        return value
    c = 3
    while value >> c:
        c += 1
    return EXACT + (c - 4) * 4 + (value >> (c - 3) & 3)


@compiled
def count_cells(values, shift, octaves, counts):
    """Adds the values' cells to counts (int64): value >> shift, or octave cells."""
    if octaves:
        for i in range(len(values)):
            counts[at(octave_cell(signed(values[at(i)])))] += 1
    else:
        for i in range(len(values)):
            counts[at(signed(values[at(i)]) >> shift)] += 1


@compiled
def symbols_of(values, shift, octaves, symbol_of_cell, out):
    """The symbol (uint8) of each value, by its cell."""
    if octaves:
        for i in range(len(values)):
            out[at(i)] = symbol_of_cell[at(octave_cell(signed(values[at(i)])))]
    else:
        for i in range(len(values)):
            out[at(i)] = symbol_of_cell[at(signed(values[at(i)]) >> shift)]


@compiled
def cheapest_tables(symbols, group, costs, choices):
    """The table of least cost for each group of 2^group symbols. costs: int32 [tables, 256]; choices: uint8."""
    tables = costs.shape[0]
    for g in range(len(choices)):
        first, end = g << group, min((g + 1) << group, len(symbols))
        best, least = 0, -1
        for t in range(tables):
            total = 0
            for i in range(first, end):
                total += signed(costs[at(t), at(symbols[at(i)])])
            if least < 0 or total < least:
                best, least = t, total
        choices[at(g)] = best


@compiled
def count_groups(symbols, group, counts):
    """Adds the symbols of each group of 2^group to its row of counts (int64 [groups, 256])."""
    for i in range(len(symbols)):
        counts[at(i >> group), at(symbols[at(i)])] += 1


@compiled
def count_in_contexts(symbols, contexts, group, counts):
    """Adds the symbols to counts (int64 [tables, 256]), each to the row of its group's table."""
    for i in range(len(symbols)):
        counts[at(contexts[at(i >> group)]), at(symbols[at(i)])] += 1


@inlined
def _step(x, frequencies, starts, parts, t, s, words, p):
    # Puts symbol s before what state x holds. Returns (state, where the words begin).
    frequency = signed(frequencies[t, s])
    words[at(p - 1)] = x & 0xFFFF                      # counts only if the state would pass 32 bits
    full = x >> (32 - SLOT_BITS) >= frequency
    x = x >> 16 if full else x
    p = p - 1 if full else p
    # x // frequency, exact: (x + 1/2) / frequency is no nearer than 2^-13 to an integer, and its error below 2^-19.
    quotient = signed((x + 0.5) * parts[t, s])
    return (quotient << SLOT_BITS) + x - quotient * frequency + signed(starts[t, s]), p


@inlined
def _encode_symbols(by_context, symbols, contexts, group, frequencies, starts, parts, states, words):
    n, p = len(symbols), len(words)
    states[:] = STATE_MIN
    full = n & -LANES
    for i in range(n - 1, full - 1, -1):
        t = at(contexts[at(i if by_context else i >> group)])
        states[at(i - full)], p = _step(signed(states[at(i - full)]), frequencies, starts, parts, t,
                                        at(symbols[at(i)]), words, p)
    x0, x1, x2, x3 = signed(states[0]), signed(states[1]), signed(states[2]), signed(states[3])
    x4, x5, x6, x7 = signed(states[4]), signed(states[5]), signed(states[6]), signed(states[7])
    i = full - LANES
    while i >= 0:
        t = at(contexts[at(i + 7 if by_context else i >> group)])
        x7, p = _step(x7, frequencies, starts, parts, t, at(symbols[at(i + 7)]), words, p)
        t = at(contexts[at(i + 6)]) if by_context else t
        x6, p = _step(x6, frequencies, starts, parts, t, at(symbols[at(i + 6)]), words, p)
        t = at(contexts[at(i + 5)]) if by_context else t
        x5, p = _step(x5, frequencies, starts, parts, t, at(symbols[at(i + 5)]), words, p)
        t = at(contexts[at(i + 4)]) if by_context else t
        x4, p = _step(x4, frequencies, starts, parts, t, at(symbols[at(i + 4)]), words, p)
        t = at(contexts[at(i + 3)]) if by_context else t
        x3, p = _step(x3, frequencies, starts, parts, t, at(symbols[at(i + 3)]), words, p)
        t = at(contexts[at(i + 2)]) if by_context else t
        x2, p = _step(x2, frequencies, starts, parts, t, at(symbols[at(i + 2)]), words, p)
        t = at(contexts[at(i + 1)]) if by_context else t
        x1, p = _step(x1, frequencies, starts, parts, t, at(symbols[at(i + 1)]), words, p)
        t = at(contexts[at(i)]) if by_context else t
        x0, p = _step(x0, frequencies, starts, parts, t, at(symbols[at(i)]), words, p)
        i -= LANES
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    states[4], states[5], states[6], states[7] = x4, x5, x6, x7
    return p


@compiled
def encode_symbols(symbols, choices, group, frequencies, starts, parts, states, words):
    """rANS of a chunk's plane, backwards. Returns where in words (uint16) its words begin.

    choices: the table of each group of 2^group elements, uint8.  frequencies, starts: int32 [tables, 256].  parts:
    1 / frequency, float64.  states: int64 [8], set to where they end up, the decoder's first ones.
    """
    return _encode_symbols(False, symbols, choices, group, frequencies, starts, parts, states, words)


@compiled
def encode_symbols_in_contexts(symbols, contexts, group, frequencies, starts, parts, states, words):
    """The same with a table for each element; group is 0."""
    return _encode_symbols(True, symbols, contexts, group, frequencies, starts, parts, states, words)


@compiled
def put_raw(values, raw_bits, out):
    """The raw plane of a chunk (uint8)."""
    n = len(values)
    half = (n + 1) >> 1
    if raw_bits == 8:
        for i in range(n):
            out[at(i)] = signed(values[at(i)]) & 255
    elif raw_bits == 4:
        for i in range(half):
            out[at(i)] = signed(values[at(i)]) & 15
        for i in range(n - half):
            out[at(i)] |= (signed(values[at(half + i)]) & 15) << 4


@compiled
def put_extra(values, symbols, narrow, raw_bits, low, extra, out):
    """The extra bits of a chunk's wide bins, lowest first, into out (uint8). Returns their number."""
    held = fill = p = 0
    for i in range(len(symbols)):
        s = signed(symbols[at(i)])
        if s >= narrow:
            held |= ((signed(values[at(i)]) - signed(low[at(s)])) >> raw_bits) << fill
            fill += signed(extra[at(s)])
            while fill >= 8:
                out[at(p)] = held & 255
                held >>= 8
                fill -= 8
                p += 1
    if fill:
        out[at(p)] = held & 255
    return 8 * p + fill


@compiled
def trellis_parities(heads, states, out):
    """The parity (uint8) of its lane's state before each level of a chunk. heads: of levels."""
    mask_a, mask_b = trellis_masks(states)
    state = [0] * LANES
    for i in range(len(heads)):
        k = i & (LANES - 1)
        odd = state[k] & 1
        out[at(i)] = odd
        state[k] = (state[k] >> 1) ^ (mask_a if odd else 0) ^ (
            mask_b if (signed(heads[at(i)]) ^ signed(heads[at(i)]) >> 1) & 1 else 0)
