"""Expanding what general-purpose coders made, within a size known beforehand (SPEC 7.2, 9.9).

The decoded size is always known, so no coder is ever asked for more than one byte beyond it: a bomb costs nothing.
"""

from __future__ import annotations

import lzma
import zlib
from typing import Any, Protocol

LZMA_DICTIONARY = 1 << 24      # bytes; also of unit_coding LZMA (SPEC 7.2)
PIECE = 1 << 16                # bytes that a coder is given, and asked for, at once

# One LZMA2 filter. lc, lp and pb are the encoder's business: a decoder finds them in the chunks.
LZMA_FILTERS = [{"id": lzma.FILTER_LZMA2, "dict_size": LZMA_DICTIONARY, "lc": 3, "lp": 0, "pb": 2}]


class Decompressor(Protocol):
    """A decompressor object of zlib, bz2 or lzma."""

    @property
    def eof(self) -> bool:
        """True after the end of what was coded."""

    @property
    def unused_data(self) -> bytes:
        """What followed that end."""

    def decompress(self, data: Any, max_length: int, /) -> bytes:
        """At most max_length bytes more."""


class NotExpandable(ValueError):
    """code: ENTROPY_END for damaged bytes, BAD_SIZE for sound ones of another size than expected."""

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def lzma_filters(size: int, **changes: int) -> list[dict[str, int]]:
    """The filter for `size` bytes: no reference goes back further, so that no larger dictionary need be allocated."""
    return [LZMA_FILTERS[0] | {"dict_size": min(max(size, 4096), LZMA_DICTIONARY)} | changes]


def lzma_machine(size: int) -> lzma.LZMADecompressor:
    """A decoder of one LZMA2 stream without container that makes `size` bytes."""
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=lzma_filters(size))


def expand(machine: Decompressor, coded: bytes | memoryview, size: int) -> bytearray:
    """All that `machine`, a decompressor object of zlib, bz2 or lzma, makes of `coded`, if it is `size` bytes.

    Memory: what has come out, at most size + 1 bytes, and a constant.
    Raises NotExpandable.
    """
    out = bytearray()
    coded = memoryview(coded)
    try:
        for first in range(0, len(coded), PIECE):
            piece: bytes | memoryview = coded[first : first + PIECE]
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
