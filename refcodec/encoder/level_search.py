"""Rate-distortion optimised quantisation: the search for levels (informative).

A level costs (x/step - index)^2 + lam * rate, in units of step^2 and bits. With a trellis (SPEC
8.5.4) the cheapest path through its states is found by the Viterbi algorithm; without one each
element is decided by itself. The rate of a level is read from a table by local scale, quantiser
(parity of the state) and magnitude. The table is learned on a sample of the rows: search, count the
levels, search with the rates that follow from the counts, and so on. Then the whole is searched.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from ..compiler import compiled, inlined
from ..entropy.levels import LEVEL_MAX
from ..quantization.uniform import trellis

LAMBDA = 0.35          # cost of a bit in units of step^2, with a trellis ...
LAMBDA_SCALAR = 0.115   # ... and without

BUCKETS = 40           # local scales, two per octave
MAGNITUDES = 256       # rates are tabled for |level| below this number, and taken as constant above
BLOCK = 1 << 15        # elements that are decided at a time ...
LOOKAHEAD = 1 << 9     # ... with the knowledge of these that follow
PRIOR = 4.0            # weight of the model's distribution among counted levels
SAMPLE = 1 << 15       # elements on which rates are learned,
ROUNDS = 6             # in so many rounds


def default_lambda(states: int) -> float:
    """Cost of a bit in units of step^2 that gave the fewest bytes at equal error on real models."""
    return LAMBDA if states else LAMBDA_SCALAR


def quantise(x: np.ndarray, step: float, states: int, lam: float | None = None, passes: int = 2) -> np.ndarray:
    """Levels of one segment (one trellis, from state 0).

    x: float32 or float64, shape [rows, columns], scanned in row-major order; elements that are not
    finite count as 0.  step > 0.  states: 0, 4, 8, 16, 32 or 64.
    lam: cost of a bit in units of step^2; default_lambda(states) if None.
    passes: searches of the whole; from the second on, local scales are those of the levels found.
    Returns int32 levels of the shape of x; their values are step * indices(levels, states).
    """
    x = np.ascontiguousarray(x)
    levels = np.zeros(x.shape, dtype=np.int32)
    if x.size == 0:
        return levels
    search, buckets = Search(x, step, states, lam), np.empty(x.shape, dtype=np.uint8)
    rates = learned_rates(x, step, states, lam)
    for n in range(passes):
        counts = search.scan(levels, buckets, from_levels=n > 0)
        if n > 0:
            rates = counted_rates(counts, search.model)
        search.decide(buckets, rates, levels)
    return levels


def learned_rates(x: np.ndarray, step: float, states: int, lam: float | None = None) -> np.ndarray:
    """Bits of levels, by local scale, quantiser and magnitude, learned on a sample of x, float [rows, columns]."""
    return Search(_sample(x), step, states, lam).learned_rates()


def _sample(x: np.ndarray) -> np.ndarray:
    # Some runs of adjacent rows, spread evenly.
    x = x[:, :SAMPLE]
    rows, columns = x.shape
    if x.size <= 2 * SAMPLE:
        return np.ascontiguousarray(x)
    wanted = max(1, SAMPLE // columns)
    runs = min(4, wanted)
    return np.concatenate([x[r * rows // runs:][:wanted // runs] for r in range(runs)])


class Search:
    """The search for the levels of x, float [rows, columns], with one trellis. model: the rates to begin with."""

    def __init__(self, x: np.ndarray, step: float, states: int, lam: float | None):
        self.x, self.step, self.states, self.trellis = x, step, states, trellis(states)
        self.lam = default_lambda(states) if lam is None else float(lam)
        self.model = model_rates(states)

    def learned_rates(self) -> np.ndarray:
        """The table of rates after ROUNDS rounds."""
        levels, buckets = np.zeros(self.x.shape, dtype=np.int32), np.empty(self.x.shape, dtype=np.uint8)
        self.scan(levels, buckets, from_levels=False)
        rates = self.model
        for _ in range(ROUNDS):
            self.decide(buckets, rates, levels)
            rates = counted_rates(self.scan(levels, buckets, from_levels=False), self.model)
        return rates

    def scan(self, levels: np.ndarray, buckets: np.ndarray, from_levels: bool) -> np.ndarray:
        """Writes the local scales of all elements, taken from x or from the levels; returns the counts of the
        levels."""
        rows, columns = self.x.shape
        counts = np.zeros((BUCKETS, 2, MAGNITUDES), dtype=np.float64)
        means = np.zeros(columns + 1, dtype=np.float64)
        chunk = max(1, BLOCK // columns)
        state = 0
        for start in range(0, rows, chunk):
            part = slice(start, min(start + chunk, rows))
            u = scaled(self.x[part], self.step)
            state = scan_rows(u, levels[part], from_levels, start, means, buckets[part], counts, self.states,
                               *self.trellis, state)
        return counts

    def decide(self, buckets: np.ndarray, rates: np.ndarray, levels: np.ndarray) -> None:
        """Writes the cheapest levels, block by block. Each block continues from the state that the one before decided
        on."""
        x, buckets, levels = self.x.reshape(-1), buckets.reshape(-1), levels.reshape(-1)
        size = min(BLOCK + LOOKAHEAD, len(x))
        decisions = np.empty((size, 2), dtype=np.int64)
        candidates = np.empty((size, 4), dtype=np.int32)
        costs = np.empty((2, max(self.states, 1)), dtype=np.float64)
        state = 0
        for start in range(0, len(x), BLOCK):
            stop = min(start + BLOCK + LOOKAHEAD, len(x))
            keep = min(BLOCK, len(x) - start)
            u, kept = scaled(x[start:stop], self.step), levels[start:start + keep]
            if self.states == 0:
                decide_plain(u, buckets[start:stop], rates, self.lam, keep, kept)
            else:
                state = viterbi(u, buckets[start:stop], rates, self.lam, self.states, *self.trellis, state, keep,
                                 decisions, candidates, costs, kept)


def scaled(x: np.ndarray, step: float) -> np.ndarray:
    # x / step in float64, within the range of levels.
    u = np.nan_to_num(x.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    u /= step
    return np.clip(u, -float(LEVEL_MAX), float(LEVEL_MAX), out=u)


@functools.lru_cache
def model_rates(states: int) -> np.ndarray:
    """Rates, in bits, of a Laplacian of each bucket's mean magnitude; [bucket, quantiser, magnitude]."""
    rates = np.empty((BUCKETS, 2, MAGNITUDES))
    m = np.arange(MAGNITUDES, dtype=np.float64)
    for bucket in range(BUCKETS):
        mean = max(2.0 ** ((bucket + 0.5) / 2) / 256, 1 / 256)
        for q in (0, 1):
            index, half = (m, 0.5) if states == 0 else (np.where(m > 0, 2 * m - q, 0.0), 1.0)
            low, high = np.maximum(index - half, 0), index + half
            low[1] = high[0] = (index[0] + index[1]) / 2
            mass = np.exp(-low / mean) - np.exp(-high / mean)
            rates[bucket, q] = (m > 0) - np.log2(np.maximum(mass, 2.0**-24))
    return rates


