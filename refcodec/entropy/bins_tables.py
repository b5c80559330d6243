"""Which tables of frequencies suit the symbols of a plane (informative; SPEC 9.12.5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..compiler import at, compiled, signed, unsigned
from .bins_plane import SYMBOLS_MAX, TOTAL
from .bins_search import FASTER, ONE, log2_of

GROUPS = (6, 8, 10)          # log2 of the elements of a group that are tried
TABLES = (1, 2, 4)           # numbers of tables that are tried: four costs fit a word of 64 bits,
SUMMED = 256                 # and so do the costs of so many symbols
USUAL_GROUP = 8              # of them the one whose tables are sought
ROUNDS = 2                   # of grouping and counting in turn
PIECE_LOG2 = 10
PIECE = 1 << PIECE_LOG2      # elements that stay together in a sample
SAMPLED = 8                  # a part of the elements in so many is the sample, but
SAMPLE_MIN = 1 << 14         # no fewer elements
SAMPLE_MAX = 1 << 17         # and no more
TABLE_BITS = 6               # of a frequency in the header
COST_MAX = 255               # of a symbol, in 1/16 bit
LOSS = np.log2(np.maximum(np.arange(TOTAL + 1), 1))


@dataclass
class Shared:
    """Tables that groups of 2^group elements share. costs: of each symbol in them, see packed_costs(); None: one table.

    bits: of the sample, with its share of the header.
    """

    group: int
    tables: int
    costs: np.ndarray | None
    bits: float


def pieces_of_sample(count: int) -> np.ndarray:
    """Numbers of the pieces of `count` elements that make up a sample."""
    pieces = count // PIECE
    wanted = min(max(SAMPLE_MIN, count // SAMPLED) // PIECE, SAMPLE_MAX // PIECE, pieces)
    return np.arange(wanted) * pieces // max(wanted, 1)


def share_tables(symbols: np.ndarray, count: int, part: float, numbers: tuple[int, ...] = TABLES) -> list[Shared]:
    """For each length of group the tables that cost least. part: of the elements that the sample has.

    symbols: of a sample of whole pieces, uint8.  count: of different symbols.  numbers: of tables, ascending from 1.
    """
    sample = _Sample(symbols, count, part)
    usual = Shared(USUAL_GROUP, 1, None, sample.bits(sample.counted(PIECE_LOG2, 1), 0))
    alone = usual.bits
    for n in numbers:
        if n > 1:
            costs = packed_costs(sample.counted(USUAL_GROUP, n), count)
            tried = sample.grouped(USUAL_GROUP, n, costs, ROUNDS)
            if tried.bits * FASTER >= usual.bits:
                break                                  # more tables would hardly gain more
            usual = tried
    if usual.costs is None:
        return [Shared(group, 1, None, alone) for group in GROUPS]
    # Of other lengths with the tables found: the length matters less than the number.
    return [usual if group == USUAL_GROUP else sample.grouped(group, usual.tables, usual.costs, 1) for group in GROUPS]


@dataclass
class _Sample:
    """See share_tables()."""

    symbols: np.ndarray
    count: int
    part: float

    def counted(self, group: int, tables: int) -> np.ndarray:
        """Counts (int64 [tables, 256]) where as many groups have each table, by their mean symbols."""
        sums = np.empty(len(self.symbols) >> group, np.int64)
        _sums(self.symbols, group, sums)
        choices, counts = np.empty(len(sums), np.uint8), np.zeros((tables, SYMBOLS_MAX), np.int64)
        choices[np.argsort(sums, kind="stable")] = np.arange(len(sums)) * tables // len(sums)
        count_by_choice(self.symbols, group, choices, counts)
        return counts

    def grouped(self, group: int, tables: int, costs: np.ndarray, rounds: int) -> Shared:
        """Tables of groups that choose the cheapest by turns with their counts, from the costs of some on."""
        choices, counts = np.empty(len(self.symbols) >> group, np.uint8), np.zeros((tables, SYMBOLS_MAX), np.int64)
        for _ in range(rounds):
            counts[:] = 0
            choose_and_count(self.symbols, group, costs, choices, counts)
            costs = packed_costs(counts, self.count)
        return Shared(group, tables, costs, self.bits(counts, len(choices) * (tables.bit_length() - 1)))

    def bits(self, counts: np.ndarray, choices: int) -> float:
        """Of symbols with these counts, of the choices, and of the sample's share of the header."""
        return float(ideal(counts)) / ONE + choices + TABLE_BITS * self.count * len(counts) * self.part


def packed_costs(counts: np.ndarray, symbols: int) -> np.ndarray:
    """Costs of each symbol (uint64 [256]) in up to four tables, 16 bits each from the lowest, in 1/16 bit."""
    packed = np.zeros(SYMBOLS_MAX, np.uint64)
    _pack_costs(counts, symbols, packed)
    return packed


