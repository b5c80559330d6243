"""General-purpose coders of bytes, for integers laid out as bytes (SPEC 9.9, 9.10).

The decoded size is always known, so no coder is ever asked for more than one byte beyond it: a bomb costs nothing.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable

import numpy as np

from ..bitstream.structures import EntropyMode
from ..errors import EntropyError

LZMA_DICTIONARY = 1 << 24      # bytes; also of unit_coding LZMA (SPEC 7.2)
LZMA_SMALL = 1 << 18           # bytes; the encoder takes its time below
PIECE = 1 << 16                # bytes that a coder is given, and asked for, at once
WIDTHS = (1, 2, 4, 8)          # bytes of an integer


# One LZMA2 filter. lc, lp and pb are the encoder's business: a decoder finds them in the chunks.
LZMA_FILTERS = [{"id": lzma.FILTER_LZMA2, "dict_size": LZMA_DICTIONARY, "lc": 3, "lp": 0, "pb": 2}]


class NotExpandable(ValueError):
    """code: ENTROPY_END for damaged bytes, BAD_SIZE for sound ones of another size than expected."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def lzma_machine(size: int) -> lzma.LZMADecompressor:
    """A decoder of one LZMA2 stream without container that makes `size` bytes: no reference goes back further."""
    dictionary = {"dict_size": min(max(size, 4096), LZMA_DICTIONARY)}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[LZMA_FILTERS[0] | dictionary])


def expand(machine, coded: bytes | memoryview, size: int) -> bytearray:
    """All that `machine`, a decompressor object of zlib, bz2 or lzma, makes of `coded`, if it is `size` bytes.

    Memory: what has come out, at most size + 1 bytes, and a constant.
    Raises NotExpandable.
    """
    out = bytearray()
    coded = memoryview(coded)
    try:
        for first in range(0, len(coded), PIECE):
            piece = coded[first : first + PIECE]
            if machine.eof:
                raise NotExpandable("BAD_SIZE", "bytes follow the end")
            while not machine.eof:
                data = machine.decompress(piece, min(PIECE, size + 1 - len(out)))
                out += data
                if len(out) > size:
                    raise NotExpandable("BAD_SIZE", f"it makes more than {size} bytes")
                piece = getattr(machine, "unconsumed_tail", b"")     # zlib gives it back, the others keep it
                if not data and not piece:
                    break
    except (zlib.error, lzma.LZMAError, OSError, EOFError) as error:
        raise NotExpandable("ENTROPY_END", str(error)) from None
    if not machine.eof or machine.unused_data or len(out) != size:
        raise NotExpandable("BAD_SIZE", f"it ends after {len(out)} bytes of {size}, or bytes follow the end")
    return out


def _laid_out(values: np.ndarray, planes: bool) -> bytes:
    # SPEC 9.9.1: little-endian integers, or their first bytes, then their second bytes and so on.
    width = values.dtype.itemsize
    data = np.ascontiguousarray(values, values.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, width)
    return (data.T if planes else data).tobytes()


def _integers(data: bytes | bytearray, dtype: np.dtype, planes: bool) -> np.ndarray:
    if planes and dtype.itemsize > 1:
        data = np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1).T).reshape(-1)
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype, copy=False)


def _integer_type(width: int, signed: bool) -> np.dtype:
    return np.dtype(f"{'i' if signed else 'u'}{width}")


def _lzma_candidates(data: bytes, alignment: int) -> Iterable[bytes]:
    # Literals of integers depend on the place in the integer, those of planes do not. Much literal context takes long
    # to learn in small data, so that none is tried too.
    small = len(data) < LZMA_SMALL
    for context in (0, min(3, 4 - alignment)) if small else (min(3, 4 - alignment),):
        changes = {"preset": 9 | lzma.PRESET_EXTREME if small else 6, "lc": context, "lp": alignment, "pb": alignment}
        yield lzma.compress(data, lzma.FORMAT_RAW, filters=[LZMA_FILTERS[0] | changes])


