"""The faults of BINS: each requirement of SPEC 9.12 broken in every way, in payloads that are right else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import Component
from refcodec.dtypes import BY_NAME

from .bins_ends import by_exponent, rarely
from .bins_payload import CHUNK, Pieces, Plane, Script, even, frequencies, level_script, low_first, skewed, whole
from .bins_scripts import coded_levels, coded_words, differences, given
from .edits import payload
from .faults import Fault, fault
from .parts import MODES, P, any_words, direct, integers, predicted, small_levels, uniform, words
from .scripts import packed, se, u, ue
from .single import several, simple
from .streams import Recipe

PARENT = Plane(first_cell=2, narrow=8, raw_bits=4, wide=[(0, 5), (512, 8)],
               tables=[[1000, 1000, 500, 500, 500, 300, 200, 50, 30, 16]])
WORDS = [int(x) for x in np.where(integers(2801, (21,), 0, 5) == 0, 5, integers(2800, (21,), 32, 159))] + [700, 33]
SMALL = Script(16, "plain", [PARENT])

LEVELS = [int(x) for x in small_levels(2900, (3, 7)).reshape(-1)]
TRELLIS = level_script(states=8)

# A head of 16 bits and two tails, each with symbols; groups of 8 that choose among two tables, and four.
PLANES = Script(32, "plain", [
    Plane(raw_bits=8, narrow=2, wide=[(512, 9), (1 << 15, 12)], tables=[skewed(4, 5000), skewed(4, 5001)],
          choices=[1, 0, 1, 0]),
    Plane(raw_bits=4, narrow=8, wide=[(128, 7)], tables=[skewed(9, 5002)]),
    Plane(narrow=250, wide=[(252, 2)], tables=[even(251) for _ in range(4)], choices=[2, 1, 3, 0])])
LONG_WORDS = [int(h) << 16 | int(a) << 8 | int(b) for h, a, b in zip(
    integers(5010, (27,), 0, 900), integers(5011, (27,), 0, 249), integers(5012, (27,), 0, 255))]
LONG_WORDS[5:7] = [0x80FF_80FC, 0x8FFF_FFFF]

TWO = Script(8, "plain", [Plane(narrow=4, tables=[[4093, 1, 1, 1]])])
TWO_WORDS = [int(x) for x in rarely(5020, CHUNK + 9)]

BFLOAT16 = BY_NAME["bfloat16"]
BASE = any_words(5030, "bfloat16", (3, 9))
MOVED = np.where(integers(5031, (3, 9), 0, 2) == 0, BASE ^ np.uint16(3), BASE).astype(np.uint16)
EXPONENT = by_exponent(BFLOAT16, BASE, [Plane(narrow=16, wide=[(1 << k, k) for k in range(4, 16)], tables=[
    skewed(28, 5032 + k) for k in range(4)])], 129)


def recipes() -> Iterator[Recipe]:
    yield Recipe("p-bins", "BINS: narrow and wide bins, nibbles, extra bits", simple(
        (23,), lambda: direct(coded_words(BY_NAME["uint16"], np.array(WORDS), SMALL)), "uint16"))
    yield Recipe("p-bins-trellis", "BINS: levels of a trellis", simple((3, 7), lambda: direct(
        coded_levels(uniform(3, -7, 2), np.array(LEVELS), TRELLIS))), profile=Profile.MAIN)
    yield Recipe("p-bins-levels", "BINS: levels", simple((3, 7), lambda: direct(coded_levels(
        uniform(3, -40), np.array(LEVELS)))))
    yield Recipe("p-bins-planes", "BINS: a head and two tails, each with symbols", simple(
        (27,), lambda: direct(coded_words(BY_NAME["uint32"], np.array(LONG_WORDS), PLANES)), "uint32"))
    yield Recipe("p-bins-raw-tails", "BINS: a head with symbols and two raw tails", simple(
        (27,), lambda: direct(coded_words(BY_NAME["float32"], FLOATS, RAW_TAILS))))
    yield Recipe("p-bins-chunks", "BINS: two chunks", simple(
        (CHUNK + 9,), lambda: direct(coded_words(BY_NAME["uint8"], np.array(TWO_WORDS), TWO)), "uint8"))
    yield Recipe("p-bins-exponent", "BINS: tables by the predictor's exponent", several(lambda: [
        ("base", "bfloat16", (3, 9), direct(words("bfloat16", BASE, MODES.RAW))),
        ("moved", "bfloat16", (3, 9), predicted(given(Component(), "bfloat16", exponent_pieces().bytes()), P.INTRA, 0,
                                                -1))]))


RAW_TAILS = Script(32, "float", [
    Plane(raw_bits=8, narrow=2, wide=[(1 << k, k) for k in range(9, 16)], tables=[even(9)]),
    Plane(raw_bits=8, narrow=1), Plane(raw_bits=8, narrow=1)])
FLOATS = any_words(5040, "float32", (27,))


def exponent_pieces() -> Pieces:
    return EXPONENT.pieces(differences(BFLOAT16, MOVED, BASE))


PIECES: dict[str, Callable[[], Pieces]] = {
    "p-bins": lambda: SMALL.pieces(WORDS), "p-bins-trellis": lambda: TRELLIS.pieces(LEVELS),
    "p-bins-raw-tails": lambda: RAW_TAILS.pieces([int(x) for x in FLOATS]),
    "p-bins-planes": lambda: PLANES.pieces(LONG_WORDS), "p-bins-chunks": lambda: TWO.pieces(TWO_WORDS),
    "p-bins-exponent": exponent_pieces}


def wrong(requirement: str, name: str, what: str, data: bytes, codes: str = "OUT_OF_RANGE",
          of: str = "p-bins") -> Fault:
    """Another payload in the place of the parent's."""
    return fault(requirement, f"bins-{name}", of, payload(lambda _: data, unit=int(of == "p-bins-exponent")), codes,
                 what)


