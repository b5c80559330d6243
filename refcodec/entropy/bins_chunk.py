"""Chunks of BINS, plane by plane, from their bytes into their place (SPEC 9.12.6)."""

from __future__ import annotations

from typing import NamedTuple

from ..compiler import at, compiled, inlined, signed
from .bins_plane import BAD_REST, CHUNK_ELEMENTS, ENDED, FLOAT, OK, STATE_BYTES, TAIL, plane_of
from .bins_prediction import add_predictor, contexts_of
from .bins_symbols import decode_symbols
from .bins_trellis import decode_trellis
from .bins_values import join
from .watch import clause

UNKNOWN = -1                    # no status


class Traits(NamedTuple):
    """What the loops know of a payload: numbers only.

    elements: how many there are.  kind: of their heads.  states: of the trellis of levels, 0 without.  differences: 1
    with a predictor.  bits, mantissa, exponent_bits: of a word; exponent_bits is 0 where differences are those of
    integers.  top_exponent: of the tables that exponents of the predictor choose.
    """

    elements: int
    kind: int
    states: int
    differences: int
    bits: int
    mantissa: int
    exponent_bits: int
    top_exponent: int


@clause("9.12.6")
@inlined
def _lengths(plane, n, words):
    # Bytes of the choices, of states and words, and of the raw plane, of n elements.
    choices = 0 if plane.by_exponent else (((n + (1 << plane.group) - 1) >> plane.group) * plane.choice_bits + 7) >> 3
    return choices, 2 * words + (STATE_BYTES if plane.bins > 1 else 0), (n * plane.raw_bits + 7) >> 3


@inlined
def _is_raw(plane, extra_size):
    # A tail whose values are the bytes of its raw plane.
    return plane.bins == 1 and plane.raw_bits == 8 and plane.base == 0 and plane.narrow == 1 and extra_size == 0


@inlined
def _raw_tails(traits, planes, sizes, c, q, n):
    # Where the raw planes of the two tails of float32 begin if they are all that there is of these, else (-1, -1).
    # q: the first byte of the chunk.
    low, high = -1, -1
    two = traits.kind == FLOAT and traits.bits == 32 and planes.shape[0] == 3
    if two and _is_raw(plane_of(planes, 1), sizes[c, 1, 1]) and _is_raw(plane_of(planes, 2), sizes[c, 2, 1]):
        choices, coded, raw = _lengths(plane_of(planes, 0), n, signed(sizes[c, 0, 0]))
        low = q + choices + coded + raw + signed(sizes[c, 0, 1])
        high = low + n
    return low, high


@clause("9.12.8")
@inlined
def _rest_is_zero(plane, data, extra, end, used, n):
    # The extra bits end as they shall, and so does the raw plane.
    half = signed(data[at(extra - 1)]) >> 4 if plane.raw_bits == 4 and n & 1 else 0
    rest = signed(data[at(end - 1)]) >> (used & 7) if used & 7 and end > extra else 0
    return end - extra == (used + 7) >> 3 and half == 0 and rest == 0


@clause("9.12.6")
@inlined
def _chunk(traits, planes, bins, slots, sizes, c, data, q, predictor, out, o, symbols, contexts, places,
           known):
    # Chunk c, whose first byte is data[q], into out[o:]. known: the status of the symbols of its head if they are there
    # already, else UNKNOWN. Returns the status and where the next chunk begins.
    first = c * CHUNK_ELEMENTS
    n = min(traits.elements - first, CHUNK_ELEMENTS)
    tails = _raw_tails(traits, planes, sizes, c, q, n)
    for p in range(planes.shape[0] if tails[0] < 0 else 1):
        plane = plane_of(planes, p)
        choices, coded, raw_size = _lengths(plane, n, signed(sizes[c, p, 0]))
        words, raw = q + choices, q + choices + coded
        extra, end = raw + raw_size, raw + raw_size + signed(sizes[c, p, 1])
        status = OK
        if p == 0 and known != UNKNOWN:
            status = known
        elif plane.bins == 1:
            for i in range(n):
                symbols[at(i)] = 0
        elif plane.by_exponent:
            contexts_of(predictor, first, traits.mantissa, traits.exponent_bits, traits.top_exponent,
                        1 << plane.choice_bits, contexts, n)
            status = decode_symbols(signed(1), plane, data, words, raw, slots, 0, contexts, symbols, n)
        elif traits.states:                            # so there is one plane
            status = decode_trellis(plane, bins, data, words, raw, slots, q, raw, extra, end, traits.states, symbols, n)
        else:
            status = decode_symbols(signed(0), plane, data, words, raw, slots, q, symbols, symbols, n)
        if status != OK:
            return ENDED, q
        used = join(TAIL if p else traits.kind, plane, bins, symbols, data, raw, extra, end, tails, n, out, o,
                    places)
        if not _rest_is_zero(plane, data, extra, end, used, n):
            return BAD_REST, q
        q = end
    if tails[0] >= 0:
        q = tails[1] + n
    if traits.differences:
        add_predictor(traits.exponent_bits > 0, traits.bits, predictor, first, out, o, n)
    return OK, q


@compiled
def decode_chunks(traits, planes, bins, slots, sizes, first, last, data, predictor, out, o, symbols, contexts, places,
                  known):
    """Chunks first .. last - 1, whose bytes are data (uint8), into out[o:]. Returns the status, and the chunk it is of.

    planes: int64 [planes, fields of a Plane].  slots: tables (build_tables).  sizes: int64 [chunks, planes, 2], which
    add up to the payload.  predictor: words of all elements, of the type of out; of none where there is none.  symbols,
    contexts: room, uint8 [n, CHUNK_ELEMENTS]; contexts only where exponents of the predictor can choose tables.
    places: room (bins_values.join).  known: int64, the statuses of the first chunks, the symbols of whose heads are in
    `symbols` (bins_four.py).
    """
    q = 0
    for c in range(first, last):
        k = c - first
        row, found = (symbols[at(k)], known[at(k)]) if k < len(known) else (symbols[0], UNKNOWN)
        status, q = _chunk(traits, planes, bins, slots, sizes, c, data, q, predictor, out, o, row, contexts[0],
                           places, found)
        if status != OK:
            return status, c
        o += CHUNK_ELEMENTS
    return OK, last
