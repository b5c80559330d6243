"""Units: how a stream is cut, coded, checked and sealed (SPEC 6.2, 7.2)."""

from __future__ import annotations

import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..errors import ContainerError, FormatError, OmcError
from ..expansion import Decompressor, NotExpandable, expand, lzma_filters, lzma_machine
from .structures import Bytes, UnitCoding, UnitType

MAGIC = b"\x8fOMC"
EXTENSION_TYPES = range(32, 64)
STREAM_END_SIZE = 22                 # bytes of the whole stream end unit, so that it can be found from the end
CODED_TYPES = (UnitType.MODEL_HEADER, UnitType.TOPOLOGY, UnitType.LAYER_DESCRIPTORS, UnitType.METADATA, UnitType.INDEX)
DICTIONARY_TYPES = (UnitType.TOPOLOGY, UnitType.LAYER_DESCRIPTORS, UnitType.METADATA)
HEAD_BYTES = 19                      # the longest head of a unit
BLOCK = 1 << 20                      # bytes that are read at a time where their check is computed
LZMA_TRIED_BYTES = 1 << 20           # of the largest body that is tried in several settings
DICTIONARY_SIZE = 32768              # bytes from the end of a model header's body that serve as a preset dictionary


class ByteSource:
    """Random access to the bytes of a stream: bytes in memory, or a file of any size."""

    def __init__(self, stream: Bytes | str | os.PathLike[str]):
        self._file = None
        if isinstance(stream, (bytes, bytearray, memoryview)):
            self._view = memoryview(stream)
            self.size = len(self._view)
        else:
            try:
                self._file = open(stream, "rb")          # noqa: SIM115 (closed with this object)
            except OSError as error:
                raise FormatError("MISSING_FILE", f"cannot read {os.fspath(stream)!r}: {error.strerror}") from error
            self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, count: int) -> bytes:
        """At most `count` bytes; safe in threads."""
        if self._file is None:
            return bytes(self._view[offset : offset + count])
        parts = []
        while count > 0:
            part = os.pread(self._file.fileno(), min(count, 1 << 30), offset)
            if not part:
                break
            parts.append(part)
            offset, count = offset + len(part), count - len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def view(self, offset: int, count: int, room: bytearray) -> memoryview:
        """`count` bytes: those of memory where they are; of a file, in `room`, which has as many. Safe in threads.

        Raises ContainerError TRUNCATED where the file has become shorter than it was.
        """
        if self._file is None:
            return self._view[offset : offset + count].cast("B")
        view, done = memoryview(room)[:count], 0
        while done < count:
            n = os.preadv(self._file.fileno(), [view[done:]], offset + done)
            if n == 0:
                raise ContainerError("TRUNCATED", "the file was cut while it was read", rules="R7.1-3")
            done += n
        return view

    def crc(self, offset: int, count: int) -> int:
        """CRC-32 of `count` bytes, which need not fit in memory."""
        value, room = 0, bytearray(0 if self._file is None else min(count, BLOCK))
        for first in range(offset, offset + count, BLOCK):
            value = zlib.crc32(self.view(first, min(BLOCK, offset + count - first), room), value)
        return value

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> ByteSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LazyBytes:
    """Bytes of a source that are read when they are asked for: by bytes(), and not yet by a slice."""

    def __init__(self, source: ByteSource, offset: int, size: int):
        self.source, self.offset, self.size = source, offset, size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> LazyBytes:
        start, stop, _ = part.indices(self.size)
        return LazyBytes(self.source, self.offset + start, max(stop - start, 0))

    def __bytes__(self) -> bytes:
        return self.source.read(self.offset, self.size)


@dataclass
class Unit:
    """One unit() of the stream. offset: of its first byte; body_offset, size: of its coded body."""

    number: int
    type: int
    coding: UnitCoding
    offset: int
    body_offset: int
    size: int
    expanded_size: int

    @property
    def end(self) -> int:
        return self.body_offset + self.size + 4


