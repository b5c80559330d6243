"""Random components of legal streams: shaped arrays and their payloads, for every quantiser and entropy mode
(drawn.py)."""

from __future__ import annotations

import bz2
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import (
    BYTES,
    RANGE_CODED,
    WORDS,
    ByteParameters,
    Component,
    EntropyMode,
    Payload,
    Quantiser,
    WordParameters,
)
from refcodec.dtypes import BY_NAME, DType
from refcodec.encoder.candidate import Part
from refcodec.entropy.fixed_length import encode_fixed, least_length
from refcodec.entropy.huffman import encode_huffman
from refcodec.entropy.modes import whole_array
from refcodec.entropy.words import add_difference

from .chooser import Chooser, Draw, drive
from .parts import codebook, decimal, fixed_point, integer_codebook, uniform

M, Q = EntropyMode, Quantiser


# Bytes of general-purpose coders that any version makes alike: stored blocks, and bzip2, which does not change any
# more.

def stored(mode: EntropyMode, data: bytes) -> bytes:
    """A payload of a general-purpose coder that holds data as they are (BZIP2: compressed)."""
    if mode == M.BZIP2:
        return bz2.compress(data, 1)
    pieces = [data[i : i + 65535] for i in range(0, len(data), 65535)] or [b""]
    if mode == M.LZMA:
        return b"".join(struct.pack(">BH", 1 if i == 0 else 2, len(p) - 1) + p for i, p in enumerate(pieces)) + b"\0"
    blocks = b"".join(
        struct.pack("<BHH", i == len(pieces) - 1, len(p),
                    len(p) ^ 0xFFFF) + p for i, p in enumerate(pieces))
    if mode == M.GZIP:
        return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + blocks + struct.pack("<II", zlib.crc32(data), len(data) & 0xFFFFFFFF)
    return b"\x78\x01" + blocks + struct.pack(">I", zlib.adler32(data))


# Arrays

def shaped(draw: Draw, count: int, largest: int, signed: bool) -> list[int]:
    """Integers of one of several distributions, at most `largest` in magnitude."""
    kind, low = draw.below(8), -largest if signed else 0

    def bell() -> int:
        size = min(draw.word() | 1 << 40, 1 << 63)
        magnitude = largest >> min(60, (size & -size).bit_length()
                                   * 2) if draw.below(2) else draw.below(min(largest, 3) + 1)
        return -magnitude if signed and draw.below(2) else magnitude

    one = draw.between(low, largest)
    makers: list[Callable[[int], int]] = [
        lambda i: bell(), lambda i: bell() if draw.below(10) == 0 else 0, lambda i: one, lambda i: 0,
        lambda i: (one, -one if signed else 0)[i % 2], lambda i: draw.between(low, largest),
        lambda i: draw.pick((low, largest, 0, min(1, largest))), lambda i: bell() if i % 7 else 0]
    found, run = [], 0
    for i in range(count):
        if kind == 0 and found and (run or draw.below(5) == 0):              # runs
            run = run - 1 if run else draw.below(9)
            found.append(found[-1])
        else:
            found.append(makers[kind](i))
    return found


def as_words(draw: Draw, t: DType, shape: tuple[int, int]) -> np.ndarray:
    """Words of a type: any bits, or few different ones."""
    count, mask = shape[0] * shape[1], (1 << t.bits) - 1
    few = [draw.word() & mask for _ in range(draw.between(1, 5))] if draw.below(2) else []
    return np.array([(draw.pick(few) if few else draw.word() & mask) for _ in range(count)], t.word).reshape(shape)


# Components

@dataclass
class Matrix:
    """What the arrays of a component are laid out by."""

    rows: int
    columns: int
    dtype: DType
    predictor: np.ndarray | None = None
    kernel_size: int = 1
    plane_rows: int = 1


def coded_words(chooser: Chooser, m: Matrix, mode: EntropyMode, quantiser: Quantiser = Q.NONE) -> Part:
    """Words in any entropy mode. The part's array: the words that it decodes to."""
    draw, t = chooser.draw, BY_NAME["float16"] if quantiser == Q.GRID else m.dtype
    c, shape = Component(quantiser, mode), (m.rows, m.columns)
    if quantiser == Q.GRID:
        c.grid_scales = np.array([0x3F800000 | draw.below(1 << 24) for _ in range(m.rows)], "<u4").tobytes()
    words = np.zeros(shape, t.word)
    part = Part(c, words, t, m.predictor, plane_rows=m.plane_rows)
    if words.size == 0:
        part.array = None
        return part
    if mode == M.CC:
        c.word = word_parameters(draw, t, m.predictor is not None)
        c.word_offset_flag = int(c.word.offset != 0)
    if mode in RANGE_CODED:
        return driven(chooser, part)
    finite = (1 << t.mantissa) - 1 | (
        1 << t.bits - 1) | 0x1F << t.mantissa - 1 if quantiser == Q.GRID else (1 << t.bits) - 1
    differences = as_words(draw, t, shape) & t.word.type(finite)
    _whole(draw, part, differences, t.word.itemsize, False)
    words[...] = differences
    if m.predictor is not None:
        add_difference(words, m.predictor, t)
    return part


