"""How the words of a tensor stand in a file: plain, packed sub-byte, protobuf varints (SPEC 7.5, slot_coding)."""

from __future__ import annotations

import math

import numpy as np

from ..dtypes import DType
from ..errors import FormatError
from ..model import SlotCoding

VARINT_BYTES_MAX = 10
_BLOCK = 1 << 18            # varints are converted in blocks, so that temporary arrays stay small


def size_range(dtype: DType, count: int, coding: SlotCoding) -> tuple[int, int]:
    """Smallest and largest number of bytes that `count` elements can take in a slot."""
    words = count * dtype.parts
    if coding == SlotCoding.PACKED:
        size = (words * dtype.bits + 7) // 8
        return size, size
    if coding == SlotCoding.VARINT:
        return words, words * VARINT_BYTES_MAX
    return words * dtype.word.itemsize, words * dtype.word.itemsize


def check_slot(name: str, dtype: DType, count: int, coding: SlotCoding, size: int) -> None:
    """A slot of `size` bytes for a tensor of `count` elements. Raises FormatError FORBIDDEN_PATTERN or BAD_SIZE."""
    if coding == SlotCoding.PACKED and dtype.bits >= 8 or coding not in list(SlotCoding):
        raise FormatError("FORBIDDEN_PATTERN", f"slot coding {int(coding)} for {dtype.name}", rules="R8.9.2-1")
    smallest, largest = size_range(dtype, count, coding)
    if not smallest <= size <= largest:
        raise FormatError("BAD_SIZE", f"slot of {size} bytes for tensor {name!r}, which takes {smallest}"
                          + (f" to {largest}" if largest > smallest else ""), rules="R8.9-1")


def encode_words(words: np.ndarray, dtype: DType, coding: SlotCoding) -> np.ndarray:
    """Bytes (uint8 array) of one-dimensional unsigned words."""
    if coding == SlotCoding.PACKED:
        return _pack(words, dtype.bits)
    if coding == SlotCoding.VARINT:
        blocks = [_encode_varints(_sign_extended(words[i:i + _BLOCK], dtype)) for i in range(0, words.size, _BLOCK)]
        return np.concatenate(blocks) if blocks else np.empty(0, np.uint8)
    return words.astype(dtype.word.newbyteorder("<"), copy=False).view(np.uint8)


def decode_words(data: np.ndarray, dtype: DType, coding: SlotCoding, count: int) -> np.ndarray:
    """Unsigned words of `count` elements from a slot's bytes (uint8 array); ValueError if they do not fit."""
    words = count * dtype.parts
    if coding == SlotCoding.PACKED:
        return _unpack(data, dtype.bits, words)
    if coding == SlotCoding.VARINT:
        return _decode_varints(data, dtype, words)
    return data.view(dtype.word.newbyteorder("<")).astype(dtype.word, copy=False)


def _group(bits: int) -> tuple[int, int]:
    # Words are packed in groups that end on a byte border: (bytes, words) of a group.
    size = math.lcm(bits, 8)
    return size // 8, size // bits


def _pack(words: np.ndarray, bits: int) -> np.ndarray:
    group_bytes, group_words = _group(bits)
    groups = -(-words.size // group_words)
    padded = np.zeros(groups * group_words, np.uint8)
    padded[:words.size] = words & ((1 << bits) - 1)
    joined: np.ndarray = np.zeros(groups, np.uint32 if group_bytes > 1 else np.uint8)
    for i in range(group_words):
        joined |= padded[i::group_words].astype(joined.dtype) << (bits * i)
    data = np.empty(groups * group_bytes, np.uint8)
    for i in range(group_bytes):
        data[i::group_bytes] = (joined >> (8 * i)) & 255
    return data[:(words.size * bits + 7) // 8]


def _unpack(data: np.ndarray, bits: int, count: int) -> np.ndarray:
    if data.size != (count * bits + 7) // 8:
        raise ValueError("wrong number of bytes")
    group_bytes, group_words = _group(bits)
    groups = -(-count // group_words)
    padded = np.zeros(groups * group_bytes, np.uint8)
    padded[:data.size] = data
    joined: np.ndarray = np.zeros(groups, np.uint32 if group_bytes > 1 else np.uint8)
    for i in range(group_bytes):
        joined |= padded[i::group_bytes].astype(joined.dtype) << (8 * i)
    words = np.empty(groups * group_words, np.uint8)
    for i in range(group_words):
        words[i::group_words] = (joined >> (bits * i)) & ((1 << bits) - 1)
    return words[:count]


def _sign_extended(words: np.ndarray, dtype: DType) -> np.ndarray:
    # protobuf writes negative numbers as 64-bit two's complement; bit patterns of floats are unsigned.
    values = words.astype(np.uint64)
    if dtype.kind == "i" and dtype.bits < 64:
        sign = np.uint64(1 << (dtype.bits - 1))
        values = (values ^ sign) - sign
    return values


def _encode_varints(values: np.ndarray) -> np.ndarray:
    length = np.ones(values.size, np.int64)
    for k in range(1, VARINT_BYTES_MAX):
        length += values >= np.uint64(1 << (7 * k))
    end = np.cumsum(length)
    data = np.empty(int(end[-1]) if end.size else 0, np.uint8)
    start = end - length
    for k in range(VARINT_BYTES_MAX):
        has = length > k
        septets = (values[has] >> np.uint64(7 * k)) & np.uint64(127)
        data[start[has] + k] = septets.astype(np.uint8) | ((length[has] > k + 1) * np.uint8(128))
    return data


def _decode_varints(data: np.ndarray, dtype: DType, count: int) -> np.ndarray:
    words = np.empty(count, dtype.word)
    pos = done = 0
    while pos < data.size:
        block = data[pos:pos + _BLOCK]
        last = np.flatnonzero(block < 128)
        if last.size == 0 or done + last.size > count:
            raise ValueError("varint without end, or too many of them")
        words[done:done + last.size] = _varint_block(block, last).astype(dtype.word)
        done += last.size
        pos += int(last[-1]) + 1
    if done != count:
        raise ValueError("too few varints")
    return words & ((1 << dtype.bits) - 1) if dtype.bits < 8 else words


def _varint_block(block: np.ndarray, last: np.ndarray) -> np.ndarray:
    # last: index of the final byte of each varint in the block.
    length = np.diff(last, prepend=-1)
    if int(length.max()) > VARINT_BYTES_MAX:
        raise ValueError("varint of more than 10 bytes")
    start = last - length + 1
    values = np.zeros(last.size, np.uint64)
    for k in range(int(length.max())):
        has = length > k
        values[has] |= (block[start[has] + k].astype(np.uint64) & np.uint64(127)) << np.uint64(7 * k)
    return values
