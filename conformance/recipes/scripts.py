"""Payloads written element by element, legal or not: bins with their contexts as numbers of SPEC 9, or single bits.

The contexts of a script are those that SPEC gives for the values before; nothing here knows what a value means. That a
script is right is shown by its legal form, which is the payload that the encoder makes of the same values.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from refcodec.entropy.levels import NODES
from refcodec.entropy.mixed_coding import new_cm_state
from refcodec.entropy.range_coder import (
    LEVEL_COUNT_LIMIT,
    WORD_COUNT_LIMIT,
    adapted,
    code_bin,
    code_bypass,
    code_probability,
    encoder_finish,
    encoder_start,
    new_contexts,
)
from refcodec.entropy.tables import SQUASH, STRETCH
from refcodec.entropy.watch import ENCODE

ROOM = 1 << 12          # bytes; scripts are short
WORD_CONTEXTS, MAP_CONTEXTS = 2207, 3792
LEVEL_CONTEXTS = (134 + 9) * NODES


class BinScript:
    """Bins with contexts of one set: words (9.5), maps (9.6) or levels (9.3)."""

    def __init__(self, contexts: int, limit: int = WORD_COUNT_LIMIT):
        self._contexts, self._limit = new_contexts(contexts), limit
        self._buf = np.zeros(ROOM, np.uint8)
        self._coder = encoder_start(self._buf)

    def bins(self, context: int, *bits: int) -> BinScript:
        """Bins that all have one context."""
        for bit in bits:
            _, self._coder = code_bin(ENCODE, self._coder, self._buf, self._contexts, context, self._limit, bit)
        return self

    def unary(self, first: int, count: int, limit: int) -> BinScript:
        """`count` ones in contexts from `first` on, and the zero after them if there are fewer than `limit`."""
        for k in range(count):
            self.bins(first + k, 1)
        return self.bins(first + count, 0) if count < limit else self

    def bypass(self, value: int, n: int) -> BinScript:
        """Bypass(n) of 9.1.3."""
        _, self._coder = code_bypass(ENCODE, self._coder, self._buf, n, value)
        return self

    def steps(self, first: int, limit: int, count: int) -> BinScript:
        """Steps(first, limit) of 9.5.6."""
        self.unary(first, min(count, limit), limit)
        if count >= limit:
            rest = count - limit + 1
            zeros = rest.bit_length() - 1
            self.bypass(0, zeros).bypass(1, 1).bypass(rest - (1 << zeros), zeros)
        return self

    def class_(self, place: int, centre: int, c: int) -> BinScript:
        """A class, from its direction on (9.5.6, 9.6.5)."""
        self.bins(place, int(c > centre))
        return self.steps(place + 1, 12, c - centre - 1) if c > centre else self.steps(place + 13, 15, centre - c)

    def coded(self) -> bytes:
        """The payload that ends here."""
        return self._buf[: encoder_finish(self._coder, self._buf)].tobytes()


def level_script() -> BinScript:
    return BinScript(LEVEL_CONTEXTS, LEVEL_COUNT_LIMIT)


class MixedScript:
    """Bins of 9.4.3, each with its places in A, B and C and its node."""

    def __init__(self):
        self._state = new_cm_state()
        self._buf = np.zeros(ROOM, np.uint8)
        self._coder = encoder_start(self._buf)

    def bins(self, places: tuple[int, int, int], node: int, *bits: int) -> MixedScript:
        """Bins that all have the same contexts."""
        sets = (self._state.a, self._state.b, self._state.c)
        for bit in bits:
            at = [place * NODES + node for place in places]
            weights = self._state.weights[3 * node : 3 * node + 3]
            inputs = [int(STRETCH[int(s[i]) >> 18]) for s, i in zip(sets, at)]
            x = sum(t * int(w) for t, w in zip(inputs, weights)) >> 16
            p = int(SQUASH[min(max(x, -3071), 3071) + 3071])
            _, self._coder = code_probability(ENCODE, self._coder, self._buf, (), p, bit)
            error = 5 * (65535 * bit - p)
            for k, t in enumerate(inputs):
                weights[k] = min(max(int(weights[k]) + ((t * error + (1 << 17)) >> 18), -(1 << 18)), 1 << 18)
            for s, i in zip(sets, at):
                s[i] = adapted(int(s[i]), bit, LEVEL_COUNT_LIMIT)
        return self

    def bypass(self, value: int, n: int) -> MixedScript:
        _, self._coder = code_bypass(ENCODE, self._coder, self._buf, n, value)
        return self

    def coded(self) -> bytes:
        return self._buf[: encoder_finish(self._coder, self._buf)].tobytes()


# Single bits, most significant first

def u(value: int, n: int) -> str:
    """u(n), of two's complement too."""
    return f"{value & ((1 << n) - 1):0{n}b}" if n else ""


def ue(value: int) -> str:
    text = f"{value + 1:b}"
    return "0" * (len(text) - 1) + text


def se(value: int) -> str:
    return ue(2 * value - 1 if value > 0 else -2 * value)


def packed(bits: str | Iterable[str], padding: str = "0") -> bytes:
    """Bits as bytes, the last one filled up."""
    text = "".join(bits)
    text += padding * (-len(text) % 8)
    return bytes(int(text[i : i + 8], 2) for i in range(0, len(text), 8))
