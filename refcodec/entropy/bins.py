"""Integers as bins, raw and extra bits, in independent chunks (SPEC 9.12): how a payload is laid out and decoded."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..errors import EntropyError
from ..parallel import run_all
from ..vectors import VECTORS
from .bins_chunk import Traits, decode_chunks
from .bins_four import FOUR, decode_four
from .bins_parsing import build_tables, read_frequencies, read_u, read_ue, read_wide
from .bins_plane import (
    BAD_BIN,
    BAD_REST,
    BAD_TABLE,
    CHUNK_ELEMENTS,
    ENDED,
    OK,
    SLOT_BITS,
    STATE_BYTES,
    SYMBOLS_MAX,
    TABLES_LOG2_MAX,
    Bins,
    Plane,
)
from .bins_prediction import contexts_of
from .bins_values import PLACES
from .watch import clause

GROUP_MIN = 3                # log2 of the elements of the least group
GROUP_MAX = 17
HEAD_BITS = 32               # of the widest head
RAW_BITS = (0, 4, 8)
HEADER_BYTES = 1 << 14       # that are read at first; most headers are shorter
ERRORS = {ENDED: ("ENTROPY_END", "the payload ends inside its header", "R9.12.1-1"),
          BAD_BIN: ("OUT_OF_RANGE", "a bin lies outside the values of its plane, or over others", "R9.12.4-2"),
          BAD_TABLE: ("OUT_OF_RANGE", "frequencies are out of range, or do not add up to 4096", "R9.12.5-1")}


def _fail(code: str, message: str, rule: str) -> EntropyError:
    return EntropyError(code, f"SPEC 9.12: {message}", rules=rule)


@dataclass(frozen=True)
class Coded:
    """What a payload codes: `count` integers of `bits` bits of a kind, PLAIN, SIGNED or FLOAT (SPEC 9.12.2).

    levels: True for levels, whose `bits` stand in the payload.  states: of their trellis, 0 without.
    predictor: words, flat, to which the integers are differences, or None.  mantissa, exponent_bits: of a word of a
    floating-point type with a sign; else exponent_bits is 0 and differences are those of integers.
    """

    count: int
    bits: int
    kind: int
    levels: bool = False
    states: int = 0
    predictor: np.ndarray | None = None
    mantissa: int = 0
    exponent_bits: int = 0

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return -(-self.count // CHUNK_ELEMENTS)

    def chunk(self, c: int) -> slice:
        """The elements of chunk c."""
        return slice(c * CHUNK_ELEMENTS, min((c + 1) * CHUNK_ELEMENTS, self.count))

    def contexts(self, part: slice, top_exponent: int, tables: int, out: np.ndarray) -> None:
        """The table of each element of a part, by its predictor's exponent, into out (uint8)."""
        contexts_of(self.predictor, part.start, self.mantissa, self.exponent_bits, top_exponent, tables, out,
                    part.stop - part.start)

    @property
    def exponents(self) -> bool:
        """True if tables can be chosen by the exponents of the predictor."""
        return self.predictor is not None and self.exponent_bits > 0


@dataclass
class PlaneHeader:
    """Bins and tables of a plane. low, extra: of each bin, narrow ones first.  frequencies: int64 [tables, bins]."""

    raw_bits: int
    narrow: int
    low: np.ndarray
    extra: np.ndarray
    frequencies: np.ndarray
    tables_log2: int = 0

    @property
    def coded(self) -> bool:
        """True if symbols are coded: of a lone bin there are none."""
        return len(self.low) > 1


