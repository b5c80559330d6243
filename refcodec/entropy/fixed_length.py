"""Integers of a fixed number of bits, most significant bit first (SPEC 9.8)."""

from __future__ import annotations

import numpy as np

from ..compiler import at, compiled
from ..errors import EntropyError
from .bit_packing import get_bits, put_bits
from .watch import clause

CHUNK = 1 << 16          # integers converted at once


@compiled
def _put(raw: np.ndarray, bit: int, n: int, values: np.ndarray) -> None:
    # Fields of n bits, those of more than 32 in two parts.  raw: uint8.  values: int64.
    low = 32 if n > 32 else 0
    for i in range(len(values)):
        put_bits(raw, bit, int(values[at(i)]) >> low, n - low)
        put_bits(raw, bit + n - low, int(values[at(i)]), low)
        bit += n


@clause("9.8")
@compiled
def _get(raw: np.ndarray, bit: int, n: int, signed: int, values: np.ndarray) -> None:
    low = 32 if n > 32 else 0
    high = n - low
    for i in range(len(values)):
        value = get_bits(raw, bit, high)
        if signed:
            value -= value >> (high - 1) << high
        values[at(i)] = value << low | get_bits(raw, bit + high, low)
        bit += n


def least_length(values: np.ndarray, signed: bool) -> int:
    """The least fixed_length, 1 to 64, that holds each of the values."""
    if not values.size:
        return 1
    low, high = int(values.min()), int(values.max())
    return max(1, max((v ^ -(v < 0)).bit_length() for v in (low, high)) + int(signed))


def encode_fixed(values: np.ndarray, length: int, signed: bool) -> bytes:
    """Integers (any integer dtype, row-major) as fields of `length` bits: two's complement if signed, else unsigned.

    Raises EntropyError OUT_OF_RANGE: an integer does not fit.
    """
    values = np.ravel(values)
    if values.size and (least_length(values, signed) > length or (not signed and int(values.min()) < 0)):
        raise EntropyError("OUT_OF_RANGE", f"SPEC 9.8: an integer does not fit {length} bits")
    raw = np.zeros((values.size * length + 7) >> 3, np.uint8)
    for base in range(0, values.size, CHUNK):
        _put(raw, base * length, length, values[base : base + CHUNK].astype(np.int64))
    return raw.tobytes()


def decode_fixed(data: bytes | memoryview, count: int, length: int, signed: bool, dtype: np.dtype | type | None = None
                 ) -> np.ndarray:
    """The `count` integers that encode_fixed coded, one dimension.

    dtype: that of the result; None takes the narrowest that holds all integers of `length` bits.  Memory beside the
    result: the payload and a constant.  Raises EntropyError ENTROPY_END: another size, or padding bits that are not 0;
    OUT_OF_RANGE: an integer beyond the dtype.
    """
    bits = count * length
    if len(data) != (bits + 7) >> 3 or (bits & 7 and data[-1] & ((1 << (-bits & 7)) - 1)):
        raise EntropyError("ENTROPY_END", f"SPEC 9.8: the payload is not that of {count} integers of {length} bits",
                           rules="R9.8-1")
    natural = f"{'i' if signed else 'u'}{max(1, 1 << ((length - 1).bit_length() - 3)) if length > 8 else 1}"
    raw = np.frombuffer(data, np.uint8).copy()           # the compiled loops know one type of array, a writable one
    result = np.empty(count, dtype or natural)
    limits = np.iinfo(result.dtype)
    for base in range(0, count, CHUNK):
        values = np.zeros(min(CHUNK, count - base), np.int64)
        _get(raw, base * length, length, int(signed or length == 64), values)
        # Unsigned integers of 64 bits stand in int64: negative ones are beyond all types but their own.
        if length > 8 * result.itemsize and not limits.min <= int(values.min()) <= int(values.max()) <= limits.max:
            raise EntropyError("OUT_OF_RANGE", f"SPEC 9.8: an integer is beyond {result.dtype}", rules="R9.8-2")
        result[base : base + len(values)] = values.astype(result.dtype)
    return result
