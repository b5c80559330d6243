"""Payloads of BINS written from SPEC 9.12 alone: a small encoder whose bins, tables and choices are given.

Nothing here comes from the codec's own encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from refcodec.dtypes import DType
from refcodec.reconstruction.random_integers import random_words

from .scripts import packed, se, u, ue

LANES, SLOTS, CHUNK = 8, 4096, 1 << 17
STATES = {0: (0, 0), 4: (2, 1), 8: (5, 2), 16: (9, 2), 32: (18, 4), 64: (33, 10)}       # A, B of 8.5.4


@dataclass
class Plane:
    """Bins, tables and raw bits of a plane. wide: (low, log) in ascending order.  tables: frequencies of each symbol.

    choices: of the groups of all chunks, as they come.
    """

    first_cell: int = 0
    narrow: int = 0
    wide: Sequence[tuple[int, int]] = ()
    raw_bits: int = 0
    tables: Sequence[Sequence[int]] = ()
    choices: Sequence[int] = ()

    @property
    def bins(self) -> list[tuple[int, int]]:
        return [((self.first_cell + s) << self.raw_bits, self.raw_bits) for s in range(self.narrow)] + list(self.wide)

    def symbol(self, value: int) -> int:
        return next(s for s, (low, log) in enumerate(self.bins) if low <= value < low + (1 << log))

    def symbols(self, values: Sequence[int]) -> list[int]:
        known = {v: self.symbol(v) for v in set(values)}
        return [known[v] for v in values]

    @property
    def tables_log2(self) -> int:
        return max(len(self.tables), 1).bit_length() - 1

    def elements(self, pairs: bool) -> list[Element]:
        """PlaneHeader( ) of 9.12.4."""
        found = [(self.raw_bits // 4, 2), (self.first_cell, "ue"), (self.narrow, "ue"), (len(self.wide), "ue")]
        above, size = 0, self.raw_bits
        for low, log in self.wide:
            found += [(log - size, "se"), ((low >> log) - (above + (1 << log) - 1 >> log), "ue")]
            above, size = low + (1 << log), log
        if len(self.bins) > 1:
            found += [(self.tables_log2 - int(pairs), 3), *(e for table in self.tables for e in sizes(table))]
        return found

    def header(self, pairs: bool) -> str:
        return "".join(map(written, self.elements(pairs)))


Element = tuple[int, int | str]            # its value; u(n) as n, or 'ue', 'se'


def written(element: Element) -> str:
    value, descriptor = element
    return u(value, descriptor) if isinstance(descriptor, int) else {"ue": ue, "se": se}[descriptor](value)


def sizes(table: Sequence[int]) -> list[Element]:
    """Frequencies( ) of 9.12.5."""
    found, size = [], 5
    for f in table:
        n = (f + 1).bit_length()
        found, size = [*found, (n - size, "se"), (f + 1 - (1 << n - 1), n - 1)], n
    return found


def frequencies(table: Sequence[int]) -> str:
    return "".join(map(written, sizes(table)))


@dataclass
class Script:
    """A payload. kind: 'plain', 'signed' or 'float'.  levels: bits stand in the header.  states: of the trellis.

    exponents: of the predictor's words, where tables are chosen by them; top: top_exponent.  may_choose: whether
    by_exponent_flag stands in the header.
    """

    bits: int
    kind: str
    planes: list[Plane]
    levels: bool = False
    states: int = 0
    group_log2: int = 3
    top: int | None = None
    exponents: Sequence[int] = ()
    may_choose: bool = False

    def split(self, x: int) -> tuple[int, int]:
        """(m, sign) of an integer (9.12.2)."""
        if self.kind == "float":
            return x & ((1 << self.bits - 1) - 1), x >> (self.bits - 1)
        if self.kind == "signed":
            v = x - (1 << self.bits) if x >= 0 and x >> (self.bits - 1) else x
            return (-1 - v, 1) if v < 0 else (v, 0)
        return x, 0

    def values(self, x: int) -> list[int]:
        """The values of all planes of an integer."""
        m, sign = self.split(x)
        head = m >> 8 * (len(self.planes) - 1)
        return [head if self.kind == "plain" else head << 1 | sign,
                *(m >> 8 * t & 255 for t in range(len(self.planes) - 1))]

    def elements(self) -> list[Element]:
        """BinsHeader( ) of 9.12.3."""
        found: list[Element] = [(len(self.planes) - 1, 3)]
        found += [(self.bits - 1, 6)] if self.levels else []
        found += [(self.group_log2 - 3, 4)]
        if self.may_choose:
            found += [(0, 1)] if self.top is None else [(1, 1), (self.top, 11)]
        return found + [e for k, p in enumerate(self.planes) for e in p.elements(self.states > 0 and k == 0)]

    def header(self) -> bytes:
        return packed(list(map(written, self.elements())))

    def payload(self, numbers: Sequence[int]) -> bytes:
        return self.pieces(numbers).bytes()

    def pieces(self, numbers: Sequence[int]) -> Pieces:
        """A payload in its parts, to be changed."""
        chunks = []
        for first in range(0, len(numbers), CHUNK):
            part = numbers[first : first + CHUNK]
            rows = [self.values(x) for x in part]
            chunks.append([self.plane(k, plane, [row[k] for row in rows], first, part)
                           for k, plane in enumerate(self.planes)])
        return Pieces(self.header(), chunks)

    def tables_of(self, k: int, plane: Plane, first: int, numbers: Sequence[int]) -> list[int]:
        """The table of each element of a chunk."""
        found, states = [], [0] * LANES
        a, b = STATES[self.states]
        for i, x in enumerate(numbers):
            if k == 0 and self.top is not None:
                c = min(max(self.top - self.exponents[first + i], 0), len(plane.tables) - 1)
            else:
                c = plane.choices[first + i >> self.group_log2] if plane.choices else 0
            if self.states and k == 0:
                q = states[i % LANES]
                c = 2 * c + (q & 1)
                states[i % LANES] = (q >> 1) ^ (a if q & 1 else 0) ^ (b if x & 1 else 0)
            found.append(c)
        return found

    def plane(self, k: int, plane: Plane, values: list[int], first: int, numbers: Sequence[int]) -> Piece:
        """A plane of a chunk (9.12.6)."""
        n, piece, bins, symbols = len(values), Piece(), plane.bins, plane.symbols(values)
        if len(bins) > 1:
            bits = plane.tables_log2 - int(self.states > 0 and k == 0)
            if not (k == 0 and self.top is not None):
                groups = range(first >> self.group_log2, first + n + (1 << self.group_log2) - 1 >> self.group_log2)
                piece.choices = low_first([(plane.choices[g] if plane.choices else 0, bits) for g in groups])
            piece.states = [1 << 16] * LANES
            tables = self.tables_of(k, plane, first, numbers)
            starts = [list(accumulate(table, initial=0)) for table in plane.tables]
            for i in reversed(range(n)):
                t, s = tables[i], symbols[i]
                f, start, x = plane.tables[t][s], starts[t][s], piece.states[i % LANES]
                if x >= f << 20:
                    piece.words.append(x & 0xFFFF)
                    x >>= 16
                piece.states[i % LANES] = (x // f << 12) + x % f + start
            piece.words.reverse()
        raw = [v & (1 << plane.raw_bits) - 1 for v in values]
        if plane.raw_bits == 4:
            half = (n + 1) // 2
            piece.raw = bytes(low | high << 4 for low, high in zip(raw[:half], raw[half:] + [0] * (n % 2)))
        elif plane.raw_bits == 8:
            piece.raw = bytes(raw)
        more = [(v - bins[s][0] >> plane.raw_bits, bins[s][1] - plane.raw_bits) for v, s in zip(values, symbols)]
        piece.extra = low_first([field for field in more if field[1]])
        return piece


@dataclass
class Piece:
    """A plane of a chunk. word_count, extra_size: as they stand in the payload, None: as they are."""

    choices: bytes = b""
    states: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    raw: bytes = b""
    extra: bytes = b""
    word_count: int | None = None
    extra_size: int | None = None

    def sizes(self) -> bytes:
        return b"".join(size.to_bytes(4, "little") for size in (
            len(self.words) if self.word_count is None else self.word_count,
            len(self.extra) if self.extra_size is None else self.extra_size))

    def bytes(self) -> bytes:
        return (self.choices + b"".join(x.to_bytes(4, "little") for x in self.states)
                + b"".join(w.to_bytes(2, "little") for w in self.words) + self.raw + self.extra)


@dataclass
class Pieces:
    """A payload in its parts. chunks: of each chunk its planes, the head first."""

    header: bytes
    chunks: list[list[Piece]]

    def bytes(self) -> bytes:
        planes = [piece for chunk in self.chunks for piece in chunk]
        return self.header + b"".join(p.sizes() for p in planes) + b"".join(p.bytes() for p in planes)


def low_first(fields: Sequence[tuple[int, int]]) -> bytes:
    """Fields of bits, lowest first, in bytes filled from the lowest bit up."""
    value = size = 0
    for x, bits in fields:
        value, size = value | x << size, size + bits
    return value.to_bytes((size + 7) // 8, "little")


def even(count: int) -> list[int]:
    """Frequencies of `count` symbols that are alike, as far as they can be."""
    return [SLOTS // count + (k < SLOTS % count) for k in range(count)]


def skewed(count: int, seed: int) -> list[int]:
    """Frequencies of which the first is the largest, and some are 1 or 0."""
    rest = [1 + int(w) % 60 for w in random_words(seed, 0, count - 1)]
    return [SLOTS - sum(rest), *rest]


# Planes that hold any value

def whole(width: int) -> Plane:
    """One plane for all values of a width: cells where there are few, else raw bits and wide bins."""
    if width <= 6:
        return Plane(narrow=1 << width, tables=[even(1 << width)])
    if width <= 8:
        return Plane(raw_bits=4, narrow=1 << (width - 4), tables=[even(1 << (width - 4))])
    wide = [(1 << log, log) for log in range(8, width)]
    return Plane(raw_bits=8, narrow=1, wide=wide, tables=[even(1 + len(wide))])


def any_script(t: DType) -> Script:
    """For any words of a type."""
    kind = {"u": "plain", "i": "signed", "f": "float" if t.sign else "plain"}[t.kind]
    tails = max(0, (t.bits - 16) // 8) if t.kind == "f" else max(0, (t.bits - 32) // 8)
    tail = Plane(raw_bits=8, narrow=1)
    return Script(t.bits, kind, [whole(t.bits - 8 * tails), *[tail] * tails])


def level_script(bits: int = 9, **options) -> Script:
    """Levels of up to `bits` bits: a few narrow bins, wide ones beyond."""
    wide = [(1 << log, log) for log in range(4, bits)]
    tables = [skewed(16 + len(wide), 77 + k) for k in range(2 if options.get("states") else 1)]
    return Script(bits, "signed", [Plane(narrow=16, wide=wide, tables=tables)], levels=True, **options)


def any_levels(bits: int) -> Script:
    """For any levels of `bits` bits, 6 or more."""
    tails = max(0, (bits - 25) // 8)
    wide = [(1 << log, log) for log in range(4, bits - 8 * tails)]
    return Script(bits, "signed", [Plane(narrow=16, wide=wide, tables=[even(16 + len(wide))]),
                                   *[Plane(raw_bits=8, narrow=1)] * tails], levels=True)


def usual_payload(numbers: np.ndarray, t: DType | None, differences: bool) -> bytes:
    """Words of a type, differences of them modulo 2^bits, or levels (t None), in bins that hold any."""
    listed = [int(x) for x in numbers.reshape(-1)]
    if t is None:
        return any_levels(max(9, max(max(listed), ~min(listed)).bit_length() + 1)).payload(listed)
    if not differences:
        return any_script(t).payload(listed)
    tails = max(0, (t.bits - 32) // 8)
    planes = [whole(t.bits - 8 * tails), *[Plane(raw_bits=8, narrow=1)] * tails]
    return Script(t.bits, "signed", planes, may_choose=t.kind == "f" and t.sign > 0).payload(listed)
