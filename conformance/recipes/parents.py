"""Small valid streams that the faults of invalid.py are made from, where no other stream of the suite serves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.limits import Profile

from .builder import Builder
from .parts import (
    MODES,
    P,
    R,
    any_words,
    codebook,
    copy,
    decimal,
    direct,
    fixed_point,
    float_words,
    integer_codebook,
    levels,
    predicted,
    represented,
    small_levels,
    spatial,
    uniform,
    words,
)
from .single import several, simple
from .streams import Recipe

INT4 = any_words(200, "int4", (4, 6))
WORK_WIDTH, WORK_DEPTH = 10, 8


def chain(b: Builder) -> None:
    """Predictions as deep as level 1 allows, and one that could be deeper."""
    b.model("chain", [(f"w{i}", "float32", (2, 3)) for i in range(10)])
    b.tensors((0, direct(words("float32", float_words(201, (2, 3))))))
    for i in range(1, 10):
        b.tensors((i, copy(0, -1 if i < 9 else -9)))
    b.end_model()
    b.end()


def others() -> list[tuple]:
    """Tensors of which the last is a copy, after ones of another type, rank and shape."""
    w = any_words(202, "float32", (2, 3))
    return [("rank", "float32", (6, ), direct(words("float32", w.reshape(1, 6)))),
            ("shape", "float32", (3, 2), direct(words("float32", w.reshape(3, 2)))),
            ("type", "int32", (2, 3), direct(words("int32", w))),
            ("base", "float32", (2, 3), direct(words("float32", w))), ("copy", "float32", (2, 3), copy(0, -1))]


def decomposed() -> list[tuple]:
    """A mapping of a finite matrix; another one holds an infinity."""
    x = float_words(203, (4, 5))
    y = x.copy()
    y[2, 3] = 0x7F800000
    part = levels(small_levels(204, (4, 1)), uniform())
    return [("infinite", "float32", (4, 5), direct(words("float32", y))),
            ("x", "float32", (4, 5), direct(words("float32", x))),
            ("y", "float32", (4, 5), represented(R.MAPPING, [part], P.INTRA, 0, -1, factor_rank=1))]


def largest() -> list[tuple]:
    """A residual that the largest float64 swallows, and its negative."""
    x = np.array([[0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF]], np.uint64)
    return [("x", "float64", (1, 2), direct(words("float64", x))),
            ("y", "float64", (1, 2), predicted(levels(np.array([[1, -1]]), uniform(1, 969)), P.INTRA, 0, -1))]


def sides(rows: int, columns: int):
    """A product of rank 1 with a prediction, of a matrix too large to be decomposed in level 1."""
    def tensors() -> list[tuple]:
        shape = (rows, columns)
        parts = [levels(np.zeros(s), uniform()) for s in ((rows, 1), (1, columns))]
        return [("x", "float32", shape, direct(words("float32", np.zeros(shape, np.uint32), scale_rule=2))),
                ("y", "float32", shape, represented(R.LOW_RANK, parts, P.INTRA, 0, -1, factor_rank=1))]
    return several(tensors)


def work(b: Builder) -> None:
    """Joined units of copies, each from all units of the step before: the work of the last is just within the limit."""
    width, depth = WORK_WIDTH, WORK_DEPTH
    shape = (6,)
    b.model("work", [(f"{i:x}", "uint8", shape) for i in range(width * width * depth)])
    for step in range(depth):
        for unit in range(width):
            first = (step * width + unit) * width
            if step == 0:
                coded = [direct(words("uint8", np.full((1, 6), unit, np.uint8))) for _ in range(width)]
            else:
                # of the last step only one of the units before is asked for
                used = width if step < depth - 1 else 1
                before = [((step - 1) * width + k % used) * width for k in range(width)]
                coded = [copy(0, t - (first + k)) for k, t in enumerate(before)]
            b.tensors(*[(first + k, c) for k, c in enumerate(coded)])
    b.end_model()
    b.end()


def recipes() -> Iterator[Recipe]:
    """All parents; they are streams of the suite as well."""
    def one(name: str, dtype: str, make, shape=(4, 6), profile=Profile.BASELINE) -> Recipe:
        return Recipe(f"p-{name}", f"one {dtype} tensor: {name}", simple(shape, make, dtype), profile=profile)

    for mode in (MODES.RAW, MODES.FIXED, MODES.DEFLATE, MODES.HUFFMAN, MODES.CC):
        yield one(f"int4-{mode.name.lower()}", "int4", lambda mode=mode: direct(words("int4", INT4, mode)))
    yield one("fixed-odd", "int4", lambda: direct(words("int4", np.full((3, 3), 9, np.uint8), MODES.FIXED)), (3, 3))
    yield one("complex", "complex64", lambda: direct(words("complex64", any_words(205, "complex64", (4, 12)))))
    yield one("e8m0", "float8_e8m0fnu", lambda: direct(words("float8_e8m0fnu", any_words(206, "float8_e8m0fnu",
                                                                                         (4, 6)))))
    yield one("codebook-int4", "int4",
              lambda: direct(levels(np.arange(24).reshape(4, 6) % 3 - 1, codebook(np.array([1, 7, 15], np.uint8), 1))))
    yield one("uniform-int8", "int8", lambda: direct(levels(np.arange(24).reshape(4, 6) - 12, uniform(1, 0))))
    yield one("uniform-float16", "float16", lambda: direct(levels(np.arange(24).reshape(4, 6) - 12, uniform(1, 0))))
    yield one("uniform-raw8", "float32", lambda: direct(levels(small_levels(207,
                                                                            (4, 6)), uniform(), MODES.RAW, width=8)))
    yield one("decimal-raw", "float64", lambda: direct(levels(small_levels(208,
                                                                           (4, 6)), decimal(), MODES.RAW, width=8)))
    yield one("fixedpoint", "float32", lambda: direct(levels(small_levels(209, (4, 6)), fixed_point(9), MODES.RAW)))
    yield one("integercodebook-main", "float32",
              lambda: direct(levels(np.arange(24).reshape(4, 6) % 3 - 1, integer_codebook([-5, 0, 9], 1))),
              profile=Profile.MAIN)
    yield one("spatial-raw", "float32", lambda: spatial(levels(small_levels(210, (4, 6)), uniform(), MODES.RAW), 0))
    yield one(
        "lowrank-raw", "float64", lambda: represented(R.LOW_RANK, [
            levels(small_levels(211 + i, s), uniform(), MODES.RAW) for i, s in enumerate([(4, 1), (1, 6)])
        ], factor_rank=1))
    yield one("words-signs", "float32", lambda: direct(words("float32", float_words(212, (4, 6)))))
    yield one("map", "float32", lambda: direct(words("float32", float_words(213, (4, 6)), MODES.MAP)))
    yield one("levels", "float32", lambda: direct(levels(small_levels(214, (4, 6)), uniform())))
    yield one("levels-huffman", "float32", lambda: direct(levels(small_levels(215, (4, 6)), uniform(), MODES.HUFFMAN)))
    yield one("gzip", "float32", lambda: direct(words("float32", float_words(216, (4, 6)), MODES.GZIP)))
    yield one("bzip2", "float32", lambda: direct(words("float32", float_words(217, (4, 6)), MODES.BZIP2)))
    yield one("lzma", "float32", lambda: direct(words("float32", float_words(218, (4, 6)), MODES.LZMA)))
    yield Recipe("p-chain", "predictions as deep as level 1 allows, and a shallow one", chain)
    yield Recipe("p-others", "a copy, after tensors of another type, rank and shape", several(others))
    yield Recipe("p-decomposed", "a mapping, after a matrix that holds an infinity", several(decomposed),
                 profile=Profile.MAIN)
    yield Recipe("p-largest-float64", "the largest float64 and a residual below half its last bit", several(largest))
    yield Recipe("p-side", "a matrix of 257 by 257 with a product of rank 1", sides(257, 257), profile=Profile.MAIN)
    yield Recipe("p-area", "a matrix of 256 by 4097 with a product of rank 1", sides(256, 4097), profile=Profile.MAIN)
    yield Recipe("p-work", "joined units that predict each other, within the decoding work of level 1", work)
