"""Watches the adaptive contexts and the range coder of SPEC 9.1 to 9.6 (in a process that compiles nothing)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refcodec.entropy import (
    context_coding,
    levels,
    map_loop,
    mixed_coding,
    payload,
    range_coder,
    word_loop,
)

from . import points

KINDS = {"9.5": points.kinds_of_words(), "9.6": points.kinds_of_maps()}
PLACES = {
    clause: [(name, first) for first, end, name in kinds for _ in range(first, end)] for clause, kinds in KINDS.items()
}
CLAUSES = {word_loop.CONTEXTS: "9.5", map_loop.CONTEXTS: "9.6"}


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


class CoderWatch:
    """Replaces the functions that code a bin by watched ones. add: called with each point but those of contexts."""

    def __init__(self, add: Callable[[str], None]):
        self.add, self.carries = add, Carries()
        self.hits: dict[str, bytearray] = {name: bytearray(2 * size) for name, size in {
            "9.5": word_loop.CONTEXTS, "9.6": map_loop.CONTEXTS, "9.3": (levels.BUCKETS + 9) * levels.NODES,
            "A": levels.BUCKETS * levels.NODES, "B": mixed_coding.SIDES**2 * levels.NODES,
            "C": levels.BUCKETS * mixed_coding.RATIOS * levels.NODES}.items()}
        self._watch_probability()
        self._watch_bypass()
        self._watch_contexts()
        self._watch_payloads()

    def take(self) -> set[str]:
        """The contexts met since the last call."""
        found = set()
        for name, hits in self.hits.items():
            for i in np.flatnonzero(np.frombuffer(hits, np.uint8)).tolist():
                found.update(self._names(name, i >> 1, i & 1))
            hits[:] = bytes(len(hits))
        return found

    @staticmethod
    def _names(name: str, i: int, bit: int) -> list[str]:
        if name in ("9.5", "9.6"):
            kind, first = PLACES[name][i]
            return points.context_names(name, kind, i - first, bit) or [f"context:{name}:{kind}:{i}={bit}"]
        place, node = divmod(i, levels.NODES)
        sign, end = node == levels.SIGN, f"={bit}"
        if name == "9.3":
            where = f"place of signs:{place - levels.BUCKETS}" if sign else f"place:{place}"
            return [f"context:9.3:{where}{end}", f"context:9.3:node:{points.NODES[node]}{end}"]
        if sign and name != "C":
            found = [f"{name} place of signs:{place}"]
        else:
            high, low = divmod(place, {"A": 1, "B": mixed_coding.SIDES, "C": mixed_coding.RATIOS}[name])
            found = {"A": [f"A place:{high}"], "B": [f"B side of row:{high}", f"B side of column:{low}"],
                     "C": [f"C scale:{high}", f"C ratio:{low}"]}[name]
        return [f"context:9.4:{x}{end}" for x in (*found, f"{name} node:{points.NODES[node]}")]

    def _watch_probability(self) -> None:
        code = range_coder.code_probability

        def code_probability(mode, r, buf, p, bit):
            bound = (r.range >> 16) * p
            bit, after = code(mode, r, buf, p, bit)
            self._state(r, bound)
            self.carries.low += 0 if bit else bound
            self._shifted("9.1.2", after.pos - r.pos)
            return bit, after

        def mixed(mode, r, buf, p, bit):
            if p in (32, 65504):
                self.add(f"coder:9.4.3:p = {p}")
            return code_probability(mode, r, buf, p, bit)

        range_coder.code_probability = code_probability
        mixed_coding.code_probability = mixed

    def _state(self, r, bound: int) -> None:
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

    def _watch_bypass(self) -> None:
        code = range_coder.code_bypass

        def one(mode, r, buf, value, k):
            rng = r.range >> k
            chunk, after = code(mode, r, buf, value, k)
            self.add(f"coder:9.1.3:{k} bits")
            if k == 8 and chunk in (0, 255):
                self.add("coder:9.1.3:chunk 255" if chunk else "coder:9.1.3:chunk 0 of 8 bits")
            if r.code // rng > chunk:
                self.add("coder:9.1.3:code // range above the chunk")
            self.carries.low += chunk * rng
            self._shifted("9.1.3", after.pos - r.pos)
            return chunk, after

        def code_bypass(mode, r, buf, value, n):
            out = 0
            while n > 0:                                   # the chunks of 9.1.3, one by one
                k = min(n, 8)
                n -= k
                chunk, r = one(mode, r, buf, value >> n & (1 << k) - 1, k)
                out = out << k | chunk
            return out, r

        for module in (range_coder, levels, word_loop):
            module.code_bypass = code_bypass

    def _estimate(self, context: int, limit: int) -> None:
        p, count = context >> 14, context & 1023
        if p < 32:
            self.add("coder:9.2:p clipped to 32")
            if p == 0:
                self.add("coder:9.2:p = 0")
        elif p > 65504:
            self.add("coder:9.2:p clipped to 65504")
        if count == limit:
            self.add(f"coder:9.2:count {limit} of {'levels' if limit == 250 else 'words'}")

    def _watch_contexts(self) -> None:
        code_bin, cm, hits = range_coder.code_bin, mixed_coding._code, self.hits

        def watched_bin(mode, r, buf, contexts, i, bit, limit):
            self._estimate(int(contexts[i]), limit)
            bit, r = code_bin(mode, r, buf, contexts, i, bit, limit)
            hits[CLAUSES.get(len(contexts), "9.3")][2 * i + bit] = 1
            return bit, r

        def mixed(mode, r, buf, model, place, node, bit):
            bit, r = cm(mode, r, buf, model, place, node, bit)
            for name, p in zip("ABC", place):
                hits[name][2 * (p + node) + bit] = 1
            return bit, r

        word_loop.code_bin = context_coding.code_bin = watched_bin
        mixed_coding._code = mixed

    def _watch_payloads(self) -> None:
        begin = payload.decoder_start

        def decoder_start(buf, pos, end):
            self.carries = Carries()
            if end == 1:
                self.add("coder:9.1.4:payload of 1 byte")
            return begin(buf, pos, end)

        payload.decoder_start = decoder_start