def counted_rates(counts: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Rates of what the coder's binarisation can learn: 0, 1, 2, then classes of 2, 4, 8, ... in quarters."""
    quarters = [1 + ((4 + quarter) << g) // 2 for g in range(8) for quarter in range(4)]
    edges = sorted({0, 1, 2, *(e for e in quarters if e < MAGNITUDES)})
    width = np.diff(np.array(edges + [MAGNITUDES]))
    spread = np.repeat(np.arange(len(edges)), width)
    prior = 2.0 ** -model
    prior[:, :, 1:] *= 2.0                               # without the sign
    pooled = np.add.reduceat(counts, edges, axis=2)
    expected = np.add.reduceat(prior, edges, axis=2)
    expected /= expected.sum(axis=2, keepdims=True)
    share = (pooled + PRIOR * expected) / (pooled.sum(axis=2, keepdims=True) + PRIOR)
    rates: np.ndarray = -np.log2(share / width)[:, :, spread]
    rates[:, :, 1:] += 1.0
    return rates


@inlined
def bucket_of(mean: float) -> int:
    # Two buckets per octave of a mean magnitude, from 1/256 up.
    m, e = math.frexp(mean * 256.0 + 1.0)
    return min(2 * e - 2 + (1 if m >= 0.7071067811865476 else 0), BUCKETS - 1)


@compiled
def scan_rows(u: np.ndarray, levels: np.ndarray, from_levels: bool, first_row: int, means: np.ndarray,
               buckets: np.ndarray, counts: np.ndarray, states: int, a: int, b: int, state: int) -> int:
    """Buckets of some rows, from the magnitudes of u or of the indices; counts their levels. Returns the trellis state.

    means: running mean magnitude of each column, and of the whole (last).
    """
    rows, columns = u.shape
    for i in range(rows):
        row_mean = means[columns]
        column_rate = 1.0 / min(first_row + i + 1, 32)
        for j in range(columns):
            bucket = bucket_of((row_mean + means[j]) * 0.5)
            k = abs(int(levels[i, j]))
            q = state & 1
            size = abs(u[i, j])
            if from_levels:
                size = float(k if states == 0 else (2 * k - q if k > 0 else 0))
            if states > 0:
                state = (state >> 1) ^ (a if q else 0) ^ (b if k & 1 else 0)
            buckets[i, j] = bucket
            counts[bucket, q, min(k, MAGNITUDES - 1)] += 1.0
            row_mean += (size - row_mean) / min(j + 2, 16)
            means[j] += (size - means[j]) * column_rate
        means[columns] += (row_mean - means[columns]) / min(first_row + i + 1, 16)
    return state


@compiled
def decide_plain(u: np.ndarray, buckets: np.ndarray, rates: np.ndarray, lam: float, keep: int, levels: np.ndarray
                 ) -> None:
    """0 states: of the magnitudes next below and next above, and 0, the cheapest."""
    for i in range(keep):
        size = abs(u[i])
        bucket = int(buckets[i])
        low = int(size)
        best, cost = 0, size * size + lam * rates[bucket, 0, 0]
        for k in range(max(low - 1, 1), low + 2):
            d = size - k
            c = d * d + lam * rates[bucket, 0, min(k, MAGNITUDES - 1)]
            if c < cost:
                best, cost = k, c
        levels[i] = -best if u[i] < 0 else best


@inlined
def cheaper(size: float, q: int, low: int, rates: np.ndarray, bucket: int, lam: float) -> tuple[float, int]:
    # Of the magnitudes low and low + 2 in quantiser q the cheaper: (cost, magnitude).
    d = size - (2 * low - q if low > 0 else 0)
    cost_low = d * d + lam * rates[bucket, q, min(low, MAGNITUDES - 1)]
    d = size - (2 * low + 4 - q)
    cost_high = d * d + lam * rates[bucket, q, min(low + 2, MAGNITUDES - 1)]
    return (cost_high, low + 2) if cost_high < cost_low else (cost_low, low)


@compiled
def viterbi(u: np.ndarray, buckets: np.ndarray, rates: np.ndarray, lam: float, states: int, a: int, b: int, state: int,
             keep: int, decisions: np.ndarray, candidates: np.ndarray, costs: np.ndarray, levels: np.ndarray) -> int:
    """The cheapest path from `state` through u; its first `keep` levels are kept. Returns the state after them.

    States below states / 2 are entered from even states (quantiser 0), the others from odd ones, each by
    one branch of even and one of odd levels: a bit tells which.  decisions: 32 of these bits a word.
    """
    half = states // 2
    for s in range(states):
        costs[0, s] = 1e30
    costs[0, state] = 0.0
    for i in range(len(u)):
        old, new = i & 1, (i & 1) ^ 1
        size = abs(u[i])
        bucket = int(buckets[i])
        for q in range(2):
            target = int((size + q) * 0.5)
            even, k_even = cheaper(size, q, target & -2, rates, bucket, lam)
            odd, k_odd = cheaper(size, q, max(((target + 1) & -2) - 1, 1), rates, bucket, lam)
            candidates[i, 2 * q] = k_even
            candidates[i, 2 * q + 1] = k_odd
            bits = 0
            for t in range(half):
                by_even = costs[old, 2 * t + q] + even
                by_odd = costs[old, 2 * (t ^ b) + q] + odd
                costs[new, t ^ a if q else t] = min(by_even, by_odd)
                bits |= (1 if by_odd < by_even else 0) << t
            decisions[i, q] = bits
    last = len(u) & 1
    s = 0
    for t in range(states):
        if costs[last, t] < costs[last, s]:
            s = t
    kept = s
    for i in range(len(u) - 1, -1, -1):
        if i == keep - 1:
            kept = s
        q = 1 if s >= half else 0
        t = s ^ a if q else s
        odd = (int(decisions[i, q]) >> t) & 1
        s = 2 * (t ^ b if odd else t) + q
        if i < keep:
            k = int(candidates[i, 2 * q + odd])
            levels[i] = -k if u[i] < 0 else k
    return kept
