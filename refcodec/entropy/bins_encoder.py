"""Makes payloads of BINS (informative; SPEC 9.12): histograms decide, nothing is coded on trial."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from ..parallel import run_all
from .bins import Coded, Header, PlaneHeader
from .bins_coding import (
    count_exponents,
    count_in_contexts,
    count_octave_cells,
    count_values,
    encode_symbols,
    encode_symbols_in_contexts,
    put_extra,
    put_raw,
    rans_tables,
    split,
    split_pieces,
    symbols_of,
    trellis_parities,
)
from .bins_header import frequency_bits, header_bytes
from .bins_plane import CHUNK_ELEMENTS, FLOAT, LANES, SYMBOLS_MAX
from .bins_search import OCTAVE_CELLS, ONE, Bins, best_bins, octave_bins
from .bins_tables import (
    GROUPS,
    PIECE,
    TABLES,
    Shared,
    choose_and_count,
    ideal,
    normalised,
    pack_choices,
    pieces_of_sample,
    share_tables,
)

Result = TypeVar("Result")

HEAD_BITS = 16               # of floats: what is below are tails
WIDEST = 32                  # bits of a head
OCTAVES_FROM = 17            # bits of a plane's values from which octave cells are counted
EXPONENT_TABLES = 16         # at most
FEWER_TO = 1 << 20           # elements of an array for which fewer are tried
EXPONENT_STEP = 7            # one exponent in so many of a long array is counted
RARE = 0.001                 # part of the exponents above the top one
SHARED_FROM = 8              # pieces of an array; fewer have no groups that pay for tables of their own
KEPT = 1 << 22               # elements of an array, at most, whose values and symbols are kept
TAIL_PART = 8                # of so many chunks one tells whether a tail is more than raw bits


@dataclass
class Plan:
    """How a plane is coded. shift: of its values in a word.  tables: None as long as they are not chosen.

    choices: the table of each group, uint8; empty where there is one.  kept_values, kept_symbols: of chunks, if the
    array is not too large to keep them once they are made.
    """

    p: int
    shift: int
    width: int
    bins: Bins
    tables: Shared | None = None
    choices: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))
    kept_values: dict[int, np.ndarray] = field(default_factory=dict)
    kept_symbols: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def octaves(self) -> bool:
        return self.width >= OCTAVES_FROM

    @property
    def dtype(self) -> type:
        return np.uint8 if self.width <= 8 else np.uint16 if self.width <= 16 else np.uint32

    @cached_property
    def symbol_of_cell(self) -> np.ndarray:
        cells = OCTAVE_CELLS if self.octaves else 1 << (self.width - self.bins.raw_bits)
        return self.bins.symbol_of_cell(cells, self.octaves)

    def values(self, words: np.ndarray, coded: Coded, part: slice) -> np.ndarray:
        """The plane's values of a part of the words."""
        out = np.empty(part.stop - part.start, self.dtype)
        split(coded.kind, coded.bits, self.shift, self.p > 0, words, part.start, out)
        return out

    def symbols(self, values: np.ndarray) -> np.ndarray:
        out = np.empty(len(values), np.uint8)
        symbols_of(values, self.bins.raw_bits, self.octaves, self.symbol_of_cell, out)
        return out