def leb(value: int) -> bytes:
    """leb(v): seven bits a byte, low first, the top bit says that more follow."""
    out = bytearray()
    while value > 127:
        out.append(128 | value & 127)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_leb(head: bytes, at: int, number: int) -> tuple[int, int]:
    value = 0
    for i in range(9):
        if at + i >= len(head):
            raise ContainerError("TRUNCATED", "SPEC 6.2: the stream ends inside a unit's head", number, rules="R7.1-3")
        byte = head[at + i]
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            if byte == 0 and i > 0:
                raise ContainerError("FORBIDDEN_PATTERN", "SPEC 4.4: leb(v) is not in its shortest form", number,
                                     rules="R4.4-6")
            return value, at + i + 1
    raise ContainerError("FORBIDDEN_PATTERN", "SPEC 4.4: leb(v) is longer than 9 bytes", number, rules="R4.4-6")


def stop(error: OmcError) -> None:
    """What becomes of a broken rule that leaves sense in what follows it: a decoder stops, a validator may go on."""
    raise error


def read_unit(source: ByteSource, offset: int, number: int, violated: Callable[[OmcError], None] = stop) -> Unit:
    """The head of the unit at `offset`. Raises ContainerError (TRUNCATED, RESERVED_VALUE, FORBIDDEN_PATTERN)."""
    head = source.read(offset, HEAD_BYTES)
    if not head:
        raise ContainerError("TRUNCATED", "SPEC 6.2: the stream ends where a unit must begin", number, rules="R7.1-3")
    kind, coding = head[0] >> 2, head[0] & 3
    if kind not in UnitType._value2member_map_ and kind not in EXTENSION_TYPES:
        violated(ContainerError("RESERVED_VALUE", f"SPEC 7.2: unit_type {kind} is reserved", number, rules="R7.2-1"))
    elif coding and kind not in CODED_TYPES and kind not in EXTENSION_TYPES:
        violated(ContainerError("FORBIDDEN_PATTERN", f"SPEC 7.2: a unit of type {kind} has a plain body", number,
                                rules="R7.2-2"))
    elif coding == UnitCoding.DEFLATE_HEADER and kind not in DICTIONARY_TYPES and kind not in EXTENSION_TYPES:
        violated(ContainerError("FORBIDDEN_PATTERN", f"SPEC 7.2: a unit of type {kind} has no preset dictionary",
                                number, rules="R7.2-2"))
    size, at = _read_leb(head, 1, number)
    expanded = size
    if coding:
        expanded, at = _read_leb(head, at, number)
    unit = Unit(number, kind, UnitCoding(coding), offset, offset + at, size, expanded)
    if unit.end > source.size:
        raise ContainerError("TRUNCATED", f"SPEC 6.2: the stream ends inside unit {number}", number, rules="R7.1-3")
    return unit


def read_body(source: ByteSource, unit: Unit, maximum: int, dictionary: bytes = b"") -> bytes:
    """The expanded body of a unit of a known type but tensor data, its check verified.

    maximum: bounds an expanded body (level limit).  dictionary: the expanded body of the model header before it.
    """
    whole = source.read(unit.offset, unit.end - unit.offset)
    _compare(zlib.crc32(memoryview(whole)[:-4]), whole[-4:], unit)
    body = whole[unit.body_offset - unit.offset : -4]
    if max(unit.expanded_size, unit.size) > maximum:
        raise ContainerError("RESOURCE_LIMIT", f"SPEC A.2: a body of {unit.expanded_size} bytes, the level allows "
                             f"{maximum}", unit.number, rules="R7.2-6")
    return body if unit.coding == UnitCoding.PLAIN else _expand(body, unit, dictionary)


def check_unit(source: ByteSource, unit: Unit) -> None:
    """The check of a unit of any size. Raises ContainerError DIGEST_MISMATCH."""
    end = unit.end - 4
    _compare(source.crc(unit.offset, end - unit.offset), source.read(end, 4), unit)


