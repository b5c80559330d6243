"""The normative generator of integers (SPEC 8.6.6): random access by position, the same numbers everywhere.

Word i of a seed is output i of SplitMix64 (Steele, Lea, Flood 2014) started at the seed: arithmetic of
unsigned 64-bit integers that wrap.
"""

from __future__ import annotations

import numpy as np

INCREMENT = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIER_1, MULTIPLIER_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)

LANE_SUM = 4 * 0xFFFF            # largest sum of the four 16-bit lanes of a word
RANDOM_LIMIT = LANE_SUM // 2     # random integers are -RANDOM_LIMIT .. RANDOM_LIMIT
RANDOM_EXPONENT = -16            # their unit: standard deviation 0.577

_CHUNK = 1 << 16                 # words in flight: they stay in the cache


def random_words(seed: int, first: int, count: int) -> np.ndarray:
    """uint64 [count]: words first, first + 1, ... of a seed (0 .. 2^64 - 1)."""
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    z *= INCREMENT
    z += np.uint64(seed)
    for shift, multiplier in ((30, MULTIPLIER_1), (27, MULTIPLIER_2)):
        z ^= z >> np.uint64(shift)
        z *= multiplier
    z ^= z >> np.uint64(31)
    return z


def random_matrix(seed: int, rows: int, columns: int) -> np.ndarray:
    """int64 [rows, columns]: element i in row-major order is the sum of the four lanes of word i less RANDOM_LIMIT.

    A bell-shaped distribution of mean 0 and standard deviation 37837; times 2^RANDOM_EXPONENT where it is used.
    """
    out = np.empty(rows * columns, np.int64)
    for start in range(0, out.size, _CHUNK):
        words = random_words(seed, start, min(_CHUNK, out.size - start))
        total = np.zeros(words.size, np.uint64)
        for lane in range(4):
            total += (words >> np.uint64(16 * lane)) & np.uint64(0xFFFF)
        out[start : start + words.size] = total
    return (out - RANDOM_LIMIT).reshape(rows, columns)


def random_choice(seed: int, density: int, count: int) -> np.ndarray:
    """bool [count]: element i is chosen if the upper 32 bits of word i are less than density (0 .. 2^32 - 1)."""
    out = np.empty(count, np.bool_)
    for start in range(0, count, _CHUNK):
        words = random_words(seed, start, min(_CHUNK, count - start))
        out[start : start + words.size] = words >> np.uint64(32) < np.uint64(density)
    return out
