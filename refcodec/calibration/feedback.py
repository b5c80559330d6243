"""Levels of a weight matrix, input by input: what quantising one column spoils, later columns make up for.

An error in the weights of one input is carried on to those of later inputs that are like it (moments.py). Within a
column the levels of all outputs are sought together: the cheapest path through the trellis, in squared error and bits,
as level_search.py has it for rows. The trellis and the local scales run on from column to column, for the matrix is
coded column by column: as rows of inputs, of all outputs each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..bitstream.derive import segment_borders
from ..compiler import compiled
from ..encoder.lane_search import buckets_of, count_path
from ..encoder.level_search import (
    BUCKETS,
    MAGNITUDES,
    cheaper,
    counted_rates,
    decide_plain,
    default_lambda,
    learned_rates,
    model_rates,
    scan_rows,
)
from ..entropy.bins_plane import CHUNK_ELEMENTS, LANES
from ..entropy.levels import LEVEL_MAX
from ..quantization.uniform import trellis
from .moments import column_weights

BLOCK = 64                      # columns that errors are carried on to one by one; to all later ones they go together
PASSES = 2                      # of the whole; in the second, bits are those of the levels of the first


@dataclass
class Feedback:
    """Levels of a matrix.

    levels: int32 [inputs, outputs], as they are coded.  values: what they stand for, float64 [outputs, inputs].
    errors: what each column leaves to those after it, over its diagonal element of the factor: float64 like values.
    """

    levels: np.ndarray
    values: np.ndarray
    errors: np.ndarray

    def carried(self, upper: np.ndarray) -> np.ndarray:
        """What the errors ask of inputs after all of these. upper: their columns of the factor's rows of these inputs,
        [groups, inputs, later inputs].  To be taken from their weights, [outputs, later inputs]."""
        return _carried(self.errors, upper)


def quantise_with_feedback(weights: np.ndarray, upper: np.ndarray, step: float, states: int, *,
                           lam: float | None = None, mean_weight: float | None = None, segments: int = 1,
                           lanes: bool = False) -> Feedback:
    """Levels of weights [outputs, inputs], where an error costs what the second moments of the inputs say.

    upper: of moments.cholesky(), [groups, inputs, inputs]; each group has as many adjacent outputs.  step > 0.
    states: of the trellis, or 0.  lam: price of a bit in step^2, where errors count by their column weights over the
    mean; None: as without feedback.  mean_weight: the mean that they are relative to; None: their own.
    segments: in which the rows of inputs are coded; the trellis begins anew in each.  lanes: each lane of a chunk has a
    path of its own instead, as bins code levels.
    """
    return _Columns(np.asarray(weights, np.float64), upper, step, states, lam, mean_weight).best(segments, lanes)


class _Columns:
    """One matrix and what it is quantised with."""

    def __init__(self, weights: np.ndarray, upper: np.ndarray, step: float, states: int, lam: float | None,
                 mean_weight: float | None):
        self.weights, self.upper, self.step, self.states = weights, upper, step, states
        self.rows = len(weights) // len(upper)                               # outputs of a group
        self.trellis, self.model = trellis(states), model_rates(states)
        self.lam = default_lambda(states) if lam is None else lam
        d = column_weights(upper)
        relative = d / (d.mean() if mean_weight is None else mean_weight)
        self.costs = np.repeat(relative, self.rows, axis=0).T.copy()         # of each error: [inputs, outputs]

    def best(self, segments: int, lanes: bool) -> Feedback:
        outputs, inputs = self.weights.shape
        borders = segment_borders(inputs, segments)
        rates = learned_rates(np.ascontiguousarray(self.weights.T), self.step, self.states, self.lam)
        for _ in range(PASSES):
            empty = np.empty((outputs, inputs))
            found = Feedback(np.zeros((inputs, outputs), np.int32), empty, empty.copy())
            counts = np.zeros((BUCKETS, 2, MAGNITUDES))
            self._quantise(found, rates, counts, set(borders[:-1]), _Lanes if lanes else _Column)
            rates = counted_rates(counts, self.model)
        return found

    def _quantise(self, found: Feedback, rates: np.ndarray, counts: np.ndarray, begins: set[int],
                  walk: type[_Column]) -> None:
        """Goes over all columns once. counts: of the levels found, added to."""
        outputs, inputs = self.weights.shape
        left = self.weights.copy()                       # what is asked of columns to come
        column, first = walk(self, rates, counts), 0
        for start in range(0, inputs, BLOCK):
            stop = min(start + BLOCK, inputs)
            errors = found.errors[:, start:stop]
            for j in range(start, stop):
                if j in begins:
                    column, first = walk(self, rates, counts), j
                levels, n = column.levels(left[:, j], self.costs[j], j - first)
                found.levels[j], found.values[:, j] = levels, n * self.step
                errors[:, j - start] = (left[:, j] - found.values[:, j]) / self._by_group(j, j)[:, 0]
                left[:, j + 1:stop] -= errors[:, j - start, None] * self._by_group(j, slice(j + 1, stop))
            left[:, stop:] -= _carried(errors, self.upper[:, start:stop, stop:])

    def _by_group(self, j: int, columns: int | slice) -> np.ndarray:
        """Row j of each group's factor, at some columns, for each output: [outputs or 1, columns]."""
        part = self.upper[:, j, columns].reshape(len(self.upper), -1)
        return part if len(part) == 1 else np.repeat(part, self.rows, axis=0)


