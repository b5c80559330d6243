"""Payloads: arrays of integers to bytes and back (SPEC 9.1, 9.10).

A payload is one range-coded string and one bypass string.  Its blocks are coded one after another;
contexts persist from block to block, neighbours, means and trellis restart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..bitstream.structures import WordParameters
from ..dtypes import DType
from ..errors import EntropyError, OmcError
from . import map_coding, word_loop
from . import words as word_coding
from .context_coding import decode_levels_cc, encode_levels_cc, new_cc_contexts
from .mixed_coding import decode_levels_cm, encode_levels_cm, new_cm_state
from .range_coder import decoder_finish, decoder_start, encoder_finish, encoder_start

OK, FULL, OUT_OF_RANGE = 0, 1, 2

# Code, message and requirements of a payload that ends early; MEANING of a block has those of its other statuses.
EARLY_END = ("ENTROPY_END", "SPEC 9.1.4: the payload ends before its last value", "R9.1.4-1 R9.1.4-2 R9.3-3")

# A bin takes at least -log2(1 - 32/65536 * 255/256) bits, an element at least one bin: no more than 11398
# elements come from one byte.
ELEMENTS_PER_BYTE = 1 << 14


def check_elements(count: int, coded_size: int) -> None:
    """EntropyError ENTROPY_END where `count` elements cannot come from `coded_size` bytes; for use before they are
    allocated."""
    if count > ELEMENTS_PER_BYTE * coded_size:
        raise EntropyError("ENTROPY_END", f"SPEC 9.1.4: {coded_size} bytes cannot hold {count} elements",
                           rules=EARLY_END[2])


@dataclass
class LevelBlock:
    """Levels int32 [rows, columns] for CC or CM."""

    MEANING: ClassVar = {OUT_OF_RANGE: ("OUT_OF_RANGE", "SPEC 9.3: a level is too large", "R9.3-1")}
    BYPASS_RULES: ClassVar = ()

    levels: np.ndarray
    states: int
    kernel_size: int
    mixed: bool

    @property
    def size(self) -> int:
        return self.levels.size


@dataclass
class WordBlock:
    """Words unsigned [rows, columns], with a predictor of the same shape or None."""

    MEANING: ClassVar = {
        word_loop.MALFORMED: ("OUT_OF_RANGE", "SPEC 9.5.3: a class does not exist", "R9.5-1 R8.4-1"),
        word_loop.RAW_EXHAUSTED: ("ENTROPY_END", "SPEC 9.5.5: the bypass string ends too early", "R9.5-2"),
        word_loop.BAD_SHIFT: ("OUT_OF_RANGE", "SPEC 9.5.3: a row shift is too large", "R9.5-4"),
        word_loop.BAD_ESCAPE: ("OUT_OF_RANGE", "SPEC 9.5.4: an escape is too long", "R9.5-5")
    }
    BYPASS_RULES: ClassVar = ("R9.5-3",)

    words: np.ndarray
    predictor: np.ndarray | None
    dtype: DType
    parameters: WordParameters

    @property
    def size(self) -> int:
        return self.words.size


@dataclass
class MapBlock:
    """Words unsigned [rows, columns] of feature maps, with a predictor of the same shape or None.

    plane_rows: rows of a plane, at least 1.  first_row: where in a plane the block begins, 0 but for later segments.
    """

    MEANING: ClassVar = {
        word_loop.MALFORMED: ("OUT_OF_RANGE", "SPEC 9.6: a class does not exist", "R9.6-3"),
        word_loop.RAW_EXHAUSTED: ("ENTROPY_END", "SPEC 9.6: the bypass string ends too early", "R9.6-2"),
        word_loop.BAD_SHIFT: ("OUT_OF_RANGE", "SPEC 9.6: map_shift is too large", "R9.6-1"),
        word_loop.BAD_ESCAPE: ("OUT_OF_RANGE", "SPEC 9.5.4: an escape is too long", "R9.5-5")
    }
    BYPASS_RULES: ClassVar = ("R9.6-2",)

    words: np.ndarray
    predictor: np.ndarray | None
    dtype: DType
    plane_rows: int
    first_row: int = 0

    @property
    def size(self) -> int:
        return self.words.size


Block = LevelBlock | WordBlock | MapBlock


class _Contexts:
    """The adaptive state of one payload, made when first needed."""

    def __init__(self):
        self._made = {}

    def get(self, make):
        if make not in self._made:
            self._made[make] = make()
        return self._made[make]


class _Writer:
    def __init__(self, coded_room: int, bypass_room: int):
        self.buf = np.zeros(coded_room, np.uint8)
        self.raw = np.zeros(bypass_room, np.uint8)
        self.contexts, self.raw_bit = _Contexts(), 0
        self.r = encoder_start(self.buf)

    def put(self, block: Block) -> int:
        if isinstance(block, WordBlock):
            self.r, self.raw_bit, status = word_coding.encode_words(
                block.words, block.predictor, block.dtype, block.parameters,
                self.contexts.get(word_coding.new_word_contexts), self.r, self.buf, self.raw, self.raw_bit)
        elif isinstance(block, MapBlock):
            self.r, self.raw_bit, status = map_coding.encode_map(
                block.words, block.predictor, block.dtype, block.plane_rows, block.first_row,
                self.contexts.get(map_coding.new_map_contexts), self.r, self.buf, self.raw, self.raw_bit)
        else:
            encode, make = (encode_levels_cm, new_cm_state) if block.mixed else (encode_levels_cc, new_cc_contexts)
            self.r, status = encode(block.levels, block.states, block.kernel_size, self.contexts.get(make), self.r,
                                    self.buf)
        return status


def encode_payload(blocks: Sequence[Block]) -> tuple[bytes, bytes]:
    """Code blocks into (coded, bypass). Raises EntropyError OUT_OF_RANGE for a level beyond SPEC 9.3."""
    size = sum(b.size for b in blocks)
    coded_room = 4096 + size * 2
    bypass_room = 64 + sum(b.words.nbytes for b in blocks if isinstance(b, WordBlock | MapBlock))
    while True:
        writer = _Writer(coded_room, bypass_room)
        for block in blocks:
            status = writer.put(block)
            if status == OUT_OF_RANGE:
                raise EntropyError("OUT_OF_RANGE", "SPEC 9.3: a level is too large; take a larger step")
            if status:
                break
        else:
            if writer.r.pos + writer.r.pending + 8 <= coded_room:
                end = encoder_finish(writer.r, writer.buf)
                return writer.buf[:end].tobytes(), writer.raw[: (writer.raw_bit + 7) // 8].tobytes()
        coded_room, bypass_room = coded_room * 3, bypass_room * 2


class PayloadReader:
    """Decodes the blocks of a payload in order, into their arrays.

    Raises EntropyError: ENTROPY_END (payload too short, too long, or not ended as SPEC 9.1.4 says),
    OUT_OF_RANGE (a level or word that does not exist).
    """

    def __init__(self, coded: bytes, bypass: bytes, unit: int | None = None, bit: int | None = None):
        # Copies: the compiled loops know one type of array, a writable one.
        self.buf = np.frombuffer(coded, np.uint8).copy()
        self.raw = np.frombuffer(bypass, np.uint8).copy()
        self.contexts, self.raw_bit = _Contexts(), 0
        self.unit, self.first_bit = unit, bit or 0
        self.bypass_rules: set[str] = set()        # of the blocks that have bits in the bypass string
        self.r = decoder_start(self.buf, 0, len(self.buf))

    def _fail(self, code: str, message: str, rules: str) -> OmcError:
        position = self.first_bit + 8 * min(int(self.r.pos), len(self.buf))
        return EntropyError(code, message, self.unit, position, rules)

    def read(self, block: Block) -> None:
        if isinstance(block, WordBlock):
            self.r, self.raw_bit, status = word_coding.decode_words(
                block.words, block.predictor, block.dtype, block.parameters,
                self.contexts.get(word_coding.new_word_contexts), self.r, self.buf, self.raw, self.raw_bit)
        elif isinstance(block, MapBlock):
            self.r, self.raw_bit, status = map_coding.decode_map(
                block.words, block.predictor, block.dtype, block.plane_rows, block.first_row,
                self.contexts.get(map_coding.new_map_contexts), self.r, self.buf, self.raw, self.raw_bit)
        else:
            decode, make = (decode_levels_cm, new_cm_state) if block.mixed else (decode_levels_cc, new_cc_contexts)
            self.r, status = decode(block.levels, block.states, block.kernel_size, self.contexts.get(make), self.r,
                                    self.buf)
        self.bypass_rules.update(block.BYPASS_RULES)
        if status:
            code, message, rules = EARLY_END if self.r.pos > self.r.end + 3 else block.MEANING[status]
            raise self._fail(code, message, rules)

    def finish(self) -> None:
        if not decoder_finish(self.r, self.buf):
            raise self._fail("ENTROPY_END", "SPEC 9.1.4: the payload does not end with its last value", "R9.1.4-1")
        rest = 8 * len(self.raw) - self.raw_bit
        if rest not in range(8) or (rest and int(self.raw[-1]) & ((1 << rest) - 1)):
            raise self._fail("ENTROPY_END", "SPEC 9.10.1: the bypass string does not end with its last bit",
                             " ".join(sorted(self.bypass_rules)) or "R9.10.1-1")
