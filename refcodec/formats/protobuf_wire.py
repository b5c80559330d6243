"""Protocol-buffer wire format: walks the fields of a message without copying payloads.

Nothing is interpreted beyond the wire format, so that every byte keeps its place in the file.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

from ..errors import FormatError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_FIXED_SIZE = {FIXED64: 8, FIXED32: 4}


class Field(NamedTuple):
    """One field of a message. value: of a varint, unsigned, else 0; start, end: byte range of the payload."""

    number: int
    wire_type: int
    value: int
    start: int
    end: int


def read_varint(buf: bytes | mmap, pos: int, end: int) -> tuple[int, int]:
    """(unsigned 64-bit value, position after it).  FormatError TRUNCATED, FORBIDDEN_PATTERN."""
    value = shift = 0
    start = pos
    while pos < end:
        byte = buf[pos]
        pos += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & 0xFFFFFFFFFFFFFFFF, pos
        shift += 7
        if shift >= 70:
            raise FormatError("FORBIDDEN_PATTERN", f"protobuf varint of more than 10 bytes at byte {start}")
    raise FormatError("TRUNCATED", f"protobuf varint at byte {start} has no end before byte {end}")


def fields(buf: bytes | mmap, start: int, end: int) -> Iterator[Field]:
    """Fields of the message in buf[start:end], in the order of the file.

    Raises FormatError with the byte offset: TRUNCATED where a field passes the end of its message,
    FORBIDDEN_PATTERN for field number 0 and for groups and unknown wire types.
    """
    pos = start
    while pos < end:
        at = pos
        tag, pos = read_varint(buf, pos, end)
        number, wire_type, value = tag >> 3, tag & 7, 0
        if not 0 < number < 1 << 29:
            raise FormatError("FORBIDDEN_PATTERN", f"protobuf field number {number} at byte {at}")
        if wire_type == VARINT:
            payload = pos
            value, pos = read_varint(buf, pos, end)
        elif wire_type == LENGTH:
            size, payload = read_varint(buf, pos, end)
            pos = payload + size
        elif wire_type in _FIXED_SIZE:
            payload, pos = pos, pos + _FIXED_SIZE[wire_type]
        else:
            raise FormatError("FORBIDDEN_PATTERN", f"protobuf wire type {wire_type} at byte {at}")
        if pos > end:
            raise FormatError("TRUNCATED", f"protobuf field {number} at byte {at} passes the end of its message, "
                                           f"byte {end}")
        yield Field(number, wire_type, value, payload, pos)


def signed(value: int) -> int:
    """A varint as int64."""
    return value - (1 << 64) if value >> 63 else value
