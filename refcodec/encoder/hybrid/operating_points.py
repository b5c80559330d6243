"""Hybrid compression of matrices: low rank, fixed point, pruning and Huffman codes, chosen together (informative).

After "Compressing Deep Neural Networks for Efficient Visual Inference" (ICASSP 2018), without its heuristics: every
combination of rank, step and pruning is a point (bits, error), and one price of a bit picks a point in each layer.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import ConfigError
from ...quantization.fixed_point import FRACTION_MAX, FRACTION_MIN

SAMPLE = 1 << 18             # elements from which the points of a matrix are measured
FINEST = 9                   # octaves of the step below the deviation of the values
PRICES = (0.0, 0.06, 0.12, 0.2, 0.35)      # of a bit, in squares of the step
RANK_SHARES = (0.08, 0.12, 0.18, 0.25, 0.35, 0.5, 0.65, 0.8)    # of the rank from which factors have more elements
TRUNCATION_MAX = 0.7         # relative error beyond which a rank is not tried
ROUNDS = 2                   # rounding and counting in turn
BOUNDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1023)
WORSE = 1.03                 # where larger bounds need not be tried
MAGNITUDES = 1 << 16


@dataclass(frozen=True)
class HybridPoint:
    """One way to code a matrix.

    rank: 0 for the matrix itself, else that of its two factors.  fraction_bits: of all components, the step is its
    power of 1/2.  price: of a bit in rounding, in squares of the step; it prunes: the more it is, the more weights
    are too small to be worth their bits.  bits: estimated size.  error: relative squared error.
    """

    rank: int
    fraction_bits: int
    price: float
    bits: float
    error: float


@dataclass
class FixedPointLevels:
    """levels: int32 [rows, columns].  width: least number of bits in two's complement that holds them all."""

    levels: np.ndarray
    width: int
    fraction_bits: int

    @property
    def values(self) -> np.ndarray:
        """float64, exact."""
        return np.ldexp(self.levels.astype(np.float64), -self.fraction_bits)


@dataclass
class HybridChoice:
    """components: the matrix, or its factors [rows, rank] and [rank, columns].  error: relative, squared, true."""

    components: list[FixedPointLevels]
    rank: int
    error: float


