"""What a look at the words of a tensor tells of its structure, before anything is computed with them (informative).

Most tensors have none, and of many small ones asking must not take longer than coding.
"""

from __future__ import annotations

import numpy as np

from ..compiler import at, bit_length, compiled, inlined, signed
from ..dtypes import DType


def as_signed(words: np.ndarray) -> np.ndarray:
    """Flat unsigned words as the loops take them: int64 where they have 64 bits."""
    flat = words.reshape(-1)
    return flat.view(np.int64) if flat.itemsize == 8 else flat


def is_constant(words: np.ndarray) -> bool:
    """True if all words are the same. words: of any shape, C order, not empty."""
    return bool(_is_constant(as_signed(words)))


def is_off_grid(words: np.ndarray, dtype: DType, octaves: int) -> bool:
    """True if words, floats with a sign, are no multiples of one number by integers of at most `octaves` bits."""
    return bool(_is_off_grid(as_signed(words), dtype.mantissa, dtype.exponent, octaves))


def has_more_values(words: np.ndarray, limit: int) -> bool:
    """True if there are more than `limit` different words."""
    seen = np.zeros(1 << max(limit, 2).bit_length() + 1, np.int64)
    return bool(_has_more_values(as_signed(words), limit, seen))


@compiled
def _is_constant(words: np.ndarray) -> bool:
    i = 1
    while i < len(words) and words[at(i)] == words[0]:
        i += 1
    return i >= len(words)


@inlined
def _odd_divisor(a: int, b: int) -> int:
    # The greatest common divisor of odd a, b > 0.
    while b:
        a, b = b, a % b
    return a


@compiled
def _is_off_grid(words: np.ndarray, mantissa: int, exponent_bits: int, octaves: int) -> bool:
    # The step divides all values: it is at most `divisor` (odd) times 2^lowest, their greatest common divisor so far.
    divisor, lowest, highest = 0, 0, 0
    for i in range(len(words)):
        word = signed(words[at(i)])
        exponent = (word >> mantissa) & ((1 << exponent_bits) - 1)
        odd = word & ((1 << mantissa) - 1) | (1 << mantissa if exponent else 0)
        exponent = max(exponent, 1)
        if odd == 0:
            if word:
                return True                            # -0 is no multiple
            continue
        zeros = bit_length(odd & -odd) - 1
        odd, exponent = odd >> zeros, exponent + zeros
        if divisor == 0:
            divisor, lowest, highest = odd, exponent, exponent + bit_length(odd)
        else:
            lowest, highest = min(lowest, exponent), max(highest, exponent + bit_length(odd))
            divisor = divisor if odd % divisor == 0 else _odd_divisor(odd, divisor)
        if highest - 1 - lowest - bit_length(divisor) >= octaves:
            return True
    return False


@compiled
def _has_more_values(words: np.ndarray, limit: int, seen: np.ndarray) -> bool:
    # seen: room, zeros, of a power of two of more than twice the limit.
    count, zero = 0, False
    for i in range(len(words)):
        word = signed(words[at(i)])
        if word == 0:
            count += 0 if zero else 1
            zero = True
        else:
            slot = (((word ^ word >> 31) & 0x7FFFFFFF) * 0x5E3779B1 >> 20) & (len(seen) - 1)
            while seen[at(slot)] != word and seen[at(slot)] != 0:
                slot = (slot + 1) & (len(seen) - 1)
            if seen[at(slot)] == 0:
                seen[at(slot)] = word
                count += 1
        if count > limit:
            return True
    return False
