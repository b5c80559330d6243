"""Streams for faults of a decoder that no other stream saw: what `make mutation` left over."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.structures import UnitType

from .edits import all_of, payload, put
from .faults import Fault, fault
from .huffman_scripts import TWO_INDICES, given, huffman, table
from .invalid import level_bytes
from .parts import (
    LEVEL_BLOCKS,
    MODES,
    P,
    direct,
    float_words,
    highest,
    levels,
    predicted,
    small_levels,
    uniform,
    words,
)
from .scripts import ue
from .single import several, simple
from .streams import Recipe

HEADER, DATA = UnitType.STREAM_HEADER, UnitType.TENSOR_DATA


def scanned_kernels():
    """Convolutions scanned by columns: their columns are no kernels."""
    return [(f"{mode.name} {size}x{size}", "float32", (6, 4, size, size),
             direct(levels(small_levels(300 + size, (4 * size * size, 6)), uniform(), mode), 1))
            for mode in LEVEL_BLOCKS for size in (2, 3)]


def two_thresholds():
    """Three codes of indices, chosen by running means of 128, 114 and 103 between thresholds of 60 and 110."""
    codes = (TWO_INDICES, TWO_INDICES, table(1, ue(1), "", [0]))
    return given(uniform(), "float32", huffman(thresholds=(60, 110), indices=codes, entries=("10", "11", "1" + "0")))


def largest_float8():
    """448, the largest float8_e4m3fn, and its negative: level 14 of step 32."""
    return direct(levels(np.array([[14, -14]]), uniform(1, 5), MODES.RAW))


def ranks():
    """A tensor predicted from one of its shape; before that stands one of another rank."""
    w = float_words(301, (2, 3))
    return [("flat", "float32", (6, ), direct(words("float32", w.reshape(1, 6)))),
            ("base", "float32", (2, 3), direct(words("float32", w))),
            ("y", "float32", (2, 3), predicted(levels(small_levels(302, (2, 3)), uniform()), P.INTRA, 0, -1))]


def recipes() -> Iterator[Recipe]:
    """All streams of this module."""
    yield Recipe("b-scanned-kernels", f"convolutions by columns, in {' and '.join(m.name for m in LEVEL_BLOCKS)}",
                 several(scanned_kernels), profile=highest(LEVEL_BLOCKS))
    yield Recipe("b-huffman-thresholds", "two thresholds of indices: differences are coded",
                 simple((4, 6), two_thresholds))
    yield Recipe("b-ranks", "a prediction, after a tensor of as many elements and another rank", several(ranks))
    yield Recipe("b-float8", "the largest float8_e4m3fn", simple((1, 2), largest_float8, "float8_e4m3fn"))


def faults() -> Iterator[Fault]:
    """All faults of this module."""
    yield fault("R8.5-3", "float8", "b-float8", payload(lambda d: level_bytes([15, -14])), "OVERFLOW",
                "480, which a float8_e4m3fn has no word for")
    least = all_of(put(DATA, "step_exponent", -537, 0), put(DATA, "step_exponent", -538, 1))
    yield fault("R8.6-2", "least", "p-lowrank-raw", least, "OUT_OF_RANGE", "the sum of exponents is -1075")
    yield fault("R7.7.1-7", "predicted", "b-ranks", put(DATA, "reference_tensor_delta", -2, unit=2),
                "FORBIDDEN_PATTERN", "a prediction from a tensor of another rank")
    yield fault("R7.7.1-11", "decoded", "p-decomposed", put(HEADER, "profile", 0), "FORBIDDEN_PATTERN",
                "a mapping in the baseline profile")
