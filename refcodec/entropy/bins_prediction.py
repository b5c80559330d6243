"""Differences of BINS: the predictor added, and tables chosen by its exponents (SPEC 8.4, 9.10.1, 9.12.7)."""

from __future__ import annotations

from ..compiler import at, compiled, inlined, signed
from .bins_plane import RUN
from .watch import clause


@clause("8.4.1")
@inlined
def ordered(floating, half, word):
    """SPEC 8.4.1. half: 2^(bits - 1)."""
    if not floating:
        return word
    magnitude = word & (half - 1)
    if not word & half:
        return word
    return -magnitude if magnitude else -half


@clause("9.10.1")
@inlined
def _add(floating, bits, predictor, first, out, o, n):
    # Differences in out[o:o + n] to words. Runs in which nothing changed are copied.
    half = 1 << (bits - 1)
    sign, i = (half if bits < 64 else -half), 0            # the word of -0: words of 64 bits are signed in their place
    while i < n:
        stop = min(i + RUN, n)
        changed = 0
        for k in range(i, stop):
            changed += 1 if out[at(o + k)] else 0
        if changed == 0:
            for k in range(i, stop):
                out[at(o + k)] = predictor[at(first + k)]
        else:
            for k in range(i, stop):
                x = signed(out[at(o + k)]) + ordered(floating, half, signed(predictor[at(first + k)]))
                x = ((x + half) & (2 * half - 1)) - half                # Signed(x)
                if floating and x < 0:
                    out[at(o + k)] = sign if x == -half else sign - x
                else:
                    out[at(o + k)] = x & (2 * half - 1) if bits < 64 else x
        i = stop


@inlined
def add_predictor(floating, bits, predictor, first, out, o, n):
    """Adds predictor[first:first + n] to differences modulo 2^bits in out[o:o + n], in place (SPEC 8.4.2).

    predictor, out: unsigned words, int64 for those of 64 bits.
    """
    if floating:
        _add(True, bits, predictor, first, out, o, n)
    else:
        _add(False, bits, predictor, first, out, o, n)


@clause("9.12.7")
@compiled
def contexts_of(predictor, first, mantissa, exponent_bits, top, tables, contexts, n):
    """The table (uint8) of each of n elements by its predictor's exponent: Clip3(0, tables - 1, top - exponent)."""
    for i in range(n):
        exponent = (signed(predictor[at(first + i)]) >> mantissa) & ((1 << exponent_bits) - 1)
        contexts[at(i)] = min(max(top - exponent, 0), tables - 1)
