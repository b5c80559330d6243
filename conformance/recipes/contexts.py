"""Streams whose payloads are chosen so that they meet as many adaptive contexts as possible, with either bin
(chooser.py)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import EntropyMode, PredictionMode, WordParameters
from refcodec.dtypes import BY_NAME
from refcodec.encoder.candidate import Part

from .builder import Builder, build
from .chooser import Chooser, Draw
from .drawn_parts import as_words, driven
from .parts import LEVEL_BLOCKS, MODES, direct, levels, predicted, uniform, words

SIZES = (1, 2, 3, 4, 5)                     # trellis sizes of the tensors of a stream of levels, one each
FLOATS = ("float32", "bfloat16", "float16", "float64", "float8_e4m3fn", "float8_e5m2", "float32", "float64")
WHOLE = ("int8", "uint8", "int16", "uint32", "int32", "int64", "uint64", "int64", "int4", "bool")


def levels_stream(seed: int, mode: EntropyMode, rows: int, columns: int) -> bytes:
    """Levels of any magnitude with trellises of all sizes, and without."""
    chooser, coded = Chooser(Draw(seed)), []
    for size in (0, 0, 0, *SIZES):
        kernel, shape = (4, (12, 80)) if mode != MODES.CC and size else (1, (rows, columns))
        part = levels(np.zeros(shape), uniform(1, -30, size), mode, kernel_size=kernel)
        coded.append(("float32", (shape[0], shape[1] // kernel, kernel) if kernel > 1 else shape,
                      direct(driven(chooser, part))))
    return build(_written(coded), max(mode.facts.profile, Profile.MAIN))


def words_stream(seed: int, rows: int, columns: int) -> bytes:
    """Words of many types and parameters; differences of floats by the predictor's exponent."""
    chooser, coded = Chooser(Draw(seed)), []
    for i, name in enumerate((*FLOATS, *WHOLE)):
        t = BY_NAME[name]
        p = WordParameters(1, 2 - (i & 1), (0, 1, 0, 2)[i & 3], int(t.kind == "f"), int(i % 5 == 4))
        array = np.zeros((rows, columns), t.word)
        part = Part(words(t, array, **vars(p)).component, array, t)
        coded.append((name, array.shape, direct(driven(chooser, part))))
    for name in ("float32", "float32", "float64", "bfloat16", "float16", "float8_e5m2", "float8_e4m3fn"):
        coded += _predicted_words(chooser, BY_NAME[name], rows, columns)
    return build(_written(coded))


def _predicted_words(chooser: Chooser, t, rows: int, columns: int) -> list[tuple]:
    # A predictor of all exponents, and differences from it, steady and not.
    base = as_words(Draw(chooser.draw.word()), t, (rows, columns))
    found = [(t.name, base.shape, direct(words(t, base, MODES.RAW)))]
    for k, rule in enumerate((2, 2, 1)):
        p = WordParameters(1, 1 + (k & 1), rule)
        array = np.zeros(base.shape, t.word)
        part = Part(words(t, array, **vars(p)).component, array, t, base)
        found.append((t.name, base.shape, predicted(driven(chooser, part), PredictionMode.INTRA, 0, -1 - k)))
    return found


def maps_stream(seed: int, rows: int, columns: int) -> bytes:
    """Maps of many types, in planes, with and without a predictor."""
    chooser, coded = Chooser(Draw(seed)), []
    for name in (*FLOATS, *WHOLE):
        t, shape = BY_NAME[name], (4, rows // 4, columns)
        array = np.zeros((4, rows // 4 * columns), t.word)
        part = Part(words(t, array, MODES.MAP).component, array, t, plane_rows=4)
        coded.append((name, shape, direct(driven(chooser, part))))
        part = Part(words(t, array, MODES.MAP).component, np.zeros_like(array), t, array, plane_rows=4)
        coded.append((name, shape, predicted(driven(chooser, part), PredictionMode.INTRA, 0, -1)))
    return build(_written(coded))


def _written(coded: list[tuple]):
    def write(b: Builder) -> None:
        b.model("contexts", [(f"{i} {name}", name, shape) for i, (name, shape, _) in enumerate(coded)])
        for i, (_, _, tensor) in enumerate(coded):
            b.tensors((i, tensor))
        b.end_model()
        b.end()
    return write


def streams() -> Iterator[tuple[str, str, bytes]]:
    """(id, purpose, bytes) of each."""
    for mode in LEVEL_BLOCKS:
        yield (f"r-contexts-{mode.name.lower()}", f"levels that meet the contexts of {mode.name} with either bin",
               levels_stream(int(mode), mode, 1, 1800 if mode == MODES.CC else 1500))
    yield "r-contexts-words", "words that meet the contexts of 9.5 with either bin", words_stream(3, 20, 36)
    yield "r-contexts-maps", "maps that meet the contexts of 9.6 with either bin", maps_stream(4, 24, 36)
