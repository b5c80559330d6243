"""The entropy modes as one table: a mode is a row, and whoever codes goes by it (SPEC 7.7.3, clause 9).

What can be said of a mode without its coder stands beside its name (EntropyMode.facts); a row adds the coder.  There
are two kinds: of modes that are range coded, which code block after block into one payload, and of modes that code a
whole array of integers into one string of bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..bitstream.structures import WORDS, Component, EntropyMode, Quantiser
from ..dtypes import DType
from . import byte_coding, map_coding, map_loop, word_parts, word_steps
from . import words as word_coding
from .bins import Coded, Fetch, Payload, decode_bins
from .bins_encoder import encode_bins
from .bins_plane import FLOAT, PLAIN, SIGNED
from .byte_coding import ByteCoder
from .context_coding import CC, decode_levels_cc, encode_levels_cc, new_cc_contexts
from .fixed_length import decode_fixed, encode_fixed, least_length
from .huffman import decode_huffman, encode_huffman
from .levels import LEVEL_MAX, OUT_OF_RANGE
from .mixed_coding import CM, decode_levels_cm, encode_levels_cm, new_cm_state
from .range_coder import Coder, Strings
from .watch import ContextTable

Failure = tuple[str, str, str]      # code, message and requirements of an error


@dataclass
class Block:
    """Some rows of a component, as a range-coded payload holds them.

    array: words (unsigned) or levels (int32), [rows, columns]; what is decoded goes there.  dtype: of words.
    predictor: words like it, or None.  kernel_size: elements of a kernel in a row.  plane_rows: rows of a plane of a
    map, at least 1; first_row: where in a plane the block begins, 0 but for later segments (SPEC 8.3).
    """

    component: Component
    array: np.ndarray
    dtype: DType
    predictor: np.ndarray | None = None
    kernel_size: int = 1
    plane_rows: int = 1
    first_row: int = 0

    @property
    def words(self) -> bool:
        """True for words, False for levels."""
        return self.component.quantiser in WORDS

    @property
    def states(self) -> int:
        """Of the trellis of levels; 0 without."""
        return self.component.uniform.states if self.component.quantiser == Quantiser.UNIFORM else 0

    @property
    def coder(self) -> BlockCoder:
        return range_coded(self.component.entropy_mode, self.words)

    @property
    def clause(self) -> str | None:
        """Of SPEC, that says how the block is coded."""
        facts = EntropyMode(self.component.entropy_mode).facts
        return facts.words if self.words else facts.levels


class PayloadState(Strings):
    """How far a payload is coded. Contexts are made when a coder is first used, and persist from block to block."""

    def __init__(self, r: Coder, buf: np.ndarray, raw: np.ndarray):
        super().__init__(r, buf, raw)
        self._contexts: dict[BlockCoder, Any] = {}

    def contexts(self, coder: BlockCoder) -> Any:
        if coder not in self._contexts:
            self._contexts[coder] = coder.new_contexts()
        return self._contexts[coder]


@dataclass(frozen=True, eq=False)
class BlockCoder:
    """How blocks of words, or of levels, become bins.

    table: what its contexts are for.  new_contexts(): the adaptive state at the start of a payload.
    encode, decode(block, payload, contexts): the next block; 0, or a status.  Status 1: of an encoder, that a buffer is
    too small (all is coded anew with larger ones); of a decoder, that the payload ended.
    failures: of the other statuses.  bypass_rules: the requirements on the bypass string, where blocks use it.
    largest: magnitude of levels.
    """

    table: ContextTable
    new_contexts: Callable[[], Any]
    encode: Callable[[Block, PayloadState, Any], int]
    decode: Callable[[Block, PayloadState, Any], int]
    failures: Mapping[int, Failure]
    bypass_rules: tuple[str, ...] = ()
    largest: int = LEVEL_MAX


@dataclass(frozen=True)
class RangeCoded:
    """A mode that is range coded: its coders of words and of levels, None where it has none."""

    words: BlockCoder | None = None
    levels: BlockCoder | None = None


@dataclass(frozen=True)
class Whole:
    """A component whose integers are one string.

    dtype: of words, None for levels.  predictor: words like them, any shape, of which the integers are differences, or
    None.  alphabet_limit: codebook_size of the level.
    """

    component: Component
    dtype: DType | None
    predictor: np.ndarray | None = None
    alphabet_limit: int = 0
    threads: int = 1


Opener = Callable[[Whole, Fetch, int], Payload]      # of a payload and its size: reads its header. Raises EntropyError


@dataclass(frozen=True)
class WholeArray:
    """A mode that codes all integers of a component into one string.

    encode(whole, integers): the string of integers of any shape, row-major: words (or their differences), or levels.
    Sets the mode's syntax elements in the component.  Raises EntropyError.
    decode(whole, data): the integers, one dimension: unsigned words (or their differences), or signed levels.  Raises
    EntropyError, OUT_OF_RANGE or ENTROPY_END.
    word_rule: the requirement that words fit their type; "" where they do by themselves.  most_values: different ones
    that the encoder codes, None: any number.  byte_coder: of the modes that lay integers out as bytes.  predicts: the
    decoder gives words, not differences.  open: of a mode whose chunks are independent of each other.
    """

    encode: Callable[[Whole, np.ndarray], bytes]
    decode: Callable[[Whole, bytes], np.ndarray]
    word_rule: str
    most_values: int | None = None
    byte_coder: ByteCoder | None = None
    predicts: bool = False
    open: Opener | None = None


# Range coded

def _level_coder(table: ContextTable, new_contexts: Callable[[], Any], encode: Callable[..., Any],
                 decode: Callable[..., Any]) -> BlockCoder:
    """encode, decode(levels, states, kernel_size, contexts, r, buf): (r, status)."""
    def run(code: Callable[..., Any]) -> Callable[[Block, PayloadState, Any], int]:
        def block_by_block(block: Block, p: PayloadState, contexts: Any) -> int:
            p.r, status = code(block.array, block.states, block.kernel_size, contexts, p.r, p.buf)
            return int(status)
        return block_by_block

    return BlockCoder(table, new_contexts, run(encode), run(decode),
                      {OUT_OF_RANGE: ("OUT_OF_RANGE", "SPEC 9.3: a level is too large", "R9.3-1")})


def _encode_words(block: Block, p: PayloadState, contexts: Any) -> int:
    return word_coding.encode_words(block.array, block.predictor, block.dtype, block.component.word, contexts, p)


def _decode_words(block: Block, p: PayloadState, contexts: Any) -> int:
    return word_coding.decode_words(block.array, block.predictor, block.dtype, block.component.word, contexts, p)


def _encode_map(block: Block, p: PayloadState, contexts: Any) -> int:
    return map_coding.encode_map(block.array, block.predictor, block.dtype, contexts, p, plane_rows=block.plane_rows,
                                 first_row=block.first_row)


def _decode_map(block: Block, p: PayloadState, contexts: Any) -> int:
    return map_coding.decode_map(block.array, block.predictor, block.dtype, contexts, p, plane_rows=block.plane_rows,
                                 first_row=block.first_row)


WORD_FAILURES = {
    word_parts.MALFORMED: ("OUT_OF_RANGE", "SPEC 9.5.3: a class does not exist", "R9.5-1 R8.4-1"),
    word_parts.RAW_EXHAUSTED: ("ENTROPY_END", "SPEC 9.5.5: the bypass string ends too early", "R9.5-2"),
    word_parts.BAD_SHIFT: ("OUT_OF_RANGE", "SPEC 9.5.3: a row shift is too large", "R9.5-4"),
    word_parts.BAD_ESCAPE: ("OUT_OF_RANGE", "SPEC 9.5.4: an escape is too long", "R9.5-5")
}
MAP_FAILURES = {
    word_parts.MALFORMED: ("OUT_OF_RANGE", "SPEC 9.6: a class does not exist", "R9.6-3"),
    word_parts.RAW_EXHAUSTED: ("ENTROPY_END", "SPEC 9.6: the bypass string ends too early", "R9.6-2"),
    word_parts.BAD_SHIFT: ("OUT_OF_RANGE", "SPEC 9.6: map_shift is too large", "R9.6-1"),
    word_parts.BAD_ESCAPE: ("OUT_OF_RANGE", "SPEC 9.5.4: an escape is too long", "R9.5-5")
}


# Whole arrays

def _decode_huffman(w: Whole, data: bytes) -> np.ndarray:
    return decode_huffman(data, w.component.word_count, np.int64 if w.dtype is None else w.dtype.word, w.alphabet_limit)


def _encode_fixed(w: Whole, integers: np.ndarray) -> bytes:
    w.component.fixed_length = least_length(integers, w.dtype is None)
    return encode_fixed(integers, w.component.fixed_length, w.dtype is None)


def _decode_fixed(w: Whole, data: bytes) -> np.ndarray:
    return decode_fixed(data, w.component.word_count, w.component.fixed_length, w.dtype is None,
                        np.int64 if w.dtype is None else w.dtype.word)


def _bytes(coder: ByteCoder, word_rule: str = "R9.9.1-1") -> WholeArray:
    """A mode that lays integers out as bytes for a coder of bytes (SPEC 9.9.1)."""
    def encode(w: Whole, integers: np.ndarray) -> bytes:
        data, width, planes = byte_coding.best_bytes(integers, coder, w.dtype is None)
        w.component.byte.byte_planes_flag = int(planes)
        if w.dtype is None:
            w.component.byte.level_bytes_log2 = width.bit_length() - 1
        return data

    def decode(w: Whole, data: bytes) -> np.ndarray:
        byte = w.component.byte
        width = 1 << byte.level_bytes_log2 if w.dtype is None else w.dtype.word.itemsize
        return byte_coding.decode_bytes(data, w.component.word_count, coder, width, w.dtype is None,
                                        bool(byte.byte_planes_flag))

    return WholeArray(encode, decode, word_rule, byte_coder=coder)


def _bins_of(w: Whole) -> Coded:
    """What a payload of BINS codes (SPEC 9.12.2)."""
    c, dtype = w.component, w.dtype
    if dtype is None:
        states = c.uniform.states if c.quantiser == Quantiser.UNIFORM else 0
        return Coded(c.word_count, 0, SIGNED, levels=True, states=states)
    floating = dtype.kind == "f" and dtype.sign
    if w.predictor is not None:
        return Coded(c.word_count, dtype.bits, SIGNED, predictor=np.ascontiguousarray(w.predictor).reshape(-1),
                     mantissa=dtype.mantissa, exponent_bits=dtype.exponent if floating else 0)
    return Coded(c.word_count, dtype.bits, FLOAT if floating else SIGNED if dtype.kind == "i" else PLAIN)


def _encode_bins(w: Whole, integers: np.ndarray) -> bytes:
    coded = replace(_bins_of(w), count=integers.size)
    if w.dtype is None:
        coded = replace(coded, bits=max(int(integers.max()), ~int(integers.min())).bit_length() + 1)
    return encode_bins(np.ascontiguousarray(integers).reshape(-1), coded, threads=w.threads)


def _decode_bins(w: Whole, data: bytes) -> np.ndarray:
    return decode_bins(np.frombuffer(data, np.uint8), _bins_of(w), None if w.dtype is None else w.dtype.word, w.threads)


def _open_bins(w: Whole, fetch: Fetch, size: int) -> Payload:
    return Payload(fetch, size, _bins_of(w), None if w.dtype is None else w.dtype.word)


# The table

MODES: dict[EntropyMode, RangeCoded | WholeArray] = {
    EntropyMode.RAW: _bytes(byte_coding.RAW, "R9.10.2-2"),
    EntropyMode.CC: RangeCoded(
        words=BlockCoder(word_steps.WORDS, word_coding.new_word_contexts, _encode_words, _decode_words, WORD_FAILURES,
                         ("R9.5-3",)),
        levels=_level_coder(CC, new_cc_contexts, encode_levels_cc, decode_levels_cc)),
    EntropyMode.CM: RangeCoded(levels=_level_coder(CM, new_cm_state, encode_levels_cm, decode_levels_cm)),
    EntropyMode.MAP: RangeCoded(
        words=BlockCoder(map_loop.MAPS, map_coding.new_map_contexts, _encode_map, _decode_map, MAP_FAILURES,
                         ("R9.6-2",))),
    EntropyMode.HUFFMAN: WholeArray(lambda w, integers: encode_huffman(integers), _decode_huffman, "R9.7.1-4",
                                    most_values=4095),
    EntropyMode.FIXED: WholeArray(_encode_fixed, _decode_fixed, "R9.8-2"),
    EntropyMode.DEFLATE: _bytes(byte_coding.DEFLATE),
    EntropyMode.GZIP: _bytes(byte_coding.GZIP),
    EntropyMode.BZIP2: _bytes(byte_coding.BZIP2),
    EntropyMode.LZMA: _bytes(byte_coding.LZMA),
    EntropyMode.BINS: WholeArray(_encode_bins, _decode_bins, "", predicts=True, open=_open_bins),
}


def range_coded(mode: int, words: bool) -> BlockCoder:
    """The coder of blocks of words, or of levels, of a mode. ValueError: it has none."""
    row = MODES[EntropyMode(mode)]
    coder = (row.words if words else row.levels) if isinstance(row, RangeCoded) else None
    if coder is None:
        raise ValueError(f"{EntropyMode(mode).name} codes no blocks of {'words' if words else 'levels'}")
    return coder


def whole_array(mode: int) -> WholeArray:
    """The row of a mode that is not range coded. ValueError: it is."""
    row = MODES[EntropyMode(mode)]
    if not isinstance(row, WholeArray):
        raise ValueError(f"{EntropyMode(mode).name} is range coded")
    return row


def opener(mode: int) -> Opener | None:
    """What opens a payload of a mode whose chunks are independent of each other; None: it is another mode."""
    row = MODES[EntropyMode(mode)]
    return row.open if isinstance(row, WholeArray) else None
