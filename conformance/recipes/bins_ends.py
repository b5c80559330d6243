"""Streams of BINS at the ends of its ranges: tails, widths, bins, choices, exponents, borders of chunks (SPEC 9.12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import Component
from refcodec.dtypes import BY_CODE, BY_NAME, DType

from .bins_payload import CHUNK, Plane, Script, even, level_script, skewed, usual_payload, whole
from .bins_scripts import coded_levels, coded_words, differences, given
from .parts import MODES, P, any_words, decimal, direct, integers, predicted, small_levels, uniform, words
from .single import several
from .streams import Recipe

RAW_TAIL = Plane(raw_bits=8, narrow=1)
TAILS = [RAW_TAIL, Plane(raw_bits=4, narrow=16, tables=[skewed(16, 3100)]), Plane(narrow=256, tables=[even(256)]),
         Plane(wide=[(0, 8)]), Plane(raw_bits=4, wide=[(0, 8)]),
         Plane(raw_bits=4, first_cell=8, narrow=8, wide=[(0, 4), (16, 4), (32, 5), (64, 6)], tables=[skewed(12, 3101)])]


def raw_tails():
    """Two tails of words of 32 bits, both of raw bytes, or one of them; tables and extra bits before them."""
    made = []
    head = Plane(raw_bits=8, narrow=64, wide=[(1 << 14, 14), (1 << 15, 15)], tables=[
        skewed(66, 3120), skewed(66, 3121), skewed(66, 3122), skewed(66, 3123)], choices=[2, 0, 3, 1, 1, 2, 0, 3, 1])
    other = TAILS[1]
    for name in ("float32", "uint32", "int32"):
        t = BY_NAME[name]
        for which, tails in (("both", [RAW_TAIL, RAW_TAIL]), ("the lower", [RAW_TAIL, other]), (
                "the upper", [other, RAW_TAIL])):
            matrix = any_words(3110, name, (5, 13))
            made.append((f"{name} {which}", name, (5, 13), direct(coded_words(
                t, matrix, Script(32, kind_of(t), [head, *tails])))))
    t = BY_NAME["float32"]
    base, moved = any_words(3130, "float32", (5, 13)), any_words(3131, "float32", (5, 13))
    script = Script(32, "signed", [head, RAW_TAIL, RAW_TAIL], may_choose=True)
    made.append(("base", "float32", (5, 13), direct(words(t, base, MODES.RAW))))
    made.append(("moved", "float32", (5, 13), predicted(given(Component(), "float32", script.payload(
        differences(t, moved, base))), P.INTRA, 0, -1)))
    return made


def kind_of(t: DType) -> str:
    return {"u": "plain", "i": "signed", "f": "float" if t.sign else "plain"}[t.kind]


def listed(matrix: np.ndarray) -> list[int]:
    return [int(x) for x in matrix.reshape(-1)]


def every_tail_count():
    """Each type with each number of tails; the tails with raw bits, nibbles, cells, lone and wide bins."""
    made = []
    for name in ("uint16", "int16", "float16", "bfloat16", "uint32", "int32", "float32", "uint64", "int64", "float64"):
        t = BY_NAME[name]
        for tails in range(max(0, (t.bits - 32) // 8), (t.bits - 1) // 8 + 1):
            planes = [whole(t.bits - 8 * tails), *(TAILS[(tails + k) % len(TAILS)] for k in range(tails))]
            matrix = any_words(3000 + tails, name, (3, 7))
            matrix[0, :4] = [0, (1 << t.bits) - 1, 1 << t.bits - 1, (1 << t.bits - 1) - 1]
            made.append((f"{name} {tails} tails", name, (3, 7),
                         direct(coded_words(t, matrix, Script(t.bits, kind_of(t), planes)))))
    return made


def wide_heads():
    """Heads of 32 bits: their lowest and highest bins, extra bits of 32, 28 and 24."""
    made = []
    top = 1 << 32
    layouts = [("a lone bin", Plane(wide=[(0, 32)])), ("and nibbles", Plane(raw_bits=4, wide=[(0, 32)])),
               ("and bytes", Plane(raw_bits=8, wide=[(0, 32)])),
               ("halves", Plane(wide=[(0, 31), (top >> 1, 31)], tables=[[1, 4095]])),
               ("cells at both ends", Plane(first_cell=(top >> 8) - 16, raw_bits=8, narrow=16, wide=[(0, 31), (
                   top >> 1, 30)], tables=[even(18)]))]
    for name, plane in layouts:
        values = [0, 1, top >> 2, (top >> 1) - 1, top >> 1, top - 1, top - 4096, (top >> 1) + 5, 3]
        if plane.narrow:
            values = [v for v in values if any(low <= v < low + (1 << log) for low, log in plane.bins)]
        for dtype, tails in (("uint32", []), ("int32", []), ("float32", []), ("uint64", [RAW_TAIL] * 4)):
            t = BY_NAME[dtype]
            n = [v << 8 * len(tails) | 0x12345678 & (1 << 8 * len(tails)) - 1 for v in values]
            if t.kind != "u":
                n = [word_of_head(t, v) for v in values]
            matrix = np.array([n], t.word)
            made.append((f"{name} {dtype}", dtype, matrix.shape, direct(coded_words(
                t, matrix, Script(t.bits, kind_of(t), [plane, *tails])))))
    return made


def word_of_head(t: DType, value: int) -> int:
    """The word without tails whose head has a value."""
    m, sign = value >> 1, value & 1
    return (sign << t.bits - 1 | m) if t.kind == "f" else (-1 - m if sign else m) & (1 << t.bits) - 1


def level_widths():
    """Levels of 1 to 64 bits, at the ends of what these hold, and of what levels may be."""
    made = []
    for bits, tails in ((1, 0), (2, 0), (4, 0), (7, 0), (8, 0), (9, 0), (9, 1), (16, 1), (31, 0), (32, 0), (32, 3),
                        (33, 1), (40, 1), (40, 4), (64, 4), (64, 7)):
        low, high = max(-(1 << bits - 1), -(1 << 31)), min((1 << bits - 1) - 1, (1 << 31) - 1)
        n = [low, high, 0, -1, low // 2, high // 2, *listed(integers(3200 + bits, (8,), low, high))]
        planes = [whole(bits - 8 * tails), *[TAILS[(bits + k) % len(TAILS)] for k in range(tails)]]
        made.append((f"{bits} bits {tails} tails", "float32", (2, 7), direct(coded_levels(
            uniform(1, -40), np.array(n), Script(bits, "signed", planes, levels=True)))))
    for bits, tails in ((53, 3), (60, 5), (64, 6)):
        n = [-(1 << 52), (1 << 52) - 1, 0, -1, *listed(integers(3300 + bits, (8,), -(1 << 52), (1 << 52) - 1))]
        planes = [whole(bits - 8 * tails), *[RAW_TAIL] * tails]
        made.append((f"decimals {bits} bits", "float64", (3, 4), direct(given(decimal(0), "float64", Script(
            bits, "signed", planes, levels=True).payload(n)))))
    return made


def bin_ends():
    """Bins that end where others begin, and where the plane ends; wide ones without extra bits; 256 of them."""
    n = integers(3400, (5, 9), 0, 255)
    touching = Plane(first_cell=4, narrow=4, raw_bits=4, wide=[(0, 6), (128, 7), (256, 4), (272, 4), (1 << 15, 15)],
                     tables=[skewed(9, 3401)])
    inside = np.where(n % 3 == 0, n, np.where(n % 3 == 1, 256 + n % 32, (1 << 15) + 128 * n))
    falling = Plane(wide=[(0, 15), (1 << 15, 14), (3 << 14, 13), (7 << 13, 12), (65280, 8)], tables=[skewed(5, 3402)])

    def one(name: str, plane: Plane, matrix: np.ndarray, dtype: str = "uint16"):
        t = BY_NAME[dtype]
        return name, dtype, matrix.shape, direct(coded_words(t, matrix, Script(t.bits, "plain", [plane])))

    return [
        one("bins without gaps", touching, inside),
        one("ever smaller bins", falling,
            np.array([[0, 32767, 32768, 49151, 49152, 57343, 57344, 61439, 65280, 65535]])),
        one("256 wide bins", Plane(wide=[(k << 8, 8) for k in range(256)], tables=[even(256)]), n * 257),
        one("255 narrow, one wide", Plane(narrow=255, wide=[(256, 8)], tables=[even(256)]),
            np.where(n == 255, 511, n)),
        one("narrow to the end", Plane(first_cell=65536 - 200, narrow=200, tables=[even(200)]), 65536 - 200 + n % 200),
        one("narrow bytes to the end", Plane(first_cell=0, narrow=256, raw_bits=8, tables=[even(256)]), n * 257),
        one("narrow nibbles to the end", Plane(first_cell=3840, narrow=256, raw_bits=4, tables=[even(256)]),
            61440 + 16 * n + n % 16),
        one("a lone narrow nibble", Plane(first_cell=4095, narrow=1, raw_bits=4), 65520 + n % 16),
        one("a lone wide bin of nibbles", Plane(raw_bits=4, wide=[(0, 16)]), n * 257),
        one("a lone wide bin of bytes", Plane(raw_bits=8, wide=[(1 << 14, 14)]), (1 << 14) + n * 64),
        one("a lone wide bin of one value", Plane(wide=[(5, 0)]), np.full((5, 9), 5)),
        one("raw bits alone", Plane(raw_bits=8, narrow=1), n, "uint8"),
        one("raw nibbles alone", Plane(raw_bits=4, narrow=1), n % 16, "uint4"),
        one("two bits", Plane(narrow=4, tables=[[1, 2, 3, 4090]]), n % 4, "uint2"),
        one("lowest bins", Plane(narrow=2, tables=[[4095, 1]]), np.where(n == 3, 1, 0)),
        one("highest symbol", Plane(narrow=2, tables=[[1, 4095]]), np.where(n == 3, 0, 1)),
    ]


def choices():
    """Groups of 8 to 2^17 elements; bits after the last choice that are not 0."""
    t, made = BY_NAME["uint8"], []
    n = integers(3500, (1, 1200), 0, 15)
    for tables, group in ((2, 3), (8, 3), (4, 5), (16, 7), (8, 10), (16, 11), (4, 17)):
        plane = Plane(narrow=16, tables=[skewed(16, 3600 + k) for k in range(tables)],
                      choices=listed(integers(3510 + group, (1200,), 0, tables - 1)))
        made.append((f"{tables} tables, groups of {1 << group}", "uint8", (1, 1200),
                     direct(coded_words(t, n, Script(8, "plain", [plane], group_log2=group)))))
    for tables, count in ((2, 65), (4, 33), (8, 25), (16, 17)):    # the last group: one element, a byte of its own
        plane = Plane(narrow=16, tables=[skewed(16, 3600 + k) for k in range(tables)],
                      choices=listed(integers(3540 + tables, (9,), 0, tables - 1)))
        made.append((f"{tables} tables, {count} elements", "uint8", (1, count),
                     direct(coded_words(t, n[:, :count], Script(8, "plain", [plane])))))
    plane = Plane(narrow=16, tables=[skewed(16, 3600 + k) for k in range(4)], choices=[1, 2, 3])
    pieces = Script(8, "plain", [plane]).pieces(listed(n)[:24])
    pieces.chunks[0][0].choices = bytes([pieces.chunks[0][0].choices[0] | 0xC0])
    made.append(("bits after the choices", "uint8", (1, 24), direct(given(Component(), "uint8", pieces.bytes()))))
    return made


def by_exponent(t: DType, base: np.ndarray, planes: list[Plane], top: int) -> Script:
    exponents = [int(p) >> t.mantissa & ((1 << t.exponent) - 1) for p in base.reshape(-1)]
    return Script(t.bits, "signed", planes, may_choose=True, top=top, exponents=exponents)


def exponents():
    """Tables by the predictor's exponent: the ends of top_exponent, 2 to 16 tables, beside tails with choices."""
    made = []
    for name, tails, top, log2 in (("bfloat16", 0, 0, 1), ("bfloat16", 1, 130, 4), ("float32", 1, 255, 4),
                                   ("float32", 2, 128, 3), ("float16", 1, 16, 2), ("float64", 4, 2047, 4),
                                   ("float64", 7, 1040, 3), ("float8_e5m2", 0, 31, 2), ("bfloat16", 1, 140, None),
                                   ("complex64", 2, 132, 3)):
        t = BY_NAME[name]
        base = any_words(3700 + top, name, (16, 25 * t.parts))
        moved = np.where(integers(3701, base.shape, 0, 2) == 0, base ^ t.word.type(5), base).astype(t.word)
        head = whole(t.bits - 8 * tails) if log2 is not None else Plane(wide=[(0, t.bits - 8 * tails)])
        if log2 is not None:
            head = replace(head, tables=[skewed(len(head.bins), 3710 + k) for k in range(1 << log2)])
        tail = Plane(raw_bits=4, narrow=16, tables=[skewed(16, 3730 + k) for k in range(4)], choices=[3, 0, 1, 2] * 25)
        script = by_exponent(t, base, [head, *[tail] * tails], top)
        made.append((f"{name} base {top}", name, (16, 25), direct(words(t, base, MODES.RAW))))
        data = script.payload(differences(t, moved, base))
        made.append((f"{name} {top}", name, (16, 25), predicted(given(Component(), name, data), P.INTRA, 0, -1)))
    return made


