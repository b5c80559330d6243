"""Codes of Huffman coding: lengths, codewords, index symbols, and how a table is written (SPEC 9.7.2, 9.7.3)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .huffman_loop import LENGTH_MAX, huffman_lengths

HOLES = (0, 1, 3, 8)                           # gaps of a table that are filled with symbols that do not occur


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Lengths of a best prefix code for counts > 0 (int64, one or more), at most LENGTH_MAX; 0 for a lone symbol."""
    if len(counts) == 1:
        return np.zeros(1, np.int64)
    order = np.argsort(counts, kind="stable")
    ascending = counts[order]
    while True:
        found = ascending.copy()
        huffman_lengths(found)
        if found[0] <= LENGTH_MAX:
            break
        ascending = (ascending + 1) >> 1       # too deep: flatter counts, which costs little and ends at equal ones
    lengths = np.empty_like(found)
    lengths[order] = found
    return lengths


def canonical_codes(lengths: np.ndarray) -> np.ndarray:
    """The codewords (int64) of a complete code: in the order of length, then of symbol."""
    order = np.argsort(lengths, kind="stable")
    space = np.int64(1) << (LENGTH_MAX - lengths[order])
    codes = np.empty_like(lengths)
    codes[order] = (np.cumsum(space) - space) >> (LENGTH_MAX - lengths[order])
    return codes


def u_bits(value: int, n: int) -> str:
    """u(n) as a string of 0 and 1; so the others."""
    return f"{value:0{n}b}" if n else ""


def ue_bits(value: int) -> str:
    return "0" * ((value + 1).bit_length() - 1) + f"{value + 1:b}"


def se_bits(value: int) -> str:
    return ue_bits(2 * value - 1 if value > 0 else -2 * value)


def _ranges(symbols: np.ndarray) -> str:
    # Runs of neighbouring symbols, and between them gaps in an Exp-Golomb code of the best order.
    breaks = np.flatnonzero(symbols[1:] != symbols[:-1] + 1)
    runs = np.diff(breaks, prepend=-1, append=len(symbols) - 1).tolist()
    gaps = [int(symbols[i + 1]) - int(symbols[i]) - 2 for i in breaks]
    left, text, shift = len(symbols), [], 0
    if gaps:
        sizes = np.array([gap.bit_length() for gap in gaps])
        # The order: a gap of n bits takes n + Max(n - shift, 0) bits or so, and at least shift + 1. Gaps of 64 bits
        # leave out the orders whose prefix and low bits would pass 63 ([R9.7.3-2]); order 0 always holds them.
        orders = [k for k in range(64) if (max(gaps) >> k) + 1 < 1 << (64 - k)]
        shift = min(orders, key=lambda k: int(np.maximum(2 * sizes - k, k + 1).sum()))
    for n, run in enumerate(runs):
        text.append(ue_bits(run - 1) if left > 1 else "")
        left -= run
        if left:
            low = gaps[n] & ((1 << shift) - 1)
            text += [u_bits(shift, 6) if n == 0 else "", ue_bits(gaps[n] >> shift), u_bits(low, shift)]
    return "".join(text)


def _table(symbols: np.ndarray, lengths: np.ndarray, first: str) -> str:
    # The number of symbols, and Table( ) of SPEC 9.7.3.
    steps = map(se_bits, np.diff(lengths).tolist())
    return "".join([ue_bits(len(symbols) - 1), first, _ranges(symbols), u_bits(int(lengths[0]), 5), *steps])


def index_symbols(indices: np.ndarray, precision: int) -> np.ndarray:
    """The symbol of each index >= 1 (SPEC 9.7.3): the top precision + 1 bits of index - 1; the rest are extra bits."""
    v = indices - 1
    extra = np.maximum(np.frexp(v)[1] - precision - 1, 0)
    found: np.ndarray = (extra << precision) + (v >> extra)
    return found


def symbol_extents(bound: int, precision: int) -> tuple[np.ndarray, np.ndarray]:
    """The least index and the number of extra bits of each symbol (int64), up to that of the bound (SPEC 9.7.3)."""
    symbols = np.arange(int(index_symbols(np.array([bound]), precision)[0]) + 1)
    extra = np.maximum((symbols >> precision) - 1, 0)
    first = ((symbols - (extra << precision)) << extra) + 1
    extra[-1] = (bound - int(first[-1])).bit_length()
    return first, extra


def least_table(symbols: np.ndarray, counts: np.ndarray, first: Callable[[int], str], symbols_max: int
                ) -> tuple[np.ndarray, np.ndarray, str]:
    """(symbols, lengths, table) for counts > 0: the best with gaps as they are, or with small ones filled.

    first: how the first symbol is written.
    """
    found = []
    for hole in HOLES:
        all_symbols, all_counts = _filled(symbols, counts, hole)
        if len(all_symbols) > symbols_max:
            break
        lengths = code_lengths(all_counts)
        table = _table(all_symbols, lengths, first(int(all_symbols[0])))
        size = len(table) + int((all_counts * lengths)[np.searchsorted(all_symbols, symbols)].sum())
        found.append((size, all_symbols, lengths, table))
    _, all_symbols, lengths, table = min(found, key=lambda one: one[0])
    return all_symbols, lengths, table


def _filled(symbols: np.ndarray, counts: np.ndarray, hole: int) -> tuple[np.ndarray, np.ndarray]:
    # Symbols that do not occur, but stand in a gap of at most `hole` symbols, get a codeword.
    steps = np.append(np.diff(symbols), 1)
    steps = np.where((steps > 0) & (steps <= hole + 1), steps, 1)          # a step past 2^63 is negative
    starts = np.cumsum(steps) - steps
    all_counts = np.ones(int(steps.sum()), np.int64)
    all_counts[starts] = counts
    return np.repeat(symbols - starts, steps) + np.arange(len(all_counts)), all_counts
