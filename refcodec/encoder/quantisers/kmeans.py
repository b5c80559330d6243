"""Codebooks by k-means in one dimension, for the codebook quantisers (informative)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...dtypes import DType
from ...quantization.rounding import round_to_dtype

ROUNDS = 200
KNOTS = 4                # quantiles for each of the first centres


@dataclass
class Codebook:
    """entries: [n] in ascending order, of the tensor's dtype (or int64: multiples of a step).  zero_index: the entry
    nearest to 0.  levels: int32 of the shape of the values, entry - zero_index: what is coded."""

    entries: np.ndarray
    zero_index: int
    levels: np.ndarray


def kmeans_codebook(values: np.ndarray, size: int, dtype: DType, fixed_zero: bool = False) -> Codebook | None:
    """A codebook of at most `size` elements of dtype with a small squared error.

    values: floats of any shape.  fixed_zero: 0 is an entry that does not move, so that pruned weights stay 0.
    Deterministic.  Returns None where there are no values, or one is not finite or beyond 2^900.
    """
    if not _tame(values):
        return None
    centres = kmeans_centres(values, size, fixed_zero)
    words = round_to_dtype(centres, dtype)
    _, first = np.unique(words.astype(np.float64), return_index=True)
    entries = words[first]
    return _assign(values, entries, entries.astype(np.float64))


def integer_codebook(values: np.ndarray, size: int, step: float, fixed_zero: bool = False) -> Codebook | None:
    """The same with centres rounded to multiples of a step: entries are int64, value = entry * step.

    step: a representable one (see step_parts); None, too, where a multiple of it would pass 2^31.
    """
    if not _tame(values):
        return None
    entries = np.unique(np.rint(kmeans_centres(values, size, fixed_zero) / step))
    if np.abs(entries).max() > 1 << 31:
        return None
    entries = entries.astype(np.int64)
    return _assign(values, entries, entries * step)


def kmeans_centres(values: np.ndarray, size: int, fixed_zero: bool = False) -> np.ndarray:
    """At most `size` centres, ascending float64 without repeats: Lloyd's iteration on the sorted values until it rests.

    A local optimum, within some percent of the best error.  Exact where there are no more distinct values than that.
    """
    x = np.sort(values.reshape(-1).astype(np.float64))
    distinct = np.unique(np.append(x, 0.0) if fixed_zero else x)
    if distinct.size <= size:
        return distinct
    centres = _first_centres(x, size - fixed_zero)
    if fixed_zero:
        centres = np.unique(np.append(centres, 0.0))
    for _ in range(ROUNDS):
        starts = np.concatenate([[0], np.searchsorted(x, (centres[1:] + centres[:-1]) / 2, "right")])
        counts = np.diff(starts, append=x.size)
        used = counts > 0
        moved = np.add.reduceat(x, starts[used]) / counts[used]
        if fixed_zero:
            moved = np.append(moved[centres[used] != 0], 0.0)
        moved = np.unique(moved)
        if np.array_equal(moved, centres):
            break
        centres = moved
    return centres


def _first_centres(x: np.ndarray, size: int) -> np.ndarray:
    """Centres as dense as the cube root of the density of the sorted values x, which is best for many centres."""
    quantiles = x[np.linspace(0, x.size - 1, KNOTS * size + 1).astype(np.int64)]
    weight = np.concatenate([[0.0], np.cumsum(np.diff(quantiles) ** (2 / 3))])         # of density^(1/3) over a gap
    return np.unique(np.interp((np.arange(size) + 0.5) / max(size, 1) * weight[-1], weight, quantiles))


def _tame(values: np.ndarray) -> bool:
    # Neither sums nor the span of such values overflow; false for NaN.
    return values.size > 0 and bool((np.abs(values.astype(np.float64)) <= 2.0**900).all())


def _assign(values: np.ndarray, entries: np.ndarray, numbers: np.ndarray) -> Codebook:
    # numbers: the entries as float64
    index = np.searchsorted((numbers[1:] + numbers[:-1]) / 2, values.astype(np.float64))
    zero = int(np.abs(numbers).argmin())
    return Codebook(entries, zero, (index - zero).astype(np.int32))