def word_parameters(draw: Draw, t: DType, predicted: bool) -> WordParameters:
    """Any parameters that the syntax allows."""
    is_float = t.kind == "f" and not predicted
    most = t.mantissa if is_float else t.bits - 1
    offset = draw.word() & (1 << t.bits) - 1 if t.kind != "f" and not predicted and draw.below(2) else 0
    return WordParameters(int(draw.below(5) > 0), draw.below(3), draw.below(3), int(is_float and draw.below(2)),
                          int(draw.below(3) == 0), draw.pick((0, 0, 0, draw.below(most + 1))), offset, 0)


def coded_levels(chooser: Chooser, m: Matrix, mode: EntropyMode, c: Component, largest: int, signed: bool) -> Part:
    """Levels of a quantiser. largest: their magnitude, signed: if they may be negative."""
    draw, shape = chooser.draw, (m.rows, m.columns)
    c.entropy_mode = mode
    part = Part(c, np.zeros(shape, np.int64 if c.quantiser == Q.DECIMAL else np.int32), m.dtype,
                kernel_size=m.kernel_size)
    if part.array.size == 0:
        part.array = None
        return part
    free = largest >= (1 << 30) - 1 and signed
    if mode in RANGE_CODED and free:
        part.array = np.zeros(shape, np.int32)
        return driven(chooser, part)
    part.array[...] = np.array(shaped(draw, part.array.size, largest, signed)).reshape(shape)
    if mode not in RANGE_CODED:
        _whole(draw, part, part.array, draw.pick([w for w in (1, 2, 4, 8) if largest < 1 << 8 * w - 1]), True)
    return part


def driven(chooser: Chooser, part: Part) -> Part:
    """The part with a payload that the chooser writes, and in its array what that decodes to."""
    coded, bypass = drive(chooser, [part.block()])
    part.payloads = [Payload(len(coded), len(bypass), coded, bypass)]
    return part


def _whole(draw: Draw, part: Part, values: np.ndarray, width: int, signed: bool) -> None:
    """A payload of integers, which a decoder turns into `values`, in the mode that the part's component names."""
    c, flat = part.component, values.reshape(-1)
    row = whole_array(c.entropy_mode)
    if c.entropy_mode == M.HUFFMAN:
        data = encode_huffman(values, bound=draw.pick((1, 2, 7, 40)))
    elif c.entropy_mode == M.FIXED:
        c.fixed_length = min(64, least_length(flat, signed) + draw.pick((0, 0, 1, 5)))
        data = encode_fixed(flat, c.fixed_length, signed)
    elif row.byte_coder:
        c.byte = ByteParameters(width.bit_length() - 1, int(c.entropy_mode != M.RAW and draw.below(2)))
        laid = np.ascontiguousarray(flat, f"<{'i' if signed else 'u'}{width}").view(np.uint8).reshape(-1, width)
        raw = (laid.T if c.byte.byte_planes_flag else laid).tobytes()
        data = stored(c.entropy_mode, raw) if c.entropy_mode in BYTES else raw
    else:
        data = row.encode(c, values, None if signed else part.dtype)
    part.payloads = [Payload(len(data), 0, data, b"")]


def quantised(chooser: Chooser, m: Matrix, quantiser: Quantiser, mode: EntropyMode, profile: Profile,
              spatial: bool = False) -> Part:
    """One component of any quantiser, with parameters whose values fit the type."""
    draw, t = chooser.draw, m.dtype
    if quantiser in WORDS:
        return coded_words(chooser, m, mode, quantiser)
    signed = t.kind != "u"
    if quantiser in (Q.CODEBOOK, Q.INTEGER_CODEBOOK):
        size = draw.between(2, 9)
        zero = draw.below(size)
        c = (codebook(as_words(draw, t, (1, size))[0], zero) if quantiser == Q.CODEBOOK else integer_codebook(
            [draw.between(-3 if signed else 0, 3)
             for _ in range(size)], zero, draw.between(1, 3), -3 if t.bits < 16 else 0))
        part = coded_levels(chooser, m, mode, c, 0, False)
        if part.array is None:
            return part
        part.array[...] = np.array([draw.below(size) - zero for _ in range(part.array.size)]).reshape(part.array.shape)
        if mode not in RANGE_CODED:
            _whole(draw, part, part.array, 1, True)
        return part
    wide, small = t.kind == "f" and t.bits >= 16 and not spatial, 1 if t.name in ("bool", "int2", "uint2") else 3
    largest = draw.pick((small, (1 << 30) - 1 if wide else small, 100 if wide else small))
    exponent = 0 if largest == small else -40
    if quantiser == Q.DECIMAL:
        c = decimal(draw.between(6 if largest > 100 else 0, 22))
    elif quantiser == Q.FIXED_POINT:
        c = fixed_point(32 if largest > 100 else draw.between(8, 32), draw.between(0, 30) - exponent)
    else:
        trellis = draw.below(6) if profile > Profile.BASELINE and not spatial else 0
        c = uniform(
            draw.pick((1, draw.between(1, 65535))) if largest > 100 else 1, exponent - bool(trellis) - draw.below(3),
            trellis)
    return coded_levels(chooser, m, mode, c, largest, signed)
