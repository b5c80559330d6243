"""Writes the header of a payload of BINS (informative; the inverse of bins.read_header, SPEC 9.12.3)."""

from __future__ import annotations

import numpy as np

from ..compiler import at, bit_length, compiled, inlined, signed
from .bins import GROUP_MIN, Coded, Header, PlaneHeader
from .bins_plane import SIZE_START
from .bit_packing import put_bits
from .huffman_tables import se_bits, u_bits, ue_bits

FREQUENCY_BYTES = 6          # at most, of a frequency


def header_bytes(header: Header, coded: Coded) -> bytes:
    """The header as it stands in a payload."""
    text = [u_bits(len(header.planes) - 1, 3), u_bits(header.bits - 1, 6) if coded.levels else "",
            u_bits(header.group - GROUP_MIN, 4)]
    if coded.exponents:
        text.append("0" if header.top_exponent is None else "1" + u_bits(header.top_exponent, 11))
    pieces = []
    for plane in header.planes:
        text += _bins_bits(plane)
        if plane.coded:
            text.append(u_bits(plane.tables_log2, 3))
            pieces += [_bits_of(text), _frequency_text(plane.frequencies)]
            text = []
    return np.packbits(np.concatenate([*pieces, _bits_of(text)])).tobytes()


def _bits_of(text: list[str]) -> np.ndarray:
    return np.frombuffer("".join(text).encode(), np.uint8) & 1


def _bins_bits(plane: PlaneHeader) -> list[str]:
    raw, narrow = plane.raw_bits, plane.narrow
    text = [u_bits(raw // 4, 2), ue_bits(int(plane.low[0]) >> raw if narrow else 0), ue_bits(narrow),
            ue_bits(len(plane.low) - narrow)]
    above, size = 0, raw
    for low, extra in zip(plane.low[narrow:].tolist(), plane.extra[narrow:].tolist()):
        step, size = raw + extra - size, raw + extra
        text += [se_bits(step), ue_bits((low >> size) - (above + (1 << size) - 1 >> size))]
        above = low + (1 << size)
    return text


def frequency_bits(frequencies: np.ndarray) -> int:
    """How many bits tables of frequencies (int64 [tables, bins]) take in a header."""
    return int(_put_frequencies(np.ascontiguousarray(frequencies), _room(frequencies)))


def _frequency_text(frequencies: np.ndarray) -> np.ndarray:
    data = _room(frequencies)
    bits = _put_frequencies(np.ascontiguousarray(frequencies), data)
    return np.unpackbits(data, count=bits)


def _room(frequencies: np.ndarray) -> np.ndarray:
    return np.zeros(FREQUENCY_BYTES * frequencies.size + 8, np.uint8)


@inlined
def _put_se(data, bit, value):
    code = (2 * value - 1 if value > 0 else -2 * value) + 1
    n = 2 * bit_length(code) - 1
    put_bits(data, bit, code, n)
    return bit + n


@compiled
def _put_frequencies(frequencies, data):
    # All tables (SPEC 9.12.5), the highest bit of a byte first. Returns the number of bits.
    bit = 0
    for t in range(frequencies.shape[0]):
        size = SIZE_START
        for s in range(frequencies.shape[1]):
            value = signed(frequencies[at(t), at(s)]) + 1
            n = bit_length(value)
            bit = _put_se(data, bit, n - size)
            put_bits(data, bit, value - (1 << (n - 1)), n - 1)
            bit += n - 1
            size = n
    return bit