def normalised(counts: np.ndarray) -> np.ndarray:
    """Frequencies (int64) of tables, each adding up to TOTAL, at least 1 for counts > 0 and below TOTAL.

    counts: int64 [tables, symbols], of two symbols or more.
    """
    found = np.empty(counts.shape, np.int64)
    _normalise(np.ascontiguousarray(counts, np.int64), found, LOSS)
    return found


@compiled
def ideal(counts):
    """Bits of an ideal code for the symbols of tables of these counts (int64 [tables, symbols]), in 1/1024."""
    cost = 0
    for t in range(counts.shape[0]):
        total = 0
        for s in range(counts.shape[1]):
            total += counts[at(t), at(s)]
        log2_total = log2_of(max(total, 1))
        for s in range(counts.shape[1]):
            if counts[at(t), at(s)] > 0:
                cost += counts[at(t), at(s)] * (log2_total - log2_of(counts[at(t), at(s)]))
    return cost


@compiled
def _normalise(counts, found, log2):
    for t in range(counts.shape[0]):
        row, out, total, used = counts[at(t)], found[at(t)], 0, 0
        for s in range(len(row)):
            total += signed(row[at(s)])
            used += 1 if row[at(s)] else 0
        missing = TOTAL
        for s in range(len(row)):
            # A symbol that is alone lends a slot to another; a table that is not used has them all alike.
            count = signed(row[at(s)]) if total else 1
            share = (count * TOTAL + total // 2) // total if total else TOTAL // len(row)
            lent = used == 1 and (s == 0 and count == 0 or s == 1 and row[0])
            out[at(s)] = min(max(share, 1), TOTAL - 1) if count or lent else 0
            missing -= signed(out[at(s)])
        while missing != 0:                            # where a slot more, or one less, costs fewest bits
            step = 1 if missing > 0 else -1
            best, least = -1, 0.0
            for s in range(len(row)):
                f = signed(out[at(s)])
                if f > 1 if step < 0 else 0 < f < TOTAL - 1:
                    loss = row[at(s)] * (log2[at(f)] - log2[at(f + step)])
                    if best < 0 or loss < least:
                        best, least = s, loss
            out[at(best)] += step
            missing -= step


@compiled
def _sums(symbols, group, sums):
    for g in range(len(sums)):
        total = 0
        for i in range(g << group, (g + 1) << group):
            total += signed(symbols[at(i)])
        sums[at(g)] = total


@compiled
def _pack_costs(counts, symbols, packed):
    for t in range(counts.shape[0]):
        total = symbols                                # a symbol that was not seen counts as the fiftieth part of one
        for s in range(symbols):
            total += 50 * counts[at(t), at(s)]
        for s in range(symbols):
            cost = (log2_of(total) - log2_of(50 * counts[at(t), at(s)] + 1) + ONE // 32) // (ONE // 16)
            packed[at(s)] |= unsigned(min(cost, COST_MAX)) << unsigned(16 * t)


@compiled
def choose_and_count(symbols, group, costs, choices, counts):
    """The cheapest table of each group of up to 2^group symbols; counts (int64 [tables, 256]) them there.

    costs: see packed_costs().
    """
    tables = counts.shape[0]
    for g in range(len(choices)):
        first, end = g << group, min((g + 1) << group, len(symbols))
        total0 = total1 = total2 = total3 = 0
        for begin in range(first, end, SUMMED):
            total = unsigned(0)
            for i in range(begin, min(begin + SUMMED, end)):
                total += unsigned(costs[at(symbols[at(i)])])
            total0 += signed(total & unsigned(0xFFFF))
            total1 += signed(total >> unsigned(16) & unsigned(0xFFFF))
            total2 += signed(total >> unsigned(32) & unsigned(0xFFFF))
            total3 += signed(total >> unsigned(48))
        best, least = (1, total1) if tables > 1 and total1 < total0 else (0, total0)
        best, least = (2, total2) if tables > 2 and total2 < least else (best, least)
        best = 3 if tables > 3 and total3 < least else best
        choices[at(g)] = best
        for i in range(first, end):
            counts[at(best), at(symbols[at(i)])] += 1


@compiled
def pack_choices(choices, bits, out):
    """The choices of a chunk's groups as fields of 1, 2 or 4 bits, into out (uint8, zeros)."""
    for g in range(len(choices)):
        out[at(g * bits >> 3)] |= signed(choices[at(g)]) << (g * bits & 7)


@compiled
def count_by_choice(symbols, group, choices, counts):
    """Adds the symbols to counts (int64 [tables, 256]), each to the row of its group's table."""
    for i in range(len(symbols)):
        counts[at(choices[at(i >> group)]), at(symbols[at(i)])] += 1
