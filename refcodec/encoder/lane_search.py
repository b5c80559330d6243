"""The search for levels that are coded in bins: static rates, a path in each lane of a chunk (informative).

The tables of BINS (SPEC 9.12.5) do not adapt, so one search of each element is enough: the rates of a level, by the
scale of its group and the parity of the state, are learned on a sample beforehand. Chunks are searched in threads.
"""

from __future__ import annotations

import numpy as np

from ..compiler import at, compiled
from ..entropy.bins_plane import CHUNK_ELEMENTS, LANES
from ..parallel import run_all
from ..quantization.uniform import trellis
from .level_search import (
    BUCKETS,
    MAGNITUDES,
    ROUNDS,
    SAMPLE,
    bucket_of,
    counted_rates,
    decide_plain,
    default_lambda,
    model_rates,
    scaled,
    viterbi,
)

GROUP = 256            # elements whose mean magnitude is their scale
PIECES = 8             # parts of the array that make up the sample


def quantise_in_lanes(x: np.ndarray, step: float, states: int, lam: float | None = None, threads: int = 1
                      ) -> np.ndarray:
    """Levels (int32, of the shape of x) where each lane of a chunk has a path of its own from state 0 (SPEC 8.5.4).

    The arguments are those of quantise(); the levels do not depend on threads.
    """
    flat = np.ascontiguousarray(x).reshape(-1)
    levels, search = np.empty(flat.shape, np.int32), _LaneSearch(step, states, lam)
    search.learn(flat)
    firsts = range(0, flat.size, CHUNK_ELEMENTS)
    run_all(lambda i: search.chunk(flat[i : i + CHUNK_ELEMENTS], levels[i : i + CHUNK_ELEMENTS]), firsts, threads)
    return levels.reshape(x.shape)


class _LaneSearch:

    def __init__(self, step: float, states: int, lam: float | None):
        self.step, self.states, self.trellis = step, states, trellis(states)
        self.lam = default_lambda(states) if lam is None else float(lam)
        self.rates = model_rates(states)

    def learn(self, flat: np.ndarray) -> None:
        """Rates from the levels that they lead to, round by round, on a sample."""
        size = max(1, min(flat.size // PIECES, SAMPLE // PIECES))
        u = scaled(np.concatenate([flat[k * flat.size // PIECES :][:size] for k in range(PIECES)]), self.step)
        buckets, levels, model = buckets_of(u), np.empty(len(u), np.int32), self.rates
        for _ in range(ROUNDS):
            self.path(u, buckets, levels)
            counts = np.zeros((BUCKETS, 2, MAGNITUDES), np.float64)
            count_path(levels, buckets, self.states, *self.trellis, counts)
            self.rates = counted_rates(counts, model)

    def chunk(self, x: np.ndarray, levels: np.ndarray) -> None:
        """The levels of a chunk."""
        u = scaled(x, self.step)
        buckets = buckets_of(u)
        if self.states == 0:
            decide_plain(u, buckets, self.rates, self.lam, len(u), levels)
            return
        for k in range(min(LANES, len(u))):
            lane = np.ascontiguousarray(u[k::LANES])
            found = np.empty(len(lane), np.int32)
            self.path(lane, np.ascontiguousarray(buckets[k::LANES]), found)
            levels[k::LANES] = found

    def path(self, u: np.ndarray, buckets: np.ndarray, levels: np.ndarray) -> None:
        """The cheapest levels of one path."""
        if self.states == 0:
            decide_plain(u, buckets, self.rates, self.lam, len(u), levels)
            return
        decisions, candidates = np.empty((len(u), 2), np.int64), np.empty((len(u), 4), np.int32)
        costs = np.empty((2, self.states), np.float64)
        viterbi(u, buckets, self.rates, self.lam, self.states, *self.trellis, 0, len(u), decisions, candidates, costs,
                levels)


def buckets_of(u: np.ndarray) -> np.ndarray:
    buckets = np.empty(len(u), np.uint8)
    _fill_buckets(u, buckets)
    return buckets


@compiled
def _fill_buckets(u: np.ndarray, buckets: np.ndarray) -> None:
    # The scale of each group, of all its elements.
    for first in range(0, len(u), GROUP):
        end, total = min(first + GROUP, len(u)), 0.0
        for i in range(first, end):
            total += abs(u[at(i)])
        bucket = bucket_of(total / (end - first))
        for i in range(first, end):
            buckets[at(i)] = bucket


@compiled
def count_path(levels: np.ndarray, buckets: np.ndarray, states: int, a: int, b: int, counts: np.ndarray,
               state: int = 0) -> int:
    """Counts the levels of one path by bucket, parity of the state and magnitude. Returns the state after them."""
    for i in range(len(levels)):
        k, odd = abs(int(levels[at(i)])), state & 1
        counts[at(buckets[at(i)]), at(odd), at(min(k, MAGNITUDES - 1))] += 1.0
        if states > 0:
            state = (state >> 1) ^ (a if odd else 0) ^ (b if k & 1 else 0)
    return state