@dataclass
class Header:
    """bits: of an integer.  group: log2 of the elements of a group.  top_exponent: None without by_exponent_flag.

    planes: the head, then the tails from the lowest.
    """

    bits: int
    group: int
    top_exponent: int | None
    planes: list[PlaneHeader] = field(default_factory=list)

    def width(self, p: int) -> int:
        """Bits of a value of plane p."""
        return 8 if p else self.bits - 8 * (len(self.planes) - 1)

    def shift(self, p: int) -> int:
        """Bits of the values below those of plane p."""
        return 8 * (p - 1) if p else 8 * (len(self.planes) - 1)

    def by_exponent(self, p: int) -> bool:
        return p == 0 and self.top_exponent is not None

    def sizes(self, p: int, n: int, word_count: int) -> tuple[int, int, int]:
        """Bytes of the choices, of the states and words, and of the raw plane, of plane p of a chunk of n elements."""
        plane = self.planes[p]
        groups = 0 if self.by_exponent(p) else -(-n // (1 << self.group))
        coded = STATE_BYTES + 2 * word_count if plane.coded else 2 * word_count
        return (groups * plane.tables_log2 + 7) // 8, coded, (n * plane.raw_bits + 7) // 8


# Header


class _Reader:
    """Reads the syntax elements of a header (SPEC 9.12.3)."""

    def __init__(self, data: np.ndarray):
        self.data, self.bit = data, 0

    def _take(self, found: tuple[int, int]) -> int:
        value, self.bit = found
        if self.bit < 0:
            raise _fail(*ERRORS[ENDED])
        return value

    def u(self, n: int) -> int:
        return self._take(read_u(self.data, self.bit, n))

    def ue(self) -> int:
        return self._take(read_ue(self.data, self.bit))

    def arrays(self, found: tuple[int, int]) -> None:
        self.bit, status = found
        if status != OK:
            raise _fail(*ERRORS[status])


def _require(condition: bool, rule: str, message: str) -> None:
    if not condition:
        raise _fail("OUT_OF_RANGE", message, rule)


@clause("9.12.3")
def read_header(data: np.ndarray, coded: Coded) -> tuple[Header, int]:
    """The header of a payload (uint8), and how many bytes it takes. Raises EntropyError OUT_OF_RANGE, ENTROPY_END."""
    r = _Reader(data)
    tails = r.u(3)
    bits = r.u(6) + 1 if coded.levels else coded.bits
    group = GROUP_MIN + r.u(4)
    _require(1 <= bits - 8 * tails <= HEAD_BITS and not (tails and coded.states), "R9.12.3-1",
             f"{tails} tails of {bits} bits")
    _require(group <= GROUP_MAX, "R9.12.3-2", "groups are longer than chunks")
    top = r.u(11) if coded.exponents and r.u(1) else None
    header = Header(bits, group, top, [PlaneHeader(0, 0, *(np.zeros(0, np.int64),) * 3) for _ in range(tails + 1)])
    for p in range(tails + 1):
        header.planes[p] = _read_plane(r, header.width(p), 2 if coded.states else 1)
    if r.u(-r.bit % 8):
        raise _fail("ENTROPY_END", "bits after the header are not 0", "R9.12.3-3")
    return header, r.bit // 8


@clause("9.12.4")
def _read_plane(r: _Reader, width: int, parities: int) -> PlaneHeader:
    code = r.u(2)
    _require(code < len(RAW_BITS) and RAW_BITS[code] <= width, "R9.12.4-1", f"raw bits of the code {code}")
    raw_bits, first_cell, narrow, wide = RAW_BITS[code], r.ue(), r.ue(), r.ue()
    count = narrow + wide
    _require(1 <= count <= SYMBOLS_MAX, "R9.12.4-1", f"{count} bins")
    _require(narrow > 0 or first_cell == 0, "R9.12.4-1", f"no narrow bins from the cell {first_cell} on")
    _require(first_cell + narrow << raw_bits <= 1 << width, "R9.12.4-2", "narrow bins beyond the plane's values")
    low, extra = np.zeros(count, np.uint32), np.zeros(count, np.uint8)
    low[:narrow] = (first_cell + np.arange(narrow, dtype=np.int64)) << raw_bits
    r.arrays(read_wide(r.data, r.bit, width, raw_bits, narrow, count, first_cell << raw_bits, low, extra))
    tables_log2 = r.u(3) if count > 1 else 0
    _require(tables_log2 <= TABLES_LOG2_MAX, "R9.12.5-1", f"2^{tables_log2} tables")
    frequencies = np.zeros((parities << tables_log2 if count > 1 else 0, count), np.int64)
    r.arrays(read_frequencies(r.data, r.bit, frequencies))
    return PlaneHeader(raw_bits, narrow, low, extra, frequencies, tables_log2)


# Decoder


class _Room(threading.local):
    """What a thread needs while it decodes chunks; kept, for fresh memory takes longer than many a chunk."""

    def __init__(self) -> None:
        self.symbols, self.contexts = (np.empty((FOUR, CHUNK_ELEMENTS), np.uint8) for _ in range(2))
        self.statuses, self.places = np.empty(FOUR, np.int64), np.empty(PLACES, np.int32)


_ROOM = _Room()
Fetch = Callable[[int, int], np.ndarray]       # (first byte, number of bytes) of a payload: uint8, read-only


class Payload:
    """A payload whose header was read, and whose chunks can be decoded one by one.

    fetch: gives bytes of the payload, of `size`.  dtype: unsigned words; None: levels, int32, of more bits int64.

    header: what the payload begins with.  offsets: int64 [chunks + 1], where each begins, and the end.

    Raises EntropyError OUT_OF_RANGE, ENTROPY_END: the header, or sizes that do not add up to the payload.
    """

    @clause("9.12.6")
    def __init__(self, fetch: Fetch, size: int, coded: Coded, dtype: np.dtype | None = None):
        self.fetch, self.coded = fetch, coded
        self.header, q = _header_of(fetch, size, coded)
        planes = len(self.header.planes)
        table = 8 * planes * coded.chunks
        if q + table > size:
            raise _fail("ENTROPY_END", "the payload ends inside the sizes of its chunks", "R9.12.1-1")
        sizes = fetch(q, table).view("<u4").astype(np.int64).reshape(coded.chunks, planes, 2)
        lengths = np.zeros(coded.chunks, np.int64)
        for p in range(planes):
            whole = self.header.sizes(p, CHUNK_ELEMENTS, 0)
            last = self.header.sizes(p, coded.count - (coded.chunks - 1) * CHUNK_ELEMENTS, 0)
            lengths += sum(whole) + 2 * sizes[:, p, 0] + sizes[:, p, 1]
            lengths[-1:] += sum(last) - sum(whole)
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]) + q + table
        lone = [not plane.coded for plane in self.header.planes]
        if int(self.offsets[-1]) != size or sizes[:, lone, 0].any():
            raise _fail("ENTROPY_END", "the sizes of the chunks do not add up to the payload", "R9.12.6-1")
        self.dtype = dtype or np.dtype(np.int32 if self.header.bits <= 32 else np.int64)
        self._place = np.dtype(np.int64) if self.dtype == np.uint64 else self.dtype        # as the loops have it
        predictor = np.zeros(0, self._place) if coded.predictor is None else coded.predictor.view(self._place)
        self._state = (self._traits(), *_tables(self.header, coded.levels), sizes), predictor

    def _traits(self) -> Traits:
        coded = self.coded
        return Traits(coded.count, coded.kind, coded.states, int(coded.predictor is not None), coded.bits,
                      coded.mantissa, coded.exponent_bits, self.header.top_exponent or 0)

    def decode(self, chunks: range, out: np.ndarray) -> None:
        """Successive chunks into `out`, flat and of `dtype`, which begins with the first element of the first one.

        Raises EntropyError ENTROPY_END.
        """
        while len(chunks) > FOUR:
            self.decode(chunks[:FOUR], out[: FOUR * CHUNK_ELEMENTS])
            chunks, out = chunks[FOUR:], out[FOUR * CHUNK_ELEMENTS :]
        begin, end = int(self.offsets[chunks.start]), int(self.offsets[chunks.stop])
        data, (fixed, predictor) = self.fetch(begin, end - begin), self._state
        known = self._heads(chunks, data) if self._goes_by_four(chunks) else _NONE
        status, c = decode_chunks(*fixed, chunks.start, chunks.stop, data, predictor, out.view(self._place), 0,
                                  _ROOM.symbols, _ROOM.contexts, _ROOM.places, known)
        if status == ENDED:
            raise _fail("ENTROPY_END", f"chunk {c} does not end with its last symbol", "R9.12.7-1")
        if status == BAD_REST:
            raise _fail("ENTROPY_END", f"raw or extra bits of chunk {c} are missing, or left", "R9.12.8-1")

    def _goes_by_four(self, chunks: range) -> bool:
        """True if these are four whole chunks whose heads are coded without a trellis."""
        whole = len(chunks) == FOUR and chunks.stop * CHUNK_ELEMENTS <= self.coded.count
        return VECTORS and whole and self.header.planes[0].coded and not self.coded.states

    @clause("9.12.7")
    def _heads(self, chunks: range, data: np.ndarray) -> np.ndarray:
        """The symbols of the heads of four chunks, whose bytes are `data`, into the room. Returns the statuses."""
        (traits, planes, _, slots, sizes), predictor = self._state
        if self.header.by_exponent(0):
            for k, c in enumerate(chunks):
                contexts_of(predictor, c * CHUNK_ELEMENTS, traits.mantissa, traits.exponent_bits, traits.top_exponent,
                            1 << self.header.planes[0].tables_log2, _ROOM.contexts[k], CHUNK_ELEMENTS)
        choices = self.offsets[chunks.start : chunks.stop] - self.offsets[chunks.start]
        starts = choices + self.header.sizes(0, CHUNK_ELEMENTS, 0)[0]
        ends = starts + STATE_BYTES + 2 * sizes[chunks.start : chunks.stop, 0, 0]
        decode_four(planes, data, starts, choices, ends, slots, _ROOM.contexts, _ROOM.symbols, _ROOM.statuses)
        return _ROOM.statuses