class BinsEncoder:
    """One array, walked up to three times: to count values, to count symbols by table, to code."""

    def __init__(self, words: np.ndarray, coded: Coded, tables: tuple[int, ...] = TABLES, threads: int = 1):
        self.words, self.coded, self.numbers, self.threads = words, coded, tables, threads
        self.header = Header(coded.bits, GROUPS[-1], self._top_exponent() if coded.exponents else None)
        self.exponent_tables = EXPONENT_TABLES
        self.plans = [self._plan(p) for p in range(self._tails() + 1)]

    def payload(self) -> bytes:
        """Header, sizes and chunks."""
        self._choose_tables()
        frequencies = [self._frequencies(plan) for plan in self.plans]
        self.header.planes = [plan.bins.header(f, len(f) // self._rows(plan))
                              for plan, f in zip(self.plans, frequencies)]
        coders = [_Coder(plane) for plane in self.header.planes]
        chunks = run_all(lambda c: self._chunk(c, coders), range(self.coded.chunks), self.threads)
        sizes = np.array([s for s, _ in chunks], "<u4")
        parts = (part for _, made in chunks for part in made)
        return b"".join([header_bytes(self.header, self.coded), sizes.tobytes(), *parts])

    def _tails(self) -> int:
        if self.coded.kind == FLOAT:
            return max(0, (self.coded.bits - HEAD_BITS + 7) // 8)
        return max(0, (self.coded.bits - WIDEST + 7) // 8)

    def _top_exponent(self) -> int:
        coded, exponents = self.coded, np.zeros(1 << self.coded.exponent_bits, np.int64)
        assert coded.predictor is not None
        step = 1 if coded.count < CHUNK_ELEMENTS else EXPONENT_STEP
        predictor = coded.predictor.view(np.int64) if coded.bits == 64 else coded.predictor
        count_exponents(predictor, coded.mantissa, step, exponents)
        return int(np.searchsorted(np.cumsum(exponents), (1 - RARE) * exponents.sum()))

    def _by_context(self, plan: Plan) -> bool:
        return plan.p == 0 and (self.header.top_exponent is not None or self.coded.states > 0)

    def _summed(self, add: Callable[[int, np.ndarray], None], chunks: Iterable[int], shape: tuple[int, ...]
                ) -> np.ndarray:
        """add(c, counts) for each chunk, into counts (int64, zeros) of each thread; their sum."""
        chunks = list(chunks)
        workers = max(1, min(self.threads, len(chunks)))

        def work(w: int) -> np.ndarray:
            counts = np.zeros(shape, np.int64)
            for c in chunks[w::workers]:
                add(c, counts)
            return counts

        first, *others = run_all(work, range(workers), workers)
        for counts in others:
            first += counts
        return first

    # Bins

    def _plan(self, p: int) -> Plan:
        tails = self._tails()
        width, shift = (8, 8 * (p - 1)) if p else (self.coded.bits - 8 * tails, 8 * tails)
        none = np.zeros(0, np.int64)
        plan = Plan(p, shift, width, Bins(0, 0, none, none, none, 0.0))
        cells, count_cells = (OCTAVE_CELLS, count_octave_cells) if plan.octaves else (1 << width, count_values)

        rows = 2 if self.coded.count >= CHUNK_ELEMENTS else 1

        def bins_of(chunks: range) -> Bins:
            counts = self._summed(lambda c, counts: count_cells(self._values(plan, c), counts), chunks, (rows, cells))
            total = counts[0] + counts[1] if rows == 2 else counts[0]
            by_exponent = p == 0 and self.header.top_exponent is not None
            return octave_bins(total) if plan.octaves else best_bins(total, width, by_exponent)

        every = range(0, self.coded.chunks, TAIL_PART)
        if p and len(every) > 1:                           # bins of the raw bits alone hold all values there can be
            plan.bins = bins_of(every)
            if plan.bins.raw:
                return plan
        plan.bins = bins_of(range(self.coded.chunks))
        return plan

    def _values(self, plan: Plan, c: int) -> np.ndarray:
        found = plan.kept_values.get(c)
        if found is None:
            found = plan.values(self.words, self.coded, self.coded.chunk(c))
            if self.coded.count <= KEPT:
                plan.kept_values[c] = found
        return found

    def _symbols(self, plan: Plan, c: int) -> np.ndarray:
        found = plan.kept_symbols.get(c)
        if found is None:
            found = plan.symbols(self._values(plan, c))
            if self.coded.count <= KEPT:
                plan.kept_symbols[c] = found
        return found

    # Tables

    def _choose_tables(self) -> None:
        found = [self._sampled(plan) for plan in self.plans]
        best = min(range(len(GROUPS)), key=lambda k: sum(shared[k].bits for shared in found if shared))
        self.header.group = GROUPS[best]
        for plan, shared in zip(self.plans, found):
            if shared and shared[best].tables > 1:
                plan.tables = shared[best]
                plan.choices = np.zeros(-(-self.coded.count // (1 << self.header.group)), np.uint8)

    def _sampled(self, plan: Plan) -> list[Shared]:
        # The best tables of each length of group; none where one table does, or each element says its own.
        pieces = self.coded.count // PIECE
        if not plan.bins.coded or self._by_context(plan) or pieces < SHARED_FROM:
            return []
        chosen = pieces_of_sample(self.coded.count)
        values: np.ndarray = np.empty((len(chosen), PIECE), plan.dtype)
        split_pieces(self.coded.kind, self.coded.bits, plan.shift, plan.p > 0, self.words, chosen * PIECE, values)
        return share_tables(plan.symbols(values.reshape(-1)), len(plan.bins.low), len(chosen) / pieces, self.numbers)

    def _rows(self, plan: Plan) -> int:
        return 2 if self.coded.states and plan.p == 0 else 1

    def _frequencies(self, plan: Plan) -> np.ndarray:
        if not plan.bins.coded:
            return np.zeros((0, 1), np.int64)
        if not self._by_context(plan) and plan.tables is None:
            return normalised(plan.bins.counts[None])

        def add(c: int, counts: np.ndarray) -> None:
            symbols = self._symbols(plan, c)
            if plan.tables is None:
                count_in_contexts(symbols, self._contexts(plan, c), counts)
            else:
                choose_and_count(symbols, self.header.group, plan.tables.costs, self._choices(plan, c), counts[0])

        tables = plan.tables.tables if plan.tables else self._rows(plan) if self.coded.states else self.exponent_tables
        parts = self._summed(add, range(self.coded.chunks), (2 if plan.tables is None else 1, tables, SYMBOLS_MAX))
        counts = parts.sum(0)[:, : len(plan.bins.low)]
        if plan.tables is None and not self.coded.states and self.coded.count <= FEWER_TO:
            top = self.header.top_exponent or 0
            counts, less = _fewer_tables(counts, top)
            self.exponent_tables, self.header.top_exponent = len(counts), top - less
        return normalised(counts)

    def _choices(self, plan: Plan, c: int) -> np.ndarray:
        part, group = self.coded.chunk(c), self.header.group
        if plan.tables is None:
            return np.zeros(-(-(part.stop - part.start) // (1 << group)), np.uint8)
        return plan.choices[part.start >> group : -(-part.stop // (1 << group))]

    def _contexts(self, plan: Plan, c: int) -> np.ndarray:
        """The table of each element."""
        part = self.coded.chunk(c)
        contexts = np.empty(part.stop - part.start, np.uint8)
        if self.coded.states:
            trellis_parities(self._values(plan, c), self.coded.states, contexts)
        else:
            self.coded.contexts(part, self.header.top_exponent or 0, self.exponent_tables, contexts)
        return contexts

    # Chunks

    def _chunk(self, c: int, coders: list[_Coder]) -> tuple[list[tuple[int, int]], list[bytes]]:
        sizes: list[tuple[int, int]] = []
        parts: list[bytes] = []
        for plan, coder in zip(self.plans, coders):
            plane, values = coder.plane, self._values(plan, c)
            symbols, words, used = np.zeros(0, np.uint8), 0, 0
            if plane.coded:
                symbols = self._symbols(plan, c)
                words, before = self._coded_symbols(plan, coder, c, symbols)
                parts += before
            raw = np.zeros((len(values) * plane.raw_bits + 7) // 8, np.uint8)
            put_raw(values, plane.raw_bits, raw)
            parts.append(raw.tobytes())
            if plane.extra.any():
                extra = np.empty((len(values) * int(plane.extra.max()) >> 3) + 8, np.uint8)
                symbols = symbols if plane.coded else np.zeros(len(values), np.uint8)
                bits = put_extra(values, symbols, plane.narrow, plane.raw_bits, plane.low, plane.extra, extra)
                used = (bits + 7) // 8
                parts.append(extra[:used].tobytes())
            sizes.append((words, used))
        return sizes, parts

    def _coded_symbols(self, plan: Plan, coder: _Coder, c: int, symbols: np.ndarray) -> tuple[int, list[bytes]]:
        # (number of words; choices, states, words) of a chunk's plane.
        states, words, choices = np.empty(LANES, np.uint64), np.empty(len(symbols) + LANES, np.uint16), b""
        if self._by_context(plan):
            first = encode_symbols_in_contexts(symbols, self._contexts(plan, c), coder.reciprocals, coder.shares,
                                               states, words)
        else:
            first = encode_symbols(symbols, self._choices(plan, c), self.header.group, coder.reciprocals,
                                   coder.shares, states, words)
        if plan.p or self.header.top_exponent is None:
            choices = _packed(self._choices(plan, c), coder.plane.tables_log2)
        return len(words) - first, [choices, states.astype("<u4").tobytes(), words[first:].astype("<u2").tobytes()]


class _Coder:
    """What codes the symbols of a plane: its header, and what rans_tables() makes of its frequencies."""

    def __init__(self, plane: PlaneHeader):
        self.plane = plane
        self.reciprocals = np.zeros(len(plane.frequencies) * SYMBOLS_MAX, np.uint64)
        self.shares = np.zeros(len(plane.frequencies) * SYMBOLS_MAX, np.uint32)
        rans_tables(plane.frequencies, self.reciprocals, self.shares)


def _fewer_tables(counts: np.ndarray, top: int) -> tuple[np.ndarray, int]:
    """Counts (int64 [tables, bins]) of a number of tables, a power of two, and how much less the top exponent is, that
    take fewest bits with the header.

    counts: of the exponents top, top - 1, ...; the first and the last table have those beyond them, too.
    """
    def shared(tables: int, less: int) -> np.ndarray:
        found = counts[less : less + tables].copy()
        found[0] += counts[:less].sum(0)
        found[-1] += counts[less + tables :].sum(0)
        return found

    found, number = [], len(counts)
    while number:
        ways = [(float(ideal(shared(number, less))) / ONE, less) for less in range(min(len(counts) - number, top) + 1)]
        bits, less = min(ways)
        found.append((bits + frequency_bits(normalised(shared(number, less))), -number, less))
        number //= 2
    _, number, less = min(found)
    return shared(-number, less), less


def _packed(choices: np.ndarray, bits: int) -> bytes:
    out = np.zeros((len(choices) * bits + 7) // 8, np.uint8)
    if bits:
        pack_choices(choices, bits, out)
    return out.tobytes()


def encode_bins(words: np.ndarray, coded: Coded, tables: tuple[int, ...] = TABLES, threads: int = 1) -> bytes:
    """The payload of integers: words, flat and unsigned, as differences where there is a predictor (SPEC 9.12).

    coded: count is at least 1; bits of levels hold them all.  tables: numbers of tables that are tried, ascending from
    1.
    """
    return BinsEncoder(words, coded, tables, threads).payload()
