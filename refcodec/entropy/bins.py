"""Integers as bins, raw and extra bits, in independent chunks (SPEC 9.12): how a payload is laid out and decoded."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ..errors import EntropyError
from ..parallel import run_all
from .bins_loop import (
    BAD_BIN,
    BAD_TABLE,
    CHUNK_ELEMENTS,
    ENDED,
    OK,
    SLOT_BITS,
    STATE_BYTES,
    SYMBOLS_MAX,
    TABLES_LOG2_MAX,
    TAIL,
    Bins,
    Plane,
    add_predictor,
    build_tables,
    contexts_of,
    join,
    read_frequencies,
    read_u,
    read_ue,
    read_wide,
    symbols_by_context,
    symbols_by_group,
    symbols_with_trellis,
)
from .watch import clause

GROUP_MIN = 3                # log2 of the elements of the least group
GROUP_MAX = 17
HEAD_BITS = 32               # of the widest head
RAW_BITS = (0, 4, 8)
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
        return -(-self.count // CHUNK_ELEMENTS)

    def chunk(self, c: int) -> slice:
        return slice(c * CHUNK_ELEMENTS, min((c + 1) * CHUNK_ELEMENTS, self.count))

    def contexts(self, part: slice, top_exponent: int, tables: int, out: np.ndarray) -> None:
        """The table of each element of a part, by its predictor's exponent, into out (uint8)."""
        contexts_of(self.predictor, part.start, self.mantissa, self.exponent_bits, top_exponent, tables,
                    out[: part.stop - part.start])

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


@dataclass
class Payload:
    """A payload whose header was read. offsets: of each chunk, int64.  sizes: int64 [chunks, planes, 2]."""

    data: np.ndarray
    coded: Coded
    header: Header
    offsets: np.ndarray
    sizes: np.ndarray
    planes: list[Plane]
    bins: Bins
    slots: np.ndarray

    @staticmethod
    @clause("9.12.6")
    def read(data: np.ndarray, coded: Coded) -> Payload:
        """Checks the header, and that the sizes of all chunks add up to the payload. Raises EntropyError."""
        header, q = read_header(data, coded)
        planes = len(header.planes)
        size = 8 * planes * coded.chunks
        if q + size > len(data):
            raise _fail("ENTROPY_END", "the payload ends inside the sizes of its chunks", "R9.12.1-1")
        sizes = data[q : q + size].view("<u4").astype(np.int64).reshape(coded.chunks, planes, 2)
        lengths = np.zeros(coded.chunks, np.int64)
        for p in range(planes):
            whole = header.sizes(p, CHUNK_ELEMENTS, 0)
            last = header.sizes(p, coded.count - (coded.chunks - 1) * CHUNK_ELEMENTS, 0)
            lengths += sum(whole) + 2 * sizes[:, p, 0] + sizes[:, p, 1]
            lengths[-1:] += sum(last) - sum(whole)
        offsets = q + size + np.cumsum(lengths) - lengths
        lone = [not plane.coded for plane in header.planes]
        if q + size + int(lengths.sum()) != len(data) or sizes[:, lone, 0].any():
            raise _fail("ENTROPY_END", "the sizes of the chunks do not add up to the payload", "R9.12.6-1")
        return Payload(data, coded, header, offsets, sizes, *_tables(header, coded.levels))

    def decode(self, c: int, out: np.ndarray, symbols: np.ndarray, contexts: np.ndarray) -> None:
        """Chunk c into its place in out (unsigned, flat). symbols, contexts: room, uint8 [CHUNK_ELEMENTS]."""
        coded, part, q = self.coded, self.coded.chunk(c), int(self.offsets[c])
        for p in range(len(self.planes)):
            q = self._decode_plane(c, p, part, q, out, symbols=symbols, contexts=contexts)
        if coded.predictor is not None:
            add_predictor(coded.exponent_bits > 0, coded.bits, coded.predictor, out, part.start, part.stop - part.start)

    @clause("9.12.6")
    def _decode_plane(self, c: int, p: int, part: slice, q: int, out: np.ndarray, *, symbols: np.ndarray,
                      contexts: np.ndarray) -> int:
        # From byte q on; returns where the next plane begins.
        coded, header, plane, data, n = self.coded, self.header, self.planes[p], self.data, part.stop - part.start
        choices, size, raw_size = header.sizes(p, n, int(self.sizes[c, p, 0]))
        words, raw = q + choices, q + choices + size
        extra, end = raw + raw_size, raw + raw_size + int(self.sizes[c, p, 1])
        if not header.planes[p].coded:
            symbols[:n] = 0
            status = OK
        elif header.by_exponent(p):
            coded.contexts(part, header.top_exponent or 0, 1 << plane.choice_bits, contexts)
            status = symbols_by_context(plane, data, words, raw, self.slots, contexts, symbols, n)
        elif coded.states:                             # so there is one plane
            status = symbols_with_trellis(plane, self.bins, data, words, raw, self.slots, q, raw, extra, end,
                                          coded.states, symbols, n)
        else:
            status = symbols_by_group(plane, data, words, raw, self.slots, q, symbols, n)
        if status != OK:
            raise _fail("ENTROPY_END", f"chunk {c} does not end with its last symbol", "R9.12.7-1")
        kind = TAIL if p else coded.kind
        used = join(kind, plane, self.bins, symbols, data, raw, extra, end, n, out, part.start)
        half = data[extra - 1] >> 4 if plane.raw_bits == 4 and n % 2 else 0
        rest = data[end - 1] >> (used % 8) if used % 8 else 0
        if end - extra != (used + 7) // 8 or half or rest:
            raise _fail("ENTROPY_END", f"raw or extra bits of chunk {c} are missing, or left", "R9.12.8-1")
        return end