def all_differences():
    """Differences of every type, to words of any bits."""
    made = []
    for code, t in BY_CODE.items():
        base = any_words(3800 + code, t.name, (4, 6 * t.parts))
        moved = any_words(3900 + code, t.name, (4, 6 * t.parts))
        data = usual_payload(np.array(differences(t, moved, base), object), t, True)
        made.append((f"{t.name} base", t.name, (4, 6), direct(words(t, base, MODES.RAW))))
        made.append((t.name, t.name, (4, 6), predicted(given(Component(), t.name, data), P.INTRA, 0, -1)))
    return made


# Several chunks

RARE = [4093, 1, 1, 1]


def rarely(seed: int, count: int, every: int = 6000) -> np.ndarray:
    """Zeros, and a few of 1, 2, 3, above all around the border of chunks."""
    found = np.zeros(count, np.int64)
    places = [*integers(seed, (count // every,), 0, count - 1), *range(CHUNK - 12, CHUNK + 9)]
    found[places] = integers(seed + 1, (len(places),), 0, 3)
    return found


def planes_in_chunks():
    """Two chunks: of a head, a tail with symbols, one with nibbles and a lone one; and three of one bin alone."""
    count = CHUNK + 9
    head, tail = rarely(4000, count), rarely(4010, count)
    words_ = (head << 16 | tail << 8 | 7)[None]
    sparse = Plane(narrow=2, wide=[(2, 1)], tables=[[4090, 3, 3], [3, 4090, 3]],
                   choices=[0] * (CHUNK >> 12) + [1])
    script = Script(32, "plain", [Plane(wide=[(0, 0), (1, 0), (2, 1)], tables=[[4090, 2, 4]]),
                                  Plane(first_cell=7, narrow=1), sparse], group_log2=12)
    several_lone = np.full((1, 2 * CHUNK + 3), 0x0501)
    return [("planes", "uint32", (1, count), direct(coded_words(BY_NAME["uint32"], words_, script))),
            ("lone", "uint16", several_lone.shape, direct(coded_words(BY_NAME["uint16"], several_lone, Script(
                16, "plain", [Plane(first_cell=5, narrow=1), Plane(first_cell=1, narrow=1)]))))]


def trellis_in_chunks():
    """Levels of a trellis whose lanes do not end the first chunk as they began it."""
    n = rarely(4100, CHUNK + 9) - 2 * (rarely(4110, CHUNK + 9) & 1)
    script = Script(4, "signed", [Plane(narrow=8, tables=[[4080, 4, 4, 4, 1, 1, 1, 1], [4060, 1, 1, 1, 9, 9, 9, 6]])],
                    levels=True, states=8)
    return [("levels", "float32", (1, len(n)), direct(coded_levels(uniform(3, -7, 2), n[None], script)))]


def exponents_in_chunks():
    """Differences to words of another exponent in the second chunk; nibbles of an odd last chunk."""
    t, count = BY_NAME["bfloat16"], CHUNK + 9
    base = (0x3F80 + 0x80 * rarely(4200, count))[None].astype(np.uint16)
    base[0, CHUNK:] += 0x80
    moved = (base + (rarely(4210, count) & 1)).astype(np.uint16)
    plane = Plane(narrow=4, wide=[(4, 2), (8, 3)], tables=[[4086, 2, 2, 2, 2, 2], [4000, 19, 19, 19, 19, 20]])
    data = by_exponent(t, base, [plane], 128).payload(differences(t, moved, base))
    cells = Plane(wide=[(0x7F00, 0), *((0x8000 + (k << 8), 0) for k in range(4))], tables=[[4090, 2, 2, 1, 1]])
    return [("base", "bfloat16", base.shape, direct(coded_words(t, base, Script(16, "float", [cells])))),
            ("moved", "bfloat16", base.shape, predicted(given(Component(), "bfloat16", data), P.INTRA, 0, -1))]


def pairs_of_tables():
    """A trellis whose tables differ by parity, chosen by group, too; levels beyond the narrow bins."""
    made = []
    for k, log2 in enumerate((0, 1, 2, 4)):
        n = small_levels(4300 + k, (13, 17))
        wide = [(1 << log, log) for log in range(4, 9)]
        tables = [skewed(16 + len(wide), 4310 + j) for j in range(2 << log2)]
        script = Script(9, "signed", [Plane(narrow=16, wide=wide, tables=tables,
                                            choices=listed(integers(4320 + k, (28,), 0, (1 << log2) - 1)))],
                        levels=True, states=8 << (k % 3))
        made.append((f"{2 << log2} tables", "float32", (13, 17),
                     direct(coded_levels(uniform(3, -7, 2 + k % 3), n, script))))
    made.append(("many extra bits", "float32", (21, 31), direct(coded_levels(uniform(3, -40, 3), integers(
        4360, (21, 31), -(1 << 18), (1 << 18) - 1), level_script(20, states=16)))))
    for count in (1, 5, 8):
        plane = Plane(narrow=16, tables=[skewed(16, 4350), skewed(16, 4351)])
        script = Script(4, "signed", [plane], levels=True, states=8)
        made.append((f"{count} levels", "float32", (1, count), direct(coded_levels(
            uniform(3, -7, 2), integers(4352, (1, count), -8, 7), script))))
    for raw_bits in (4, 8):
        wide = [(2 << raw_bits + k, raw_bits + 1 + k) for k in range(9 - raw_bits)]
        plane = Plane(raw_bits=raw_bits, narrow=2, wide=wide,
                      tables=[skewed(11 - raw_bits, 4330), skewed(11 - raw_bits, 4331)])
        made.append((f"{raw_bits} raw bits", "float32", (9, 11), direct(coded_levels(
            uniform(3, -7, 1), 3 * small_levels(4340, (9, 11)), Script(12, "signed", [plane], levels=True, states=4)))))
    return made


def columns():
    """Levels and words that are scanned by columns."""
    n = small_levels(4400, (9, 13))
    matrix = any_words(4410, "bfloat16", (9, 13))
    return [("levels", "float32", (13, 9), direct(coded_levels(uniform(3, -7, 2), n, level_script(states=8)), 1)),
            ("words", "bfloat16", (13, 9), direct(coded_words(BY_NAME["bfloat16"], matrix), 1))]


def recipes() -> Iterator[Recipe]:
    yield Recipe("v-bins-tails", "BINS: every number of tails of types of 16 to 64 bits", several(every_tail_count))
    yield Recipe("v-bins-raw-tails", "BINS: two tails of 32 bits, raw or not", several(raw_tails))
    yield Recipe("v-bins-heads", "BINS: heads of 32 bits", several(wide_heads))
    yield Recipe("v-bins-widths", "BINS: levels of 1 to 64 bits", several(level_widths))
    yield Recipe("v-bins-bounds", "BINS: bins at the ends of others and of their plane", several(bin_ends))
    yield Recipe("v-bins-choices", "BINS: groups of 8 to 2^17 elements", several(choices))
    yield Recipe("v-bins-exponents", "BINS: tables by the predictor's exponent, beside tails", several(exponents))
    yield Recipe("v-bins-types", "BINS: differences of every element type", several(all_differences))
    yield Recipe("v-bins-planes", "BINS: two chunks of three planes, three of one bin", several(planes_in_chunks))
    yield Recipe("v-bins-lanes", "BINS: a trellis over two chunks", several(trellis_in_chunks), profile=Profile.MAIN)
    yield Recipe("v-bins-moved", "BINS: tables by exponent over two chunks", several(exponents_in_chunks))
    yield Recipe("v-bins-pairs", "BINS: pairs of tables of a trellis, by group", several(pairs_of_tables),
                 profile=Profile.MAIN)
    yield Recipe("v-bins-columns", "BINS: scanned by columns", several(columns), profile=Profile.MAIN)
