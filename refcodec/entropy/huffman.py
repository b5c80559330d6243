"""Sparse integers as relative indices and values, both Huffman coded (SPEC 9.7).

Each non-zero element is an entry: its distance to the one before, and its value.  A distance above the bound b is
bridged by fillers, entries of index b and value 0; what follows the last entry is zero.  The bound is searched for the
least size.  Large indices may share a codeword, which extra bits follow, so that tables stay short; and there are up to
eight codes of indices, chosen by the mean of the indices lately seen.
"""

from __future__ import annotations

import numpy as np

from ..errors import EntropyError
from .huffman_loop import (
    BEYOND,
    EXHAUSTED,
    EXTRA_SHIFT,
    INCOMPLETE,
    INDEX_MAX,
    LENGTH_MAX,
    LONG_PREFIX,
    LOOKUP_BITS,
    MEAN_START,
    OK,
    OUT_OF_RANGE,
    ROW,
    TABLES_MAX,
    Book,
    build_table,
    decode_entries,
    encode_entries,
    read_table,
    read_ue,
)
from .huffman_search import index_codes, nearest, search, search_bound, sparse
from .huffman_tables import canonical_codes, index_symbols, least_table, symbol_extents, u_bits, ue_bits
from .watch import clause

__all__ = ["decode_huffman", "encode_huffman", "search_bound"]

CHUNK = 1 << 16                                # elements decoded at once
# status: code, message, requirement
ERRORS = {EXHAUSTED: ("ENTROPY_END", "the payload ends before its last entry", "R9.7.1-3"),
          OUT_OF_RANGE: ("OUT_OF_RANGE", "a run, symbol or length of a table is out of its range", "R9.7.3-1"),
          LONG_PREFIX: ("FORBIDDEN_PATTERN", "ue(v) takes more than 64 bits", "R9.7.3-2"),
          INCOMPLETE: ("FORBIDDEN_PATTERN", "a code is incomplete or over-full", "R9.7.2-1"),
          BEYOND: ("OUT_OF_RANGE", "an entry lies behind the last element", "R9.7.4-1")}


def _fail(status: int) -> EntropyError:
    code, message, rule = ERRORS[status]
    return EntropyError(code, f"SPEC 9.7: {message}", rules=rule)


def _out_of_range(message: str, rule: str) -> EntropyError:
    return EntropyError("OUT_OF_RANGE", f"SPEC 9.7: {message}", rules=rule)


# Encoder


def _first_value(value: int) -> str:
    width = (value ^ (value >> 63)).bit_length() + 1
    return u_bits(width - 1, 6) + u_bits(value & ((1 << width) - 1), width)


def _packed(text: str) -> np.ndarray:
    return np.packbits(np.frombuffer(text.encode(), np.uint8) & 1)


def _index_tables(counts: list[np.ndarray], bound: int, precision: int) -> tuple[np.ndarray, np.ndarray, str, int]:
    """Codes of the indices in each class: (codewords, lengths, tables, bits of all entries' indices).

    Codewords and lengths include the extra bits: int64 [classes, bound + 1].
    """
    codes, lengths = np.zeros((2, len(counts), bound + 1), np.int64)
    indices = np.arange(1, bound + 1)
    by_index, (first, extra) = index_symbols(indices, precision), symbol_extents(bound, precision)
    tables, size = [], 0
    for c, part in enumerate(counts):
        used, used_lengths, table = least_table(np.flatnonzero(part), part[part > 0], ue_bits, len(part))
        tables.append(table)
        code, length = np.zeros((2, len(part)), np.int64)
        code[used], length[used] = canonical_codes(used_lengths), used_lengths
        codes[c, 1:] = (code << extra)[by_index] | (indices - first[by_index])
        lengths[c, 1:] = (length + extra)[by_index]
        size += int((part * (length + extra)).sum())
    return codes, lengths, "".join(tables), size


def encode_huffman(values: np.ndarray, bound: int | None = None, symbols_max: int = 1 << LENGTH_MAX) -> bytes:
    """The payload of an integer array (row-major, words or levels of any width).

    bound: None searches it.  symbols_max: level.codebook_size.  Raises EntropyError RESOURCE_LIMIT: the array has more
    different values.
    """
    array, count = sparse(values), np.size(values)
    if not len(array.gaps):
        return _packed(u_bits(0, count.bit_length())).tobytes()
    if len(array.symbols) >= symbols_max:
        raise EntropyError("RESOURCE_LIMIT", f"SPEC 9.7: {len(array.symbols)} different values besides 0, fewer than "
                           f"{symbols_max} are allowed")
    bound, precision = search(array) if bound is None else nearest(array, bound)
    fillers = array.fillers(bound)
    symbols, lengths, table = least_table(*array.value_table(fillers), _first_value, symbols_max)
    thresholds, counts = index_codes(array, bound, precision)
    index_codewords, index_lengths, index_tables, index_size = _index_tables(counts, bound, precision)
    header = "".join([u_bits(len(array.gaps) + fillers, count.bit_length()), table, u_bits(bound - 1, 16),
                      u_bits(precision, 4), u_bits(len(thresholds), 3),
                      *map(ue_bits, np.diff(thresholds, prepend=0).tolist()), index_tables])
    ranks, zero = np.searchsorted(symbols, array.values), int(np.searchsorted(symbols, 0)) if fillers else 0
    size = len(header) + index_size + int(lengths[ranks].sum()) + fillers * int(lengths[zero])
    payload = np.zeros((size >> 3) + 2, np.uint8)
    payload[: (len(header) + 7) >> 3] = _packed(header)
    end = encode_entries(payload, len(header), array.gaps, ranks, zero, bound, np.array(thresholds, np.int64),
                         index_codewords, index_lengths, canonical_codes(lengths), lengths)
    return payload[: (end + 7) >> 3].tobytes()


