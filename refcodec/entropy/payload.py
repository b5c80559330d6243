"""Payloads of range coding: blocks to bytes and back (SPEC 9.1, 9.10.1).

A payload is one range-coded string and one bypass string.  Its blocks are coded one after another;
contexts persist from block to block, neighbours, means and trellis restart.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..errors import EntropyError
from .modes import Block, PayloadState
from .range_coder import decoder_finish, decoder_start, encoder_finish, encoder_start
from .watch import clause, observer

OK, FULL = 0, 1

# Code, message and requirements of a payload that ends early; a coder's failures are those of its other statuses.
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


def encode_payload(blocks: Sequence[Block]) -> tuple[bytes, bytes]:
    """Code blocks into (coded, bypass). Raises EntropyError OUT_OF_RANGE for a level beyond SPEC 9.3."""
    coded_room = 4096 + sum(b.array.size for b in blocks) * 2
    bypass_room = 64 + sum(b.array.nbytes for b in blocks if b.coder.bypass_rules)
    while True:
        written = _encoded(blocks, coded_room, bypass_room)
        if written is not None:
            return written
        coded_room, bypass_room = coded_room * 3, bypass_room * 2


def _encoded(blocks: Sequence[Block], coded_room: int, bypass_room: int) -> tuple[bytes, bytes] | None:
    # None: not enough room
    buf = np.zeros(coded_room, np.uint8)
    p = PayloadState(encoder_start(buf), buf, np.zeros(bypass_room, np.uint8))
    for block in blocks:
        status = block.coder.encode(block, p, p.contexts(block.coder))
        if status == FULL:
            return None
        if status != OK:
            code, message, _ = block.coder.failures[status]
            raise EntropyError(code, f"{message}; take a larger step")
    if p.r.pos + p.r.pending + 8 > coded_room:
        return None
    end = encoder_finish(p.r, buf)
    return buf[:end].tobytes(), p.raw[: (p.raw_bit + 7) // 8].tobytes()


class PayloadReader(PayloadState):
    """Decodes the blocks of a payload in order, into their arrays.

    Raises EntropyError: ENTROPY_END (payload too short, too long, or not ended as SPEC 9.1.4 says),
    OUT_OF_RANGE (a level or word that does not exist).
    """

    def __init__(self, coded: bytes | memoryview, bypass: bytes | memoryview, unit: int | None = None,
                 bit: int | None = None):
        # Copies: the compiled loops know one type of array, a writable one.
        buf = np.frombuffer(coded, np.uint8).copy()
        super().__init__(decoder_start(buf, 0, len(buf)), buf, np.frombuffer(bypass, np.uint8).copy())
        self.unit, self.first_bit = unit, bit or 0
        self.bypass_rules: set[str] = set()        # of the blocks that have bits in the bypass string
        observer().payload_begins(self)

    def _fail(self, code: str, message: str, rules: str) -> EntropyError:
        position = self.first_bit + 8 * min(int(self.r.pos), len(self.buf))
        return EntropyError(code, message, self.unit, position, rules)

    @clause("9.10.1")
    def read(self, block: Block) -> None:
        """The next block, into its array."""
        observer().block_begins(self, block)
        coder = block.coder
        status = coder.decode(block, self, self.contexts(coder))
        self.bypass_rules.update(coder.bypass_rules)
        if status:
            raise self._fail(*(EARLY_END if self.r.pos > self.r.end + 3 else coder.failures[status]))
        observer().block_ends(self, block)

    @clause("9.10.1")
    def finish(self) -> None:
        """Checks that the payload ends with its last block (SPEC 9.1.4, 9.10.1)."""
        observer().payload_ends(self)
        if not decoder_finish(self.r, self.buf):
            raise self._fail("ENTROPY_END", "SPEC 9.1.4: the payload does not end with its last value", "R9.1.4-1")
        rest = 8 * len(self.raw) - self.raw_bit
        if rest not in range(8) or (rest and int(self.raw[-1]) & ((1 << rest) - 1)):
            raise self._fail("ENTROPY_END", "SPEC 9.10.1: the bypass string does not end with its last bit",
                             " ".join(sorted(self.bypass_rules)) or "R9.10.1-1")
