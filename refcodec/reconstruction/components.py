"""Components: coded arrays, from payloads to integers and from integers to words (SPEC 8.3 to 8.5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..bitstream.derive import segment_borders
from ..bitstream.structures import RANGE_CODED, Component, Quantiser
from ..bitstream.units import ByteSource, Unit
from ..dtypes import BY_NAME, DType
from ..entropy.modes import Block, whole_array
from ..entropy.payload import PayloadReader, check_elements
from ..entropy.watch import observer
from ..entropy.words import add_difference
from ..errors import EntropyError, OmcError, ReconstructionError
from ..parallel import run_all
from ..prediction.spatial import add_spatial
from ..quantization.codebook import reconstruct_codebook
from ..quantization.decimal import reconstruct_decimal
from ..quantization.fixed_point import check_width
from ..quantization.grid import reconstruct_grid
from ..quantization.uniform import indices, reconstruct, reconstruct_indices
from .factors import Factor

LEVEL_LIMIT = 1 << 31      # of all quantisers but DECIMAL


@dataclass
class Layout:
    """What the loops know of a matrix. kernel_size: elements of a kernel in a row; plane_rows: rows of a plane (SPEC
    8.3).

    spatial_predictor: None without spatial prediction.
    """

    dtype: DType
    kernel_size: int = 1
    plane_rows: int = 1
    spatial_predictor: int | None = None


@dataclass
class Payloads:
    """The payloads of one component in a stream. joined: the reader of a joined unit, or None."""

    source: ByteSource
    unit: Unit
    places: list[tuple[int, int, int]]         # offset, coded_size, bypass_size of each entry point
    joined: PayloadReader | None = None
    alphabet_limit: int = 0                    # codebook_size of the level

    def reader(self, e: int) -> PayloadReader:
        offset, coded, bypass = self.places[e]
        data = memoryview(self.source.read(offset, coded + bypass))
        return PayloadReader(data[:coded], data[coded:], self.unit.number, 8 * (offset - self.unit.body_offset))

    def whole(self) -> bytes:
        offset, coded, _ = self.places[0]
        return self.source.read(offset, coded)

    def bit(self) -> int:
        return 8 * (self.places[0][0] - self.unit.body_offset)


@dataclass
class Segment:
    """The rows of a component that one payload holds. reader: of a payload that is range coded, else None."""

    component: Component
    layout: Layout
    payloads: Payloads
    rows: slice
    reader: PayloadReader | None

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.component.column_count

    def read(self, array: np.ndarray, dtype: DType, predictor: np.ndarray | None = None) -> np.ndarray:
        """The array, filled with the block that comes next in the payload."""
        assert self.reader is not None
        planes = self.layout.plane_rows
        self.reader.read(Block(self.component, array, dtype, predictor, self.layout.kernel_size, planes,
                               self.rows.start % planes))
        return array


def decode_words(c: Component, layout: Layout, payloads: Payloads, predictor: np.ndarray | None,
                 threads: int = 1) -> np.ndarray:
    """The words of a component of values: unsigned [rows, columns]. predictor: like it, or None."""
    out = np.zeros((c.row_count, c.column_count), layout.dtype.word)

    def decode(s: Segment) -> None:
        base = None if predictor is None else predictor[s.rows]
        if c.words_flag:
            _read_words(s, out[s.rows], base)
        else:
            _values(c, layout, _read_levels(s), base, s.rows, out[s.rows])

    _segments(c, layout, payloads, decode, threads)
    return out


def decode_levels(c: Component, layout: Layout, payloads: Payloads, threads: int = 1) -> np.ndarray:
    """The levels of a component that has no words: [rows, columns], int32, or int64 for DECIMAL."""
    out = np.zeros((c.row_count, c.column_count), np.int64 if c.quantiser == Quantiser.DECIMAL else np.int32)

    def decode(s: Segment) -> None:
        out[s.rows] = _read_levels(s)

    _segments(c, layout, payloads, decode, threads)
    return out


def decode_factor(c: Component, layout: Layout, payloads: Payloads, threads: int = 1) -> Factor:
    """A component of indices and their step (SPEC 8.6)."""
    out = np.zeros((c.row_count, c.column_count), np.int64)

    def decode(s: Segment) -> None:
        out[s.rows] = _indices(c, _read_levels(s), layout, s.rows)

    _segments(c, layout, payloads, decode, threads)
    return Factor(out, *step_of(c))


def _segments(c: Component, layout: Layout, payloads: Payloads, decode: Callable[[Segment], None],
              threads: int) -> None:
    # decode(segment) for each; the reader of a range-coded payload is checked to be at its end
    entries = c.entry_count_minus1 + 1
    borders = segment_borders(c.row_count, entries)
    own = c.coded_flag and c.entropy_mode in RANGE_CODED and payloads.joined is None
    for e in range(entries if own else 0):
        check_elements((borders[e + 1] - borders[e]) * c.column_count, payloads.places[e][1])

    def segment(e: int) -> None:
        reader = payloads.reader(e) if own else payloads.joined
        with np.errstate(all="ignore"):          # what damage makes of values is told by rules, not by warnings
            decode(Segment(c, layout, payloads, slice(borders[e], borders[e + 1]), reader))
        if own and reader:
            reader.finish()

    run_all(segment, range(entries), threads)


# Integers

def _read_words(s: Segment, out: np.ndarray, predictor: np.ndarray | None) -> None:
    c, grid = s.component, s.component.quantiser == Quantiser.GRID
    if out.size == 0:
        return
    dtype = BY_NAME["float16"] if grid else s.layout.dtype
    words = np.empty(out.shape, dtype.word) if grid else out
    if c.entropy_mode in RANGE_CODED:
        s.read(words, dtype, predictor)
    else:
        words[...] = _integers(c, s.payloads, dtype).reshape(out.shape)
        _check_words(words, dtype, whole_array(c.entropy_mode).word_rule)
        if predictor is not None:
            add_difference(words, predictor, dtype)
    if grid:
        observer().values_begin(c)
        scales = np.frombuffer(c.grid_scales, "<f4")[s.rows].astype(np.float32)
        out[...] = reconstruct_grid(words, scales).view(np.uint32)


def _read_levels(s: Segment) -> np.ndarray:
    """Levels of a segment: int32, or integers of up to 64 bits for DECIMAL."""
    c = s.component
    if 0 in s.shape or not c.coded_flag:
        return np.zeros(s.shape, np.int32)
    if c.entropy_mode in RANGE_CODED:
        return s.read(np.empty(s.shape, np.int32), s.layout.dtype)
    levels = _integers(c, s.payloads, None).reshape(s.shape)
    if c.quantiser == Quantiser.DECIMAL:
        return levels.astype(np.int64, copy=False)
    if not -LEVEL_LIMIT <= int(levels.min()) <= int(levels.max()) < LEVEL_LIMIT:
        raise ReconstructionError("OUT_OF_RANGE", "SPEC 9.10.1: a level is beyond 32 bits", rules="R9.10.1-2")
    return levels.astype(np.int32, copy=False)


def _integers(c: Component, payloads: Payloads, dtype: DType | None) -> np.ndarray:
    # The whole component, in row-major order; dtype: of words, None for levels
    try:
        return whole_array(c.entropy_mode).decode(c, payloads.whole(), dtype, payloads.alphabet_limit)
    except OmcError as error:
        if isinstance(error, EntropyError) and error.bit is None:
            error.bit = payloads.bit()
        raise


def _check_words(words: np.ndarray, dtype: DType, rule: str) -> None:
    if dtype.bits < 8 * dtype.word.itemsize and int(words.max()) >> dtype.bits:
        raise ReconstructionError("OUT_OF_RANGE", f"SPEC 5.2: a word is no {dtype.name}", rules=rule)


# Values

def step_of(c: Component) -> tuple[int, int]:
    """Mantissa and exponent of the step of a quantiser whose values are index * step."""
    if c.quantiser == Quantiser.FIXED_POINT:
        return 1, -c.fixed_point.fraction_bits
    return c.uniform.step_mantissa, c.uniform.step_exponent


def _indices(c: Component, levels: np.ndarray, layout: Layout, part: slice) -> np.ndarray:
    """Levels of a segment to int64 indices, of which each stands for index * step (SPEC 8.5.4, 8.5.9, 8.5.10,
    8.7.1)."""
    if c.quantiser == Quantiser.INTEGER_CODEBOOK:
        codebook = np.array(c.integer_codebook.codebook_integer, np.int64)
        return reconstruct_codebook(levels, codebook, c.integer_codebook.zero_index, "R8.5-11")
    if layout.spatial_predictor is not None:
        n = add_spatial(levels, layout.spatial_predictor, layout.plane_rows, part.start % layout.plane_rows)
    else:
        n = indices(levels, c.uniform.states if c.quantiser == Quantiser.UNIFORM else 0)
    if c.quantiser == Quantiser.FIXED_POINT:
        check_width(n, c.fixed_point.fixed_point_width)
    return n


def _values(c: Component, layout: Layout, levels: np.ndarray, predictor: np.ndarray | None, part: slice,
            out: np.ndarray) -> None:
    """Levels of a segment to words, in place (SPEC 8.5)."""
    observer().values_begin(c)
    if levels.size == 0:
        return
    dtype, base = layout.dtype, None if predictor is None else predictor.view(layout.dtype.numpy)
    if c.quantiser == Quantiser.CODEBOOK:
        codebook = np.frombuffer(c.codebook.codebook_words, dtype.word.newbyteorder("<")).astype(dtype.word)
        _check_words(codebook, dtype, "R7.7.5-1")
        values = reconstruct_codebook(levels, codebook, c.codebook.zero_index, "R8.5-7")
    elif c.quantiser == Quantiser.DECIMAL:
        values = reconstruct_decimal(levels.astype(np.int64, copy=False), c.decimal_exponent, dtype, base)
    elif c.quantiser == Quantiser.UNIFORM and layout.spatial_predictor is None:
        values = reconstruct(levels, c.uniform.states, *step_of(c), dtype, base)       # in pieces: one index at a time
    else:
        values = reconstruct_indices(_indices(c, levels, layout, part), *step_of(c), dtype, base)
    out[...] = values.view(dtype.word)