def _compare(check: int, stated: bytes, unit: Unit) -> None:
    if check != int.from_bytes(stated, "big"):
        raise ContainerError("DIGEST_MISMATCH", "SPEC 7.2: unit_check does not fit, the unit is damaged", unit.number,
                             rules="R7.2-8")


def _expand(body: bytes, unit: Unit, dictionary: bytes) -> bytes:
    machine: Decompressor
    if unit.coding == UnitCoding.LZMA:
        machine = lzma_machine(unit.expanded_size)
    else:
        preset = dictionary[-DICTIONARY_SIZE:] if unit.coding == UnitCoding.DEFLATE_HEADER else b""
        machine = zlib.decompressobj(-15, zdict=preset)
    try:
        return bytes(expand(machine, body, unit.expanded_size))
    except NotExpandable as error:
        raise ContainerError(error.code, f"SPEC 7.2: the coded body cannot be expanded: {error}", unit.number,
                             rules="R7.2-4" if error.code == "ENTROPY_END" else "R7.2-5") from None


def deflated(body: bytes, dictionary: bytes) -> bytes:
    machine = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary[-DICTIONARY_SIZE:])
    return machine.compress(body) + machine.flush()


def lzma_bodies(body: bytes) -> Iterator[bytes]:
    """A body by LZMA in the usual setting; a small one also in those that suit protobuf text and bit fields.

    Bytes of bodies have no alignment (pb 0), and few contexts are learned faster (low lc).
    """
    settings: list[dict[str, int]] = [{}]
    if len(body) <= LZMA_TRIED_BYTES:
        settings += [{"lc": lc, "pb": 0, "nice_len": 273} for lc in range(4)]
    for setting in settings:
        yield lzma.compress(body, lzma.FORMAT_RAW, filters=lzma_filters(len(body), **setting))


def seal_unit(kind: int, body: bytes, compress: bool = True, dictionary: bytes = b"") -> bytes:
    """A whole unit around `body`, in the shortest coding that its type allows. dictionary: see read_body."""
    coding, coded = UnitCoding.PLAIN, body
    if compress and kind in CODED_TYPES and len(body) > 16:
        candidates = [(UnitCoding.DEFLATE, deflated(body, b"")),
                      *((UnitCoding.LZMA, found) for found in lzma_bodies(body))]
        if dictionary and kind in DICTIONARY_TYPES:
            candidates.append((UnitCoding.DEFLATE_HEADER, deflated(body, dictionary)))
        for candidate, data in candidates:
            if len(data) + 2 < len(coded):
                coding, coded = candidate, data
    head = bytes([kind << 2 | coding]) + leb(len(coded)) + (leb(len(body)) if coding else b"")
    return seal(head, coded)


def unit_at(head: bytes, offset: int, number: int) -> Unit:
    """What a parser will find: unit `number`, which begins with `head` at `offset` of a stream."""
    coding = UnitCoding(head[0] & 3)
    size, at = _read_leb(head, 1, number)
    expanded, at = _read_leb(head, at, number) if coding else (size, at)
    return Unit(number, head[0] >> 2, coding, offset, offset + at, size, expanded)


def seal_pieces(kind: int, pieces: Sequence[Bytes]) -> list[Bytes]:
    """A whole unit around a body of pieces, plain, in pieces."""
    head = bytes([kind << 2 | UnitCoding.PLAIN]) + leb(sum(map(len, pieces)))
    check = 0
    for piece in (head, *pieces):
        check = zlib.crc32(piece, check)
    return [head, *pieces, check.to_bytes(4, "big")]


def seal(head: bytes, coded: bytes) -> bytes:
    """unit_check over head and coded body, appended."""
    check = zlib.crc32(coded, zlib.crc32(head))
    return b"".join((head, coded, check.to_bytes(4, "big")))