# Decoder


class _Reader:
    """The elements before the entries. Raises EntropyError."""

    def __init__(self, raw: np.ndarray):
        self.raw, self.bit, self.end = raw, 0, 8 * len(raw)

    def _moved(self, bit: int) -> None:
        if bit > self.end or ~bit > self.end:
            raise _fail(EXHAUSTED)
        if bit < 0:
            raise _fail(LONG_PREFIX)
        self.bit = int(bit)

    def u(self, n: int) -> int:
        first = self.bit
        self._moved(first + n)
        field = int.from_bytes(self.raw[first >> 3 : (first + n + 7) >> 3].tobytes(), "big")
        return (field >> (-(first + n) & 7)) & ((1 << n) - 1)

    def ue(self, largest: int, rule: str) -> int:
        value, bit = read_ue(self.raw, self.bit)
        self._moved(bit)
        if not 0 <= value <= largest:
            raise _out_of_range(f"a number is not in 0..{largest}", rule)
        return int(value)

    def table(self, size: int, first: int) -> tuple[np.ndarray, np.ndarray]:
        """Symbols and lengths (int64) of a code of `size` symbols whose first symbol is known."""
        if size > self.end - self.bit:                             # each symbol but the first takes a bit at least
            raise _fail(EXHAUSTED)
        symbols, lengths = np.zeros((2, size), np.int64)
        bit, status = read_table(self.raw, self.bit, first, symbols, lengths)
        if status and 0 <= bit <= self.end:
            raise _fail(status)
        self._moved(bit)
        return symbols, lengths


@clause("9.7.1")
def _read_tables(read: _Reader, symbols_max: int) -> tuple[list[tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """(tables, thresholds): the table of values, then those of indices."""
    size = read.ue((1 << 63) - 1, "R9.7.1-1") + 1
    if size > symbols_max:
        raise EntropyError("RESOURCE_LIMIT", f"SPEC 9.7: {size} different values, the level allows {symbols_max}",
                           rules="R9.7.1-2")
    width = read.u(6) + 1
    first = read.u(width)
    tables = [read.table(size, first - ((first >> (width - 1)) << width))]
    bound, precision = read.u(16) + 1, read.u(4)
    first_index, extra = symbol_extents(bound, precision)
    thresholds = np.zeros(read.u(3), np.int64)
    for k in range(len(thresholds)):
        thresholds[k] = read.ue(INDEX_MAX << 4, "R9.7.1-1") + (thresholds[k - 1] if k else 0)
    for _ in range(len(thresholds) + 1):
        size = read.ue(len(extra) - 1, "R9.7.3-3") + 1
        symbols, lengths = read.table(size, read.ue(len(extra) - 1, "R9.7.3-3"))
        if symbols[-1] >= len(extra):
            raise _out_of_range("an index table has a symbol beyond the bound", "R9.7.3-3")
        tables.append((first_index[symbols] | extra[symbols] << EXTRA_SHIFT, lengths))
    return tables, thresholds


def _book(tables: list[tuple[np.ndarray, np.ndarray]]) -> Book:
    book = Book(np.full(TABLES_MAX << LOOKUP_BITS, -1, np.int32), np.zeros(TABLES_MAX * ROW, np.int64),
                np.zeros(TABLES_MAX * ROW, np.int64), np.zeros(sum(len(symbols) for symbols, _ in tables), np.int64))
    offset = 0
    for table, (symbols, lengths) in enumerate(tables):
        build_table(book, table, offset, symbols, lengths)
        offset += len(symbols)
    return book


@clause("9.7.1")
def decode_huffman(data: bytes | memoryview, count: int, dtype: np.dtype | type = np.int64,
                   symbols_max: int = 1 << 20) -> np.ndarray:
    """The `count` integers that encode_huffman coded, one dimension, of an integer dtype.

    symbols_max: level.codebook_size, the number of different values allowed.  Memory beside the result: a constant and
    some 40 bytes per symbol.  Raises EntropyError: ENTROPY_END, OUT_OF_RANGE, FORBIDDEN_PATTERN, RESOURCE_LIMIT.
    """
    raw = np.frombuffer(data, np.uint8).copy()
    dtype = np.dtype(dtype)
    read = _Reader(raw)
    entries = read.u(count.bit_length())
    if entries > count:
        raise _out_of_range(f"{entries} entries of {count} elements", "R9.7.1-1")
    tables, thresholds = _read_tables(read, symbols_max) if entries else ([], np.zeros(0, np.int64))
    limits = np.iinfo(dtype)
    if entries and dtype != np.uint64 and not limits.min <= tables[0][0][0] <= tables[0][0][-1] <= limits.max:
        raise _out_of_range(f"a value is beyond {dtype}", "R9.7.1-4")
    result = np.zeros(count, dtype)
    state = np.array([read.bit, entries, -1, 0, MEAN_START], np.int64)
    book = _book(tables)
    for base in range(0, count if entries else 0, CHUNK):
        if state[1] == 0 and state[2] < base:
            break
        out = np.zeros(min(CHUNK, count - base), np.int64)
        status = decode_entries(raw, book, thresholds, state, count, base, out)
        if status != OK:
            raise _fail(status)
        result[base : base + len(out)] = out.astype(dtype)
    rest = read.end - int(state[0])
    if rest not in range(8) or (rest and int(raw[-1]) & ((1 << rest) - 1)):
        raise EntropyError("ENTROPY_END", "SPEC 9.7: the payload does not end with its last entry", rules="R9.7.1-3")
    return result
