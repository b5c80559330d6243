"""Watches the adaptive contexts and the range coder of SPEC 9.1 to 9.6 (in a process that compiles nothing)."""

from __future__ import annotations

from collections.abc import Callable

from refcodec.entropy.modes import Block
from refcodec.entropy.payload import PayloadReader
from refcodec.entropy.range_coder import PROBABILITY_MAX, PROBABILITY_MIN, Coder, code_bypass
from refcodec.entropy.tables import MIX_MAX, MIX_MIN
from refcodec.entropy.watch import DECODE, NOBODY, ContextTable, Observer, watching


class Carries:
    """The encoder of 9.1.4 beside the decoder: what it held back when it made these bytes."""

    def __init__(self):
        self.low, self.cache, self.pending = 0, -1, 0

    def put(self, add: Callable[[str], None]) -> None:
        if 0xFF000000 <= self.low <= 0xFFFFFFFF:
            self.pending += 1
        else:
            held = "one 0xFF" if self.pending == 1 else "two 0xFF or more"
            if self.low >> 32:
                add(f"coder:9.1.4:carry through {held}" if self.pending else "coder:9.1.4:carry into a byte")
            elif self.pending:
                add(f"coder:9.1.4:{held} without carry")
            self.cache, self.pending = self.low >> 24 & 255, 0
        self.low = (self.low & 0xFFFFFF) << 8


class CoderWatch(Observer):
    """Looks at the bins and bypass bits of a decoder. add: called with each point but those of contexts."""

    def __init__(self, add: Callable[[str], None]):
        self.add, self.carries = add, Carries()
        self.met: set[tuple[ContextTable, int, int, int]] = set()

    def take(self) -> set[str]:
        """The points of contexts met since the last call."""
        found = {f"context:{table.clause}:{point}" for table, among, i, bit in self.met
                 for point in table.points(i, bit, among)}
        self.met.clear()
        return found

    # What the decoder tells

    def payload_begins(self, payload: PayloadReader) -> None:
        self.payload, self.carries = payload, Carries()
        if len(payload.buf) == 1:
            self.add("coder:9.1.4:payload of 1 byte")

    def block_begins(self, payload: PayloadReader, block: Block) -> None:
        self.payload, self.table = payload, block.coder.table

    def bin(self, contexts: list[tuple[int, int]], p: int, value: int, before: Coder, after: Coder) -> None:
        bound = (before.range >> 16) * p
        self._state(before, bound)
        self.carries.low += 0 if value else bound
        self._shifted("9.1.2", after.pos - before.pos)
        self.met.update((self.table, among, i, value) for among, (i, _) in enumerate(contexts))
        if len(contexts) == 1:
            self._estimate(contexts[0][1])
        elif p in (MIX_MIN, MIX_MAX):
            self.add(f"coder:9.4.3:p = {p}")

    def bypass(self, n: int, value: int, before: Coder, after: Coder) -> None:
        r = before
        while n > 0:                                    # the chunks of 9.1.3 are decoded again, one by one
            k = min(n, 8)
            n -= k
            with watching(NOBODY):
                chunk, after = code_bypass(DECODE, r, self.payload.buf, k, 0)
            self.add(f"coder:9.1.3:{k} bits")
            if k == 8 and chunk in (0, 255):
                self.add("coder:9.1.3:chunk 255" if chunk else "coder:9.1.3:chunk 0 of 8 bits")
            rng = r.range >> k
            if r.code // rng > chunk:
                self.add("coder:9.1.3:code // range above the chunk")
            self.carries.low += chunk * rng
            self._shifted("9.1.3", after.pos - r.pos)
            r = after

    # Points

    def _state(self, r: Coder, bound: int) -> None:
        rng, code, add = r.range, r.code, self.add
        if bound - 1 <= code <= bound:
            add("coder:9.1.2:code = bound" if code == bound else "coder:9.1.2:code = bound - 1")
        if code == 0 or code == rng - 1:
            add("coder:9.1.2:code = range - 1" if code else "coder:9.1.2:code = 0")
        if rng < (1 << 24) + (1 << 16):
            add("coder:9.1.2:range below 2^24 + 2^16")
            if rng == 1 << 24:
                add("coder:9.1.2:range = 2^24")
        elif rng >= (1 << 32) - (1 << 16):
            add("coder:9.1.2:range from 2^32 - 2^16 on")
            if rng == 0xFFFFFFFF:
                add("coder:9.1.2:range = 2^32 - 1")

    def _shifted(self, clause: str, count: int) -> None:
        self.add(f"coder:{clause}:{count} bytes shifted in")
        for _ in range(count):
            self.carries.put(self.add)

    def _estimate(self, state: int) -> None:
        p, count = state >> 14, state & 1023
        if p < PROBABILITY_MIN:
            self.add("coder:9.2:p clipped to 32")
            if p == 0:
                self.add("coder:9.2:p = 0")
        elif p > PROBABILITY_MAX:
            self.add("coder:9.2:p clipped to 65504")
        if count == self.table.count_limit:
            self.add(f"coder:9.2:count {count} of {'levels' if self.table.structure == 'level' else 'words'}")
