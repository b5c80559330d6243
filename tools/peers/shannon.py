"""The rate-distortion bound of a row-scaled source: how few bits any codec of independent weights could do with.

Model of the source: every row of a weight matrix (its output channel, or its input channel where that explains
more) is drawn independently from one density, the same for the whole model, times the row's own scale, which the
decoder knows free of charge.  The density is measured: a histogram of all weights over the root mean square of
their rows.  Its rate-distortion function comes from Blahut's and Arimoto's iteration at low rates, and at high rates
from the entropy of a fine uniform quantiser less its 0.254 bit of space-filling loss.  Rows share one slope, as
reverse water-filling requires.  (Check: within 0.007 bit of the closed forms for Gaussian and Laplacian weights.)

A coder may pass below this bound where weights of a row are not independent or change scale within it.
"""

from __future__ import annotations

import numpy as np

GRID = np.linspace(-9, 9, 361)          # in units of the row's root mean square
FINEST = 0.012                          # distortion (share of variance) below which high_rate is used


def rows_of(array: np.ndarray) -> np.ndarray:
    """The weights as [rows, elements], by the first or the last axis: the one whose scales explain more."""
    choices = [array.reshape(array.shape[0], -1), np.moveaxis(array, -1, 0).reshape(array.shape[-1], -1)]

    def mean_log_scale(rows: np.ndarray) -> float:
        return float(np.mean(np.log(np.sqrt(np.mean(rows * rows, axis=1)) + 1e-30)))

    return min(choices, key=mean_log_scale).astype(np.float64)


def high_rate(samples: np.ndarray, slopes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(distortion, rate in bits) at slopes so steep that a uniform quantiser loses only its cells' shape.

    The rate is the entropy of the quantised samples less the space-filling loss, log2(2 pi e / 12) / 2 bits.
    """
    distortions, rates = 0.5 / slopes, []
    for step in np.sqrt(12 * distortions):
        levels = np.rint(samples / step).astype(np.int64)
        counts = np.bincount(levels - levels.min())
        share = counts[counts > 0] / len(samples)
        rates.append(-share @ np.log2(share) - 0.5 * np.log2(2 * np.pi * np.e / 12))
    return distortions, np.array(rates)


def blahut(probability: np.ndarray, slopes: np.ndarray, rounds: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """(distortion, rate in bits) of the density on GRID at each slope -dR/dD in nats per unit of distortion."""
    squared = (GRID[:, None] - GRID[None]) ** 2
    distortions, rates = [], []
    reproduction = np.full(len(GRID), 1 / len(GRID))
    for slope in slopes:
        kernel = np.exp(-slope * squared)
        for _ in range(rounds):
            normaliser = kernel @ reproduction
            reproduction = reproduction * (kernel.T @ (probability / normaliser))
        normaliser = kernel @ reproduction
        joint = probability[:, None] * kernel * reproduction / normaliser[:, None]
        distortion = float((joint * squared).sum())
        distortions.append(distortion)
        rates.append((-slope * distortion - float(probability @ np.log(normaliser))) / np.log(2))
        reproduction = np.maximum(reproduction, 1e-12)      # so that a value given up can come back
    return np.array(distortions), np.array(rates)


class RowScaledSource:
    """The source fitted to a model's weights; `bits(snr)` is its bound."""

    def __init__(self, tensors: dict[str, np.ndarray]):
        scales, counts, shapes = [], [], []
        for array in tensors.values():
            rows = rows_of(array)
            scale = np.sqrt(np.mean(rows * rows, axis=1))
            keep = scale > 0
            scales.append(scale)
            counts.append(np.full(len(scale), rows.shape[1]))
            shapes.append((rows[keep] / scale[keep, None]).ravel())
        self.scales, self.counts, samples = map(np.concatenate, (scales, counts, shapes))
        everything = np.concatenate([array.ravel() for array in tensors.values()]).astype(np.float64)
        self.variance, self.total = float(everything.var()), len(everything)
        edges = np.append(GRID, GRID[-1] + GRID[1] - GRID[0]) - (GRID[1] - GRID[0]) / 2
        histogram = np.histogram(np.clip(samples, GRID[0], GRID[-1]), edges)[0] + 1e-9
        coarse, fine = np.geomspace(0.25, 0.5 / FINEST, 40), np.geomspace(0.55 / FINEST, 1e8, 60)
        low, high = blahut(histogram / histogram.sum(), coarse), high_rate(samples, fine)
        self.log_slopes = np.log(np.concatenate([coarse, fine]))
        self.log_distortions = np.log(np.concatenate([low[0], high[0]]))
        self.rates = np.maximum(np.concatenate([low[1], high[1]]), 0)

    def _at(self, slope: float) -> tuple[float, float]:
        """(mean squared error, bits per weight) of the whole model at one slope of all rows."""
        own = np.log(np.maximum(slope * self.scales ** 2, 1e-30))
        distortion = np.exp(np.interp(own, self.log_slopes, self.log_distortions))
        rate = np.interp(own, self.log_slopes, self.rates)
        idle = own < self.log_slopes[0]
        distortion[idle], rate[idle] = 1, 0
        share = self.counts / self.total
        return float(share @ (distortion * self.scales ** 2)), float(share @ rate)

    def bits(self, snr: float) -> float:
        """Bits per weight of the bound at a signal-to-noise ratio in dB (variance of all weights together)."""
        target = self.variance / 10 ** (snr / 10)
        low, high = 1e-6 / self.variance, 1e12 / self.variance
        for _ in range(100):
            middle = np.sqrt(low * high)
            low, high = (low, middle) if self._at(middle)[0] < target else (middle, high)
        return self._at(high)[1]
