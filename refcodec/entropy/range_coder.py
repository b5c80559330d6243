"""Binary range coder, probability estimator and bypass bits (SPEC 9.1, 9.2).

One source serves encoder, decoder and cost estimation: the same loop runs with a literal `mode`.
A coder is an immutable `Coder`; every function returns the next one, so that compiled loops keep it
in registers.  A context is one int32: probability of a 1 (20 bits) << 10 | count (10 bits).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..compiler import at, compiled, inlined, quotient
from .watch import COST, DECODE, ENCODE, clause, step

RANGE_START = 0xFFFFFFFF
RANGE_MIN = 1 << 24            # below it a byte is shifted out or in
PROBABILITY_MIN, PROBABILITY_MAX = 32, 65504
LEVEL_COUNT_LIMIT = 250        # levels change their statistics within a tensor, words hardly do
WORD_COUNT_LIMIT = 1023
CONTEXT_START = (1 << 19) << 10                # probability one half, count 0
RATE = np.array([65536 * 5 // (5 * c + 8) for c in range(WORD_COUNT_LIMIT + 1)], dtype=np.int64)

# COST mode only (the encoder's own estimate, informative): cost of a bin in 1/4096 bit, by p >> 6.
COST_TABLE = np.array([round(-4096 * math.log2(max(i, 0.5) / 1024)) for i in range(1025)], dtype=np.int64)


class Coder(NamedTuple):
    """State of the range coder. low, cache, pending: encoder; code: decoder; cost: COST mode, 1/4096 bit."""

    range: int
    code: int
    low: int
    pos: int        # next byte of buf to read or write
    end: int        # end of the payload in buf (decoder)
    cache: int      # byte held back for a carry, -1 before the first
    pending: int    # 0xFF bytes held back after it
    cost: int


@dataclass(eq=False)
class Strings:
    """The two strings of a payload, and how far they are coded.

    r: range coder over the uint8 array buf.  raw_bit: next bit of the bypass string, the uint8 array raw.
    """

    r: Coder
    buf: np.ndarray
    raw: np.ndarray
    raw_bit: int = 0


def new_contexts(*shape: int) -> np.ndarray:
    """Contexts in their starting state: int32 array of the given shape."""
    return np.full(shape, CONTEXT_START, dtype=np.int32)


@inlined
def _read(buf: np.ndarray, pos: int, end: int) -> int:
    # Past the end of the payload zeros are read; the end condition (SPEC 9.1.4) bounds how many.
    return int(buf[at(pos)]) if pos < end else 0


@clause("9.1.2")
@inlined
def _shift_in(r: Coder, buf: np.ndarray) -> Coder:
    # Decoder: renormalise.
    rng, code, pos = r.range, r.code, r.pos
    while rng < RANGE_MIN:
        rng <<= 8
        code = ((code << 8) | _read(buf, pos, r.end)) & 0xFFFFFFFF   # the mask bites in damaged payloads only
        pos += 1
    return Coder(rng, code, r.low, pos, r.end, r.cache, r.pending, r.cost)


@inlined
def _put_byte(low: int, pos: int, cache: int, pending: int, buf: np.ndarray) -> tuple[int, int, int, int]:
    # Encoder: move the top byte of low out; a carry (bit 32) reaches the bytes held back.
    if low < 0xFF000000 or low > 0xFFFFFFFF:
        carry = low >> 32
        if cache >= 0:
            buf[at(pos)] = (cache + carry) & 255
            pos += 1
        while pending > 0:
            buf[at(pos)] = (255 + carry) & 255
            pos += 1
            pending -= 1
        cache = (low >> 24) & 255
    else:
        pending += 1
    return (low & 0x00FFFFFF) << 8, pos, cache, pending


@inlined
def _shift_out(r: Coder, buf: np.ndarray) -> Coder:
    # Encoder: renormalise.
    rng, low, pos, cache, pending = r.range, r.low, r.pos, r.cache, r.pending
    while rng < RANGE_MIN:
        rng <<= 8
        low, pos, cache, pending = _put_byte(low, pos, cache, pending, buf)
    return Coder(rng, r.code, low, pos, r.end, cache, pending, r.cost)


@inlined
def start(mode: int, buf: np.ndarray, pos: int, end: int) -> Coder:
    """Begin a payload at buf[pos:end] (SPEC 9.1.1). Returns the coder."""
    code = 0
    if mode == DECODE:
        for _ in range(4):
            code = (code << 8) | _read(buf, pos, end)
            pos += 1
    return Coder(RANGE_START, code, 0, pos, end, -1, 0, 0)


@step("bin")
@clause("9.1.2")
@inlined
def code_probability(mode: int, r: Coder, buf: np.ndarray, sources: tuple[Any, ...], p: int,
                     bit: int) -> tuple[int, Coder]:
    """Code one bin whose probability of a 1 is p / 65536. Returns (bin, coder).

    sources: the contexts that p comes from, for the observer alone: a place of each, a node to be added, their states.
    PROBABILITY_MIN <= p <= PROBABILITY_MAX keeps 0 < bound < range.
    """
    if mode == COST:
        cost = r.cost + int(COST_TABLE[at((p if bit else 65536 - p) >> 6)])
        return bit, Coder(r.range, r.code, r.low, r.pos, r.end, r.cache, r.pending, cost)
    bound = (r.range >> 16) * p
    if mode == DECODE:
        bit = 1 if r.code < bound else 0
    rng = bound if bit else r.range - bound
    passed = 0 if bit else bound
    if mode == DECODE:
        return bit, _shift_in(Coder(rng, r.code - passed, r.low, r.pos, r.end, r.cache, r.pending, r.cost), buf)
    return bit, _shift_out(Coder(rng, r.code, r.low + passed, r.pos, r.end, r.cache, r.pending, r.cost), buf)


@clause("9.2")
@inlined
def adapted(context: int, bit: int, limit: int) -> int:
    """The context after a bin (SPEC 9.2); `limit` bounds its count."""
    p = context >> 10
    c = context & 1023
    p += (((0xFFFFF if bit else 0) - p) * int(RATE[at(c)])) >> 16
    return (p << 10) | (c + 1 if c < limit else c)


@clause("9.2")
@inlined
def code_bin(mode: int, r: Coder, buf: np.ndarray, contexts: np.ndarray, i: int, limit: int,
             bit: int) -> tuple[int, Coder]:
    """Code one bin with contexts[i] (one-dimensional) and adapt it. Returns (bin, coder)."""
    context = int(contexts[at(i)])
    p = min(max(context >> 14, PROBABILITY_MIN), PROBABILITY_MAX)
    bit, r = code_probability(mode, r, buf, ((i,), 0, (context,)), p, bit)
    contexts[at(i)] = adapted(context, bit, limit)
    return bit, r


@step("bypass")
@clause("9.1.3")
@inlined
def code_bypass(mode: int, r: Coder, buf: np.ndarray, n: int, value: int) -> tuple[int, Coder]:
    """Code n equiprobable bits (0 <= n <= 62), most significant first, in chunks of at most 8. Returns (value,
    coder)."""
    if mode == COST:
        return value, Coder(r.range, r.code, r.low, r.pos, r.end, r.cache, r.pending, r.cost + (n << 12))
    out = 0
    while n > 0:
        k = min(n, 8)
        n -= k
        rng = r.range >> k
        if mode == DECODE:
            chunk = min(quotient(r.code, rng), (1 << k) - 1)
            out = (out << k) | chunk
            r = _shift_in(Coder(rng, r.code - chunk * rng, r.low, r.pos, r.end, r.cache, r.pending, r.cost), buf)
        else:
            chunk = (value >> n) & ((1 << k) - 1)
            r = _shift_out(Coder(rng, r.code, r.low + chunk * rng, r.pos, r.end, r.cache, r.pending, r.cost), buf)
    return (out if mode == DECODE else value), r


@clause("9.1.4")
@inlined
def finish(mode: int, r: Coder, buf: np.ndarray) -> tuple[int, int]:
    """End a payload (SPEC 9.1.4). Returns (position after it, 1 if the end condition holds else 0).

    The encoder sends the one byte that, followed by zeros for ever, lies inside the last interval.
    The decoder has then read exactly three bytes past the end and stands less than 2^24 above low.
    """
    if mode == DECODE:
        return r.end, (1 if r.pos == r.end + 3 and r.code < RANGE_MIN else 0)
    low = ((r.low + RANGE_MIN - 1) >> 24) << 24
    pos, cache, pending = r.pos, r.cache, r.pending
    for _ in range(2):
        low, pos, cache, pending = _put_byte(low, pos, cache, pending, buf)
    return pos, 1


@compiled
def encoder_start(buf: np.ndarray) -> Coder:
    """The coder that begins a payload at buf[0] (uint8 array)."""
    return start(ENCODE, buf, 0, 0)


@compiled
def encoder_finish(r: Coder, buf: np.ndarray) -> int:
    """End a payload; returns its size. At most r.pending + 3 bytes of buf after r.pos are written."""
    pos, _ = finish(ENCODE, r, buf)
    return pos


@compiled
def decoder_start(buf: np.ndarray, pos: int, end: int) -> Coder:
    """The coder that reads the payload buf[pos:end] (uint8 array)."""
    return start(DECODE, buf, pos, end)


@compiled
def decoder_finish(r: Coder, buf: np.ndarray) -> int:
    """1 if the payload ended as SPEC 9.1.4 demands, else 0."""
    _, ok = finish(DECODE, r, buf)
    return ok