def changed(requirement: str, name: str, what: str, change: Callable[[Pieces], None], of: str = "p-bins") -> Fault:
    """A payload whose chunks break a rule: ENTROPY_END."""
    pieces = PIECES[of]()
    change(pieces)
    return wrong(requirement, name, what, pieces.bytes(), "ENTROPY_END", of)


def with_plane(**changes) -> bytes:
    """The parent's payload with another header of its plane, the rest as it was."""
    return replace(SMALL.pieces(WORDS), header=replace(SMALL, planes=[replace(PARENT, **changes)]).header()).bytes()


def with_text(*text: str) -> bytes:
    """A header of these bits, and the chunks of the parent."""
    return replace(SMALL.pieces(WORDS), header=packed(list(text))).bytes()


def bins_text() -> str:
    """The bits of the parent's plane up to its tables."""
    return PARENT.header(False).removesuffix(u(0, 3) + frequencies(PARENT.tables[0]))


def headers() -> Iterator[Fault]:
    """9.12.1 and 9.12.3."""
    right = SMALL.pieces(WORDS)
    head, data = len(right.header), right.bytes()
    yield wrong("R9.12.1-1", "header", "a payload that ends in its header", data[:head - 2], "ENTROPY_END OUT_OF_RANGE")
    yield wrong("R9.12.1-1", "sizes", "a payload that ends in the sizes of its chunks", data[: head + 5], "ENTROPY_END")
    yield wrong("R9.12.1-1", "long", "ue(v) with 33 zeros", with_text(u(0, 7), u(0, 2), "0" * 33 + "1" + "0" * 33),
                "ENTROPY_END")
    yield wrong("R9.12.1-1", "one-chunk", "sizes of the first chunk alone, in a tensor of two",
                TWO.header() + bytes(8), "ENTROPY_END", "p-bins-chunks")
    start = [u(0, 3), u(0, 4), u(0, 2)]
    for name, what, text in (
            ("empty", "before its first bit", []),
            ("zeros", "in the zeros of ue(v)", [*start, "0" * 7]),
            ("value", "in the value of ue(v)", [*start, "0000001"]),
            ("size", "in the size of a wide bin", [*start, ue(0), ue(1), ue(3), "0" * 9]),
            ("gap", "in the gap of a wide bin", [*start, ue(0), ue(1), ue(3), se(0), "0" * 8]),
            ("frequency", "in the size of a frequency", [*start, ue(0), ue(2), ue(0), u(0, 3), "0" * 8]),
            ("bits", "in the bits of a frequency", [*start, ue(0), ue(2), ue(0), u(0, 3), se(7)])):
        yield wrong("R9.12.1-1", name, f"a payload that ends {what}", packed(text), "ENTROPY_END")
    for name, what, bits in (("long-size", "the size of a wide bin", [ue(0), ue(1), ue(1)]),
                             ("long-gap", "the gap of a wide bin", [ue(0), ue(1), ue(1), se(2)]),
                             ("long-frequency", "the size of a frequency", [ue(0), ue(2), ue(0), u(0, 3)])):
        yield wrong("R9.12.1-1", name, f"33 zeros in {what}", with_text(*start, *bits, "0" * 33 + "1" * 200),
                    "ENTROPY_END")
    yield wrong("R9.12.3-1", "tails", "two tails of 16 bits: a head of none", packed([u(2, 3), "1" * 90]))
    yield wrong("R9.12.3-1", "most-tails", "seven tails of 16 bits", packed([u(7, 3), "1" * 90]))
    plane = Plane(wide=[(0, 0)])
    lone = plane.header(False)
    zeros = bytes(16)
    yield wrong("R9.12.3-1", "no-head", "two tails of 16 bits, and all else right",
                packed([u(2, 3), u(0, 4), lone * 3]) + bytes(24))
    yield wrong("R9.12.3-1", "wide-head", "levels of 40 bits without tails",
                packed([u(0, 3), u(39, 6), u(0, 4), "1" * 60]), of="p-bins-levels")
    yield wrong("R9.12.3-1", "33-bits", "levels of 33 bits without tails", packed(
        [u(0, 3), u(32, 6), u(0, 4), lone]) + bytes(8), of="p-bins-levels")
    yield wrong("R9.12.3-1", "trellis-tail", "a tail with a trellis", packed(
        [u(1, 3), u(19, 6), u(0, 4), lone * 2]) + zeros, of="p-bins-trellis")
    yield wrong("R9.12.3-2", "group", "groups longer than chunks", packed([u(0, 3), u(15, 4), "1" * 90]))
    yield wrong("R9.12.3-2", "twice", "groups of two chunks, and all else right", with_text(
        u(0, 3), u(15, 4), PARENT.header(False)))
    bits = right.header
    yield wrong("R9.12.3-3", "align", "a bit after the header", bits[:-1] + bytes([bits[-1] | 1]) + data[head:],
                "ENTROPY_END")


