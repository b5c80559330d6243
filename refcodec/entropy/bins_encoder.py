"""Makes payloads of BINS (informative; SPEC 9.12): histograms decide, nothing is coded on trial."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..parallel import run_all
from .bins import GROUP_MIN, RAW_BITS, Coded, Header, PlaneHeader
from .bins_coding import (
    cheapest_tables,
    count_cells,
    count_groups,
    count_in_contexts,
    encode_symbols,
    encode_symbols_in_contexts,
    put_extra,
    put_raw,
    split,
    symbols_of,
    trellis_parities,
)
from .bins_loop import FLOAT, LANES, SYMBOLS_MAX
from .bins_search import (
    OCTAVE_CELLS,
    TABLE_BITS,
    Bins,
    Cells,
    cost,
    costs_of,
    find_bins,
    find_tables,
    ideal_bits,
    normalised,
    sample_bits,
)
from .huffman_tables import se_bits, u_bits, ue_bits

HEAD_BITS = 16               # of floats: what is below are tails
WIDEST = 32                  # bits of a head
OCTAVES_FROM = 17            # bits of a plane's values from which octave cells are counted
GROUPS = (8, 10)             # log2 of the elements of a group that are tried
TABLES = (1, 2, 4)           # numbers of tables that are tried
EXPONENT_TABLES = 16
FASTER = 1.0005              # what more raw bits, or fewer tables, may cost
RARE = 0.001                 # part of the exponents above the top one
SAMPLE = 1 << 18             # elements from which tables are found
PIECE = 1 << GROUPS[-1]      # elements that stay together in a sample


@dataclass
class Plan:
    """How a plane is coded. shift: of its values in a word.

    costs: of each symbol in each table (int32), or None for one table.  choices: the table of each group, uint8.
    """

    p: int
    shift: int
    width: int
    cells: Cells
    bins: Bins
    symbol_of_cell: np.ndarray
    costs: np.ndarray | None = None
    choices: np.ndarray = field(default_factory=lambda: np.zeros(0, np.uint8))

    @property
    def coded(self) -> bool:
        return len(self.bins.low) > 1

    @property
    def dtype(self) -> type:
        return np.uint8 if self.width <= 8 else np.uint16 if self.width <= 16 else np.uint32

    def values(self, words: np.ndarray, coded: Coded, part: slice) -> np.ndarray:
        """The plane's values of a part of the words."""
        out = np.empty(part.stop - part.start, self.dtype)
        split(coded.kind, coded.bits, self.shift, self.p > 0, words, part.start, out)
        return out

    def symbols(self, values: np.ndarray) -> np.ndarray:
        out = np.empty(len(values), np.uint8)
        symbols_of(values, self.cells.shift, self.cells.octaves, self.symbol_of_cell, out)
        return out


