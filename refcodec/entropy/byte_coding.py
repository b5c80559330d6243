"""General-purpose coders of bytes, for integers laid out as bytes (SPEC 9.9, 9.10).

The decoded size is always known, so no coder is ever asked for more than one byte beyond it: a bomb costs nothing.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import EntropyError
from ..expansion import NotExpandable, expand, lzma_filters, lzma_machine
from .watch import clause

ZLIB, GZIP_HEADER = 15, 16      # window bits as zlib.decompressobj takes them
ZLIB_FDICT = 0x20              # of the second byte of a zlib header: a preset dictionary
LZMA_SMALL = 1 << 18           # bytes; the encoder takes its time below
WIDTHS = (1, 2, 4, 8)          # bytes of an integer
BZIP2_HEADER = b"BZh9"
BZIP2_BLOCK = bytes.fromhex("314159265359")       # what a block begins with, at any bit


@dataclass(frozen=True)
class ByteCoder:
    """A coder of bytes.

    compress(data, alignment): the payload; like bytes are 2^alignment bytes apart.
    expand(payload, size): `size` bytes; raises EntropyError ENTROPY_END where the payload does not give just these.
    """

    compress: Callable[[bytes, int], bytes]
    expand: Callable[[bytes | memoryview, int], bytes | bytearray | memoryview]


def forbid_randomised_blocks(coded: bytes) -> None:
    """EntropyError ENTROPY_END if a block of a sound bzip2 stream has the bit 'randomised' [R9.9.2-4].

    Blocks begin at any bit, with a magic number that may occur within them, too. Where it does begin one, the byte
    with the bit before it ends the block before, and with that byte the decoder gives that block out.
    """
    machine, fed, first = bz2.BZ2Decompressor(), 0, 8 * len(BZIP2_HEADER)
    for start in _marked_blocks(coded):
        end = (start + 7) // 8                                  # of the block before, in bytes
        machine.decompress(coded[fed : end - 1])
        fed = end
        if machine.decompress(coded[end - 1 : end]) or start == first:
            raise EntropyError("ENTROPY_END", "SPEC 9.9.2: a block of bzip2 is randomised", rules="R9.9.2-4")


def _marked_blocks(coded: bytes) -> list[int]:
    # Bit positions, ascending, of BZIP2_BLOCK where the bit after it and 32 more bits is 1.
    number, found = int.from_bytes(coded, "big"), []
    for shift in range(8):
        text = (number << shift).to_bytes(len(coded) + 1, "big")[1:]
        at = text.find(BZIP2_BLOCK)
        while at >= 0:
            if text[at + 10 : at + 11] >= b"\x80":
                found.append(8 * at + shift)
            at = text.find(BZIP2_BLOCK, at + 1)
    return sorted(found)


def _laid_out(values: np.ndarray, planes: bool) -> bytes:
    # SPEC 9.9.1: little-endian integers, or their first bytes, then their second bytes and so on.
    width = values.dtype.itemsize
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, width)
    return (data.T if planes else data).tobytes()


@clause("9.9.1")
def _integers(data: bytes | bytearray | memoryview, dtype: np.dtype, planes: bool) -> np.ndarray:
    if planes and dtype.itemsize > 1:
        data = np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1).T).reshape(-1).data
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False)


def _integer_type(width: int, signed: bool) -> np.dtype:
    return np.dtype(f"{'i' if signed else 'u'}{width}")


def encode_bytes(values: np.ndarray, coder: ByteCoder, width: int, signed: bool, planes: bool = False) -> bytes:
    """Lay integers out as bytes and compress them (SPEC 9.9, 9.10.2).

    values: any integer array, row-major.  width: bytes of an integer: 1, 2, 4 or 8.  signed: levels (two's complement);
    else words.  planes: byte_planes_flag.
    Raises EntropyError OUT_OF_RANGE: an integer does not fit.
    """
    dtype = _integer_type(width, signed)
    values = np.ravel(values)
    limits = np.iinfo(dtype)
    if values.size and not (limits.min <= int(values.min()) and int(values.max()) <= limits.max):
        raise EntropyError("OUT_OF_RANGE", f"SPEC 9.9.1: an integer does not fit {width} bytes")
    alignment = 0 if planes else width.bit_length() - 1
    return coder.compress(_laid_out(values.astype(dtype, copy=False), planes), alignment)


def decode_bytes(data: bytes | memoryview, count: int, coder: ByteCoder, width: int, signed: bool,
                 planes: bool = False) -> np.ndarray:
    """The `count` integers that encode_bytes coded, one dimension: int8 .. int64 (signed) or uint8 .. uint64.

    Memory beside the result: as much again, twice with planes.  Raises EntropyError ENTROPY_END: data are damaged, or
    do not end with the last integer.
    """
    return _integers(coder.expand(data, count * width), _integer_type(width, signed), planes)


def least_width(values: np.ndarray) -> int:
    """The least number of bytes, 1, 2, 4 or 8, that holds each of the values as a level (two's complement)."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return next(width for width in WIDTHS if -(1 << 8 * width - 1) <= low and high < 1 << 8 * width - 1)


def best_bytes(values: np.ndarray, coder: ByteCoder, signed: bool) -> tuple[bytes, int, bool]:
    """encode_bytes with the least width (of words: that of their type) and the better layout: (data, width, planes)."""
    width = least_width(values) if signed else values.dtype.itemsize
    layouts = (False, True) if width > 1 and values.size > 1 and coder is not RAW else (False,)
    coded = [(encode_bytes(values, coder, width, signed, planes), width, planes) for planes in layouts]
    return min(coded, key=lambda candidate: len(candidate[0]))


# The coders

def _expanded(machine: Any, data: bytes | memoryview, size: int) -> bytearray:
    try:
        return expand(machine, data, size)
    except NotExpandable as error:
        raise EntropyError("ENTROPY_END", f"SPEC 9.9: the payload cannot be expanded: {error}",
                           rules="R9.9.2-1") from None


def _raw(data: bytes | memoryview, size: int) -> bytes | memoryview:
    if len(data) != size:
        raise EntropyError("ENTROPY_END", f"SPEC 9.10.2: {len(data)} bytes instead of {size}", rules="R9.10.2-1")
    return data


def _deflated(data: bytes, window: int) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, window, 9)
    return machine.compress(data) + machine.flush()


@clause("9.9.2")
def _from_zlib(data: bytes | memoryview, size: int) -> bytearray:
    if int.from_bytes(data[1:2]) & ZLIB_FDICT:
        raise EntropyError("ENTROPY_END", "SPEC 9.9.2: the zlib header asks for a dictionary", rules="R9.9.2-2")
    return _expanded(zlib.decompressobj(ZLIB), data, size)


@clause("9.9.2")
def _from_gzip(data: bytes | memoryview, size: int) -> bytearray:
    if bytes(data[3:4]) != b"\0":
        raise EntropyError("ENTROPY_END", "SPEC 9.9.2: the gzip header has optional fields", rules="R9.9.2-3")
    return _expanded(zlib.decompressobj(GZIP_HEADER | ZLIB), data, size)


def _from_bzip2(data: bytes | memoryview, size: int) -> bytearray:
    expanded = _expanded(bz2.BZ2Decompressor(), data, size)
    forbid_randomised_blocks(bytes(data))
    return expanded


def _best_lzma(data: bytes, alignment: int) -> bytes:
    # Literals of integers depend on the place in the integer, those of planes do not. Much literal context takes long
    # to learn in small data, so that none is tried too.
    small, coded = len(data) < LZMA_SMALL, []
    for context in (0, min(3, 4 - alignment)) if small else (min(3, 4 - alignment),):
        changes = {"preset": 9 | lzma.PRESET_EXTREME if small else 6, "lc": context, "lp": alignment, "pb": alignment}
        coded.append(lzma.compress(data, lzma.FORMAT_RAW, filters=lzma_filters(len(data), **changes)))
    return min(coded, key=len)


def _from_lzma(data: bytes | memoryview, size: int) -> bytearray:
    return _expanded(lzma_machine(size), data, size)


RAW = ByteCoder(lambda data, alignment: data, _raw)
DEFLATE = ByteCoder(lambda data, alignment: _deflated(data, ZLIB), _from_zlib)
GZIP = ByteCoder(lambda data, alignment: _deflated(data, GZIP_HEADER | ZLIB), _from_gzip)
BZIP2 = ByteCoder(lambda data, alignment: bz2.compress(data, 9), _from_bzip2)
LZMA = ByteCoder(_best_lzma, _from_lzma)
