"""Tables of the level coders, all by integer recipes (SPEC 9.3.6).

No library logarithm or exponential is used: one 60-bit constant and integer steps give every entry,
and a test compares the SHA-256 of each table with SPEC's.
"""

from __future__ import annotations

import numpy as np

STEPS_PER_OCTAVE = 3
LOG_BITS = 12                  # the table of logarithms ends at 2^LOG_BITS
SQUASH_LIMIT = 3071            # 256 * natural log odds
STRETCH_BITS = 12
MIX_MIN, MIX_MAX = 32, 65504   # what a mixed prediction may say


def _log_table() -> np.ndarray:
    # 0 for 0, else 1 + floor(STEPS_PER_OCTAVE * log2(v)), the logarithm taken from a power's bit length.
    return np.array([0] + [(v**STEPS_PER_OCTAVE).bit_length() for v in range(1, 1 << LOG_BITS)], dtype=np.int32)


def _logistic_tables() -> tuple[np.ndarray, np.ndarray]:
    # odds[x] = floor-chained exp(x / 256) in 2^-60; logistic[x] = odds / (1 + odds) in 2^-32.
    one, growth = 1 << 60, 1157433911791679357   # growth = round(2^60 * exp(1 / 256))
    odds, logistic = one, []
    for _ in range(SQUASH_LIMIT + 1):
        logistic.append((odds << 32) // (one + odds))
        odds = (odds * growth) >> 60
    whole = [(1 << 32) - p for p in logistic[:0:-1]] + logistic          # x = -SQUASH_LIMIT .. SQUASH_LIMIT
    squash = [min(max((p + 0x8000) >> 16, MIX_MIN), MIX_MAX) for p in whole]
    stretch, x = [], 0
    for i in range(1 << STRETCH_BITS):                                   # the inverse at the middle of each cell
        while whole[x] < (2 * i + 1) << (31 - STRETCH_BITS):
            x += 1
        stretch.append(x - SQUASH_LIMIT)
    return np.array(stretch, dtype=np.int32), np.array(squash, dtype=np.int32)


LOG_BUCKET = _log_table()
STRETCH, SQUASH = _logistic_tables()
RECIPROCAL = np.array([0] + [65536 // d for d in range(1, 257)], dtype=np.int32)