class BinsEncoder:
    """One array, walked three times: to count values, to count symbols by table, to code."""

    def __init__(self, words: np.ndarray, coded: Coded, tables: tuple[int, ...] = TABLES, threads: int = 1):
        self.words, self.coded, self.tables, self.threads = words, coded, tables, threads
        self.header = Header(coded.bits, GROUPS[-1], self._top_exponent() if coded.exponents else None)
        self.plans = [self._plan(p) for p in range(self._tails() + 1)]

    def payload(self) -> bytes:
        """Header, sizes and chunks."""
        self._choose_tables()
        frequencies = [self._frequencies(plan) for plan in self.plans]
        self.header.planes = [plan.bins.header(f, len(f) // self._rows(plan))
                              for plan, f in zip(self.plans, frequencies)]
        chunks = run_all(self._chunk, range(self.coded.chunks), self.threads)
        sizes = np.array([s for s, _ in chunks], "<u4")
        parts = (part for _, made in chunks for part in made)
        return b"".join([header_bytes(self.header, self.coded), sizes.tobytes(), *parts])

    def _tails(self) -> int:
        if self.coded.kind == FLOAT:
            return max(0, (self.coded.bits - HEAD_BITS + 7) // 8)
        return max(0, (self.coded.bits - WIDEST + 7) // 8)

    def _top_exponent(self) -> int:
        coded = self.coded
        assert coded.predictor is not None
        exponents = (coded.predictor >> coded.mantissa).astype(np.int64) & ((1 << coded.exponent_bits) - 1)
        return int(np.searchsorted(np.cumsum(np.bincount(exponents)), (1 - RARE) * coded.count))

    def _by_context(self, plan: Plan) -> bool:
        return plan.p == 0 and (self.header.top_exponent is not None or self.coded.states > 0)

    # Bins

    def _plan(self, p: int) -> Plan:
        tails = self._tails()
        width, shift = (8, 8 * (p - 1)) if p else (self.coded.bits - 8 * tails, 8 * tails)
        octaves = width >= OCTAVES_FROM
        none = np.zeros(0, np.int64)
        plan = Plan(p, shift, width, Cells(none, 0, octaves), Bins(0, 0, none, none), np.zeros(0, np.uint8))

        def count(c: int) -> np.ndarray:
            counts = np.zeros(OCTAVE_CELLS if octaves else 1 << width, np.int64)
            count_cells(plan.values(self.words, self.coded, self.coded.chunk(c)), 0, octaves, counts)
            return counts

        cells = Cells(np.sum(run_all(count, range(self.coded.chunks), self.threads), axis=0), 0, octaves)
        plan.cells, plan.bins = _best_bins(cells, width)
        plan.symbol_of_cell = plan.bins.symbol_of_cell(plan.cells)
        return plan

    # Tables

    def _choose_tables(self) -> None:
        found = {group: [self._sampled(plan, group) for plan in self.plans] for group in GROUPS}
        self.header.group = min(GROUPS, key=lambda g: sum(bits for bits, _ in found[g]))
        for plan, (_, costs) in zip(self.plans, found[self.header.group]):
            plan.costs = costs
            plan.choices = np.zeros(-(-self.coded.count // (1 << self.header.group)), np.uint8)

    def _sampled(self, plan: Plan, group: int) -> tuple[float, np.ndarray | None]:
        # (bits of a sample with its share of the header, costs) of the best number of tables.
        pieces = self.coded.count // PIECE
        if not plan.coded or self._by_context(plan) or pieces < 2:
            return 0.0, None
        chosen = np.unique(np.linspace(0, pieces - 1, min(pieces, SAMPLE // PIECE)).astype(np.int64))
        sample = np.concatenate([plan.values(self.words, self.coded, slice(k * PIECE, (k + 1) * PIECE))
                                 for k in chosen])
        counts = np.zeros((len(sample) >> group, SYMBOLS_MAX), np.int64)
        count_groups(plan.symbols(sample), group, counts)
        counts = counts[:, : len(plan.bins.low)].astype(np.float64)
        best: tuple[float, np.ndarray | None] = np.inf, None
        for n in self.tables:
            shared = find_tables(counts, n)
            bits = sample_bits(counts, shared) + len(counts) * (n.bit_length() - 1)
            bits += n * TABLE_BITS * len(plan.bins.low) * len(chosen) / pieces
            if bits * FASTER < best[0]:
                best = bits, costs_of(shared) if n > 1 else None
        return best

    def _rows(self, plan: Plan) -> int:
        return 2 if self.coded.states and plan.p == 0 else 1

    def _frequencies(self, plan: Plan) -> np.ndarray:
        if not plan.coded:
            return np.zeros((0, len(plan.bins.low)), np.int64)
        exponents = plan.p == 0 and self.header.top_exponent is not None
        tables = EXPONENT_TABLES if exponents else self._rows(plan) if plan.costs is None else len(plan.costs)

        def count(c: int) -> np.ndarray:
            part, counts = self.coded.chunk(c), np.zeros((tables, SYMBOLS_MAX), np.int64)
            symbols = plan.symbols(plan.values(self.words, self.coded, part))
            if plan.costs is not None:
                cheapest_tables(symbols, self.header.group, plan.costs, self._choices(plan, part))
            count_in_contexts(symbols, *self._contexts(plan, part), counts)
            return counts

        counts = np.sum(run_all(count, range(self.coded.chunks), self.threads), axis=0)[:, : len(plan.bins.low)]
        return np.stack([normalised(row) for row in counts])

    def _choices(self, plan: Plan, part: slice) -> np.ndarray:
        return plan.choices[part.start >> self.header.group : -(-part.stop // (1 << self.header.group))]

    def _contexts(self, plan: Plan, part: slice) -> tuple[np.ndarray, int]:
        """The table of each element (then 0 is with it), or of each group (then the logarithm of its elements)."""
        if not self._by_context(plan):
            return self._choices(plan, part), self.header.group
        contexts = np.empty(part.stop - part.start, np.uint8)
        if self.coded.states:
            values = plan.values(self.words, self.coded, part)
            trellis_parities(values, self.coded.states, contexts)
        else:
            self.coded.contexts(part, self.header.top_exponent or 0, EXPONENT_TABLES, contexts)
        return contexts, 0

    # Chunks

    def _chunk(self, c: int) -> tuple[list[tuple[int, int]], list[bytes]]:
        part, sizes, parts = self.coded.chunk(c), [], []
        for plan, plane in zip(self.plans, self.header.planes):
            values = plan.values(self.words, self.coded, part)
            symbols = plan.symbols(values)
            words, before = self._coded_symbols(plan, plane, part, symbols)
            raw = np.zeros((len(values) * plane.raw_bits + 7) // 8, np.uint8)
            put_raw(values, plane.raw_bits, raw)
            extra = np.empty((len(values) * int(plane.extra.max()) >> 3) + 8, np.uint8)
            used = (put_extra(values, symbols, plane.narrow, plane.raw_bits, plane.low, plane.extra, extra) + 7) // 8
            sizes.append((words, used))
            parts += [*before, raw.tobytes(), extra[:used].tobytes()]
        return sizes, parts

    def _coded_symbols(self, plan: Plan, plane: PlaneHeader, part: slice, symbols: np.ndarray
                       ) -> tuple[int, list[bytes]]:
        # (number of words; choices, states, words) of a chunk's plane.
        if not plan.coded:
            return 0, []
        frequencies = np.zeros((len(plane.frequencies), SYMBOLS_MAX), np.int32)
        frequencies[:, : len(plane.low)] = plane.frequencies
        starts, shares = np.cumsum(frequencies, 1, dtype=np.int32) - frequencies, 1.0 / np.maximum(frequencies, 1)
        states, words = np.empty(LANES, np.int64), np.empty(len(symbols) + LANES, np.uint16)
        contexts, group = self._contexts(plan, part)
        code = encode_symbols_in_contexts if self._by_context(plan) else encode_symbols
        first = code(symbols, contexts, group, frequencies, starts, shares, states, words)
        choices = b""
        if plan.p or self.header.top_exponent is None:
            choices = _packed(self._choices(plan, part), plane.tables_log2)
        return len(words) - first, [choices, states.astype("<u4").tobytes(), words[first:].astype("<u2").tobytes()]


def _best_bins(cells: Cells, width: int) -> tuple[Cells, Bins]:
    """The cells and bins of the cheapest number of raw bits; more of them are faster, so they may cost a little."""
    best, found = np.inf, None
    for raw_bits in RAW_BITS:
        if raw_bits > width or raw_bits and cells.octaves:
            break
        merged = cells.merged(raw_bits) if raw_bits else cells
        least = ideal_bits(merged.counts) + raw_bits * float(merged.counts.sum())       # of any bins
        if least > best * FASTER or raw_bits == 0 and _too_many(merged):
            continue
        bins = find_bins(merged, raw_bits)
        bits = cost(bins, merged)
        if bits <= best * FASTER:
            best, found = min(bits, best), (merged, bins)
    assert found is not None                           # 4 raw bits leave few cells, or 0 does
    return found


def _too_many(cells: Cells) -> bool:
    # Thousands of cells are in use: no 256 bins tell them apart, and raw bits are cheaper.
    return not cells.octaves and int(np.count_nonzero(cells.counts)) > 16 * SYMBOLS_MAX


def _packed(choices: np.ndarray, bits: int) -> bytes:
    fields = (choices[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    return np.packbits(fields.reshape(-1), bitorder="little").tobytes()


# Header


def header_bytes(header: Header, coded: Coded) -> bytes:
    """The header as it stands in a payload (SPEC 9.12.3)."""
    text = [u_bits(len(header.planes) - 1, 3), u_bits(header.bits - 1, 6) if coded.levels else "",
            u_bits(header.group - GROUP_MIN, 4)]
    if coded.exponents:
        text.append("0" if header.top_exponent is None else "1" + u_bits(header.top_exponent, 11))
    for plane in header.planes:
        text += _plane_bits(plane)
    return np.packbits(np.frombuffer("".join(text).encode(), np.uint8) & 1).tobytes()


def _plane_bits(plane: PlaneHeader) -> list[str]:
    raw, narrow = plane.raw_bits, plane.narrow
    text = [u_bits(raw // 4, 2), ue_bits(int(plane.low[0]) >> raw if narrow else 0), ue_bits(narrow),
            ue_bits(len(plane.low) - narrow)]
    above, size = 0, raw
    for low, extra in zip(plane.low[narrow:].tolist(), plane.extra[narrow:].tolist()):
        step, size = raw + extra - size, raw + extra
        text += [se_bits(step), ue_bits((low >> size) - (above + (1 << size) - 1 >> size))]
        above = low + (1 << size)
    if plane.coded:
        text.append(u_bits(plane.tables_log2, 3))
        text += [_frequency_bits(row) for row in plane.frequencies.tolist()]
    return text


def _frequency_bits(frequencies: list[int]) -> str:
    text, size = [], 5
    for frequency in frequencies:
        n = (frequency + 1).bit_length()
        text += [se_bits(n - size), u_bits(frequency + 1 - (1 << n - 1), n - 1)]
        size = n
    return "".join(text)


def encode_bins(words: np.ndarray, coded: Coded, tables: tuple[int, ...] = TABLES, threads: int = 1) -> bytes:
    """The payload of integers: words, flat and unsigned, as differences where there is a predictor (SPEC 9.12).

    coded: count is at least 1; bits of levels hold them all.  tables: numbers of tables that are tried.
    """
    return BinsEncoder(words, coded, tables, threads).payload()