def bins() -> Iterator[Fault]:
    """9.12.4."""
    text = u(0, 7)
    yield wrong("R9.12.4-1", "raw", "raw_code 3", packed([text, u(3, 2), "1" * 80]))
    lone = ue(0) + ue(1) + ue(0)
    yield wrong("R9.12.4-1", "12-raw-bits", "12 raw bits, and all else right", packed(
        [text, u(3, 2), lone]) + bytes(8) + bytes(35))
    four = Script(4, "signed", [Plane(raw_bits=8, narrow=1)], levels=True)
    yield wrong("R9.12.4-1", "raw-beyond", "eight raw bits of levels of four", four.header() + bytes(8 + 21),
                of="p-bins-levels")
    yield wrong("R9.12.4-1", "none", "no bins", with_text(text, u(1, 2), ue(0) * 3))
    yield wrong("R9.12.4-1", "many", "257 bins", packed([text, u(0, 2), ue(2), ue(200), ue(57), "1" * 300]))
    yield wrong("R9.12.4-1", "257-narrow", "257 narrow bins, and all else right", Script(16, "plain", [Plane(
        narrow=257, tables=[even(257)])]).payload([x % 257 for x in WORDS]))
    yield wrong("R9.12.4-1", "257-wide", "257 wide bins, and all else right", Script(16, "plain", [Plane(
        wide=[(k, 0) for k in range(257)], tables=[even(257)])]).payload([x % 257 for x in WORDS]))
    for name, count in (("most-narrow", ue((1 << 33) - 2) + ue(2)), ("most-wide", ue(0) + ue((1 << 33) - 2))):
        yield wrong("R9.12.4-1", name, "2^33 bins", packed([text, u(0, 2), ue(0), count, "1" * 90]))
    for name, plane in (("no-cell", Plane(first_cell=1, wide=[(1 << 15, 15)])),
                        ("cell", Plane(first_cell=33000, wide=[(1 << 15, 15)]))):
        yield wrong("R9.12.4-1", name, "a first cell without narrow bins", Script(16, "plain", [plane]).payload(
            [1 << 15] * len(WORDS)))
    yield wrong("R9.12.4-2", "beyond", "narrow bins beyond the plane", with_plane(first_cell=4089))
    yield wrong("R9.12.4-2", "far", "narrow bins from 2^32 - 1 on", with_plane(first_cell=(1 << 32) - 1, wide=[]))
    for name, what, first in (("enclosed", "inside a narrow one", 64), ("covering", "over all narrow ones", 0),
                              ("first", "over the first narrow one", 32), ("last", "over the last narrow one", 128)):
        log = {"enclosed": 4, "covering": 8, "first": 5, "last": 6}[name]
        yield wrong("R9.12.4-2", name, f"a wide bin {what}", with_plane(wide=[(first, log), (512, 8)]))
    yield wrong("R9.12.4-2", "overlap", "a wide bin over narrow ones", with_plane(wide=[(128, 5), (512, 8)]))
    yield wrong("R9.12.4-2", "size", "a wide bin smaller than the raw bits", packed(
        [text, u(1, 2), ue(2), ue(8), ue(2), se(-1), ue(0), "1" * 90]))
    yield wrong("R9.12.4-2", "smaller", "a wide bin of 8 values with nibbles", packed(
        [text, u(1, 2), ue(0), ue(0), ue(1), se(-1), ue(0)]) + bytes(8 + 12))
    yield wrong("R9.12.4-2", "large", "a wide bin larger than the plane", with_plane(wide=[(0, 5), (1 << 17, 17)]))
    yield wrong("R9.12.4-2", "twice", "a wide bin of 2^17 values, from 0 on", Script(16, "plain", [Plane(
        wide=[(0, 17)])]).payload(WORDS))
    yield wrong("R9.12.4-2", "top", "a wide bin beyond the plane", with_plane(wide=[(0, 5), (1 << 16, 8)]))
    yield wrong("R9.12.4-2", "huge", "a wide bin of 2^(2^31) values", packed(
        [text, u(0, 2), ue(0), ue(0), ue(1), se(1 << 31), ue(0), "1" * 90]))
    yield wrong("R9.12.4-2", "least", "a wide bin of 2^(-2^32 + 1) values", packed(
        [text, u(0, 2), ue(0), ue(0), ue(1), se(1 - (1 << 32)), ue(0), "1" * 90]))
    levels = u(0, 3) + u(31, 6) + u(0, 4) + u(0, 2) + ue(0) + ue(0)
    yield wrong("R9.12.4-2", "gap", "a gap of 2^32 bins of 2^32 values", packed(
        [levels, ue(1), se(32), ue(1 << 32)]) + low_first([(0, 32), (84, 32)]) + bytes(84), of="p-bins-levels")
    yield wrong("R9.12.4-2", "gaps", "a gap of 2^32 - 1 bins of 2^32 values after another bin", packed(
        [levels, ue(2), se(31), ue(0), se(1), ue((1 << 32) - 1), u(0, 3), frequencies([4095, 1])])
        + low_first([(0, 32), (84, 32)]) + bytes([0, 0, 1, 0] * 8) + bytes(84), of="p-bins-levels")


