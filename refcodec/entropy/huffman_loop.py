"""The compiled parts of Huffman coding (SPEC 9.7): tables, canonical codes, entries.

A *book* is the codes of one payload, table by table: table 0 codes values, the others relative indices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..compiler import at, compiled, inlined
from .bit_packing import get_bits, put_bits
from .watch import clause

OK, EXHAUSTED, OUT_OF_RANGE, LONG_PREFIX, INCOMPLETE, BEYOND = range(6)

LENGTH_MAX = 20                 # bits of a codeword
INDEX_MAX = 1 << 16             # the largest bound of relative indices
TABLES_MAX = 9                  # one of values, up to eight of indices
LOOKUP_BITS = 10                # codewords up to this length are found in one step
MEAN_START = 8 << 4             # running mean of indices, in 1/16
ROW = LENGTH_MAX + 2            # entries of a book's rows by length
PREFIX_MAX = 63
EXTRA_MAX = 15                  # extra bits of an index
ENTRY_MAX = 2 * LENGTH_MAX + EXTRA_MAX
EXTRA_SHIFT = 20                # an index symbol in a book: first index | extra bits << EXTRA_SHIFT


class Book(NamedTuple):
    """Canonical codes (SPEC 9.7.2).

    lookup:  rank << 5 | length by table and first bits, -1 for longer codewords (int32).
    end:     by table and length, what follows the codewords of that length or less, as LENGTH_MAX bits (int64).
    before:  by table and length, the rank of the first symbol of that length (int64).
    symbols: by rank (int64); those of indices with their extra bits above EXTRA_SHIFT.
    """

    lookup: np.ndarray
    end: np.ndarray
    before: np.ndarray
    symbols: np.ndarray


@inlined
def _wrapped(x: int) -> int:
    # As two's complement of 64 bits: what the compiler does by itself.
    return (x & 0x7FFFFFFFFFFFFFFF) | -((x >> 63) & 1) << 63


@clause("9.7.3")
@inlined
def _golomb(raw: np.ndarray, bit: int, shift: int) -> tuple[int, int]:
    # ue(v) << shift | u(shift), modulo 2^64. Returns (value, position); ~position if it takes more than 64 bits.
    zeros = 0
    while zeros <= PREFIX_MAX and get_bits(raw, bit, 1) == 0:
        zeros += 1
        bit += 1
    if zeros + shift > PREFIX_MAX:
        return 0, ~bit
    high = (1 << zeros) - 1 + get_bits(raw, bit + 1, zeros)
    bit += 1 + zeros
    return _wrapped((high << shift) | get_bits(raw, bit, shift)), bit + shift


@compiled
def read_ue(raw: np.ndarray, bit: int) -> tuple[int, int]:
    """ue(v) at a bit position of raw (uint8). Returns (value modulo 2^64, position after it; ~position if it is too
    long)."""
    return _golomb(raw, bit, 0)


@clause("9.7.3")
@inlined
def _read_symbols(raw: np.ndarray, bit: int, first: int, symbols: np.ndarray) -> tuple[int, int]:
    # Runs of neighbouring symbols (SPEC 9.7.3). Returns (position, status).
    n, shift, symbol, count = 0, -1, first, len(symbols)
    while n < count:
        run = 1
        if count - n > 1:
            more, bit = _golomb(raw, bit, 0)
            if bit < 0:
                return bit, LONG_PREFIX
            if more < 0 or more >= count - n:
                return bit, OUT_OF_RANGE
            run += more
        for _ in range(run):
            if n and symbol <= int(symbols[at(n - 1)]):        # it passed 2^63
                return bit, OUT_OF_RANGE
            symbols[at(n)] = symbol
            symbol = _wrapped(symbol + 1)
            n += 1
        if n < count:
            if shift < 0:
                shift = get_bits(raw, bit, 6)
                bit += 6
            gap, bit = _golomb(raw, bit, shift)
            if bit < 0:
                return bit, LONG_PREFIX
            symbol = _wrapped(symbol + gap + 1)
    return bit, OK


@clause("9.7.3")
@inlined
def _read_lengths(raw: np.ndarray, bit: int, lengths: np.ndarray) -> tuple[int, int]:
    # The first length, then differences; together they must make a complete code. Returns (position, status).
    length = get_bits(raw, bit, 5)
    bit += 5
    space = 0
    for n in range(len(lengths)):
        if n:
            k, bit = _golomb(raw, bit, 0)
            if bit < 0:
                return bit, LONG_PREFIX
            if k < 0 or k > 2 * LENGTH_MAX:
                return bit, OUT_OF_RANGE
            length += (k + 1) >> 1 if k & 1 else -(k >> 1)
        if length < 0 or length > LENGTH_MAX:
            return bit, OUT_OF_RANGE
        lengths[at(n)] = length
        space += 1 << (LENGTH_MAX - length)
    return bit, (OK if space == 1 << LENGTH_MAX else INCOMPLETE)


@compiled
def read_table(raw: np.ndarray, bit: int, first: int, symbols: np.ndarray, lengths: np.ndarray) -> tuple[int, int]:
    """A table of codes into symbols and lengths (int64, their size known) (SPEC 9.7.3). Returns (position, status)."""
    bit, status = _read_symbols(raw, bit, first, symbols)
    if status == OK:
        bit, status = _read_lengths(raw, bit, lengths)
    return bit, status


@compiled
def build_table(book: Book, table: int, offset: int, symbols: np.ndarray, lengths: np.ndarray) -> None:
    """Enter a complete code into the book; its symbols get the ranks from `offset` on (SPEC 9.7.2)."""
    row = table * ROW
    rank, code = offset, 0
    for length in range(LENGTH_MAX + 1):
        book.before[at(row + length)] = rank
        for n in range(len(symbols)):
            if int(lengths[at(n)]) == length:
                book.symbols[at(rank)] = int(symbols[at(n)])
                after = code + (1 << (LENGTH_MAX - length))
                if length <= LOOKUP_BITS:
                    step = LENGTH_MAX - LOOKUP_BITS
                    for k in range(code >> step, after >> step):
                        book.lookup[at((table << LOOKUP_BITS) + k)] = rank << 5 | length
                code = after
                rank += 1
        book.end[at(row + length)] = code


@clause("9.7.2")
@inlined
def _rank(book: Book, table: int, window: int) -> tuple[int, int]:
    # The codeword that the LENGTH_MAX bits of window begin with. Returns (rank, length).
    entry = int(book.lookup[at((table << LOOKUP_BITS) + (window >> (LENGTH_MAX - LOOKUP_BITS)))])
    if entry >= 0:
        return entry >> 5, entry & 31
    row = table * ROW
    length = LOOKUP_BITS + 1
    while window >= int(book.end[at(row + length)]):
        length += 1
    code = (window - int(book.end[at(row + length - 1)])) >> (LENGTH_MAX - length)
    return int(book.before[at(row + length)]) + code, length


@clause("9.7.4")
@inlined
def _index_table(thresholds: np.ndarray, mean: int) -> int:
    table = 1
    for k in range(len(thresholds)):
        table += 1 if mean >= int(thresholds[at(k)]) else 0
    return table


@inlined
def _moved(mean: int, index: int) -> int:
    return mean + (((index << 4) - mean) >> 3)


@clause("9.7.4")
@compiled
def decode_entries(raw: np.ndarray, book: Book, thresholds: np.ndarray, state: np.ndarray, count: int, base: int,
                   out: np.ndarray) -> int:
    """Fill out (int64, all 0), the elements from `base` on of an array of `count` (SPEC 9.7.4). Returns a status.

    state: int64 [5], goes on from call to call: bit position, entries left, element and value of the last entry, mean.
    """
    bit, left, position, value, mean = int(state[0]), int(state[1]), int(state[2]), int(state[3]), int(state[4])
    end = base + len(out)
    status = OK
    if base <= position < end:
        out[at(position - base)] = value
    while left > 0 and position < end:
        window = get_bits(raw, bit, ENTRY_MAX)
        rank, used = _rank(book, _index_table(thresholds, mean), window >> (ENTRY_MAX - LENGTH_MAX))
        symbol = int(book.symbols[at(rank)])
        extra = symbol >> EXTRA_SHIFT
        used += extra
        index = (symbol & ((1 << EXTRA_SHIFT) - 1)) + ((window >> (ENTRY_MAX - used)) & ((1 << extra) - 1))
        rank, length = _rank(book, 0, (window >> (ENTRY_MAX - LENGTH_MAX - used)) & ((1 << LENGTH_MAX) - 1))
        value = int(book.symbols[at(rank)])
        bit += used + length
        mean = _moved(mean, index)
        left -= 1
        position += index
        if position >= count:
            status = BEYOND
            break
        if position < end:
            out[at(position - base)] = value
    state[0], state[1], state[2], state[3], state[4] = bit, left, position, value, mean
    return EXHAUSTED if status == OK and bit > 8 * len(raw) else status


@compiled
def encode_entries(raw: np.ndarray, bit: int, gaps: np.ndarray, ranks: np.ndarray, zero: int, bound: int,
                   thresholds: np.ndarray, codes: np.ndarray, lengths: np.ndarray, value_codes: np.ndarray,
                   value_lengths: np.ndarray) -> int:
    """Write all entries from a bit position on. Returns the position after them.

    gaps, ranks: of each non-zero element, its distance to the one before and the number of its value (int64).  zero:
    number of the value 0.  codes, lengths: by table - 1 and index, extra bits included (int64 [tables, bound + 1]).
    """
    mean = MEAN_START
    for n in range(len(gaps)):
        gap = int(gaps[at(n)])
        while gap > 0:
            index = min(gap, bound)
            table = _index_table(thresholds, mean) - 1
            put_bits(raw, bit, int(codes[at(table), at(index)]), int(lengths[at(table), at(index)]))
            bit += int(lengths[at(table), at(index)])
            gap -= index
            rank = zero if gap > 0 else int(ranks[at(n)])
            put_bits(raw, bit, int(value_codes[at(rank)]), int(value_lengths[at(rank)]))
            bit += int(value_lengths[at(rank)])
            mean = _moved(mean, index)
    return bit


@compiled
def list_entries(gaps: np.ndarray, bound: int, indices: np.ndarray, means: np.ndarray) -> None:
    """The index of every entry, fillers included, and the mean before it (int32 arrays of the number of entries)."""
    mean, n = MEAN_START, 0
    for k in range(len(gaps)):
        gap = int(gaps[at(k)])
        while gap > 0:
            index = min(gap, bound)
            indices[at(n)], means[at(n)] = index, mean
            mean = _moved(mean, index)
            gap -= index
            n += 1


@compiled
def huffman_lengths(a: np.ndarray) -> None:
    """Turn counts > 0 in ascending order (int64, two or more) into the lengths of their codewords, in place.

    A. Moffat, J. Katajainen: In-place calculation of minimum-redundancy codes (WADS 1995).
    """
    n = len(a)
    root, leaf = 0, 0
    for k in range(n - 1):                          # a[k] becomes an inner node, or the number of its parent
        weight = 0
        for _ in range(2):
            if leaf >= n or (root < k and int(a[at(root)]) < int(a[at(leaf)])):
                weight += int(a[at(root)])
                a[at(root)] = k
                root += 1
            else:
                weight += int(a[at(leaf)])
                leaf += 1
        a[at(k)] = weight
    a[at(n - 2)] = 0
    for k in range(n - 3, -1, -1):                  # depths of the inner nodes
        a[at(k)] = int(a[at(int(a[at(k)]))]) + 1
    free, depth, inner, k = 1, 0, n - 2, n - 1
    while free > 0:                                 # places of a depth that are no inner nodes are leaves
        nodes = 0
        while inner >= 0 and int(a[at(inner)]) == depth:
            nodes += 1
            inner -= 1
        for _ in range(free - nodes):
            a[at(k)] = depth
            k -= 1
        free = 2 * nodes
        depth += 1


@compiled
def length_bits(lengths: np.ndarray) -> int:
    """Bits that the lengths (int64) take in a table."""
    bits = 5
    for n in range(1, len(lengths)):
        difference = abs(int(lengths[at(n)]) - int(lengths[at(n - 1)]))
        k = 2 * difference                          # ue(v) of 2 d - 1 or 2 d: as many bits for either sign
        bits += 1
        while k > 1:
            bits += 2
            k >>= 1
    return bits


@compiled
def bound_entropies(gaps: np.ndarray, numbers: np.ndarray, logs: np.ndarray, fillers: np.ndarray) -> None:
    """For each bound b: logs[b] = sum of n log2 n over the numbers n of its indices, fillers[b] = its fillers.

    gaps, numbers: the distances that occur, and how often (int64).  logs: float64, fillers: int64, [largest bound + 1].
    """
    seen = np.zeros(len(logs), np.int64)
    for b in range(1, len(logs)):
        filler = 0
        for k in range(len(gaps)):
            steps = (int(gaps[at(k)]) - 1) // b
            filler += steps * int(numbers[at(k)])
            seen[at(int(gaps[at(k)]) - steps * b)] += int(numbers[at(k)])
        seen[at(b)] += filler
        total = seen[at(b)] * np.log2(max(float(seen[at(b)]), 1.0))
        seen[at(b)] = 0
        for k in range(len(gaps)):
            index = (int(gaps[at(k)]) - 1) % b + 1
            n = float(seen[at(index)])
            total += n * np.log2(max(n, 1.0))
            seen[at(index)] = 0
        logs[at(b)], fillers[at(b)] = total, filler
