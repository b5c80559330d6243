"""Components: coded arrays, from payloads to integers and from integers to words (SPEC 8.3 to 8.5)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from ..bitstream.derive import segment_borders
from ..bitstream.structures import RANGE_CODED, Component, Quantiser
from ..bitstream.units import ByteSource, Unit
from ..dtypes import BY_NAME, DType
from ..entropy.modes import Block, Opener, Whole, whole_array
from ..entropy.payload import PayloadReader, check_elements
from ..entropy.words import add_difference
from ..errors import EntropyError, ReconstructionError
from ..parallel import run_all
from ..prediction.neighbours import Neighbours
from ..quantization.values import Place, check_words, indices, levels_type, step_of, values
from .factors import Factor

LEVEL_LIMIT = 1 << 31      # of levels of 32 bits


@dataclass
class Layout:
    """What the loops know of a matrix. kernel_size: elements of a kernel in a row; plane_rows: rows of a plane (SPEC
    8.3).

    neighbours: what indices are predicted from, or None.
    """

    dtype: DType
    kernel_size: int = 1
    plane_rows: int = 1
    neighbours: Neighbours | None = None


class _Room(threading.local):
    """What a thread reads a part of a payload into."""

    bytes = bytearray()


_ROOM = _Room()


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

    @property
    def size(self) -> int:
        """Bytes of the payload of a component without entry points."""
        return self.places[0][1]

    def fetch(self, first: int, count: int) -> np.ndarray:
        """Bytes of that payload (uint8, read-only). Those of a file stay until the thread fetches again."""
        offset = self.places[0][0] + first
        if len(_ROOM.bytes) < count:
            _ROOM.bytes = bytearray(count)
        data = np.frombuffer(self.source.view(offset, count, _ROOM.bytes), np.uint8)
        data.flags.writeable = False
        return data

    def bit(self) -> int:
        """Where that payload begins in its unit."""
        return 8 * (self.places[0][0] - self.unit.body_offset)


@dataclass
class Segment:
    """The rows of a component that one payload holds. reader: of a payload that is range coded, else None."""

    component: Component
    layout: Layout
    payloads: Payloads
    rows: slice
    reader: PayloadReader | None
    threads: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.component.column_count

    @property
    def place(self) -> Place:
        return Place(self.rows.start, self.layout.plane_rows, self.layout.neighbours)

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
        if c.quantiser == Quantiser.NONE:
            _read_words(s, out[s.rows], layout.dtype, base)
        else:
            out[s.rows] = values(c, _read_integers(s), layout.dtype, base, s.place)

    _segments(c, layout, payloads, decode, threads)
    return out


def decode_levels(c: Component, layout: Layout, payloads: Payloads, threads: int = 1) -> np.ndarray:
    """The levels of a component that has no words: [rows, columns], int32, or int64 for DECIMAL."""
    out = np.zeros((c.row_count, c.column_count), levels_type(c))

    def decode(s: Segment) -> None:
        out[s.rows] = _read_levels(s)

    _segments(c, layout, payloads, decode, threads)
    return out


def decode_integers(c: Component, layout: Layout, payloads: Payloads, predictor: np.ndarray | None,
                    threads: int = 1) -> np.ndarray:
    """What a component codes, before it becomes values: its words, the halves of its grid, or its levels.

    predictor: the words of which words are coded as differences, or None.
    """
    if c.quantiser == Quantiser.NONE:
        return decode_words(c, layout, payloads, predictor, threads)
    out = np.zeros((c.row_count, c.column_count), np.uint16 if c.quantiser == Quantiser.GRID else levels_type(c))

    def decode(s: Segment) -> None:
        out[s.rows] = _read_integers(s)

    _segments(c, layout, payloads, decode, threads)
    return out


def decode_factor(c: Component, layout: Layout, payloads: Payloads, threads: int = 1) -> Factor:
    """A component of indices and their step (SPEC 8.6)."""
    out = np.zeros((c.row_count, c.column_count), np.int64)

    def decode(s: Segment) -> None:
        out[s.rows] = indices(c, _read_levels(s), s.place)

    _segments(c, layout, payloads, decode, threads)
    return Factor(out, *step_of(c))


def factor_of(c: Component, levels: np.ndarray) -> Factor:
    """The factor that levels [rows, columns] of a component stand for."""
    return Factor(indices(c, levels), *step_of(c))


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
            decode(Segment(c, layout, payloads, slice(borders[e], borders[e + 1]), reader, threads))
        if own and reader:
            reader.finish()

    run_all(segment, range(entries), threads)


# Integers

def _read_integers(s: Segment) -> np.ndarray:
    """What values() takes: the levels of a segment, or the halves of a grid."""
    if s.component.quantiser != Quantiser.GRID:
        return _read_levels(s)
    half = BY_NAME["float16"]
    return _read_words(s, np.empty(s.shape, half.word), half)


def _read_words(s: Segment, out: np.ndarray, dtype: DType, predictor: np.ndarray | None = None) -> np.ndarray:
    """`out`, filled with the words of a segment; differences from the predictor are added up."""
    mode = s.component.entropy_mode
    if out.size == 0:
        return out
    if mode in RANGE_CODED:
        return s.read(out, dtype, predictor)
    row = whole_array(mode)
    if row.open is not None:
        _read_chunks(s, out, dtype, predictor, row.open)
        return out
    out[...] = _integers(s, dtype, predictor).reshape(out.shape)
    if row.word_rule:
        check_words(out, dtype, row.word_rule)
    if predictor is not None and not row.predicts:
        add_difference(out, predictor, dtype)
    return out


def _read_chunks(s: Segment, out: np.ndarray, dtype: DType, predictor: np.ndarray | None, open_payload: Opener) -> None:
    """The words of a component whose chunks are independent, straight into `out`, which is C-contiguous."""
    with _bit_of(s):
        payload = open_payload(Whole(s.component, dtype, predictor), s.payloads.fetch, s.payloads.size)
        flat = out.reshape(-1)
        run_all(lambda c: payload.decode(range(c, c + 1), flat[payload.coded.chunk(c)]), range(payload.coded.chunks),
                s.threads)


def _read_levels(s: Segment) -> np.ndarray:
    """The levels of a segment, of levels_type()."""
    c = s.component
    if 0 in s.shape or not c.coded_flag:
        return np.zeros(s.shape, levels_type(c))
    if c.entropy_mode in RANGE_CODED:
        return s.read(np.empty(s.shape, np.int32), s.layout.dtype)
    levels = _integers(s, None, None).reshape(s.shape)
    if levels_type(c) == np.int64:
        return levels.astype(np.int64, copy=False)
    if not -LEVEL_LIMIT <= int(levels.min()) <= int(levels.max()) < LEVEL_LIMIT:
        raise ReconstructionError("OUT_OF_RANGE", "SPEC 9.10.1: a level is beyond 32 bits", rules="R9.10.1-2")
    return levels.astype(np.int32, copy=False)


def _integers(s: Segment, dtype: DType | None, predictor: np.ndarray | None) -> np.ndarray:
    # The whole component, in row-major order; dtype: of words, None for levels
    whole = Whole(s.component, dtype, predictor, s.payloads.alphabet_limit, s.threads)
    with _bit_of(s):
        return whole_array(s.component.entropy_mode).decode(whole, s.payloads.whole())


@contextmanager
def _bit_of(s: Segment) -> Iterator[None]:
    """Errors of the payload tell where it begins."""
    try:
        yield
    except EntropyError as error:
        error.bit = s.payloads.bit() if error.bit is None else error.bit
        raise