def table_faults() -> Iterator[Fault]:
    """9.12.5."""
    table = list(PARENT.tables[0])
    for name, what, changes in (
            ("under", "that add up to 4095", [table[0] - 1, *table[1:]]),
            ("over", "that add up to 4097", [table[0] + 1, *table[1:]]),
            ("all", "of which one is 4096", [4096, *[0] * 9]),
            ("most", "of which one is 8190", [8190, *[0] * 9]),
            ("twice", "that add up to 8192", [2 * f for f in table]),
            ("zero", "that add up to 0", [0] * 10)):
        yield wrong("R9.12.5-1", name, f"frequencies {what}", with_plane(tables=[changes]))
    start = [u(0, 7), bins_text(), u(0, 3)]
    yield wrong("R9.12.5-1", "size", "a size of 14", with_text(*start, se(9), "1" * 90))
    yield wrong("R9.12.5-1", "none", "a size of 0", with_text(*start, se(-5), "1" * 90))
    for log2 in (5, 7):
        yield wrong("R9.12.5-1", f"{1 << log2}-tables", f"{1 << log2} tables", with_text(
            *start[:-1], u(log2, 3), *[frequencies(table)] * (1 << log2)))
    yield wrong("R9.12.5-1", "second", "a second table that adds up to 4095", with_text(
        *start[:-1], u(1, 3), frequencies(table), frequencies([table[0] - 1, *table[1:]])))
    planes = list(PLANES.planes)
    planes[2] = replace(planes[2], tables=[*planes[2].tables[:3], [18, *planes[2].tables[3][1:]]])
    yield wrong("R9.12.5-1", "tail", "the last table of the last tail, which adds up to 4096 no more", replace(
        PLANES.pieces(LONG_WORDS), header=replace(PLANES, planes=planes).header()).bytes(), of="p-bins-planes")
    first, second = TRELLIS.planes[0].tables
    yield wrong("R9.12.5-1", "odd", "a table of odd states that adds up to 4097", replace(
        TRELLIS.pieces(LEVELS), header=replace(TRELLIS, planes=[replace(TRELLIS.planes[0], tables=[first, [
            second[0] + 1, *second[1:]]])]).header()).bytes(), of="p-bins-trellis")


