"""Valid streams, one for each (prediction, representation, quantiser) that 7.7 allows, with a tensor per entropy
mode."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import BY_DIFFERENCE, BY_NEIGHBOURS, DECOMPOSED, MASKS, WORDS
from refcodec.encoder.candidate import Part
from refcodec.reconstruction.random_integers import random_choice

from .builder import Builder
from .parts import (
    MODES,
    P,
    Q,
    R,
    codebook,
    decimal,
    direct,
    fixed_point,
    float_words,
    integer_codebook,
    integers,
    levels,
    predicted,
    represented,
    small_levels,
    spatial,
    uniform,
    words,
)
from .points import allowed
from .streams import Recipe

ROWS, COLUMNS = 7, 9
BASE = float_words(901, (ROWS, COLUMNS))
SEED, DENSITY = 77, 0x60000000
CHOSEN = random_choice(SEED, DENSITY, ROWS * COLUMNS).reshape(ROWS, COLUMNS)
ROW_MASK = bytes([0b10110100])
KEPT = np.unpackbits(np.frombuffer(ROW_MASK, np.uint8))[:ROWS].astype(bool)
FIVE = np.array([0xBF000000, 0xBC23D70A, 0, 0x3DCCCCCD, 0x7F7FFFFF],
                np.uint32)  # float32: -0.5, -0.01, 0, 0.1, the largest


def array(quantiser: Q, mode: MODES, shape: tuple[int, int], seed: int, predictor: np.ndarray | None) -> Part:
    """One component of a quantiser in an entropy mode."""
    planes = mode in (MODES.GZIP, MODES.LZMA)
    if quantiser == Q.NONE:
        return words("float32", float_words(seed, shape), mode, predictor, planes=planes)
    if quantiser == Q.GRID:
        scales = float_words(seed + 9, (shape[0],)).astype("<u4").tobytes()
        return words("float16", float_words(seed, shape, "float16"), mode, quantiser=Q.GRID, scales=scales,
                     planes=planes)
    n = small_levels(seed, shape)
    make = {
        Q.UNIFORM: uniform, Q.DECIMAL: decimal, Q.FIXED_POINT: lambda: fixed_point(16),
        Q.CODEBOOK: lambda: codebook(FIVE, 2), Q.INTEGER_CODEBOOK: lambda: integer_codebook([-40, -3, 0, 1, 7], 2)
    }[quantiser]
    if quantiser in (Q.CODEBOOK, Q.INTEGER_CODEBOOK):
        n = integers(seed, shape, -2, 2)
    return levels(n, make(), mode, width=1 if mode == MODES.DEFLATE else 2, planes=planes)


def tensor(prediction: P, representation: R, quantiser: Q, mode: MODES, seed: int, delta: int):
    """A coded tensor of ROWS by COLUMNS. delta: to the tensor BASE, where it predicts."""
    by_difference = prediction in BY_DIFFERENCE
    place = {"reference_index": int(prediction == P.INTER), "delta": delta} if by_difference else {}
    predictor = BASE if by_difference else None
    if representation == R.DIRECT:
        part = array(quantiser, mode, (ROWS, COLUMNS), seed, predictor)
        return (predicted(part, prediction, **place) if by_difference else
                spatial(part, seed % 5, prediction) if prediction in BY_NEIGHBOURS else direct(part))
    if representation in MASKS:
        mask = CHOSEN if representation == R.RANDOM_MASK else np.broadcast_to(KEPT[:, None], CHOSEN.shape)
        shape = (1, int(mask.sum())) if representation == R.RANDOM_MASK else (int(KEPT.sum()), COLUMNS)
        part = array(quantiser, mode, shape, seed, None if predictor is None else predictor[mask].reshape(shape))
        values = ({"selected_count": shape[1], "random_density": DENSITY, "random_seed": SEED}
                  if representation == R.RANDOM_MASK else {"row_mask": ROW_MASK, "selected_count": shape[0]})
        return represented(representation, [part], prediction, **place, **values)
    shapes, values = {
        R.LOW_RANK: ([(ROWS, 3), (3, COLUMNS)], {"factor_rank": 3}),
        R.MAPPING: ([(ROWS, 2)], {"factor_rank": 2, "additive_flag": seed % 2}),
        R.AUGMENTATION: ([(1, 3), (ROWS, 2), (2, COLUMNS)], {"factor_rank": 2, "gain_count_minus1": 2}),
        R.LOW_RANK_UPDATE: ([(ROWS, 2)], {"factor_rank": 2, "random_seed": 1234567}),
    }[representation]
    parts = [array(quantiser, mode, shape, seed + 50 * i, None) for i, shape in enumerate(shapes)]
    return represented(representation, parts, prediction, **place, **values)


def recipe(prediction: P, representation: R, quantiser: Q, modes: list[MODES]):
    """The function that writes the stream."""
    def write(b: Builder) -> None:
        shape, base = (ROWS, COLUMNS), [("base", "float32", (ROWS, COLUMNS))]
        own = [(mode.name.lower(), "float32", shape) for mode in modes]
        first = int(prediction == P.INTRA)
        if prediction == P.INTER:
            b.model("old", base)
            b.tensors((0, direct(words("float32", BASE))))
            b.end_model()
        b.model("new", base * first + own, [1] if prediction == P.INTER else [])
        if prediction == P.INTRA:
            b.tensors((0, direct(words("float32", BASE))))
        for i, mode in enumerate(modes):
            b.tensors((i + first, tensor(prediction, representation, quantiser, mode, 100 + 7 * i, -i - first)))
        b.end_model()
        b.end()
    return write


def recipes() -> Iterator[Recipe]:
    """All combinations, those together whose entropy modes every profile has."""
    apart = [m for m in MODES if m.facts.profile > Profile.BASELINE]
    for prediction in P:
        for representation in R:
            for quantiser in Q:
                modes = [m for m in MODES if allowed(prediction, representation, quantiser, m, quantiser in WORDS)]
                if not modes:
                    continue
                profile = Profile.MAIN if representation in DECOMPOSED else Profile.BASELINE
                name = f"c-{prediction.name}-{representation.name}-{quantiser.name}".lower().replace("_", "")
                purpose = (f"prediction {prediction.name}, representation {representation.name}, "
                           f"quantiser {quantiser.name}")
                yield Recipe(name, f"{purpose}: each entropy mode but {' and '.join(m.name for m in apart)}",
                             recipe(prediction, representation, quantiser, [m for m in modes if m not in apart]),
                             profile=profile)
                for m in apart:
                    if m in modes:
                        yield Recipe(f"{name}-{m.name.lower()}", f"{purpose}: entropy mode {m.name}",
                                     recipe(prediction, representation, quantiser, [m]),
                                     profile=max(profile, m.facts.profile))
