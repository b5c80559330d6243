"""Data types of tensor elements (SPEC 5.2, table of element_type).

Every element is handled as an unsigned *word* of its container width (8, 16, 32 or 64 bits).
A word of a floating-point type has the fields sign (1 bit or none), exponent and mantissa.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:                       # a stream is parsed without arrays, so numpy is loaded when first needed
    import numpy as np


@dataclass(frozen=True)
class DType:
    """One row of the table of element_type.

    code: value of the syntax element element_type.  name: also that of the type in numpy or ml_dtypes.
    kind: 'f' float, 'i' signed integer, 'u' unsigned integer (bool included).
    bits: significant bits of the word.
    exponent, mantissa: field widths of a float word; sign: 1 if it has a sign bit.
    parts: words per element (2 for complex types, else 1).
    """

    code: int
    name: str
    kind: str
    bits: int
    exponent: int = 0
    mantissa: int = 0
    sign: int = 1
    parts: int = 1

    @functools.cached_property
    def numpy(self) -> np.dtype:
        """The numpy dtype of an array of such elements, native byte order."""
        import ml_dtypes
        import numpy as np

        return np.dtype(getattr(ml_dtypes, self.name, self.name))

    @functools.cached_property
    def word(self) -> np.dtype:
        """Unsigned numpy dtype that holds one word."""
        import numpy as np

        return np.dtype(f"u{self.word_bytes}")

    @property
    def word_bytes(self) -> int:
        """Bytes of one word."""
        return max(1, (self.bits + 7) // 8)

    @property
    def itemsize(self) -> int:
        """Bytes per element in the canonical dump (sub-byte types take one byte each)."""
        return self.word_bytes * self.parts

    def __reduce__(self) -> tuple[Callable[[int], DType], tuple[int]]:
        return _of_code, (self.code,)


def _rows() -> Iterator[DType]:
    yield DType(0, "bool", "u", 8)
    for code, bits in ((1, 8), (2, 16), (3, 32), (4, 64)):
        yield DType(code, f"uint{bits}", "u", bits)
    for code, bits in ((5, 8), (6, 16), (7, 32), (8, 64)):
        yield DType(code, f"int{bits}", "i", bits)
    yield DType(9, "uint4", "u", 4)
    yield DType(10, "int4", "i", 4)
    yield DType(11, "uint2", "u", 2)
    yield DType(12, "int2", "i", 2)
    yield DType(16, "float32", "f", 32, 8, 23)
    yield DType(17, "float16", "f", 16, 5, 10)
    yield DType(18, "bfloat16", "f", 16, 8, 7)
    yield DType(19, "float64", "f", 64, 11, 52)
    yield DType(20, "float8_e4m3fn", "f", 8, 4, 3)
    yield DType(21, "float8_e5m2", "f", 8, 5, 2)
    yield DType(22, "float8_e4m3fnuz", "f", 8, 4, 3)
    yield DType(23, "float8_e5m2fnuz", "f", 8, 5, 2)
    yield DType(24, "float8_e8m0fnu", "f", 8, 8, 0, 0)
    yield DType(25, "float4_e2m1fn", "f", 4, 2, 1)
    yield DType(26, "float6_e2m3fn", "f", 6, 2, 3)
    yield DType(27, "float6_e3m2fn", "f", 6, 3, 2)
    yield DType(28, "complex64", "f", 32, 8, 23, parts=2)
    yield DType(29, "complex128", "f", 64, 11, 52, parts=2)


BY_CODE: dict[int, DType] = {d.code: d for d in _rows()}
BY_NAME: dict[str, DType] = {d.name: d for d in BY_CODE.values()}


def _of_code(code: int) -> DType:
    return BY_CODE[code]


@functools.cache
def _by_numpy() -> dict[np.dtype, DType]:
    return {d.numpy: d for d in BY_CODE.values()}


def dtype_of(array: np.ndarray) -> DType:
    """The DType of a numpy array (native or ml_dtypes); KeyError where SPEC has no such type."""
    return _by_numpy()[array.dtype.newbyteorder("=") if array.dtype.byteorder == ">" else array.dtype]