def size_faults() -> Iterator[Fault]:
    """9.12.6."""
    data = SMALL.payload(WORDS)
    yield wrong("R9.12.6-1", "short", "a chunk without its last byte", data[:-1], "ENTROPY_END")
    yield wrong("R9.12.6-1", "rest", "a byte after the last chunk", data + b"\0", "ENTROPY_END")
    head = len(SMALL.header())
    yield wrong("R9.12.6-1", "nothing", "sizes, and no chunk", data[: head + 8], "ENTROPY_END")
    for name, what, part, size in (("words", "2^32 - 1 words", "word_count", (1 << 32) - 1),
                                   ("half-words", "2^31 words", "word_count", 1 << 31),
                                   ("extra", "2^32 - 1 bytes of extra bits", "extra_size", (1 << 32) - 1)):
        yield changed("R9.12.6-1", name, what, lambda p, a=part, s=size: setattr(p.chunks[0][0], a, s))
    lone = Script(16, "plain", [Plane(wide=[(0, 16)])]).pieces(WORDS)
    lone.chunks[0][0].words = [0]
    yield wrong("R9.12.6-1", "lone", "words where there is one bin", lone.bytes(), "ENTROPY_END")
    lone = Script(16, "plain", [Plane(wide=[(0, 16)])]).pieces(WORDS)
    lone.chunks[0][0].word_count, lone.chunks[0][0].extra_size = 2, 2 * len(WORDS) - 4
    yield wrong("R9.12.6-1", "lone-words", "words in the place of extra bits where there is one bin", lone.bytes(),
                "ENTROPY_END")
    yield changed("R9.12.6-1", "second", "a second chunk that is longer than the payload",
                  lambda p: setattr(p.chunks[1][0], "extra_size", 1), "p-bins-chunks")


