"""The compiled loops that make payloads of BINS (informative; the inverse of bins_chunk.py)."""

from __future__ import annotations

import numpy as np

from ..compiler import at, compiled, inlined, signed, unsigned
from .bins_plane import FLOAT, LANES, RUN, SIGNED, SLOT_BITS, STATE_MIN, SYMBOLS_MAX, TOTAL
from .bins_prediction import ordered
from .levels import trellis_masks

EXACT = 8               # octave cells: values below it have one each, others a quarter of an octave
RECIPROCAL_BITS = 44    # of the reciprocals of frequencies


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


@compiled
def split_pieces(kind, bits, shift, tail, words, firsts, out):
    """split() of pieces that begin at `firsts`, int64, into the rows of out."""
    for k in range(len(firsts)):
        split(kind, bits, shift, tail, words, signed(firsts[at(k)]), out[at(k)])


@inlined
def _subtract(floating, bits, words, predictor, out):
    half = 1 << (bits - 1)
    mask = 2 * half - 1 if bits < 64 else -1
    for i in range(len(words)):
        x, y = signed(words[at(i)]), signed(predictor[at(i)])
        out[at(i)] = (ordered(floating, half, x) - ordered(floating, half, y)) & mask


@compiled
def subtract_predictor(floating, bits, words, predictor, out):
    """Differences modulo 2^bits of words to those of the predictor, as ordered integers (SPEC 8.4.2).

    All are flat: unsigned words, int64 for those of 64 bits.
    """
    if floating:
        _subtract(True, bits, words, predictor, out)
    else:
        _subtract(False, bits, words, predictor, out)


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
def count_values(values, counts):
    """Adds the values to counts (int64 [1 or 2, values there are]); with two rows like neighbours are counted apart,
    which is faster."""
    other, zeros = at(counts.shape[0] - 1), 0
    for i in range(0, len(values) - 3, 4):
        a, b, c, d = values[at(i)], values[at(i + 1)], values[at(i + 2)], values[at(i + 3)]
        if signed(a) | signed(b) | signed(c) | signed(d):
            counts[0, at(a)] += 1
            counts[other, at(b)] += 1
            counts[0, at(c)] += 1
            counts[other, at(d)] += 1
        else:                                          # differences, mostly
            zeros += 4
    counts[0, 0] += zeros
    for i in range(len(values) & -4, len(values)):
        counts[0, at(values[at(i)])] += 1


@compiled
def count_octave_cells(values, counts):
    """The same with octave cells."""
    other = counts.shape[0] - 1
    for i in range(len(values)):
        counts[at(i & other), at(octave_cell(signed(values[at(i)])))] += 1


@compiled
def symbols_of(values, shift, octaves, symbol_of_cell, out):
    """The symbol (uint8) of each value, by its cell: value >> shift, or its octave cell."""
    if octaves:
        for i in range(len(values)):
            out[at(i)] = symbol_of_cell[at(octave_cell(signed(values[at(i)])))]
    else:
        for i in range(len(values)):
            out[at(i)] = symbol_of_cell[at(signed(values[at(i)]) >> shift)]


@compiled
def count_in_contexts(symbols, contexts, counts):
    """Adds each symbol to the row of its context in counts (int64 [2, tables, 256]), by turns in its two parts."""
    for i in range(0, len(symbols) - 1, 2):
        counts[0, at(contexts[at(i)]), at(symbols[at(i)])] += 1
        counts[1, at(contexts[at(i + 1)]), at(symbols[at(i + 1)])] += 1
    for i in range(len(symbols) & -2, len(symbols)):
        counts[0, at(contexts[at(i)]), at(symbols[at(i)])] += 1


@compiled
def count_exponents(words, mantissa, step, counts):
    """Adds the exponent field of every step-th word to counts (int64)."""
    for i in range(0, len(words), step):
        counts[at((signed(words[at(i)]) >> mantissa) & (len(counts) - 1))] += 1


@compiled
def rans_tables(frequencies, reciprocals, shares):
    """Of frequencies (int64 [tables, bins]) what the coder needs, [tables * 256]: 2^44 / frequency, rounded up, uint64;
    frequency << 16 | start, uint32."""
    for t in range(frequencies.shape[0]):
        start = 0
        for s in range(frequencies.shape[1]):
            frequency = signed(frequencies[at(t), at(s)])
            reciprocals[at(t * SYMBOLS_MAX + s)] = (1 << RECIPROCAL_BITS) // max(frequency, 1) + 1
            shares[at(t * SYMBOLS_MAX + s)] = frequency << 16 | start
            start += frequency