_NONE = np.empty(0, np.int64)


def _header_of(fetch: Fetch, size: int, coded: Coded) -> tuple[Header, int]:
    # From the first bytes, of which more are read as long as the header does not end with them.
    known = min(size, HEADER_BYTES)
    while True:
        try:
            return read_header(fetch(0, known), coded)
        except EntropyError as error:
            if known == size or error.code != "ENTROPY_END":
                raise
            known = min(size, 8 * known)


def _tables(header: Header, levels: bool) -> tuple[np.ndarray, Bins, np.ndarray]:
    # What the loops know: rows of Plane, all bins, and the slots of all tables.
    planes, first_table, first_bin = [], 0, 0
    slots = np.zeros(max(sum(len(h.frequencies) for h in header.planes), 1) << SLOT_BITS, np.uint32)
    mask = -1 if levels or header.bits == 64 else (1 << header.bits) - 1
    for p, h in enumerate(header.planes):
        width = header.width(p)
        top = 1 << (width - 1) if header.bits == 64 and p == 0 else 0
        planes.append(Plane(header.bits, mask, (1 << width) - 1, top, header.shift(p), h.raw_bits,
                            int(h.low[0]) if h.narrow else 0, h.narrow, len(h.low), header.group, h.tables_log2,
                            first_table, first_bin, int(header.by_exponent(p))))
        build_tables(h.frequencies, first_table, slots)
        first_bin += len(h.low)
        first_table += len(h.frequencies)
    bins = Bins(np.concatenate([h.low for h in header.planes]), np.concatenate([h.extra for h in header.planes]))
    return np.array(planes, np.int64), bins, slots


def decode_bins(data: np.ndarray, coded: Coded, dtype: np.dtype | None = None, threads: int = 1) -> np.ndarray:
    """The integers of a payload (uint8), flat: unsigned words of dtype, or levels (int32, of more bits int64).

    Raises EntropyError OUT_OF_RANGE or ENTROPY_END, before anything is allocated for the elements if the header or the
    sizes are wrong.
    """
    data = data.view()
    data.flags.writeable = False                   # one type of array, whatever it is read from
    payload = Payload(lambda first, count: data[first : first + count], len(data), coded, dtype)
    out = np.empty(coded.count, payload.dtype)
    run_all(lambda c: payload.decode(range(c, c + 1), out[coded.chunk(c)]), range(coded.chunks), threads)
    return out
