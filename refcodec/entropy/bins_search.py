"""Which bins suit the values of a plane (informative; SPEC 9.12.4)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..compiler import at, bit_length, compiled, inlined, signed
from .bins import RAW_BITS, PlaneHeader
from .bins_coding import EXACT
from .bins_plane import SLOT_BITS, SYMBOLS_MAX, TOTAL

BLOCK = 8                    # cells that become narrow bins together
DENSE = 5                    # eighths of a slot of a table: what a narrow bin's cell has to be filled with
WIDE_ROOM = 32               # symbols kept for wide bins: a range of 2^16 cells falls into 16 aligned ones at most
OCTAVES = 32                 # bits of the largest value in octave cells
OCTAVE_CELLS = EXACT + 4 * (OCTAVES - 3)
FASTER = 1.0005              # what more raw bits, or fewer tables, may cost

ONE = 1 << 10                # a bit in the costs of compiled loops
BIN_PRICE = 14 * ONE         # of a wide bin, and of its frequency, in the header
DENSE_IN_MANY = 8 * DENSE    # and PRICE_IN_MANY: where each of many tables has a frequency for the bin
PRICE_IN_MANY = 3 * BIN_PRICE
SLOT_PRICE = ONE * 1443 // 1000          # of a slot that the others lose, over the values of a slot
LOG2 = np.rint(ONE * np.log2(1 + np.arange(ONE) / ONE)).astype(np.int64)


@inlined
def log2_of(x: int) -> int:
    """The binary logarithm of x >= 1, in 1/1024."""
    x = signed(x)
    n = bit_length(x) - 1
    return n * ONE + LOG2[at((x >> (n - 10) if n > 10 else x << (10 - n)) & (ONE - 1))]


@dataclass
class Bins:
    """low, log: least value and log2 of the size of each bin; narrow: how many of the first have 2^raw_bits values.

    counts: values in each bin (int64), as far as values were counted.  cost: bits of them all, about.
    """

    raw_bits: int
    narrow: int
    low: np.ndarray
    log: np.ndarray
    counts: np.ndarray
    cost: float

    @property
    def coded(self) -> bool:
        return len(self.low) > 1

    @property
    def raw(self) -> bool:
        """True if every value is its raw bits."""
        return not self.coded and int(self.log[0]) == self.raw_bits and int(self.low[0]) == 0

    def header(self, frequencies: np.ndarray, tables: int) -> PlaneHeader:
        """tables: how many there are to choose from; with a trellis, pairs of them."""
        return PlaneHeader(self.raw_bits, self.narrow, self.low.astype(np.uint32),
                           (self.log - self.raw_bits).astype(np.uint8), frequencies, max(tables, 1).bit_length() - 1)

    def symbol_of_cell(self, cells: int, octaves: bool) -> np.ndarray:
        """The symbol (uint8) of each cell of 2^raw_bits values, or of each octave cell."""
        found = np.zeros(cells, np.uint8)
        if octaves:
            found[[_octave_cell(low) for low in self.low.tolist()]] = np.arange(len(self.low))
        else:
            _fill(self.low >> self.raw_bits, self.log - self.raw_bits, found)
        return found


def best_bins(counts: np.ndarray, width: int, many_tables: bool = False) -> Bins:
    """The bins of the cheapest number of raw bits; more of them are faster, so they may cost a little.

    counts: int64 of each value of `width` bits, not all 0.  many_tables: bins have a frequency in each of a dozen.
    """
    cells = {0: counts}
    for before, r in zip(RAW_BITS, (r for r in RAW_BITS if 0 < r <= width)):
        cells[r] = merged(cells[before], r - before)
    total = int(cells[max(cells)].sum())
    least = {r: _least(cells[r], cells.get(4, counts), total) for r in cells}
    # Where many cells are in use no 256 bins tell them apart, and raw bits are cheaper.
    ideal = {r: (cost + BIN_PRICE * min(used, SYMBOLS_MAX)) / ONE + r * total for r, (cost, used) in least.items()
             if r or used <= 4 * SYMBOLS_MAX or len(cells) == 1}
    chosen = max(r for r in ideal if ideal[r] <= min(ideal.values()) * FASTER)
    found = find_bins(cells[chosen], chosen, many_tables)
    if chosen == 0 and 4 in cells and least[0][1] > SYMBOLS_MAX:
        found = min(found, find_bins(cells[4], 4, many_tables), key=lambda bins: bins.cost)
    return found


def merged(counts: np.ndarray, more: int) -> np.ndarray:
    """Counts of cells of 2^more times as many values."""
    out = np.zeros(len(counts) >> more, np.int64)
    _merge(counts, more, out)
    return out


def find_bins(counts: np.ndarray, raw_bits: int, many_tables: bool = False) -> Bins:
    """Narrow bins where values are dense, wide ones elsewhere, about as an ideal code would have them.

    counts: int64 of cells of 2^raw_bits values each, a power of two of them.  many_tables: see best_bins().
    """
    counts = counts[: 1 << int(_last_used(counts)).bit_length()]       # beyond, there is nothing
    low, log, of_bins = (np.zeros(SYMBOLS_MAX, np.int64) for _ in range(3))
    sums, costs, halved = (np.zeros(2 * len(counts), kind) for kind in (np.int64, np.int64, np.uint8))
    dense, price = (DENSE_IN_MANY, PRICE_IN_MANY) if many_tables else (DENSE, BIN_PRICE)
    narrow, n, cost = _find(counts, raw_bits, dense, price, low, log, of_bins, sums, costs, halved)
    return Bins(raw_bits, narrow, low[:n] << raw_bits, log[:n] + raw_bits, of_bins[:n], cost / ONE)


def octave_bins(counts: np.ndarray) -> Bins:
    """Bins of values of up to 32 bits, of which octave cells are counted."""
    used = np.flatnonzero(counts)
    narrow = int(min(used[-1] + 1, EXACT)) if used[0] < EXACT else 0
    low, log, of_bins = [*range(narrow)], [0] * narrow, counts[:narrow].tolist()
    for cell in used[used >= EXACT].tolist():
        octave, quarter = divmod(cell - EXACT, 4)
        low.append((4 + quarter) << (octave + 1))
        log.append(octave + 1)
        of_bins.append(counts[cell])
    return Bins(0, narrow, np.array(low, np.int64), np.array(log, np.int64), np.array(of_bins, np.int64), 0.0)


def _octave_cell(value: int) -> int:
    c = value.bit_length()
    return value if value < EXACT else EXACT + (c - 4) * 4 + (value >> (c - 3) & 3)


@compiled
def _merge(counts, more, out):
    for i in range(len(out)):
        total = 0
        for k in range(1 << more):
            total += counts[at((i << more) + k)]
        out[at(i)] = total


@compiled
def _last_used(counts):
    i = len(counts) - 1
    while counts[at(i)] == 0:
        i -= 1
    return i


@compiled
def _fill(low, log, out):
    for s in range(len(low)):
        for cell in range(low[at(s)], low[at(s)] + (1 << log[at(s)])):
            out[at(cell)] = s


@compiled
def _least(counts, coarse, total):
    # (cost of an ideal code for symbols of these counts, how many there are). coarse: counts of blocks, or the same.
    used = cost = 0
    log2_total, block = log2_of(total), max(1, len(counts) // len(coarse))
    for b in range(len(counts) // block):
        if block > 1 and coarse[at(b)] == 0:
            continue
        for i in range(b * block, (b + 1) * block):
            if counts[at(i)] > 0:
                used += 1
                cost += counts[at(i)] * (log2_total - log2_of(counts[at(i)]))
    return cost, used


@inlined
def _dense(counts, total, dense):
    # The range of cells that become narrow bins: whole blocks from a filled one to a filled one, those that hold most
    # values where they are too many, without unused cells at the ends.
    block = min(BLOCK, len(counts))
    room = (SYMBOLS_MAX - WIDE_ROOM if len(counts) > SYMBOLS_MAX else SYMBOLS_MAX) // block
    least = max(total * block * dense >> (SLOT_BITS + 3), 1)
    first = held = found_first = found_end = most = fullest = 0
    for b in range(len(counts) // block):
        fullest = b if _block(counts, block, b) > _block(counts, block, fullest) else fullest
        held += _block(counts, block, b)
        while b - first >= room or first < b and _block(counts, block, first) < least:
            held -= _block(counts, block, first)
            first += 1
        if _block(counts, block, b) >= least and held > most:
            found_first, found_end, most = first, b + 1, held
    if most == 0:
        found_first, found_end = fullest, fullest + 1
    begin, end = found_first * block, found_end * block
    while counts[at(begin)] == 0:
        begin += 1
    while counts[at(end - 1)] == 0:
        end -= 1
    return begin, end


@inlined
def _block(counts, block, b):
    total = 0
    for k in range(block):
        total += counts[at(b * block + k)]
    return total


@inlined
def _weigh(sums, costs, halved, first, end, price):
    # What each node of the tree over all cells costs as one bin, or as its cheaper halves; node 1 is the whole, of
    # node k the halves are 2k and 2k + 1. Cells first .. end - 1 are those of narrow bins.
    cells, total = len(sums) >> 1, sums[1]
    log2_total, rare = log2_of(total), max(total * 7 // (10 * TOTAL), 1)
    depth = 0
    while cells >> depth:
        begin = cells >> depth
        for k in range(begin, 2 * begin):
            costs[at(k)] = 0
            halved[at(k)] = 0
            inside = first <= (k - begin) << depth and (k - begin + 1) << depth <= end
            if sums[at(k)] > 0 and not inside:
                # A rare bin takes a slot from the others, too.
                own = sums[at(k)] * (log2_total - log2_of(max(sums[at(k)], rare)) + depth * ONE) + price + max(
                    total // TOTAL - sums[at(k)], 0) * SLOT_PRICE
                if depth and costs[at(2 * k)] + costs[at(2 * k + 1)] < own:
                    own = costs[at(2 * k)] + costs[at(2 * k + 1)]
                    halved[at(k)] = 1
                costs[at(k)] = own
        depth += 1


@inlined
def _gather(sums, halved, cell, stop, low, log, counts, n):
    # Appends the bins of cells cell .. stop - 1, in ascending order, to n others; returns how many there are then.
    cells = len(sums) >> 1
    while cell < stop:
        size = 1
        while cell & size == 0 and cell + 2 * size <= stop and 2 * size <= cells:
            size *= 2
        node, begin = (cells + cell) // size, cell         # depth first: the next cell says where to go on
        while begin < cell + size:
            while halved[at(node)]:
                node *= 2
            depth = 0
            while node << (depth + 1) < 2 * cells:
                depth += 1
            if sums[at(node)] > 0:
                if n < SYMBOLS_MAX:
                    low[at(n)], log[at(n)], counts[at(n)] = begin, depth, sums[at(node)]
                n += 1
            begin += 1 << depth
            while node & 1 and begin < cell + size:
                node >>= 1
            node += 1
        cell += size
    return n


@compiled
def _find(counts, raw_bits, dense, price, low, log, of_bins, sums, costs, halved):
    # Bins in cells; returns (narrow ones, all, cost). sums, costs, halved: room for the nodes of a tree over all cells.
    cells = len(counts)
    for i in range(cells):
        sums[at(cells + i)] = counts[at(i)]
    for k in range(cells - 1, 0, -1):
        sums[at(k)] = sums[at(2 * k)] + sums[at(2 * k + 1)]
    total = sums[1]
    first, end = _dense(counts, total, dense)
    for i in range(first, end):
        low[at(i - first)], log[at(i - first)], of_bins[at(i - first)] = i, 0, counts[at(i)]
    narrow, price_once, n = end - first, price, SYMBOLS_MAX + 1
    while n > SYMBOLS_MAX:
        _weigh(sums, costs, halved, first, end, price)
        n = _gather(sums, halved, 0, first, low, log, of_bins, narrow)
        n = _gather(sums, halved, end, cells, low, log, of_bins, n)
        price *= 2
    cost, log2_total = n * price_once, log2_of(total)
    for s in range(n):
        if of_bins[at(s)] > 0:
            cost += of_bins[at(s)] * (log2_total - log2_of(of_bins[at(s)]) + (log[at(s)] + raw_bits) * ONE)
    return narrow, n, cost
