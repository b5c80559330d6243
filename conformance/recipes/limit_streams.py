"""Limits of level 1, and the ends of other ranges."""

from __future__ import annotations

import numpy as np

from refcodec.bitstream.limits import LEVELS

from .builder import Builder
from .parts import (
    MODES,
    P,
    R,
    copy,
    decimal,
    direct,
    fixed_point,
    float_words,
    levels,
    predicted,
    represented,
    uniform,
    words,
)


def nesting(b: Builder) -> None:
    count = LEVELS[1].nesting + 1
    b.model("chain", [(f"w{i}", "float32", (2, 3)) for i in range(count)])
    b.tensors((0, direct(words("float32", float_words(170, (2, 3))))))
    for i in range(1, count):
        b.tensors((i, predicted(levels(np.ones((2, 3)), uniform()), P.INTRA, 0, -1) if i % 2 else copy(0, -1)))
    b.end_model()
    b.end()


def many_tensors(b: Builder) -> None:
    level = LEVELS[1]
    b.model("many", [(f"{i:x}", "uint8", (64,)) for i in range(level.tensors)])
    b.tensors(*[(i, direct(words("uint8", np.full((1, 64), i >> 6, np.uint8), scale_rule=2)))
                for i in range(level.joined_tensors)])
    b.end_model()
    b.end()


def many_models(b: Builder) -> None:
    for i in range(LEVELS[1].models):
        distances = list(range(1, min(i, LEVELS[1].references) + 1))
        b.model("n" * LEVELS[1].name_length if i == 0 else "", [("w", "int8", (3, ))] if i == 0 else [], distances,
                inherit=i > 0)
        b.tensors((0, copy(len(distances), 0) if i else direct(words("int8", np.array([[1, 128, 255]], np.uint8)))))
        b.end_model()
    b.end()


def largest_steps():
    made = []
    for name, t, m, e, n in (("smallest float64", "float64", 1, -1074, 3), ("largest float64", "float64", 65535, 970,
                                                                            2**37 >> 6),
                             ("subnormal float32", "float32", 1, -149, 3), ("below float32", "float32", 1, -151, 3),
                             ("largest float32", "float32", 65535, 112, 1), ("tie float16", "float16", 2049, 0, 1),
                             ("tie bfloat16", "bfloat16", 257, 0, 3), ("tie int8", "int8", 1, -1, 5)):
        n = min(n, 1 << 30 - 1)
        made.append((name, t, (2, 2), direct(levels(np.array([[n, -n], [1, 0]]) if name != "largest float64" else
                                                    np.array([[1, -1], [2, 0]]), uniform(m, e)))))
    return made


def wide_levels():
    edge = np.array([[2**31 - 1, -(2**31)], [0, 1]])
    near = np.array([[2**30 - 1, 1 - 2**30], [0, 1]])
    big = np.array([[2**53, -(2**53)], [5, -1]])
    return [
        *((f"edge {m.name}", "float64", (2, 2), direct(levels(edge, uniform(), m)))
          for m in (MODES.RAW, MODES.HUFFMAN, MODES.FIXED)),
        ("near CC", "float64", (2, 2), direct(levels(near, uniform(), MODES.CC))),
        *((f"decimal {m.name} {p}", "float64", (2, 2), direct(levels(big, decimal(p), m, width=8)))
          for m in (MODES.RAW, MODES.HUFFMAN, MODES.LZMA) for p in (0, 22)),
        *((f"fixed point {w}", "float64",
           (2, 2), direct(levels(np.array([[2**(w - 1) - 1, -(2**(w - 1))], [0, 0]]), fixed_point(w, g), MODES.RAW)))
          for w, g in ((1, 0), (2, 1074), (32, 0)))
    ]


def zero_update(b: Builder) -> None:
    b.model("m", [("x", "float32", (4, 5)), ("y", "float32", (4, 5))])
    b.tensors((0, direct(words("float32", float_words(180, (4, 5))))))
    parts = [levels(np.zeros(s), uniform()) for s in ((4, 1), (1, 5))]
    b.tensors((1, represented(R.LOW_RANK, parts, P.INTRA, 0, -1, factor_rank=1)))
    b.end_model()
    b.end()
