"""Hidden structure of tensors that are to be coded losslessly (informative).

Some float tensors are few numbers in disguise: a constant, a codebook, a uniform grid, or half-precision
numbers times a scale.  What is found here has been rebuilt and compared word by word.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..dtypes import DType
from ..entropy.words import estimate_bits
from .first_looks import has_more_values, is_constant, is_off_grid

CODEBOOK_MAX = 4096
LEVEL_BITS = 16                 # larger levels on a uniform grid gain nothing over words
SAMPLE = 8192
STRUCTURED_FROM = 256           # floats: fewer have hardly a structure that pays for its description
WORTHWHILE = 0.95               # a codebook must save 5 % of the estimate for words
FEW = 1024                      # words of which a sixteenth comes again where 4096 are listed
MANY_HALVES = 512               # different words of 16 bits among SAMPLE


@dataclass
class Constant:
    """One word for all elements."""

    word: int


@dataclass
class Listed:
    """Few words. codebook: unsigned [n], in order of value.  levels: index - zero_index, int32 [rows, cols]."""

    codebook: np.ndarray
    zero_index: int
    levels: np.ndarray


@dataclass
class Multiples:
    """Multiples of a step: value = level * step_mantissa * 2^step_exponent.

    step_mantissa: 1..65535.  levels: int32 [rows, cols].
    """

    step_mantissa: int
    step_exponent: int
    levels: np.ndarray


@dataclass
class ScaledHalves:
    """float32 values of half precision times a scale: value = Round(float32, half * scale of its row).

    halves: uint16 words of float16 [rows, cols].  scales: float32 [rows].
    """

    halves: np.ndarray
    scales: np.ndarray


Structure = Constant | Listed | Multiples | ScaledHalves


def find_structure(words: np.ndarray, dtype: DType) -> Structure | None:
    """The structure of words [rows, cols] (unsigned, of dtype.word), or None: an ordinary tensor.

    For scales that belong to columns ask again with the transposed array.
    """
    if words.size == 0:
        return None
    if is_constant(words):
        return Constant(int(words[0, 0]))
    if words.size < STRUCTURED_FROM and dtype.kind == "f":
        return None
    return _multiples(words, dtype) or _listed(words, dtype) or _scaled_halves(words, dtype)


# Uniform grid: the greatest common divisor of all values.

def _integers(words: np.ndarray, dtype: DType) -> tuple[np.ndarray, int] | None:
    """Values as int64 times a power of two (the exponent is returned too), or None where they span too much."""
    if dtype.kind != "f":
        values = words.astype(np.int64)
        if dtype.kind == "i":
            values = values << (64 - dtype.bits) >> (64 - dtype.bits)
        return (values, 0) if dtype.bits < 64 or (np.abs(values) < 1 << 62).all() else None
    values = words.view(dtype.numpy).astype(np.float64)
    if not np.isfinite(values).all() or ((values == 0) & np.signbit(values)).any():
        return None
    largest = float(np.abs(values).max())
    exponent = int(np.frexp(largest)[1]) - 32           # levels below 2^16 times a mantissa below 2^16
    scaled = np.ldexp(values, -exponent)
    if not np.isfinite(scaled).all() or (scaled != np.rint(scaled)).any():
        return None
    return scaled.astype(np.int64), exponent


def _multiples(words: np.ndarray, dtype: DType) -> Multiples | None:
    # Of a narrow float type every small tensor lies on some grid: a real one is no finer than the mantissa.
    octaves = min(LEVEL_BITS, dtype.mantissa + 1) if dtype.kind == "f" else LEVEL_BITS
    if dtype.kind == "f" and dtype.sign and is_off_grid(words.reshape(-1)[:SAMPLE], dtype, octaves):
        return None
    if words.size > 2 * SAMPLE:                     # an ordinary tensor shows in a part of it
        part = words.reshape(-1)[:SAMPLE][None]
        if part.any() and _multiples(part, dtype) is None:
            return None
    whole = _integers(words, dtype)
    if whole is None:
        return None
    values, exponent = whole
    divisor = int(np.gcd.reduce(values.reshape(-1)))
    if divisor == 0:
        return None
    while divisor % 2 == 0:
        divisor, exponent, values = divisor // 2, exponent + 1, values >> 1
    levels = values // divisor
    if divisor > 65535 or int(np.abs(levels).max()) >= 1 << octaves:
        return None
    middle = int(np.median(levels.reshape(-1)[:: max(1, levels.size // 65536)]))
    spread = int(np.median(np.abs(levels - middle))) + 1
    if abs(middle) > 4 * spread:
        return None
    if dtype.kind == "f" and not -1074 <= exponent <= 970:
        return None
    return Multiples(divisor, exponent, levels.astype(np.int32))


# Codebook: few distinct words.

def _by_value(words: np.ndarray, dtype: DType) -> np.ndarray:
    """Sorting keys, int64: the order of the values (NaNs at the ends)."""
    keys = words.astype(np.int64) << (64 - dtype.bits)
    if dtype.kind == "u" or not dtype.sign:
        return keys ^ np.iinfo(np.int64).min
    return np.where(keys < 0, keys ^ np.iinfo(np.int64).max, keys) if dtype.kind == "f" else keys


def _many_values(flat: np.ndarray, dtype: DType) -> bool:
    # What a codebook is not for, as far as the first words tell. Of 16 bits, no word takes much more than its bins do.
    few, sample = flat[:FEW], flat[:SAMPLE]
    if dtype.bits <= 16 and (dtype.kind == "f" or flat.size > SAMPLE):
        return has_more_values(sample, min(sample.size // 4, MANY_HALVES))
    return has_more_values(few, FEW - FEW // 16) or has_more_values(sample, sample.size // 2)


def _listed(words: np.ndarray, dtype: DType) -> Listed | None:
    if _many_values(words.reshape(-1), dtype):
        return None
    if dtype.bits <= 16 and words.size > SAMPLE:
        counts = np.bincount(words.reshape(-1), minlength=1 << dtype.bits)
        distinct = np.flatnonzero(counts).astype(dtype.word)
        counts = counts[distinct]
    else:
        distinct, counts = np.unique(words, return_counts=True)
    if distinct.size > CODEBOOK_MAX or distinct.size * 2 > words.size:
        return None
    size = float(-(counts * np.log2(counts / words.size)).sum()) + distinct.size * dtype.bits
    if size > words.size * dtype.bits * WORTHWHILE or size > WORTHWHILE * estimate_bits(words, None, dtype):
        return None
    order = np.argsort(_by_value(distinct, dtype), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(order.size)
    zeros = np.flatnonzero(distinct == 0)
    usual = int(counts.argmax())
    zero = int(zeros[0]) if zeros.size and counts[zeros[0]] * 2 >= counts[usual] else usual
    levels = (rank[np.searchsorted(distinct, words)] - rank[zero]).astype(np.int32)
    return Listed(distinct[order], int(rank[zero]), levels)


# Scaled half-precision grid: float32 values that are rounded products of a float16 and the scale of the row.

MANTISSAS = np.arange(1024, 2048, dtype=np.float64)
TOLERANCE = 2.0 ** -22          # two roundings to 24 bits, doubled
TRIED = 8                       # elements against which a candidate is tested
ROWS_TRIED = 3


def _scaled_halves(words: np.ndarray, dtype: DType) -> ScaledHalves | None:
    if dtype.name != "float32" or words.shape[1] < TRIED:
        return None
    values = words.view(np.float32)
    busy = np.flatnonzero(np.count_nonzero(values[:256], axis=1) >= TRIED)[:ROWS_TRIED]
    if busy.size == 0 or any(_row_halves(values[i]) is None for i in busy):
        return None
    halves, scales = np.zeros(words.shape, np.uint16), np.ones(words.shape[0], np.float32)
    for i, row in enumerate(values):
        found = _row_halves(row)
        if found is None:
            return None
        halves[i], scales[i] = found
    return ScaledHalves(halves, scales)


def _row_halves(row: np.ndarray) -> tuple[np.ndarray, np.float32] | None:
    """(words of the halves, scale) that give exactly this row of float32, or None."""
    w = row.astype(np.float64)
    if not np.isfinite(w).all():
        return None
    magnitude = np.abs(w)
    top = magnitude.max()
    if top == 0.0:
        return row.astype(np.float16).view(np.uint16), np.float32(1.0)
    others = magnitude[magnitude > 0]
    others = others[np.linspace(0, others.size - 1, TRIED).astype(int)]
    scales = top / (MANTISSAS * 16.0)                  # the largest half lies in 2^14 .. 2^15
    if not np.isfinite(scales).all() or scales.min() < 2.0 ** -126:
        return None
    for other in others:                               # the first leaves few scales
        fraction = np.frexp(other / scales)[0] * 2048.0
        scales = scales[np.abs(fraction - np.rint(fraction)) <= fraction * TOLERANCE]
        if scales.size == 0:
            return None
    solutions = [s for s in (_solve_row(row, w, magnitude, scale) for scale in scales[:64]) if s is not None]
    # Several scales can fit where the halves have few bits: take the halves with the most trailing zeros.
    return max(solutions, key=lambda s: _common_zeros(s[0]), default=None)


def _solve_row(row: np.ndarray, w: np.ndarray, magnitude: np.ndarray, scale: float
               ) -> tuple[np.ndarray, np.float32] | None:
    """The halves that an approximate scale gives, and the float32 scale that fits all of them."""
    halves = (w / scale).astype(np.float16)
    h = np.abs(halves.astype(np.float64))
    used = h > 0
    if not np.isfinite(h).all() or (used != (magnitude > 0)).any():
        return None
    half_ulp = np.spacing(np.abs(row[used])).astype(np.float64) * 0.5
    low = ((magnitude[used] - half_ulp) / h[used]).max()
    high = ((magnitude[used] + half_ulp) / h[used]).min()
    s = np.nextafter(np.float32(low), np.float32(0))
    for _ in range(8):
        if s > high * (1 + 2.0 ** -23):
            return None
        with np.errstate(over="ignore"):
            rebuilt = (halves.astype(np.float64) * np.float64(s)).astype(np.float32)
        if (rebuilt.view(np.uint32) == row.view(np.uint32)).all():
            return halves.view(np.uint16), s
        s = np.nextafter(s, np.float32(np.inf))
    return None


def _common_zeros(halves: np.ndarray) -> int:
    gathered = int(np.bitwise_or.reduce(halves & 0x3FF)) | 0x400
    return (gathered & -gathered).bit_length()