def _tables(header: Header, levels: bool) -> tuple[list[Plane], Bins, np.ndarray]:
    planes, first_table, first_bin = [], 0, 0
    tables = sum(len(h.frequencies) for h in header.planes)
    slots = np.zeros(max(tables, 1) << SLOT_BITS, np.uint32)
    mask = -1 if levels or header.bits == 64 else (1 << header.bits) - 1
    for p, h in enumerate(header.planes):
        top = 1 << (header.width(p) - 1) if header.bits == 64 and p == 0 else 0
        base = int(h.low[0]) if h.narrow else 0
        planes.append(Plane(header.bits, (1 << header.width(p)) - 1, mask, top, header.shift(p), h.raw_bits, base,
                            h.narrow, len(h.low), header.group, h.tables_log2, first_table, first_bin))
        build_tables(h.frequencies, first_table, slots)
        first_bin += len(h.low)
        first_table += len(h.frequencies)
    bins = Bins(np.concatenate([h.low for h in header.planes]), np.concatenate([h.extra for h in header.planes]))
    return planes, bins, slots


def decode_bins(data: np.ndarray, coded: Coded, dtype: np.dtype | None = None, threads: int = 1,
                chunks: range | None = None) -> np.ndarray:
    """The integers of a payload (uint8), flat: unsigned words of dtype, or levels (int32, of more bits int64).

    chunks: only these; the elements of others are undefined.  Raises EntropyError OUT_OF_RANGE or ENTROPY_END, before
    anything is allocated for the elements if the header or the sizes are wrong. Memory beside the result: 256 kB a
    thread, 16 kB a table.
    """
    payload = Payload.read(data, coded)
    if dtype is None:
        dtype = np.dtype(np.int32 if payload.header.bits <= 32 else np.int64)
    out = np.empty(coded.count, dtype)
    place = out.view(np.int64) if dtype == np.uint64 else out
    if coded.predictor is not None and coded.predictor.dtype == np.uint64:
        payload.coded = replace(coded, predictor=coded.predictor.view(np.int64))
    wanted = range(coded.chunks) if chunks is None else chunks
    workers = max(1, min(threads, len(wanted)))

    def work(w: int) -> None:
        symbols = np.zeros(CHUNK_ELEMENTS, np.uint8)
        contexts = np.zeros(CHUNK_ELEMENTS if coded.exponents else 1, np.uint8)
        for c in wanted[w::workers]:
            payload.decode(c, place, symbols, contexts)

    run_all(work, range(workers), workers)
    return out
