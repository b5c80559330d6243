"""Which bins and tables suit an array of integers (informative; SPEC 9.12)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .bins import PlaneHeader
from .bins_coding import EXACT
from .bins_loop import SYMBOLS_MAX, TOTAL

BLOCK = 8                    # cells that become narrow bins together
DENSE = 0.6                  # of a slot of a table: what a narrow bin's cell has to be filled with
WIDE_ROOM = 24               # symbols kept for wide bins
BIN_BITS = 8.0               # of a wide bin, and of its frequencies, in the header
OCTAVES = 32                 # bits of the largest value in octave cells
OCTAVE_CELLS = EXACT + 4 * (OCTAVES - 3)
ROUNDS = 3                   # of grouping and counting in turn
TABLE_BITS = 6.0             # of a frequency in the header


@dataclass
class Cells:
    """Counts of cells of a plane's values: value >> shift, or octave cells (shift then 0)."""

    counts: np.ndarray
    shift: int
    octaves: bool

    def merged(self, more: int) -> Cells:
        """Cells of 2^more times as many values."""
        return Cells(self.counts.reshape(-1, 1 << more).sum(1), self.shift + more, self.octaves)


@dataclass
class Bins:
    """low, log: least value and log2 of the size of each bin; narrow: how many of the first have 2^raw_bits values."""

    raw_bits: int
    narrow: int
    low: np.ndarray
    log: np.ndarray

    def header(self, frequencies: np.ndarray, tables: int) -> PlaneHeader:
        """tables: how many there are to choose from; with a trellis, pairs of them."""
        return PlaneHeader(self.raw_bits, self.narrow, self.low.astype(np.uint32),
                           (self.log - self.raw_bits).astype(np.uint8), frequencies, max(tables, 1).bit_length() - 1)

    def symbol_of_cell(self, cells: Cells) -> np.ndarray:
        """The symbol (uint8) of each cell."""
        found = np.zeros(len(cells.counts), np.uint8)
        for s, (low, log) in enumerate(zip(self.low.tolist(), self.log.tolist())):
            first = _cell(low, cells)
            found[first : max(_cell(low + (1 << log) - 1, cells), first) + 1] = s
        return found


def _cell(value: int, cells: Cells) -> int:
    if not cells.octaves:
        return value >> cells.shift
    c = value.bit_length()
    return value if value < EXACT else EXACT + (c - 4) * 4 + (value >> (c - 3) & 3)


def find_bins(cells: Cells, raw_bits: int) -> Bins:
    """Narrow bins where values are dense, wide ones elsewhere, about as an ideal code would have them.

    cells: of 2^raw_bits values each, or octave cells with raw_bits 0.
    """
    if cells.octaves:
        return _octave_bins(cells)
    first, end = _dense(cells.counts, SYMBOLS_MAX - WIDE_ROOM)
    price = BIN_BITS
    while True:
        wide = [*_wide(cells.counts, 0, first, price), *_wide(cells.counts, end, len(cells.counts), price)]
        if end - first + len(wide) <= SYMBOLS_MAX:
            break
        price *= 2
    low = [*range(first, end), *(cell for cell, _ in wide)]
    log = [*[0] * (end - first), *(depth for _, depth in wide)]
    return Bins(raw_bits, end - first, np.array(low, np.int64) << raw_bits, np.array(log, np.int64) + raw_bits)


def _octave_bins(cells: Cells) -> Bins:
    used = np.flatnonzero(cells.counts)
    narrow = int(min(used[-1] + 1, EXACT)) if used[0] < EXACT else 0
    low, log = [*range(narrow)], [0] * narrow
    for cell in used[used >= EXACT].tolist():
        octave, quarter = divmod(cell - EXACT, 4)
        low.append((4 + quarter) << (octave + 1))
        log.append(octave + 1)
    return Bins(0, narrow, np.array(low, np.int64), np.array(log, np.int64))


def _dense(counts: np.ndarray, room: int) -> tuple[int, int]:
    # The range of cells that become narrow bins: at most `room`, whole blocks, each of them filled.
    block = min(BLOCK, len(counts))
    blocks = counts.reshape(-1, block).sum(1)
    filled = np.flatnonzero(blocks >= max(counts.sum() * block * DENSE / TOTAL, 1))
    if not len(filled):
        filled = np.array([blocks.argmax()])
    first, end = int(filled[0]), int(filled[-1]) + 1
    room = room if len(counts) > SYMBOLS_MAX else SYMBOLS_MAX
    while (end - first) * block > room:
        if blocks[first] <= blocks[end - 1]:
            first += 1
        else:
            end -= 1
    return first * block, end * block