@inlined
def _step(x, reciprocals, shares, k, words, p):
    # Puts the symbol of entry k before what state x holds. Returns (state, where the words begin).
    share = unsigned(shares[at(k)])
    frequency = share >> unsigned(16)
    words[at(p - 1)] = x & unsigned(0xFFFF)            # counts only if the state would pass 32 bits
    full = x >> unsigned(32 - SLOT_BITS) >= frequency
    x = x >> unsigned(16) if full else x
    p = p - 1 if full else p
    # x // frequency, exact: x < frequency << 20, and the reciprocal is less than 1 too large, so that the product is
    # less than 2^64 and its error less than 2^44 / frequency.
    quotient = (x * unsigned(reciprocals[at(k)])) >> unsigned(RECIPROCAL_BITS)
    return x + (share & unsigned(0xFFFF)) + quotient * (unsigned(TOTAL) - frequency), p


@inlined
def _entry(by_context, first, contexts, symbols, i):
    # Where an element's symbol stands in the tables. first: of the group's table.
    s = unsigned(symbols[at(i)])
    return unsigned(contexts[at(i)]) << unsigned(8) | s if by_context else first | s


@inlined
def _encode_symbols(by_context, symbols, contexts, group, reciprocals, shares, states, words):
    n, p = len(symbols), len(words)
    full = n & -LANES
    for k in range(LANES):
        states[at(k)] = STATE_MIN
    for i in range(n - 1, full - 1, -1):
        first = unsigned(0) if by_context else unsigned(contexts[at(i >> group)]) << unsigned(8)
        states[at(i - full)], p = _step(unsigned(states[at(i - full)]), reciprocals, shares,
                                        _entry(by_context, first, contexts, symbols, i), words, p)
    x0, x1, x2, x3 = unsigned(states[0]), unsigned(states[1]), unsigned(states[2]), unsigned(states[3])
    x4, x5, x6, x7 = unsigned(states[4]), unsigned(states[5]), unsigned(states[6]), unsigned(states[7])
    i = full - LANES
    while i >= 0:
        first = unsigned(0) if by_context else unsigned(contexts[at(i >> group)]) << unsigned(8)
        stop = 0 if by_context else i >> group << group
        while i >= stop:
            x7, p = _step(x7, reciprocals, shares, _entry(by_context, first, contexts, symbols, i + 7), words, p)
            x6, p = _step(x6, reciprocals, shares, _entry(by_context, first, contexts, symbols, i + 6), words, p)
            x5, p = _step(x5, reciprocals, shares, _entry(by_context, first, contexts, symbols, i + 5), words, p)
            x4, p = _step(x4, reciprocals, shares, _entry(by_context, first, contexts, symbols, i + 4), words, p)
            x3, p = _step(x3, reciprocals, shares, _entry(by_context, first, contexts, symbols, i + 3), words, p)
            x2, p = _step(x2, reciprocals, shares, _entry(by_context, first, contexts, symbols, i + 2), words, p)
            x1, p = _step(x1, reciprocals, shares, _entry(by_context, first, contexts, symbols, i + 1), words, p)
            x0, p = _step(x0, reciprocals, shares, _entry(by_context, first, contexts, symbols, i), words, p)
            i -= LANES
    states[0], states[1], states[2], states[3] = x0, x1, x2, x3
    states[4], states[5], states[6], states[7] = x4, x5, x6, x7
    return p


@compiled
def encode_symbols(symbols, choices, group, reciprocals, shares, states, words):
    """rANS of a chunk's plane, backwards. Returns where in words (uint16) its words begin.

    choices: the table of each group of 2^group elements, uint8.  reciprocals, shares: see rans_tables().  states:
    uint64 [8], set to where they end up, the decoder's first ones.
    """
    return _encode_symbols(False, symbols, choices, group, reciprocals, shares, states, words)


@compiled
def encode_symbols_in_contexts(symbols, contexts, reciprocals, shares, states, words):
    """The same with a table for each element."""
    return _encode_symbols(True, symbols, contexts, 0, reciprocals, shares, states, words)


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


@inlined
def _any_from(symbols, i, first):
    count = 0
    for k in range(RUN):
        count += 1 if symbols[at(i + k)] >= first else 0
    return count > 0


@compiled
def put_extra(values, symbols, narrow, raw_bits, low, extra, out):
    """The extra bits of a chunk's wide bins, lowest first, into out (uint8). Returns their number."""
    held = fill = p = i = 0
    while i < len(symbols):
        stop = min(i + RUN, len(symbols))
        if stop - i == RUN and not _any_from(symbols, i, np.uint8(narrow)):
            i = stop
        while i < stop:
            s = signed(symbols[at(i)])
            if s >= narrow:
                held |= ((signed(values[at(i)]) - signed(low[at(s)])) >> raw_bits) << fill
                fill += signed(extra[at(s)])
                while fill >= 8:
                    out[at(p)] = held & 255
                    held >>= 8
                    fill -= 8
                    p += 1
            i += 1
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
