"""One correct rounding of an exact value to the type of a tensor (SPEC 8.5.2).

Every value that the decoder rounds is a finite float64.  numpy rounds once when it casts float64 to
float32; for the narrower types a cast may pass through float32 and round twice, so the loop below
rounds the bits themselves: to nearest, ties to even, with the subnormals of the target.
"""

from __future__ import annotations

import numpy as np

from ..compiler import compiled
from ..dtypes import DType
from ..entropy.watch import observer
from ..errors import ReconstructionError

# exponent bias and largest finite word of the narrow types (SPEC 8.5.2, table of float formats)
NARROW_FORMATS: dict[str, tuple[int, int]] = {
    "float16": (15, 0x7BFF),
    "bfloat16": (127, 0x7F7F),
    "float8_e4m3fn": (7, 0x7E),
    "float8_e5m2": (15, 0x7B),
    "float8_e4m3fnuz": (8, 0x7F),
    "float8_e5m2fnuz": (16, 0x7F),
    "float6_e2m3fn": (1, 0x1F),
    "float6_e3m2fn": (3, 0x1F),
    "float4_e2m1fn": (1, 0x7),
}


def supports(dtype: DType) -> bool:
    """True if values can be rounded to this type: integers, and floats but float8_e8m0fnu and complex."""
    return dtype.kind in "iu" or dtype.name in ("float32", "float64") or dtype.name in NARROW_FORMATS


def round_to_dtype(values: np.ndarray, dtype: DType) -> np.ndarray:
    """Round float64 values once, to nearest even, to `dtype` (SPEC 8.5.2).

    values: float64 array of any shape.  Returns an array of the same shape and of dtype.numpy
    (`values` itself if dtype is float64).
    A complex tensor is rounded as its parts: pass the DType of the parts.
    Raises ReconstructionError OVERFLOW where a value is not finite or its rounded magnitude is
    larger than the largest finite value of the type (integers: outside their range).
    """
    if not supports(dtype):
        raise ReconstructionError("OVERFLOW", f"no value can be rounded to {dtype.name}")
    try:
        out = _rounded(values, dtype)
    except ReconstructionError:
        observer().rounded(values, None, dtype)
        raise
    observer().rounded(values, out, dtype)
    return out


def _rounded(values: np.ndarray, dtype: DType) -> np.ndarray:
    if dtype.kind in "iu":
        return _round_to_integer(values, dtype)
    if dtype.name in ("float32", "float64"):
        with np.errstate(over="ignore", under="ignore"):
            out = values.astype(dtype.numpy, copy=False)
        fits = bool(np.isfinite(out).all())
    else:
        bias, largest = NARROW_FORMATS[dtype.name]
        bits = np.ascontiguousarray(values).reshape(-1).view(np.int64)
        words = np.empty(bits.size, dtype=np.uint16)
        negative_zero = not dtype.name.endswith("fnuz")
        sign = 1 << (dtype.bits - 1)
        fits = bool(_round_bits(bits, words, dtype.mantissa, 1 - bias, largest, sign, negative_zero))
        out = words.astype(dtype.word, copy=False).view(dtype.numpy).reshape(values.shape)
    if not fits:
        raise ReconstructionError("OVERFLOW", f"a value is beyond the largest finite {dtype.name}",
                                  rules="R8.5-3" if np.isfinite(values).all() else "R8.5-2")
    return out


def _round_to_integer(values: np.ndarray, dtype: DType) -> np.ndarray:
    bits = 1 if dtype.name == "bool" else dtype.bits
    low, high = (-2.0 ** (bits - 1), 2.0 ** (bits - 1)) if dtype.kind == "i" else (0.0, 2.0**bits)
    rounded = np.rint(values)
    if not bool(((rounded >= low) & (rounded < high)).all()):       # false for NaN, too
        raise ReconstructionError("OVERFLOW", f"a value is outside the range of {dtype.name}",
                                  rules="R8.5-4" if np.isfinite(values).all() else "R8.5-2")
    wide = rounded.astype(np.uint64 if dtype.kind == "u" else np.int64)
    out: np.ndarray = wide.astype(dtype.numpy, copy=False)
    return out


@compiled
def _round_bits(bits: np.ndarray, words: np.ndarray, mantissa: int, exponent_min: int, largest: int, sign_bit: int,
                negative_zero: bool) -> int:
    """float64 bits (int64) to words (uint16) of a format; returns 1 if all are finite and fit, else 0.

    exponent_min: exponent of the smallest normal value.
    """
    fits = 1
    for i in range(len(bits)):
        b = int(bits[i])
        exponent = (b >> 52) & 0x7FF
        fraction = b & 0xFFFFFFFFFFFFF
        if exponent == 0x7FF:
            fits = 0
        if exponent != 0:
            fraction |= 1 << 52
        else:
            exponent = 1
        # |value| = fraction * 2^(exponent - 1075); the target's unit in the last place is
        # 2^(unit - mantissa), where unit is the exponent of the value or exponent_min if that is larger
        unit = max(exponent - 1023, exponent_min)
        shift = min(unit - mantissa - (exponent - 1075), 60)
        half_down = (1 << (shift - 1)) - 1
        word = (fraction + half_down + ((fraction >> shift) & 1)) >> shift
        word += (unit - exponent_min) << mantissa      # a carry out of the fraction enters the exponent
        if word > largest:
            fits = 0
            word = largest
        if b < 0 and (word != 0 or negative_zero):
            word |= sign_bit
        words[i] = word
    return fits
