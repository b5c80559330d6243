"""Huffman payloads written bit by bit: parents, valid oddities, and the faults of their elements (SPEC 9.7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from refcodec.bitstream.structures import Component, Payload
from refcodec.dtypes import BY_NAME
from refcodec.encoder.candidate import Part

from .edits import payload
from .faults import Fault, fault
from .parts import MODES, direct, fixed_point, uniform, words
from .scripts import packed, se, u, ue
from .single import simple
from .streams import Recipe

COUNT = 24


def table(size: int, first: str, shape: str, lengths: Sequence[int]) -> str:
    """Table( ) of 9.7.3 with what stands before it. first: the first symbol; shape: runs and gaps."""
    differences = [b - a for a, b in zip(lengths, lengths[1:])]
    return ue(size - 1) + first + shape + u(lengths[0], 5) + "".join(map(se, differences))


def first_value(value: int, width: int) -> str:
    return u(width - 1, 6) + u(value, width)


VALUES = table(3, first_value(1, 4), ue(1) + u(0, 6) + ue(3), [2, 2, 1])      # 1, 2 and 7: codewords 10, 11 and 0
TWO_INDICES = table(2, ue(0), ue(1), [1, 1])                                  # symbols 0 and 1
ENTRIES = ("0" + "10", "1" + "11", "1" + "0")                                 # 1 at 0, 2 at 2, 7 at 4


def huffman(values: str = VALUES, bound: int = 4, precision: int = 15, thresholds: Sequence[int] = (),
            indices: Sequence[str] = (TWO_INDICES,), entries: Sequence[str] = ENTRIES, count: int = COUNT) -> bytes:
    """A payload of 9.7.1 for `count` elements."""
    deltas = [b - a for a, b in zip((0, *thresholds), thresholds)]
    return packed([
        u(len(entries), count.bit_length()), values,
        u(bound - 1, 16),
        u(precision, 4),
        u(len(thresholds), 3), *map(ue, deltas), *indices, *entries
    ])


def given(component: Component, dtype: str, data: bytes):
    """A tensor of one component whose payload is given."""
    component.entropy_mode = MODES.HUFFMAN
    return direct(Part(component, None, BY_NAME[dtype], payloads=[Payload(len(data), 0, data, b"")]))


def recipes() -> Iterator[Recipe]:
    """Parents, and payloads that an encoder would not write."""
    def one(name: str, purpose: str, dtype: str, component, data: bytes, kind: str, shape=(4, 6)) -> Recipe:
        return Recipe(name, purpose, simple(shape, lambda: given(component(), dtype, data), dtype), kind)

    yield one("p-huffman-int4", "int4 words in Huffman codes: every element of 9.7.1", "int4", Component, huffman(),
              "valid")
    yield one("p-huffman-levels", "levels in Huffman codes", "float32", uniform, huffman(), "valid")
    # Two codes of indices, chosen by the running mean: 128, 114, then 103
    both = huffman(thresholds=(110,), indices=(TWO_INDICES, table(1, ue(1), "", [0])), entries=("10", "11", "1" + "0"))
    yield one("n-huffman-thresholds", "two codes of indices, one of them of a lone symbol", "float32", uniform, both,
              "non-canonical")
    # b = 38, precision 1: symbol 10 has 3 extra bits from 33 on, so that indices 39 and 40 can be written
    beyond = huffman(bound=38, precision=1, indices=(table(1, ue(10), "", [0]),), entries=(u(7, 3) + "10",), count=48)
    yield one("n-huffman-beyond", "an index beyond the bound, which the last symbol's extra bits can write", "float32",
              uniform, beyond, "non-canonical", (6, 8))
    yield one("n-huffman-none", "no entries", "float32", uniform, packed([u(0, 5)]), "non-canonical")
    zeros = huffman(values=table(2, first_value(0, 2), ue(1), [1, 1]), entries=("0" + "0", "1" + "1", "0" + "0"))
    yield one("n-huffman-zeros", "entries of value 0 that are no fillers", "float32", uniform, zeros, "non-canonical")
    unused = table(3, first_value(1, 4), ue(1) + u(0, 6) + ue(200), [2, 2, 1])
    yield one("n-huffman-unused-int4", "a value that is no int4 stands in the table and is not used", "int4", Component,
              huffman(unused, entries=ENTRIES[:2]), "non-canonical")
    yield one("n-huffman-unused-level", "a level beyond its width stands in the table and is not used", "float32",
              lambda: fixed_point(3, 0), huffman(unused, entries=ENTRIES[:2]), "non-canonical")
    ends = np.array([[1 << 63, (1 << 63) - 1, 0, 5]], np.uint64)
    yield Recipe("limit-huffman", "the smallest and the largest int64 in one table", simple((1, 4), lambda: direct(
        words("int64", ends, MODES.HUFFMAN)), "int64"), "limit")


def faults() -> Iterator[Fault]:
    """One wrong element each."""
    int4, levels = "p-huffman-int4", "p-huffman-levels"

    def wrong(requirement: str, name: str, parent: str, data: bytes, what: str, codes: str = "OUT_OF_RANGE") -> Fault:
        return fault(requirement, f"huffman-{name}", parent, payload(lambda _: data), codes, what)

    def value_table(*arguments) -> bytes:
        return huffman(table(*arguments))

    shape = ue(1) + u(0, 6)
    yield wrong("R9.7.1-4", "word", int4, value_table(3, first_value(1, 4), shape + ue(12), [2, 2, 1]),
                "the word 16, which is no int4")
    yield wrong("R9.7.1-4", "symbol", int4, value_table(3, first_value(1, 4), shape + ue(252), [2, 2, 1]),
                "a symbol of 256 where words are bytes")
    yield wrong("R9.7.1-4", "negative", int4, value_table(3, first_value(-1, 4), shape + ue(3), [2, 2, 1]),
                "a negative symbol of words")
    yield wrong("R9.7.3-1", "run", levels, value_table(3, first_value(1, 4), ue(3), [2, 2, 1]),
                "a run beyond the table")
    yield wrong("R9.7.3-1", "length", levels, value_table(3, first_value(1, 4), shape + ue(3), [2, 2, 21]),
                "a codeword of 21 bits")
    yield wrong("R9.7.3-1", "first-length", levels, value_table(3, first_value(1, 4), shape + ue(3), [21, 2, 1]),
                "a first codeword of 21 bits")
    yield wrong("R9.7.3-1", "negative", levels, value_table(3, first_value(1, 4), shape + ue(3), [2, 2, -1]),
                "a codeword of -1 bits")
    yield wrong("R9.7.3-1", "symbol", levels,
                value_table(3, first_value(2**63 - 2, 64),
                            ue(1) + u(63, 6) + ue(0) + u(0, 63), [2, 2, 1]), "a symbol of 2^63")
    yield wrong("R9.7.3-1", "symbol-run", levels, value_table(3, first_value(2**63 - 2, 64), ue(2), [2, 2, 1]),
                "a run that reaches 2^63")
    yield wrong("R9.7.3-2", "gap", levels,
                value_table(3, first_value(1, 4),
                            ue(1) + u(63, 6) + ue(1) + u(0, 63), [2, 2, 1]), "a gap of z + shift = 64",
                "FORBIDDEN_PATTERN OUT_OF_RANGE")
    yield wrong("R9.7.3-2", "run", levels, value_table(3, first_value(1, 4), "0" * 64 + "1" * 65, [2, 2, 1]),
                "ue(v) with 64 zeros", "FORBIDDEN_PATTERN OUT_OF_RANGE ENTROPY_END")
    yield wrong("R9.7.2-1", "loose", levels, value_table(3, first_value(1, 4), shape + ue(3), [2, 2, 2]),
                "an incomplete code", "FORBIDDEN_PATTERN")
    yield wrong("R9.7.2-1", "full", levels, value_table(3, first_value(1, 4), shape + ue(3), [1, 2, 1]),
                "an over-full code", "FORBIDDEN_PATTERN")
    yield wrong("R9.7.3-3", "first", levels, huffman(indices=(table(1, ue(4), "", [0]), ), entries=("10", )),
                "an index symbol beyond S")
    yield wrong("R9.7.3-3", "gap", levels, huffman(indices=(table(2, ue(0),
                                                                  ue(0) + u(0, 6) + ue(3), [1, 1]), )),
                "an index symbol beyond S, after a gap")
    yield wrong("R9.7.4-1", "position", levels, huffman(entries=("0" + "10", ) + ("1" + "0", ) * 12),
                "the 13th entry lies behind the last element")
    yield wrong("R9.7.1-1", "threshold", levels, huffman(thresholds=(2**20 + 1, ), indices=(TWO_INDICES, TWO_INDICES)),
                "a threshold beyond 2^20")
    yield wrong("R9.7.1-3", "bits", levels,
                huffman()[:-1] + bytes([huffman()[-1] | 1]), "a bit after the last entry", "ENTROPY_END")
