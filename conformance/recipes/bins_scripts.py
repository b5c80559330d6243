"""Streams of BINS, from payloads whose bins, tables and choices are given (SPEC 9.12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import Component, Payload
from refcodec.dtypes import BY_CODE, BY_NAME, DType
from refcodec.encoder.candidate import Part

from .bins_payload import CHUNK, SLOTS, Plane, Script, any_script, even, level_script, skewed, whole
from .parts import (
    MODES,
    P,
    Q,
    any_words,
    codebook,
    decimal,
    direct,
    fixed_point,
    float_words,
    integer_codebook,
    integers,
    predicted,
    small_levels,
    spatial,
    uniform,
    words,
)
from .single import several
from .streams import Recipe


def given(component: Component, dtype: str, data: bytes) -> Part:
    component.entropy_mode = MODES.BINS
    return Part(component, None, BY_NAME[dtype], payloads=[Payload(len(data), 0, data, b"")])


def coded_words(t: DType, matrix: np.ndarray, script: Script | None = None) -> Part:
    script = script or any_script(t)
    return given(Component(), t.name, script.payload([int(x) for x in matrix.reshape(-1)]))


def all_types():
    made = []
    for code, t in BY_CODE.items():
        matrix = any_words(1000 + code, t.name, (5, 7 * t.parts)) if t.parts == 1 else np.concatenate(
            [any_words(1000 + code, t.name, (5, 7)), any_words(1100 + code, t.name, (5, 7))], axis=1)
        made.append((t.name, t.name, (5, 7), direct(coded_words(t, matrix))))
    return made


# Levels

def coded_levels(component: Component, matrix: np.ndarray, script: Script | None = None) -> Part:
    script = script or level_script()
    return given(component, "float32", script.payload([int(x) for x in matrix.reshape(-1)]))


def quantisers():
    n = small_levels(2000, (9, 11))
    few = np.abs(n) % 5
    entries = np.array([0xBF000000, 0xBC23D70A, 0, 0x3DCCCCCD, 0x7F7FFFFF], np.uint32)
    return [("uniform", "float32", (9, 11), direct(coded_levels(uniform(), n))),
            ("codebook", "float32", (9, 11), direct(coded_levels(codebook(entries, 0), few))),
            ("decimal", "float32", (9, 11), direct(coded_levels(decimal(3), n))),
            ("fixed point", "float32", (9, 11), direct(coded_levels(fixed_point(), n))),
            ("integers", "float32", (9, 11), direct(coded_levels(integer_codebook([-9, -1, 0, 4, 7], 0), few))),
            ("spatial", "float32", (9, 11), spatial(coded_levels(uniform(), n), 2)),
            ("wide decimal", "float64", (3, 4), direct(given(decimal(0), "float64", Script(
                53, "signed", [Plane(raw_bits=8, narrow=1, wide=[(1 << k, k) for k in range(8, 21)], tables=[even(14)]),
                               *[Plane(raw_bits=8, narrow=1)] * 4], levels=True).payload(
                                   [int(x) for x in integers(2005, (12,), -(2**52), 2**52 - 1)]))))]


def trellises():
    n = small_levels(2100, (13, 17))
    return [(f"{4 << k} states", "float32", (13, 17),
             direct(coded_levels(uniform(3, -7, k + 1), n, level_script(states=4 << k)))) for k in range(5)]


# Predictions

def differences(t: DType, matrix: np.ndarray, base: np.ndarray) -> list[int]:
    """(Ordered(word) - Ordered(p)) modulo 2^bits (9.10.1)."""
    half = 1 << (t.bits - 1)

    def ordered(w: int) -> int:
        if t.kind != "f" or not t.sign or w < half:
            return w
        return -(w - half) if w > half else -half

    return [(ordered(int(w)) - ordered(int(p))) % (1 << t.bits) for w, p in zip(matrix.reshape(-1), base.reshape(-1))]


def predictions():
    """Differences of floats and integers, tables by the predictor's exponent and by groups."""
    made = []
    for name in ("bfloat16", "float16", "float32", "float64", "int16", "uint8", "float8_e4m3fn"):
        t = BY_NAME[name]
        base = any_words(2200, name, (6, 8))
        if t.kind == "f":
            base[0, 0] = 1 << (t.bits - 1)                         # -0
        moved = np.where(integers(2201, (6, 8), 0, 3) == 0, base ^ t.word.type(3), base).astype(t.word)
        made.append((f"{name} base", name, (6, 8), direct(words(t, base, MODES.RAW))))
        floating = t.kind == "f"
        tails = max(0, (t.bits - 32) // 8)
        for by_exponent in (False, True) if floating else (False,):
            script = Script(t.bits, "signed", [whole(t.bits - 8 * tails), *[Plane(raw_bits=8, narrow=1)] * tails],
                            may_choose=floating)
            if by_exponent:
                table = script.planes[0].tables[0]
                exponents = [int(p) >> t.mantissa & ((1 << t.exponent) - 1) for p in base.reshape(-1)]
                script = replace(script, top=max(exponents) - 1, exponents=exponents, planes=[
                    replace(script.planes[0], tables=[table, table[::-1], table, table[1:] + table[:1]]),
                    *script.planes[1:]])
            data = script.payload(differences(t, moved, base))
            made.append((f"{name} {'exponent' if by_exponent else 'groups'}", name, (6, 8),
                         predicted(given(Component(), name, data), P.INTRA, 0, -1 - int(by_exponent))))
    return made


def unchanged():
    """A difference in the first of 288 elements, and none after."""
    base = any_words(2250, "uint8", (6, 48))
    moved = base.copy()
    moved[0, 0] ^= 1
    script = Script(8, "signed", [whole(8)])
    data = script.payload(differences(BY_NAME["uint8"], moved, base))
    return [("base", "uint8", (6, 48), direct(words("uint8", base, MODES.RAW))),
            ("moved", "uint8", (6, 48), predicted(given(Component(), "uint8", data), P.INTRA, 0, -1))]


# Chunks, groups and bins

def chunk_ends():
    """Chunks of every remainder by eight, one element, and odd ends of nibbles."""
    t = BY_NAME["bfloat16"]
    script = Script(16, "float", [Plane(first_cell=0, narrow=16, raw_bits=4, wide=[(1 << k, k) for k in range(8, 16)],
                                        tables=[skewed(24, 5)])])
    return [(f"{n} elements", "bfloat16", (n,), direct(coded_words(t, any_words(2300 + n, "bfloat16", (1, n)), script)))
            for n in (1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65)]


def group_choices():
    """Groups of 8 and of 16 that choose among 2, 4, 8 and 16 tables, in both planes."""
    made = []
    for log2, group in ((1, 3), (2, 3), (3, 4), (4, 3)):
        tables = [skewed(16, 400 + k) for k in range(1 << log2)]
        choices = [int(x) for x in integers(2400 + log2, (40,), 0, (1 << log2) - 1)]
        head = Plane(narrow=16, raw_bits=8, tables=tables, choices=choices)
        tail = Plane(narrow=16, raw_bits=4, tables=tables, choices=choices[::-1])
        script = Script(20, "plain", [replace(head, narrow=16), tail], group_log2=group)
        script = replace(
            script, bits=32, planes=[
                Plane(narrow=16, raw_bits=8, wide=[(1 << k, k) for k in range(12, 24)],
                      tables=[skewed(28, 400 + k) for k in range(1 << log2)], choices=choices), tail
            ])
        made.append((f"{1 << log2} tables", "uint32", (13, 17),
                     direct(coded_words(BY_NAME["uint32"], any_words(2410, "uint32", (13, 17)), script))))
    wide_tail = Plane(narrow=8, raw_bits=4, wide=[(128, 7)], tables=[even(9)])
    script = Script(32, "plain", [made_head(), wide_tail])
    return [*made, ("a wide bin of a tail", "uint32", (5, 9),
                    direct(coded_words(BY_NAME["uint32"], any_words(2420, "uint32", (5, 9)), script)))]


def made_head() -> Plane:
    return Plane(narrow=16, raw_bits=8, wide=[(1 << k, k) for k in range(12, 24)], tables=[even(28)])


def bin_layouts():
    """No narrow bins; one narrow bin; 256 bins; a lone wide bin; a lone narrow one; wide bins below and above; gaps."""
    t = BY_NAME["uint16"]

    def one(name: str, plane: Plane, matrix: np.ndarray):
        return name, "uint16", matrix.shape, direct(coded_words(t, matrix, Script(16, "plain", [plane])))

    n = integers(2500, (6, 9), 0, 255)
    return [
        one("no narrow bins", Plane(wide=[(k << 12, 12) for k in range(16)], tables=[even(16)]), n << 8),
        one("256 bins", Plane(first_cell=100, narrow=256, tables=[even(256)]), n + 100),
        one("a lone narrow bin", Plane(first_cell=77, narrow=1), np.full((6, 9), 77)),
        one("a lone wide bin", Plane(wide=[(1 << 15, 15)]), (n << 7) + (1 << 15)),
        one("a lone bin of everything", Plane(wide=[(0, 16)]), n << 8 | n),
        one("a lone raw plane", Plane(first_cell=3, narrow=1, raw_bits=8), n + 768),
        one("wide bins on both sides",
            Plane(first_cell=512, narrow=8, wide=[(0, 8), (256, 8), (1024, 10), (1 << 15, 15)], tables=[even(12)]),
            np.where(n % 4 == 0, n, np.where(n % 4 == 1, 512 + n % 8, np.where(n % 4 == 2, n + 1024, n + (1 << 15))))),
        one("unused values between bins", Plane(first_cell=5, narrow=2, wide=[(64, 4), (1024, 2)], tables=[even(4)]),
            np.array([[5, 6, 64, 79, 1024, 1027]])),
        one("a frequency of 4095", Plane(first_cell=0, narrow=2, tables=[[4095, 1]]), np.zeros((6, 9), int)),
        one("symbols without slots", Plane(first_cell=0, narrow=5, tables=[[0, 4000, 0, 96, 0]]),
            np.where(n % 9 == 0, 3, 1))
    ]


def long_tensor():
    """Two chunks and a bit, of few symbols."""
    n = integers(2600, (1, 3000), 0, 3)
    matrix = np.tile(n, (1, 90))[:, : 2 * CHUNK + 77]
    plane = Plane(narrow=4, tables=[[2000, 1000, 1000, 96], [96, 1000, 1000, 2000]],
                  choices=[(g >> 3) & 1 for g in range(2 * CHUNK // 1024 + 1)])
    return [("long", "uint8", (1, matrix.shape[1]), direct(coded_words(
        BY_NAME["uint8"], matrix, Script(8, "plain", [plane], group_log2=10))))]


def many_chunks():
    """Four chunks and one element, nearly all alike: a decoder may take several chunks at once. By groups, and by the
    predictor's exponent."""
    count = 4 * CHUNK + 1
    seldom = np.zeros((1, count), int)
    seldom[0, integers(2650, (600,), 0, count - 1)] = integers(2651, (600,), 1, 3)
    base = 0x38 + (seldom << 3)                                    # 1, 2, 4, 8
    tables = [[f if k % 16 == 0 else 0 for k in range(49)] for f in (1, 2)]
    tables = [[SLOTS - 3 * table[16], *table[1:]] for table in tables]
    head = Plane(first_cell=0x70, narrow=49, tables=tables, choices=[g % 3 & 1 for g in range(33)])
    groups = Script(8, "float", [head], group_log2=14)
    t, moved = BY_NAME["float8_e4m3fn"], base + (seldom == 2)      # only where the exponent is large
    signed = Script(8, "signed", [Plane(narrow=3, tables=[[2000, 96, 2000], [4094, 1, 1]])], may_choose=True, top=8,
                    exponents=[int(p) >> 3 for p in base[0]])
    return [("base", t.name, (1, count), direct(coded_words(t, base, groups))),
            ("moved", t.name, (1, count), predicted(
                given(Component(), t.name, signed.payload(differences(t, moved, base))), P.INTRA, 0, -1))]


def grids():
    halves = float_words(2700, (4, 6), "float16")
    scales = float_words(2701, (4,)).astype("<u4").tobytes()
    data = any_script(BY_NAME["float16"]).payload([int(x) for x in halves.reshape(-1)])
    return [("grid", "float32", (4, 6), direct(given(Component(Q.GRID, grid_scales=scales), "float32", data)))]


def recipes() -> Iterator[Recipe]:
    yield Recipe("types-bins", "any words of every element type, entropy mode BINS", several(all_types))
    yield Recipe("v-bins-levels", "BINS: levels of every quantiser", several(quantisers))
    yield Recipe("v-bins-trellis", "BINS: trellises of every number of states, with pairs of tables",
                 several(trellises), profile=Profile.MAIN)
    yield Recipe("v-bins-differences", "BINS: differences, with tables by the predictor's exponent and by groups",
                 several(predictions))
    yield Recipe("v-bins-unchanged", "BINS: differences of which nearly all are 0", several(unchanged))
    yield Recipe("v-bins-ends", "BINS: chunks of every remainder by eight, and odd nibbles", several(chunk_ends))
    yield Recipe("v-bins-groups", "BINS: groups that choose among 2 to 16 tables, in head and tail",
                 several(group_choices))
    yield Recipe("v-bins-layouts", "BINS: narrow and wide bins in every arrangement, lone ones, ends of frequencies",
                 several(bin_layouts))
    yield Recipe("v-bins-chunks", "BINS: three chunks", several(long_tensor))
    yield Recipe("v-bins-many-chunks", "BINS: four chunks and one element, by groups and by the predictor's exponent",
                 several(many_chunks))
    yield Recipe("v-bins-grid", "BINS: a scaled half-precision grid", several(grids))
