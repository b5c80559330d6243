"""The joint search of Huffman coding: bound, precision and classes of relative indices (SPEC 9.7.5, informative)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .huffman_loop import INDEX_MAX, bound_entropies, length_bits, list_entries
from .huffman_tables import code_lengths, index_symbols, symbol_extents

PATIENCE = 256                                 # bounds tried exactly after the best one so far,
EFFORT = 1 << 20                               # or as many as this over the number of symbols
PRECISIONS = (1, 2, 3, 4, 15)                  # precisions of indices that are tried; 15: each has its own codeword
CLASS_COUNTS = (2, 3, 4, 6, 8)                 # numbers of index codes that are tried


@dataclass
class Sparse:
    """A sparse array: distances of its non-zero elements, their values, and how often each occurs."""

    gaps: np.ndarray
    values: np.ndarray
    distances: np.ndarray
    numbers: np.ndarray
    symbols: np.ndarray
    counts: np.ndarray

    def indices(self, bound: int, precision: int) -> np.ndarray:
        """Counts of the index symbols, those of fillers included."""
        steps = (self.distances - 1) // bound
        symbols = index_symbols(np.append(self.distances - steps * bound, bound), precision)
        counts = np.zeros(int(symbols[-1]) + 1, np.int64)
        np.add.at(counts, symbols, np.append(self.numbers, self.fillers(bound)))
        return counts

    def fillers(self, bound: int) -> int:
        return int(((self.distances - 1) // bound * self.numbers).sum())

    def value_table(self, fillers: int) -> tuple[np.ndarray, np.ndarray]:
        """(symbols, counts) of the values, those of fillers included."""
        if not fillers:
            return self.symbols, self.counts
        zero = np.searchsorted(self.symbols, 0)
        return np.insert(self.symbols, zero, 0), np.insert(self.counts, zero, fillers)

    def size(self, bound: int, precision: int) -> int:
        """Bits with this bound and one code of indices, nearly: what the search compares (S5, eq. 3)."""
        indices = self.indices(bound, precision)
        extra = int((indices * symbol_extents(bound, precision)[1]).sum())
        values = bits(*self.value_table(self.fillers(bound)))
        return extra + bits(np.flatnonzero(indices), indices[indices > 0]) + values


def bits(symbols: np.ndarray, counts: np.ndarray) -> int:
    """Bits of all codewords and of the table; a run of symbols is taken to cost four bits."""
    lengths = code_lengths(counts)
    runs = int(np.count_nonzero(symbols[1:] != symbols[:-1] + 1))
    return int((counts * lengths).sum()) + length_bits(lengths) + 4 * runs


def sparse(values: np.ndarray) -> Sparse:
    """The sparse form of an integer array, its elements in row-major order."""
    values = np.ravel(values)
    values = values.view(np.int64) if values.dtype == np.uint64 else values.astype(np.int64, copy=False)
    places = np.flatnonzero(values)
    gaps = np.diff(places, prepend=-1)
    kept = values[places]
    return Sparse(gaps, kept, *np.unique(gaps, return_counts=True), *np.unique(kept, return_counts=True))


def search(array: Sparse) -> tuple[int, int]:
    """The best bound and precision of an array with a non-zero element.

    All bounds are ranked by a limit below which their size cannot lie, the entropy; the best of them are then tried
    exactly, until the limit passes the best size.  The precision is chosen for the first of them and for the best.
    """
    logs = np.zeros(min(int(array.distances[-1]), INDEX_MAX) + 1)
    fillers = np.zeros(len(logs), np.int64)
    bound_entropies(array.distances, array.numbers, logs, fillers)
    number = len(array.gaps) + fillers
    value_logs = float((array.counts * np.log2(array.counts)).sum()) + fillers * np.log2(np.maximum(fillers, 1))
    limits = 2 * number * np.log2(number) - logs - value_logs
    order = np.argsort(limits[1:], kind="stable") + 1
    precision = _best_precision(array, int(order[0]))
    patience = min(PATIENCE, 1 + EFFORT // (len(array.symbols) + len(array.distances)))
    best, best_size, since = 0, 0, 0
    for bound in order.tolist():
        if best and (limits[bound] >= best_size or since >= patience):
            break
        size = array.size(bound, precision)
        since += 1
        if not best or (size, bound) < (best_size, best):
            best, best_size, since = bound, size, 0
    return best, _best_precision(array, best)


def _best_precision(array: Sparse, bound: int) -> int:
    return min(PRECISIONS, key=lambda p: array.size(bound, p))


def nearest(array: Sparse, bound: int) -> tuple[int, int]:
    """The bound, but no more than what has an effect, and its best precision."""
    bound = min(bound, int(array.distances[-1]), INDEX_MAX)
    return bound, _best_precision(array, bound)


def search_bound(values: np.ndarray) -> int:
    """The bound b of relative indices, 1 to 2^16, that makes the code of an integer array shortest."""
    array = sparse(values)
    return search(array)[0] if len(array.gaps) else 1


def index_codes(array: Sparse, bound: int, precision: int) -> tuple[list[int], list[np.ndarray]]:
    """Thresholds of the running mean, and the counts of the index symbols in each of the classes between them."""
    indices = array.indices(bound, precision)
    best: tuple[list[int], list[np.ndarray]] = ([], [indices])
    if np.count_nonzero(indices) == 1:
        return best
    least = bits(np.flatnonzero(indices), indices[indices > 0])
    listed = np.zeros((2, int(indices.sum())), np.int32)
    list_entries(array.gaps, bound, listed[0], listed[1])
    symbols, ranked = index_symbols(listed[0], precision), np.sort(listed[1])
    for classes in CLASS_COUNTS:
        thresholds = np.unique(ranked[np.arange(1, classes) * len(ranked) // classes])
        chosen = np.searchsorted(thresholds, listed[1], side="right")
        counts = [np.bincount(symbols[chosen == c], minlength=len(indices)) for c in range(len(thresholds) + 1)]
        counts = [part if part.any() else indices for part in counts]
        size = sum(bits(np.flatnonzero(part), part[part > 0]) + 16 for part in counts)
        if size < least:
            best, least = (thresholds.tolist(), counts), size
    return best
