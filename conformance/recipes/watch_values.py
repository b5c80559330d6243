"""Watches how values become words (SPEC 8.5.2): ties, subnormals, signed zeros, the largest and what lies beyond."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refcodec.bitstream.structures import Component, Quantiser
from refcodec.dtypes import DType
from refcodec.entropy.watch import Observer
from refcodec.quantization.rounding import NARROW_FORMATS

LARGEST = {name: largest for name, (_, largest) in NARROW_FORMATS.items()} | {
    "float32": 0x7F7FFFFF, "float64": 0x7FEFFFFFFFFFFFFF}


class RoundingWatch(Observer):
    """Looks at what is rounded. add: called with each point."""

    def __init__(self, add: Callable[[str], None]):
        self.add, self.quantiser = add, ""

    def values_begin(self, component: Component | None) -> None:
        if component is None:
            self.quantiser = "factors"
        elif component.quantiser == Quantiser.UNIFORM and component.uniform.trellis_size:
            self.quantiser = "trellis"
        else:
            self.quantiser = Quantiser(component.quantiser).name

    def rounded(self, values: np.ndarray, out: np.ndarray | None, dtype: DType) -> None:
        if out is None:
            self._overflow(values, dtype)
        elif values.size:
            self._look(values, out, dtype)

    def _event(self, dtype: DType, event: str) -> None:
        self.add(f"rounding:8.5.2:{dtype.name}: {event}")
        self.add(f"rounding:8.5:{self.quantiser}: {event}")

    def _overflow(self, values: np.ndarray, dtype: DType) -> None:
        if dtype.name != "float64" and not np.isfinite(values).all():
            return
        if dtype.kind == "f":
            return self._event(dtype, "overflow")
        least = 0 if dtype.kind == "u" else -(1 << dtype.bits - 1)
        self._event(dtype, "below the least" if np.rint(values).min() < least else "above the greatest")

    def _look(self, values: np.ndarray, out: np.ndarray, dtype: DType) -> None:
        values = np.ascontiguousarray(values).reshape(-1)
        words = np.ascontiguousarray(out).reshape(-1).view(dtype.word)
        _, first = np.unique(values.view(np.int64), return_index=True)
        events = self._float if dtype.kind == "f" else self._integer
        with np.errstate(all="ignore"):
            for event, holds in events(values[first], words[first], dtype):
                if holds.any():
                    self._event(dtype, event)

    @staticmethod
    def _integer(v: np.ndarray, words: np.ndarray, dtype: DType):
        bits = 1 if dtype.name == "bool" else dtype.bits
        n = words.view(dtype.word.str.replace("u", "i")).astype(np.float64) if dtype.kind == "i" else words.astype(
            np.float64)
        least, greatest = (1 << bits - 1, (1 << bits - 1) - 1) if dtype.kind == "i" else (0, (1 << bits) - 1)
        mask = (1 << bits) - 1
        yield "least", (words & dtype.word.type(mask)) == least
        yield "greatest", (words & dtype.word.type(mask)) == greatest
        yield "tie to even below", abs(v) - abs(n) == 0.5
        yield "tie to even above", abs(n) - abs(v) == 0.5

    @staticmethod
    def _float(v: np.ndarray, words: np.ndarray, dtype: DType):
        sign, largest = 1 << dtype.bits - 1, LARGEST[dtype.name]
        magnitude, one, size = words & dtype.word.type(sign - 1), dtype.word.type(1), abs(v)
        exact, below = _value(magnitude, dtype), _value(np.maximum(magnitude, one) - one, dtype)
        above = np.where(magnitude < largest, _value(np.minimum(magnitude, dtype.word.type(largest - 1)) + one, dtype),
                         2 * exact - below)
        up, down = size < exact, size > exact
        yield "-0", words == sign
        yield "largest", magnitude == largest
        yield "smallest subnormal", magnitude == 1
        yield "subnormal", (magnitude > 0) & (magnitude < 1 << dtype.mantissa)
        yield "underflow to 0", (magnitude == 0) & (size > 0)
        yield "tie to even below", down & (size - exact == above - size)
        yield "tie to even above", up & (exact - size == size - below)
        yield "down", down
        yield "up", up
        yield "carry into the exponent", up & (magnitude >> dtype.mantissa
                                               != (np.maximum(magnitude, one) - one) >> dtype.mantissa)


def _value(magnitudes: np.ndarray, dtype: DType) -> np.ndarray:
    return magnitudes.astype(dtype.word).view(dtype.numpy).astype(np.float64)