def moved_word(p: Pieces, plane: int = 0, chunk: int = 0) -> None:
    """A word less, and two extra bytes in its place."""
    piece = p.chunks[chunk][plane]
    piece.word_count, piece.extra_size = len(piece.words) - 1, len(piece.extra) + 2


def state_faults() -> Iterator[Fault]:
    """9.12.7: each loop over symbols, each lane, each plane, a second chunk."""
    for of, name, what, plane in (("p-bins", "", "", 0), ("p-bins-trellis", "trellis-", ", with a trellis", 0),
                                  ("p-bins-exponent", "exponent-", ", with tables by exponent", 0),
                                  ("p-bins-planes", "head-", ", before tails", 0),
                                  ("p-bins-planes", "tail-", ", in a tail", 2)):
        def in_plane(change, k=plane):
            return lambda p: change(p.chunks[0][k])
        yield changed("R9.12.7-1", f"{name}state", f"a first state below 2^16{what}",
                      in_plane(lambda x: x.states.__setitem__(0, 0)), of)
        yield changed("R9.12.7-1", f"{name}missing", f"a word less, extra bytes more{what}",
                      lambda p, k=plane: moved_word(p, k), of)
        yield changed("R9.12.7-1", f"{name}left", f"a word that no state takes{what}",
                      in_plane(lambda x: x.words.append(0)), of)
        yield changed("R9.12.7-1", f"{name}end", f"a state that does not end as it began{what}",
                      in_plane(lambda x: x.states.__setitem__(0, x.states[0] ^ 1)), of)
    for of, name in (("p-bins", ""), ("p-bins-trellis", "trellis-"), ("p-bins-exponent", "exponent-")):
        for lane in range(8) if of == "p-bins" else (0, 7):
            def change(p: Pieces, k=lane):
                p.chunks[0][0].states[k] ^= 1
            yield changed("R9.12.7-1", f"{name}lane-{lane}", f"a state of lane {lane} that does not end as it began",
                          change, of)
            yield low_state(of, name, lane)
    yield changed("R9.12.7-1", "second-chunk", "a state of the second chunk that does not end as it began",
                  lambda p: p.chunks[1][0].states.__setitem__(3, p.chunks[1][0].states[3] ^ 1), "p-bins-chunks")
    yield changed("R9.12.7-1", "first-chunk", "a word left in the first chunk of two",
                  lambda p: p.chunks[0][0].words.append(0), "p-bins-chunks")


def low_state(of: str, name: str, lane: int) -> Fault:
    """A first state of 1, whose first symbol and a word lead to the right state: only what it is at first is wrong."""
    plane = Plane(narrow=2, tables=[[4095, 1]] * (2 if of == "p-bins-trellis" else 1))
    script = {"p-bins": Script(16, "plain", [plane]),
              "p-bins-trellis": Script(9, "signed", [plane], levels=True, states=8),
              "p-bins-exponent": by_exponent(BFLOAT16, BASE, [plane], 129)}[of]
    pieces = script.pieces([0] * {"p-bins": len(WORDS), "p-bins-trellis": len(LEVELS)}.get(of, BASE.size))
    piece = pieces.chunks[0][0]
    x = piece.states[lane]
    after = 4095 * (x >> 12) + (x & 4095)                # the state after a first 0, which is less than 2^17
    piece.states[lane], piece.words = 1, [after & 0xFFFF]
    return wrong("R9.12.7-1", f"{name}low-{lane}", f"a first state of 1 in lane {lane}", pieces.bytes(), "ENTROPY_END",
                 of)