def _compressed(data: bytes, mode: EntropyMode, alignment: int) -> bytes:
    # alignment: log2 of the distance of like bytes.
    if mode == EntropyMode.RAW:
        return data
    if mode == EntropyMode.BZIP2:
        return bz2.compress(data, 9)
    if mode == EntropyMode.LZMA:
        return min(_lzma_candidates(data, alignment), key=len)
    machine = zlib.compressobj(9, zlib.DEFLATED, 31 if mode == EntropyMode.GZIP else 15, 9)
    return machine.compress(data) + machine.flush()


def encode_bytes(values: np.ndarray, mode: EntropyMode, width: int, signed: bool, planes: bool = False) -> bytes:
    """Lay integers out as bytes and compress them (SPEC 9.9, 9.10.2).

    values: any integer array, row-major.  mode: RAW, DEFLATE, GZIP, BZIP2 or LZMA.  width: bytes of an integer: 1, 2, 4
    or 8.  signed: levels (two's complement); else words.  planes: byte_planes_flag.
    Raises EntropyError OUT_OF_RANGE: an integer does not fit.
    """
    dtype = _integer_type(width, signed)
    values = np.ravel(values)
    limits = np.iinfo(dtype)
    if values.size and not (limits.min <= int(values.min()) and int(values.max()) <= limits.max):
        raise EntropyError("OUT_OF_RANGE", f"SPEC 9.9.1: an integer does not fit {width} bytes")
    alignment = 0 if planes else width.bit_length() - 1
    return _compressed(_laid_out(values.astype(dtype, copy=False), planes), mode, alignment)


def _machine(data: bytes | memoryview, mode: EntropyMode, size: int):
    if mode == EntropyMode.BZIP2:
        return bz2.BZ2Decompressor()
    if mode == EntropyMode.LZMA:
        return lzma_machine(size)
    if mode == EntropyMode.GZIP and bytes(data[3:4]) != b"\0":
        raise NotExpandable("ENTROPY_END", "the gzip header has optional fields")
    return zlib.decompressobj(31 if mode == EntropyMode.GZIP else 15)


def decode_bytes(data: bytes | memoryview, count: int, mode: EntropyMode, width: int, signed: bool,
                 planes: bool = False) -> np.ndarray:
    """The `count` integers that encode_bytes coded, one dimension: int8 .. int64 (signed) or uint8 .. uint64.

    Memory beside the result: as much again, twice with planes.  Raises EntropyError ENTROPY_END: data are damaged, or
    do not end with the last integer.
    """
    dtype = _integer_type(width, signed)
    if mode != EntropyMode.RAW:
        try:
            data = expand(_machine(data, mode, count * width), data, count * width)
        except NotExpandable as error:
            raise EntropyError("ENTROPY_END", f"SPEC 9.9: the payload cannot be expanded: {error}") from None
    elif len(data) != count * width:
        raise EntropyError("ENTROPY_END", f"SPEC 9.10.2: {len(data)} bytes instead of {count * width}")
    return _integers(data, dtype, planes)


def least_width(values: np.ndarray) -> int:
    """The least number of bytes, 1, 2, 4 or 8, that holds each of the values as a level (two's complement)."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return next(width for width in WIDTHS if -(1 << 8 * width - 1) <= low and high < 1 << 8 * width - 1)


def best_bytes(values: np.ndarray, mode: EntropyMode, signed: bool) -> tuple[bytes, int, bool]:
    """encode_bytes with the least width (of words: that of their type) and the better layout: (data, width, planes)."""
    width = least_width(values) if signed else values.dtype.itemsize
    layouts = (False, True) if width > 1 and values.size > 1 and mode != EntropyMode.RAW else (False,)
    coded = [(encode_bytes(values, mode, width, signed, planes), width, planes) for planes in layouts]
    return min(coded, key=lambda candidate: len(candidate[0]))
