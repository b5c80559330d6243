"""Tensors of one element whose payloads are written bin by bin, and the faults that only such a payload can have.

Each fault names the legal script beside the wrong one: `faults()` fails if the legal one is not the parent's payload.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import UnitType

from .edits import Edit, EditedStream, payload
from .faults import Fault, fault
from .parts import MODES, direct, levels, uniform, words
from .scripts import MAP_CONTEXTS, NODES, WORD_CONTEXTS, BinScript, MixedScript, level_script
from .single import simple
from .streams import Recipe

LEVEL_MAX = 2**30 - 1
CLASS_MAX = 28


def recipes() -> Iterator[Recipe]:
    """The parents: one element each."""
    def one(name: str, dtype: str, make, profile: Profile = Profile.BASELINE) -> Recipe:
        return Recipe(f"p-one-{name}", f"one {dtype}: {name}", simple((1,), make, dtype), profile=profile)

    largest = np.array([[LEVEL_MAX]])
    yield one("level-cc", "float32", lambda: direct(levels(largest, uniform())))
    yield one("level-cm", "float32", lambda: direct(levels(largest, uniform(), MODES.CM)), Profile.HIGH)
    yield one("float", "float32", lambda: direct(words("float32", np.array([[0x3F800000]], np.uint32), row_shifts=1)))
    yield one("integer", "int8", lambda: direct(words("int8", np.array([[0x80]], np.uint8), row_shifts=1)))
    yield one("map", "float32", lambda: direct(words("float32", np.array([[0x3F800000]], np.uint32), MODES.MAP)))


# 9.3, 9.4: the level m, positive, written in class g

def level_cc(m: int, g: int = CLASS_MAX) -> bytes:
    s, sign = level_script(), (134 + 4) * NODES + 20
    s.bins(0, 1).bins(sign, 0).bins(2, 1).bins(4, 1)
    for k in range(g):
        s.bins(6 + min(k, 13), 1)
    if g <= CLASS_MAX:
        s.bins(6 + min(g, 13), 0)
        top, second, rest = _class_bits(m, g)
        s.bins(21 + min(g, 13), top).bins(35 + 2 * min(g, 13) + top, second).bypass(rest, g - 1)
    return s.coded()


def level_cm(m: int, g: int = CLASS_MAX) -> bytes:
    s, own = MixedScript(), (0, 0, 6)
    s.bins(own, 0, 1).bins((4, 4, 6), 20, 0).bins(own, 2, 1).bins(own, 4, 1)
    for k in range(g):
        s.bins(own, 6 + min(k, 13), 1)
    if g <= CLASS_MAX:
        s.bins(own, 6 + min(g, 13), 0)
        top, second, rest = _class_bits(m, g)
        s.bins(own, 21 + min(g, 13), top).bins(own, 35 + 2 * min(g, 13) + top, second).bypass(rest, g - 1)
    return s.coded()


def _class_bits(m: int, g: int) -> tuple[int, int, int]:
    # The bits below the first of m - 1: top, second, the g - 1 others
    v = m - 1
    return v >> g & 1, v >> (g - 1) & 1, v & ((1 << (g - 1)) - 1)


# 9.5: 1.0 has class 128 where 123 is expected, and a row shift of 23; -128 of int8 has class 1 with a row shift of 7

def float_word(shift: int = 23, c: int = 128, escape: bool = False) -> bytes:
    s = BinScript(WORD_CONTEXTS).bypass(0, 1).bins(266, 0).bypass(shift, 6).bins(31, 0)
    if escape:
        return s.bins(671, 1).unary(672, 12, 12).bypass(0, 13).coded()
    return s.class_(671, 123, c).coded()


def integer_word(shift: int = 7, c: int = 1) -> bytes:
    s = BinScript(WORD_CONTEXTS).bins(266, 0).bypass(shift, 6).bins(20, 0).class_(671, 4, c)
    return (s.bins(327, 0) if c > 1 else s).coded()


# 9.6: 1.0 has class 128 where 127 is expected; its 23 low bits stand in map_shift

def map_word(c: int = 128, escape: bool = False) -> bytes:
    s = BinScript(MAP_CONTEXTS).bins(8, 0)
    if escape:
        return s.bins(2400, 0).unary(2413, 15, 15).bypass(0, 13).coded()
    return s.class_(2400, 127, c).coded()


def _scripted(legal: bytes, wrong: bytes) -> Edit:
    def edit(s: EditedStream) -> None:
        found = bytes(s.of(UnitType.TENSOR_DATA).find("coded").value)
        if found != legal:
            raise AssertionError(f"the script gives {legal.hex()}, the encoder {found.hex()}")
        payload(lambda _: wrong)(s)
    return edit


def faults() -> Iterator[Fault]:
    """Faults inside range-coded payloads."""
    for mode, script in (("cc", level_cc), ("cm", level_cm)):
        for name, m, g, what in (("level", LEVEL_MAX + 1, CLASS_MAX, "a level of 2^30"), ("class", 0, CLASS_MAX + 1,
                                                                                          "class index 29")):
            yield fault("R9.3-1", f"{mode}-{name}", f"p-one-level-{mode}", _scripted(script(LEVEL_MAX), script(m, g)),
                        "OUT_OF_RANGE", what)
    legal = float_word()
    for shift in (24, 63):
        yield fault("R9.5-4", f"float-{shift}", "p-one-float", _scripted(legal, float_word(shift)), "OUT_OF_RANGE",
                    f"a row shift of {shift}")
    for c in (0, -1, 257):
        yield fault("R9.5-1", f"float-{c}".replace("--", "-m"), "p-one-float", _scripted(legal, float_word(c=c)),
                    "OUT_OF_RANGE", f"class {c} of a float32")
    yield fault("R9.5-5", "float", "p-one-float", _scripted(legal, float_word(escape=True)), "OUT_OF_RANGE",
                "none of the 13 bits of Steps is 1")
    legal = integer_word()
    yield fault("R9.5-4", "integer-8", "p-one-integer", _scripted(legal, integer_word(8)), "OUT_OF_RANGE",
                "a row shift of 8 of an int8")
    yield fault("R8.4-1", "shift", "p-one-integer", _scripted(legal, integer_word(c=2)), "OUT_OF_RANGE",
                "class 2 with a row shift of 7 of an int8")
    yield fault("R9.5-1", "integer-0", "p-one-integer", _scripted(legal, integer_word(0, 0)), "OUT_OF_RANGE",
                "class 0 of what is not zero")
    yield fault("R9.5-1", "integer-9", "p-one-integer", _scripted(legal, integer_word(0, 9)), "OUT_OF_RANGE",
                "class 9 of an int8")
    legal = map_word()
    for c in (0, 257):
        yield fault("R9.6-3", f"class-{c}", "p-one-map", _scripted(legal, map_word(c)), "OUT_OF_RANGE",
                    f"class {c} of a float32 in a map")
    yield fault("R9.5-5", "map", "p-one-map", _scripted(legal, map_word(escape=True)), "OUT_OF_RANGE",
                "none of the 13 bits of Steps is 1, in a map")
    for shift in (24, 63):
        yield fault("R9.6-1", f"shift-{shift}", "p-one-map", payload(lambda d, s=shift: bytes([s]), name="bypass"),
                    "OUT_OF_RANGE", f"map_shift {shift} of a float32")
