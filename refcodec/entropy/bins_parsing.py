"""The compiled loops that read the header of BINS: codes, wide bins, tables of frequencies (SPEC 9.12.1 to 9.12.5)."""

from __future__ import annotations

from ..compiler import at, compiled, inlined, signed
from .bins_plane import BAD_BIN, BAD_TABLE, ENDED, OK, SIZE_START, SLOT_BITS, TOTAL
from .bit_packing import get_bits
from .watch import clause


@clause("9.12.1")
@inlined
def _ue(data, bit, end):
    # ue(v) of at most 32 bits at a bit position. Returns (value, position), or position -1.
    zeros = 0
    while zeros < 33 and bit < end and get_bits(data, bit, 1) == 0:
        zeros += 1
        bit += 1
    if zeros > 32 or bit + zeros + 1 > end:
        return 0, -1
    return (1 << zeros) - 1 + get_bits(data, bit + 1, zeros), bit + 1 + zeros


@compiled
def read_u(data, bit, n):
    """u(n), n <= 32. Returns (value, position), or position -1 past the end."""
    if bit + n > 8 * len(data):
        return 0, -1
    return get_bits(data, bit, n), bit + n


@compiled
def read_ue(data, bit):
    """ue(v) of at most 32 leading zeros. Returns (value, position), or position -1."""
    return _ue(data, bit, 8 * len(data))


@clause("9.12.4")
@compiled
def read_wide(data, bit, width, raw_bits, narrow, count, base, low, extra):
    """Wide bins narrow .. count - 1 of a plane of values below 2^width (SPEC 9.12.4). Returns (position, status)."""
    end, above, log = 8 * len(data), 0, raw_bits
    top = base + (narrow << raw_bits)
    for s in range(narrow, count):
        k, bit = _ue(data, bit, end)
        if bit < 0:
            return bit, ENDED
        log += (k + 1) >> 1 if k & 1 else -(k >> 1)
        gap, bit = _ue(data, bit, end)
        if bit < 0:
            return bit, ENDED
        if log < raw_bits or log > width or gap >> (width - log):         # so that none of 63 bits is lost below
            return bit, BAD_BIN
        first = (((above + (1 << log) - 1) >> log) + gap) << log
        above = first + (1 << log)
        if above > 1 << width or (first < top and base < above):
            return bit, BAD_BIN
        low[at(s)], extra[at(s)] = first, log - raw_bits
    return bit, OK


@clause("9.12.5")
@compiled
def read_frequencies(data, bit, frequencies):
    """Frequencies int64 [tables, bins] (SPEC 9.12.5). Returns (position, status)."""
    end = 8 * len(data)
    for t in range(frequencies.shape[0]):
        size, total = SIZE_START, 0
        for s in range(frequencies.shape[1]):
            k, bit = _ue(data, bit, end)
            if bit < 0:
                return bit, ENDED
            size += (k + 1) >> 1 if k & 1 else -(k >> 1)
            if size < 1 or size > SLOT_BITS + 1:
                return bit, BAD_TABLE
            if bit + size - 1 > end:
                return -1, ENDED
            frequency = (1 << (size - 1)) + get_bits(data, bit, size - 1) - 1
            bit += size - 1
            if frequency >= TOTAL:
                return bit, BAD_TABLE
            frequencies[at(t), at(s)] = frequency
            total += frequency
        if total != TOTAL:
            return bit, BAD_TABLE
    return bit, OK


@compiled
def build_tables(frequencies, first, slots):
    """Enters tables of frequencies (int64 [tables, bins], each summing to TOTAL) from table number `first` on.

    slots: uint32, TOTAL of each table: slot - start << 20 | frequency << 8 | symbol.
    """
    for t in range(frequencies.shape[0]):
        slot = (first + t) << SLOT_BITS
        for s in range(frequencies.shape[1]):
            frequency = signed(frequencies[at(t), at(s)])
            for k in range(frequency):
                slots[at(slot)] = k << 20 | frequency << 8 | s
                slot += 1