def hybrid_points(matrix: np.ndarray, low_rank: bool = True) -> list[HybridPoint]:
    """The (bits, error) that ranks, steps and pruning give for a matrix.

    matrix: finite floats [rows, columns].  low_rank: try factors, too.
    Returns one point at least; of a matrix of zeros, one of no bits and no error.
    """
    power = _squares(matrix)
    if power == 0.0:
        return [HybridPoint(0, 0, 0.0, 0.0, 0.0)]
    sample = matrix[:: max(1, matrix.size // SAMPLE)]
    scale = matrix.size / sample.size
    found = [HybridPoint(0, g, price, bits * scale, error * scale / power)
             for g, price, bits, error in _measured([(sample, np.ones((1, 1)))])]
    if low_rank and min(matrix.shape) > 1:
        found += _low_rank_points(matrix, power)
    return found


def cheapest(points: Sequence[HybridPoint], price: float) -> HybridPoint:
    """The best point where a bit costs as much as `price` of relative error."""
    return min(points, key=lambda p: p.error + price * p.bits)


def price_of_a_bit(layers: Sequence[Sequence[HybridPoint]], snr: float) -> float:
    """The price at which the relative errors of the cheapest() points of all layers sum to 10^(-snr/10) or less.

    layers: what hybrid_points() gave for each.  snr: dB; what the outputs would have if errors passed from layer to
    layer unchanged.  With one price in all layers no bit can be moved to where it does more; so large layers have
    larger errors.  Raises ConfigError RATE if even the finest points have a larger error.
    """
    budget = 10.0 ** (-snr / 10)

    def error(price: float) -> float:
        return sum(cheapest(points, price).error for points in layers)

    if error(0.0) > budget:
        raise ConfigError("RATE", f"fixed point reaches {-10 * math.log10(error(0.0)):.1f} dB here, not {snr}")
    low, high = 1e-15, 1.0
    for _ in range(40):
        price = math.sqrt(low * high)
        low, high = (price, high) if error(price) <= budget else (low, price)
    return low


def hybrid_levels(matrix: np.ndarray, point: HybridPoint) -> HybridChoice:
    """The levels of a point of hybrid_points(matrix)."""
    parts = _factors(_decomposed(matrix), point.rank) if point.rank else [(matrix, np.ones((1, 1)))]
    components = []
    for part, weights in parts:
        levels = _rounded(part, weights, point.fraction_bits, point.price).astype(np.int32)
        components.append(FixedPointLevels(levels, level_width(levels), point.fraction_bits))
    values = components[0].values if not point.rank else components[0].values @ components[1].values
    return HybridChoice(components, point.rank, _squares(matrix - values) / (_squares(matrix) or 1.0))


def level_width(levels: np.ndarray) -> int:
    """Least number of bits in two's complement, at least 1, that holds all levels."""
    return 1 + max(~int(levels.min(initial=-1)), int(levels.max(initial=0))).bit_length()


# Low rank

def _low_rank_points(matrix: np.ndarray, power: float) -> list[HybridPoint]:
    rows, columns = matrix.shape
    decomposed = _decomposed(matrix)
    squares = np.square(decomposed[1])
    found = []
    for rank in sorted({max(1, int(share * rows * columns / (rows + columns))) for share in RANK_SHARES}):
        truncated = float(squares[rank:].sum()) / power
        if truncated <= TRUNCATION_MAX and rank * (rows + columns) < rows * columns:
            # The errors of truncation and of rounding in either factor are uncorrelated: they add.
            found += [HybridPoint(rank, g, price, bits, truncated + error / power)
                      for g, price, bits, error in _measured(_factors(decomposed, rank))]
    return found


def _decomposed(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return np.linalg.svd(matrix.astype(np.float64), full_matrices=False)


def _factors(decomposed: tuple[np.ndarray, np.ndarray, np.ndarray], rank: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Two factors, each with the weights of the squared errors of its elements: the squares of the other factor.

    The singular values are shared out evenly, so that one step suits both.
    """
    u, s, v = decomposed[0][:, :rank], decomposed[1][:rank], decomposed[2][:rank]
    root = np.sqrt(s)
    return [(u * root, s[None, :]), (root[:, None] * v, s[:, None])]


# Rounding

def _squares(x: np.ndarray) -> float:
    return float(np.square(x.astype(np.float64)).sum())


def _measured(parts: Sequence[tuple[np.ndarray, np.ndarray]]) -> Iterator[tuple[int, float, float, float]]:
    """(fraction bits, price, bits, weighted squared error) of the parts together, at every step and price."""
    deviation = math.sqrt(sum(_squares(x) for x, _ in parts) / sum(x.size for x, _ in parts))
    coarsest = -math.frexp(deviation)[1] - 1
    for g in range(coarsest, coarsest + FINEST + 2):
        g = min(max(g, FRACTION_MIN), FRACTION_MAX)
        for price in PRICES:
            bits = error = 0.0
            for x, weights in parts:
                levels = _rounded(x, weights, g, price)
                bits += huffman_estimate(levels)
                error += float((np.square(x - np.ldexp(levels, -g)) * weights).sum())
            yield g, price, bits, error


def _rounded(x: np.ndarray, weights: np.ndarray, fraction_bits: int, price: float) -> np.ndarray:
    """Levels (float64) with the least weights / mean * (x 2^g - level)^2 + price * bits: nearest, one less, or 0.

    The bits are those of an ideal code for the levels of the round before.
    """
    u = np.ldexp(x.astype(np.float64), fraction_bits)
    size = np.abs(u)
    nearest = np.minimum(np.rint(size), MAGNITUDES - 1)
    kept = nearest
    if price:
        relative = weights / weights.mean()
        for _ in range(ROUNDS):
            length = _ideal_lengths(kept, int(nearest.max()) + 1)
            kept, best = nearest, relative * np.square(size - nearest) + price * length[nearest.astype(np.int64)]
            for other in (np.maximum(nearest - 1, 0), np.zeros_like(nearest)):
                cost = relative * np.square(size - other) + price * length[other.astype(np.int64)]
                kept, best = np.where(cost < best, other, kept), np.minimum(cost, best)
    return np.copysign(kept, u) * (kept > 0)


def _ideal_lengths(magnitudes: np.ndarray, size: int) -> np.ndarray:
    counts = np.bincount(magnitudes.reshape(-1).astype(np.int64), minlength=size).astype(np.float64)
    length = math.log2(counts.sum() + 1) - np.log2(np.maximum(counts, 0.5))
    length[1:] += 1.0                                    # the sign
    return length


# Size

def huffman_estimate(levels: np.ndarray) -> float:
    """Bits of a matrix of integers as relative indices and values, Huffman coded, with the best of some bounds."""
    flat = levels.reshape(-1)
    places = np.flatnonzero(flat)
    if places.size == 0:
        return 0.0
    gaps, gap_counts = np.unique(np.diff(places, prepend=-1), return_counts=True)
    values = np.unique(flat[places], return_counts=True)[1]
    best = math.inf
    for bound in BOUNDS:
        fillers = int((gap_counts * ((gaps - 1) // bound)).sum())
        indices = np.bincount((gaps - 1) % bound, gap_counts, minlength=bound)
        indices[bound - 1] += fillers
        size = _huffman_bits(np.append(values, fillers)) + _huffman_bits(indices)
        best = min(best, size)
        if bound >= gaps[-1] or size > WORSE * best:
            break
    return best


def _huffman_bits(counts: np.ndarray) -> float:
    # The code's total length is the sum of all inner nodes; and about 6 bits for each length sent.
    heap = sorted(counts[counts > 0].tolist())
    total = 6.0 * len(heap)
    while len(heap) > 1:
        node = heapq.heappop(heap) + heap[0]
        heapq.heapreplace(heap, node)
        total += node
    return total
