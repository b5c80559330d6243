"""Bits of the bypass substream: fields of up to 63 bits, most significant bit first (SPEC 9.5.5).

A position counts bits from the start of the byte array.  The caller checks the bounds of a field
with `room` beforehand; these functions never touch a byte outside the array.
"""

from __future__ import annotations

import numpy as np

from ..compiler import at, inlined

PIECE = 56      # bits moved at once: with the offset inside a byte they lie in eight bytes


@inlined
def room(raw: np.ndarray, bit: int, n: int) -> int:
    """1 if a field of n bits at bit position `bit` lies inside the uint8 array `raw`, else 0."""
    return 1 if bit + n <= 8 * len(raw) else 0


@inlined
def _eight(raw: np.ndarray, i: int) -> int:
    # Eight bytes from raw[i] on, zeros after the last. The sign of the result depends on the compiler, its bits do not.
    value = 0
    if i + 8 <= len(raw):
        return (value | int(raw[at(i)]) << 56 | int(raw[at(i + 1)]) << 48 | int(raw[at(i + 2)]) << 40
                | int(raw[at(i + 3)]) << 32 | int(raw[at(i + 4)]) << 24 | int(raw[at(i + 5)]) << 16
                | int(raw[at(i + 6)]) << 8 | int(raw[at(i + 7)]))
    for k in range(i, i + 8):
        value = value << 8 | (int(raw[at(k)]) if k < len(raw) else 0)
    return value


@inlined
def get_bits(raw: np.ndarray, bit: int, n: int) -> int:
    """The n bits (0 <= n <= 63) at position `bit` of the uint8 array `raw`, as an integer."""
    value = 0
    while n > 0:
        k = min(n, PIECE)
        value = value << k | (_eight(raw, bit >> 3) >> (64 - (bit & 7) - k)) & ((1 << k) - 1)
        bit += k
        n -= k
    return value


@inlined
def put_bits(raw: np.ndarray, bit: int, value: int, n: int) -> None:
    """Write the low n bits (0 <= n <= 63) of value at position `bit`; later bits of the last byte become 0."""
    while n > 0:
        k = min(n, PIECE - 1)
        n -= k
        i, last = bit >> 3, (bit + k - 1) >> 3
        shift = 8 * (last + 1) - bit - k
        piece = ((int(raw[at(i)]) >> (8 - (bit & 7)) << k) | (value >> n) & ((1 << k) - 1)) << shift
        while last >= i:
            raw[at(last)] = piece & 255
            piece >>= 8
            last -= 1
        bit += k