def value_faults() -> Iterator[Fault]:
    """9.12.8."""
    def more(p: Pieces, k: int = 0) -> None:
        p.chunks[0][k].extra += b"\0"

    def less(p: Pieces, k: int = 0) -> None:
        p.chunks[0][k].extra = p.chunks[0][k].extra[:-1]

    def bit(p: Pieces, k: int = 0) -> None:
        p.chunks[0][k].extra = p.chunks[0][k].extra[:-1] + bytes([p.chunks[0][k].extra[-1] | 0x80])

    def nibble(p: Pieces, k: int = 0) -> None:
        p.chunks[0][k].raw = p.chunks[0][k].raw[:-1] + bytes([p.chunks[0][k].raw[-1] | 16])

    def top_nibble(p: Pieces, k: int = 0) -> None:
        p.chunks[0][k].raw = p.chunks[0][k].raw[:-1] + bytes([p.chunks[0][k].raw[-1] | 128])

    for of, name, what, plane in (("p-bins", "", "", 0), ("p-bins-trellis", "trellis-", ", with a trellis", 0),
                                  ("p-bins-planes", "head-", ", before tails", 0),
                                  ("p-bins-planes", "tail-", ", in a tail", 1)):
        for kind, text, change in (("bits", "a bit after the last extra bits", bit),
                                   ("missing", "extra bits that are missing", less),
                                   ("left", "a byte of extra bits too many", more)):
            yield changed("R9.12.8-1", name + kind, text + what, lambda p, c=change, k=plane: c(p, k), of)
    yield changed("R9.12.8-1", "nibble", "the upper half of the last byte of an odd number of nibbles", nibble)
    yield changed("R9.12.8-1", "nibble-top", "its highest bit", top_nibble)
    yield changed("R9.12.8-1", "tail-nibble", "the upper half of the last byte of nibbles of a tail",
                  lambda p: nibble(p, 1), "p-bins-planes")
    for k, tail in ((1, "lower"), (2, "upper")):
        yield changed("R9.12.8-1", f"raw-{tail}", f"a byte of extra bits of the {tail} of two raw tails",
                      lambda p, k=k: more(p, k), "p-bins-raw-tails")
    yield changed("R9.12.8-1", "none", "a byte of extra bits where there are none",
                  lambda p: p.chunks[1][0].__setattr__("extra", b"\0"), "p-bins-chunks")
    lone = Script(16, "plain", [Plane(wide=[(0, 16)])])
    for kind, text, change in (("missing", "extra bits of a lone bin that are missing", less),
                               ("left", "a byte too many of extra bits of a lone bin", more)):
        pieces = lone.pieces(WORDS)
        change(pieces)
        yield wrong("R9.12.8-1", f"lone-{kind}", text, pieces.bytes(), "ENTROPY_END")
    nine = Script(16, "plain", [Plane(wide=[(0, 9)])])
    for k in range(23 * 9 % 8, 8):
        odd = nine.pieces([x & 511 for x in WORDS])
        piece = odd.chunks[0][0]
        piece.extra = piece.extra[:-1] + bytes([piece.extra[-1] | 1 << k])
        yield wrong("R9.12.8-1", f"lone-bit-{k}", f"bit {k} of the last byte of extra bits", odd.bytes(), "ENTROPY_END")


def faults() -> Iterator[Fault]:
    """One wrong element each."""
    yield from headers()
    yield from bins()
    yield from table_faults()
    yield from size_faults()
    yield from state_faults()
    yield from value_faults()
    beyond = Script(33, "signed", [whole(25), Plane(raw_bits=8, narrow=1)], levels=True)
    for name, level in (("high", 1 << 31), ("low", -1 - (1 << 31))):
        yield wrong("R9.10.1-2", name, f"a level of {level}", beyond.payload([level, *LEVELS[1:]]), of="p-bins-levels")
