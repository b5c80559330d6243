"""Every element type in every entropy mode and quantiser; the parameters of words; words that are all the same."""

from __future__ import annotations

import numpy as np

from refcodec.dtypes import BY_CODE

from .parts import MODES, any_words, codebook, direct, float_words, integers, levels, words
from .single import several

FINE_TYPES = [t for t in BY_CODE.values()
              if t.parts == 1 and t.name != "float8_e8m0fnu"]  # that levels can be rounded to


def all_types(mode: MODES):
    def tensors():
        made = []
        for t in BY_CODE.values():
            if not mode.facts.complex_words and t.parts != 1:
                continue
            w = any_words(t.code, t.name, (4, 6 * t.parts))
            if mode == MODES.HUFFMAN and t.bits == 64:
                w = w >> np.uint64(2)
            made.append((t.name, t.name, (4, 6), direct(words(t, w, mode, planes=mode
                                                              in (MODES.DEFLATE, MODES.BZIP2)))))
        return made
    return several(tensors)


def all_types_of_levels(make):
    def tensors():
        made = []
        for t in FINE_TYPES:
            low, high = (0, 1) if t.kind == "u" else (-2, 1) if t.name == "int2" else (-3, 3)
            made.append((t.name, t.name, (3, 5), direct(levels(integers(t.code, (3, 5), low, high), make()))))
        return made
    return several(tensors)


def types_of_codebooks():
    made = []
    for t in BY_CODE.values():
        entries = any_words(t.code + 400, t.name, (3,))
        made.append(
            (t.name, t.name, (3, 5), direct(levels(integers(t.code, (3, 5 * t.parts), -1, 1), codebook(entries, 1)))))
    return made


def word_parameters():
    floats, n = float_words(60, (6, 10)), any_words(61, "int32", (6, 10))
    magnitudes, shifts = floats & np.uint32(0x7FFFFFFF), np.array([0, 3, 8, 12, 5, 0], np.uint32)[:, None]
    rows = [("signs 0", "float32", magnitudes, {"signs": 0}), ("signs 2", "float32", floats, {"signs": 2}),
            ("no zeros", "float32", floats | np.uint32(0x3C000001), {"zeros": 0}),
            ("scale 1", "float32", floats, {"scale_rule": 1}), ("scale 2", "float32", floats, {"scale_rule": 2}),
            ("shift", "float32", floats >> np.uint32(13) << np.uint32(13), {"shift": 13}),
            ("row shifts", "float32", floats >> shifts << shifts, {"row_shifts": 1}),
            ("trailing", "float32", floats >> np.uint32(9) << np.uint32(9), {"trailing": 1}),
            ("repeats", "float32", np.vstack([floats[:3], floats[:3]]), {"repeats": 1}),
            ("offset", "int32", n, {"offset": 0xFFFFFF00}), ("integer shift", "int32", n << np.uint32(4), {"shift": 4}),
            ("integer rows", "int32", n >> shifts << shifts, {"row_shifts": 1, "signs": 2}),
            ("largest shift", "int32", n << np.uint32(31), {"shift": 31})]
    return [(name, t, (6, 10), direct(words(t, w, **p))) for name, t, w, p in rows]


def constants():
    """Words that are all the same, all zero, the extremes of their types."""
    made = []
    for t in BY_CODE.values():
        for name, word in (("zeros", 0), ("ones", (1 << t.bits) - 1), ("sign", 1 << t.bits - 1)):
            for mode in (MODES.CC, MODES.FIXED):
                w = np.full((2, 3 * t.parts), word, t.word)
                made.append((f"{t.name} {name} {mode.name}", t.name, (2, 3), direct(words(t, w, mode))))
    return made