def _carried(errors: np.ndarray, upper: np.ndarray) -> np.ndarray:
    # Errors [outputs, columns] times the factor [groups, columns, later columns], by groups of outputs.
    grouped = errors.reshape(len(upper), len(errors) // len(upper), -1)
    return np.asarray(np.matmul(grouped, upper)).reshape(len(errors), -1)


class _Column:
    """The walk from column to column of one segment: trellis state and local scales."""

    def __init__(self, matrix: _Columns, rates: np.ndarray, counts: np.ndarray):
        outputs = len(matrix.weights)
        self.matrix, self.rates, self.counts, self.state = matrix, rates, counts, 0
        self.means = np.zeros(outputs + 1)
        self.buckets = np.empty((1, outputs), np.uint8)
        self.decisions, self.candidates = np.empty((outputs, 2), np.int64), np.empty((outputs, 4), np.int32)
        self.path, self.indices = np.empty((2, max(matrix.states, 1))), np.empty(outputs, np.int64)

    def levels(self, values: np.ndarray, costs: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        """(levels, indices) of a column, the one of this number in its segment."""
        m = self.matrix
        u = np.clip(values / m.step, -float(LEVEL_MAX), float(LEVEL_MAX))[None]
        levels = np.zeros(u.shape, np.int32)
        trial, unused = self.means.copy(), np.zeros_like(self.counts)
        scan_rows(u, levels, False, number, trial, self.buckets, unused, m.states, *m.trellis, self.state)
        if m.states:
            path_to_end(u[0], costs, self.buckets[0], self.rates, m.lam, m.states, *m.trellis, self.state,
                        self.decisions, self.candidates, self.path, levels[0], self.indices)
        else:
            cheapest_each(u[0], costs, self.buckets[0], self.rates, m.lam, levels[0])
            self.indices[:] = levels[0]
        self.state = scan_rows(u, levels, True, number, self.means, self.buckets, self.counts, m.states, *m.trellis,
                               self.state)
        return levels[0], self.indices


class _Lanes(_Column):
    """The same where element i of a chunk, in the order of the matrix, belongs to lane i % LANES, and each lane has a
    trellis state of its own, from 0 on."""

    def __init__(self, matrix: _Columns, rates: np.ndarray, counts: np.ndarray):
        super().__init__(matrix, rates, counts)
        self.lanes = np.zeros(LANES, np.int64)

    def levels(self, values: np.ndarray, costs: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
        m, first = self.matrix, number * len(values)
        u = np.clip(values / m.step, -float(LEVEL_MAX), float(LEVEL_MAX))
        levels, buckets = np.zeros(len(u), np.int32), buckets_of(u)
        for start, stop in chunks(first, len(u)):
            if (first + start) % CHUNK_ELEMENTS == 0:
                self.lanes[:] = 0
            for k in range(min(LANES, stop - start)):
                part, lane = slice(start + k, stop, LANES), (first + start + k) % CHUNK_ELEMENTS % LANES
                x, cost, bucket = (np.ascontiguousarray(a[part]) for a in (u, costs, buckets))
                found, indices = levels[part].copy(), self.indices[part].copy()
                if m.states:
                    path_to_end(x, cost, bucket, self.rates, m.lam, m.states, *m.trellis, int(self.lanes[lane]),
                                self.decisions, self.candidates, self.path, found, indices)
                else:
                    cheapest_each(x, cost, bucket, self.rates, m.lam, found)
                    indices = found.astype(np.int64)
                self.lanes[lane] = count_path(found, bucket, m.states, *m.trellis, self.counts, int(self.lanes[lane]))
                levels[part], self.indices[part] = found, indices
        return levels, self.indices


def chunks(first: int, count: int) -> Iterator[tuple[int, int]]:
    """Parts of `count` elements from number `first` of the matrix on that lie in one chunk each: (start, stop)."""
    start = 0
    while start < count:
        stop = min(count, start + CHUNK_ELEMENTS - (first + start) % CHUNK_ELEMENTS)
        yield start, stop
        start = stop


@compiled
def cheapest_each(u: np.ndarray, costs: np.ndarray, buckets: np.ndarray, rates: np.ndarray, lam: float,
                  levels: np.ndarray) -> None:
    """0 states: each level by itself; its squared error counts `costs` times."""
    for i in range(len(u)):
        decide_plain(u[i:i + 1], buckets[i:i + 1], rates, lam / costs[i], 1, levels[i:i + 1])


@compiled
def path_to_end(u: np.ndarray, costs: np.ndarray, buckets: np.ndarray, rates: np.ndarray, lam: float, states: int,
                a: int, b: int, state: int, decisions: np.ndarray, candidates: np.ndarray, path: np.ndarray,
                levels: np.ndarray, indices: np.ndarray) -> None:
    """The cheapest path from `state` through all of u, whose squared errors count `costs` times each: its levels, and
    the indices that they stand for.

    As in level_search: states below states / 2 are entered from even states, the others from odd ones, each by one
    branch of even and one of odd levels; decisions holds a bit for each.
    """
    half = states // 2
    for s in range(states):
        path[0, s] = 1e30
    path[0, state] = 0.0
    for i in range(len(u)):
        old, new = i & 1, (i & 1) ^ 1
        size, cost, bucket = abs(u[i]), costs[i], int(buckets[i])
        for q in range(2):
            target = int((size + q) * 0.5)
            even, k_even = cheaper(size, q, target & -2, rates, bucket, lam / cost)
            odd, k_odd = cheaper(size, q, max(((target + 1) & -2) - 1, 1), rates, bucket, lam / cost)
            candidates[i, 2 * q] = k_even
            candidates[i, 2 * q + 1] = k_odd
            bits = 0
            for t in range(half):
                by_even = path[old, 2 * t + q] + cost * even
                by_odd = path[old, 2 * (t ^ b) + q] + cost * odd
                path[new, t ^ a if q else t] = min(by_even, by_odd)
                bits |= (1 if by_odd < by_even else 0) << t
            decisions[i, q] = bits
    last = len(u) & 1
    s = 0
    for t in range(states):
        if path[last, t] < path[last, s]:
            s = t
    for i in range(len(u) - 1, -1, -1):
        q = 1 if s >= half else 0
        t = s ^ a if q else s
        odd_branch = (int(decisions[i, q]) >> t) & 1
        s = 2 * (t ^ b if odd_branch else t) + q
        k = int(candidates[i, 2 * q + odd_branch])
        n = 2 * k - (q if k > 0 else 0)
        levels[i] = -k if u[i] < 0 else k
        indices[i] = -n if u[i] < 0 else n
