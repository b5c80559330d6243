"""Bits of the bypass substream: fields of up to 63 bits, most significant bit first (SPEC 9.5.5).

A position counts bits from the start of the byte array.  The caller checks the bounds of a field
with `room` beforehand; these functions never touch a byte outside the array.
"""

from __future__ import annotations

from ..compiler import inlined

PIECE = 32      # bits moved at once: with the offset inside a byte they lie in at most five bytes


@inlined
def room(raw, bit, n):
    """1 if a field of n bits at bit position `bit` lies inside the uint8 array `raw`, else 0."""
    return 1 if bit + n <= 8 * len(raw) else 0


@inlined
def _byte(raw, i):
    return int(raw[i]) if i < len(raw) else 0


@inlined
def get_bits(raw, bit, n):
    """The n bits (0 <= n <= 63) at position `bit` of the uint8 array `raw`, as an integer."""
    value = 0
    while n > 0:
        k = min(n, PIECE)
        first = bit >> 3
        window = (_byte(raw, first) << 32 | _byte(raw, first + 1) << 24 | _byte(raw, first + 2) << 16
                  | _byte(raw, first + 3) << 8 | _byte(raw, first + 4))
        value = value << k | (window >> (40 - (bit & 7) - k)) & ((1 << k) - 1)
        bit += k
        n -= k
    return value


@inlined
def put_bits(raw, bit, value, n):
    """Write the low n bits (0 <= n <= 63) of value at position `bit`; later bits of the last byte become 0."""
    while n > 0:
        k = min(n, 8 - (bit & 7))
        n -= k
        kept = _byte(raw, bit >> 3) >> (8 - (bit & 7)) << (8 - (bit & 7))
        raw[bit >> 3] = kept | ((value >> n) & ((1 << k) - 1)) << (8 - (bit & 7) - k)
        bit += k