def _wide(counts: np.ndarray, first: int, end: int, price: float) -> list[tuple[int, int]]:
    # (first cell, log2 of the cells) of the wide bins of a range, in ascending order.
    found, total = [], int(counts.sum())
    while first < end:
        aligned = (first & -first).bit_length() - 1 if first else 62
        log = min(aligned, (end - first).bit_length() - 1)
        found += _dyadic(counts[first : first + (1 << log)], first, total, price)
        first += 1 << log
    return found


def _dyadic(counts: np.ndarray, first: int, total: int, price: float) -> list[tuple[int, int]]:
    # The cheapest parts of a power of two of cells: bottom up what a whole costs, and what its halves do.
    sums = counts.astype(np.float64)
    costs: list[np.ndarray] = []
    halved: list[np.ndarray] = []
    for depth in range(len(counts).bit_length()):
        slot = np.maximum(sums, total / TOTAL * 0.7)           # a rare bin takes a slot from the others, too
        own = sums * (np.log2(total / slot) + depth) + price + np.maximum(total / TOTAL - sums, 0) * 1.44
        own = np.where(sums > 0, own, 0.0)
        halves = costs[-1].reshape(-1, 2).sum(1) if costs else np.full(len(sums), np.inf)
        halved.append(halves < own)
        costs.append(np.minimum(own, halves))
        if len(sums) > 1:
            sums = sums.reshape(-1, 2).sum(1)
    found, waiting = [], [(len(halved) - 1, 0)]
    while waiting:
        depth, k = waiting.pop()
        if halved[depth][k]:
            waiting += [(depth - 1, 2 * k + 1), (depth - 1, 2 * k)]
        elif counts[k << depth : (k + 1) << depth].any():
            found.append((first + (k << depth), depth))
    return found


def ideal_bits(counts: np.ndarray) -> float:
    """Bits of an ideal code for symbols with these counts."""
    used = counts[counts > 0].astype(np.float64)
    return float((used * np.log2(used.sum() / used)).sum())


def cost(bins: Bins, cells: Cells) -> float:
    """Bits of all values in these bins, about: symbols, raw and extra bits, header."""
    counts = np.bincount(bins.symbol_of_cell(cells), cells.counts, minlength=len(bins.low))
    return ideal_bits(counts) + float((counts * bins.log).sum()) + (BIN_BITS + TABLE_BITS) * len(bins.low)


def normalised(counts: np.ndarray) -> np.ndarray:
    """Frequencies (int64) that add up to TOTAL, at least 1 for counts > 0 and below TOTAL. counts: two or more."""
    total = int(counts.sum())
    if total == 0:
        counts, total = np.ones(len(counts), np.int64), len(counts)
    if np.count_nonzero(counts) == 1:                  # a lone symbol lends a slot to another
        counts = counts * TOTAL
        counts[0 if counts[0] == 0 else 1] = 1
        total = int(counts.sum())
    found = np.where(counts > 0, np.clip((counts * TOTAL + total // 2) // total, 1, TOTAL - 1), 0)
    while (missing := TOTAL - int(found.sum())) != 0:
        step = 1 if missing > 0 else -1
        able = np.flatnonzero(found > 1 if step < 0 else (found > 0) & (found < TOTAL - 1))
        loss = counts[able] * np.log2(found[able] / (found[able] + step))        # bits that it costs
        chosen = able[np.argsort(loss, kind="stable")[: max(1, min(abs(missing), len(able) // 4))]]
        found[chosen] += step
    return found


def costs_of(counts: np.ndarray) -> np.ndarray:
    """Bits of each symbol in each table, in 1/256 (int32 [tables, 256]), for tables counted on a sample."""
    part = (counts + 0.02) / (counts + 0.02).sum(1, keepdims=True)
    costs = np.zeros((len(counts), SYMBOLS_MAX), np.int32)
    costs[:, : counts.shape[1]] = np.rint(-256 * np.log2(part))
    return costs


def find_tables(groups: np.ndarray, tables: int) -> np.ndarray:
    """Counts (float64 [tables, symbols]) of the tables that groups of like statistics share.

    groups: counts of a sample of groups, [groups, symbols].
    """
    means = groups @ np.arange(groups.shape[1]) / np.maximum(groups.sum(1), 1)
    labels = np.empty(len(groups), np.int64)
    labels[np.argsort(means, kind="stable")] = np.arange(len(groups)) * tables // len(groups)
    for _ in range(ROUNDS):
        counts = np.stack([groups[labels == t].sum(0) for t in range(tables)])
        labels = (groups @ costs_of(counts)[:, : groups.shape[1]].T).argmin(1)
    return np.stack([groups[labels == t].sum(0) for t in range(tables)])


def sample_bits(groups: np.ndarray, counts: np.ndarray) -> float:
    """Bits of a sample of groups, each in the best of the tables."""
    return float((groups @ costs_of(counts)[:, : groups.shape[1]].T).min(1).sum()) / 256

