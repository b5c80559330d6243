"""Random legal streams by seed: every tool, representation, profile and kind of unit, in models that refer to each
other.

A stream is drawn as a list of steps of a Builder. Payloads of range coding come from the chooser (chooser.py), others
from
shaped arrays. Integers only, so a seed gives the same bytes everywhere; needs a process with REFCODEC_COMPILE=0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from refcodec.bitstream.limits import Profile
from refcodec.bitstream.structures import (
    BY_DIFFERENCE,
    BY_NEIGHBOURS,
    DECOMPOSED,
    FACTORED,
    INDICES,
    MASKS,
    RANGE_CODED,
    WORDS,
    EntropyMode,
    FactorParameters,
    FoldParameters,
    LayerDescriptor,
    LayerDescriptors,
    LayerTensor,
    PredictionMode,
    Quantiser,
    Representation,
    TensorDescriptor,
)
from refcodec.dtypes import BY_CODE, BY_NAME, DType
from refcodec.encoder.candidate import Part
from refcodec.errors import OmcError
from refcodec.fold import Fold
from refcodec.prediction import fitted
from refcodec.quantization.rounding import supports
from refcodec.reconstruction import folded, unfolded
from refcodec.reconstruction.random_integers import random_choice

from .builder import Builder, Coded, build
from .chooser import Chooser, Draw
from .drawn_parts import Matrix, coded_levels, quantised
from .parts import fixed_point, integer_codebook, uniform
from .points import allowed

M, P, Q, R = EntropyMode, PredictionMode, Quantiser, Representation
KEPT: tuple[int, ...] = (0, 1, 2, 3, 5, 8, 12, 17)     # seeds of the streams of the suite


# Tensors

@dataclass
class Entry:
    """A tensor that is drawn. words: row-major, None where they are not known without decoding."""

    name: str
    dtype: DType
    shape: tuple[int, ...]
    fold: Fold
    words: np.ndarray | None = None


@dataclass
class Drawn:
    """A stream that is being drawn. models: the tensors of each; steps: what a Builder has to do."""

    seed: int
    draw: Draw
    chooser: Chooser
    profile: Profile
    models: list[list[Entry]] = field(default_factory=list)
    steps: list[Callable[[Builder], None]] = field(default_factory=list)

    def write(self, b: Builder) -> None:
        for step in self.steps:
            step(b)
        b.end()


def matrix_of(e: Entry, scan: int, base: np.ndarray | None, base_shape: tuple[int, ...]) -> Matrix:
    """The matrix of a tensor, and that of its predictor."""
    rows, columns = e.fold.matrix_shape(e.shape, scan)
    predictor = None
    if base is not None:
        fit = fitted(base.reshape(*base_shape, e.dtype.parts), (*e.shape, e.dtype.parts)).reshape(-1)
        predictor = np.ascontiguousarray(folded(fit, e.shape, e.dtype.parts, e.fold, scan))
    return Matrix(rows, columns * e.dtype.parts, e.dtype, predictor, 1 if scan else e.fold.kernel_size,
                  e.fold.plane_rows(e.shape, scan))


def drawn_tensor(s: Drawn, number: int) -> Coded:
    """The coding of a tensor of the last model."""
    draw, e, model = s.draw, s.models[-1][number], s.models[-1]
    like = [(0, i, o) for i, o in enumerate(model[:number])] + [
        (1, i, o) for i, o in enumerate(s.models[-2] if len(s.models) > 1 else [])]
    like = [x for x in like if x[2].dtype == e.dtype and len(x[2].shape) == len(e.shape)]
    plain = supports(e.dtype) and e.dtype.parts == 1
    prediction = draw.pick(
        (P.NONE, P.NONE, P.SPATIAL if plain else P.NONE, *([P.COPY, P.INTRA, P.INTRA] if like else [])))
    reference, i, other = draw.pick(like) if like else (0, number, e)
    d = TensorDescriptor(prediction_mode=prediction, column_scan_flag=draw.below(2), spatial_predictor=draw.below(5))
    if prediction in (P.COPY, P.INTRA):
        d.prediction_mode = prediction = P.INTER if reference and prediction == P.INTRA else prediction
        d.reference_index, d.reference_tensor_delta = reference, i - number
        if prediction == P.COPY:
            e.words = other.words
            return Coded(d) if other.shape == e.shape else drawn_tensor(s, number)
    by_difference = prediction in BY_DIFFERENCE
    m = matrix_of(e, d.column_scan_flag, other.words if by_difference else None, other.shape)
    d.representation, quantiser, mode = drawn_tools(s, e, d.prediction_mode, by_difference and other.words is None, m)
    parts = drawn_parts(s, d, m, quantiser, mode)
    if d.representation == R.DIRECT and quantiser == Q.NONE:
        array = parts[0].array if parts[0].array is not None else np.zeros((m.rows, m.columns), e.dtype.word)
        e.words = unfolded(array, e.shape, e.dtype.parts, e.fold, d.column_scan_flag)
    return Coded(d, parts)


def drawn_tools(s: Drawn, e: Entry, prediction: PredictionMode, unknown: bool, m: Matrix) -> tuple:
    """(representation, quantiser, entropy mode) that go together. unknown: the predictor's words are not known."""
    draw, plain = s.draw, supports(e.dtype) and e.dtype.parts == 1
    for _ in range(1000):
        r, q, mode = draw.pick((R.DIRECT, R.DIRECT, draw.pick(list(R)))), draw.pick(list(Q)), draw.pick(
            (M.CC, *RANGE_CODED, draw.pick([m for m in M if not m.facts.lanes])))   # those have recipes of their own
        if (not allowed(prediction, r, q, mode, q in WORDS) or q in WORDS and unknown
                or q == Q.GRID and e.dtype.name != "float32" or q not in (*WORDS, Q.CODEBOOK) and not plain
                or r != R.DIRECT and (e.dtype.parts != 1 or m.rows * m.columns == 0)
                or r in FACTORED and (e.dtype.kind != "f" or not plain)
                or not mode.facts.complex_words and e.dtype.parts != 1 or s.profile < mode.facts.profile
                or r in DECOMPOSED and s.profile < Profile.MAIN
                or mode == M.HUFFMAN and e.dtype.bits == 64 and q == Q.NONE):
            continue
        return r, q, mode
    raise ValueError("no tools for this tensor")


def drawn_parts(s: Drawn, d: TensorDescriptor, m: Matrix, quantiser: Quantiser, mode: EntropyMode) -> list[Part]:
    """The components of a representation."""
    draw, rank = s.draw, s.draw.between(1, max(1, min(m.rows, m.columns)))
    if d.representation == R.DIRECT:
        return [quantised(s.chooser, m, quantiser, mode, s.profile, d.prediction_mode in BY_NEIGHBOURS)]
    if d.representation in MASKS:
        seed, density = draw.word(), draw.below(1 << 32)
        flags = np.array([draw.below(2) for _ in range(m.rows)], bool)
        chosen = (random_choice(seed, density, m.rows * m.columns).reshape(m.rows, m.columns)
                  if d.representation == R.RANDOM_MASK else np.broadcast_to(flags[:, None], (m.rows, m.columns)))
        count = int(chosen.sum()) if d.representation == R.RANDOM_MASK else int(flags.sum())
        shape = (1, count) if d.representation == R.RANDOM_MASK else (count, m.columns)
        d.factor = (FactorParameters(selected_count=count, random_density=density, random_seed=seed) if d.representation
                    == R.RANDOM_MASK else FactorParameters(selected_count=count, row_mask=np.packbits(flags).tobytes()))
        kept = None if m.predictor is None else np.ascontiguousarray(m.predictor[chosen].reshape(shape))
        return [quantised(s.chooser, Matrix(*shape, m.dtype, kept), quantiser, mode, s.profile)]
    gains = draw.between(1, max(1, min(m.rows, m.columns)))
    rank = rank if d.representation != R.AUGMENTATION or draw.below(2) else 0
    d.factor = FactorParameters(factor_rank=rank, gain_count_minus1=gains - 1, additive_flag=draw.below(2),
                                random_seed=draw.word())
    product = [(m.rows, rank), (rank, m.columns)]
    shapes = {R.LOW_RANK: product, R.AUGMENTATION: [(1, gains),
                                                    *(product if rank else [])]}.get(d.representation, product[:1])
    return [factor(s, Matrix(*shape, m.dtype), quantiser, mode) for shape in shapes]


def factor(s: Drawn, m: Matrix, quantiser: Quantiser, mode: EntropyMode) -> Part:
    """A component of small indices."""
    c = {Q.UNIFORM: uniform(s.draw.between(1, 9), -6), Q.FIXED_POINT: fixed_point(8, 5),
         Q.INTEGER_CODEBOOK: integer_codebook([0, 5, -3, 2], 0, 1, -4)}[quantiser]
    return coded_levels(s.chooser, m, mode, c, 3, quantiser in INDICES and quantiser != Q.INTEGER_CODEBOOK)


# Streams

def drawn_model(s: Drawn) -> None:
    draw, number = s.draw, len(s.models)
    entries = []
    for i in range(draw.between(1, 4)):
        rank = draw.pick((0, 1, 2, 2, 2, 3, 3, 4))
        shape = tuple(draw.pick((0, 1, *range(2, 12))) if rank < 3 else draw.between(1, 5) for _ in range(rank))
        t = draw.pick((BY_NAME["float32"], entries[-1].dtype if entries else BY_NAME["float32"],
                       draw.pick(list(BY_CODE.values()))))
        entries.append(Entry(f"{number}.{i}", t, shape, Fold.default(shape)))
    s.models.append(entries)
    s.steps.append(lambda b: b.model(f"model {number}", [(e.name, e.dtype.name, e.shape) for e in entries], [1]
                                     if number else []))
    if draw.below(2):
        listed = []
        for i, e in enumerate(entries):
            axes = list(range(len(e.shape)))
            for k in range(len(axes)):
                j = draw.between(k, len(axes) - 1)
                axes[k], axes[j] = axes[j], axes[k]
            fold = FoldParameters(draw.between(0, len(axes)), axes, draw.between(1, 9))
            e.fold = Fold(tuple(axes), fold.row_axis_count, fold.kernel_size)
            listed.append(LayerTensor(i, draw.below(16), 1, fold))
        layers = LayerDescriptors(1, [LayerDescriptor("drawn", "", "Op", len(listed), listed)])
        s.steps.append(lambda b: b.layers(layers))
    for i in range(len(entries)):
        coded = drawn_tensor(s, i)
        s.steps.append(lambda b, i=i, coded=coded: b.tensors((i, coded)))
    if draw.below(2):
        s.steps.append(lambda b: b.index())
    s.steps.append(lambda b: b.end_model())


def drawn_stream(seed: int) -> tuple[bytes, Profile]:
    """(bytes, profile) of the stream of a seed. Draws that overflow their type are drawn again, with a seed that
    follows."""
    for attempt in range(100):
        draw = Draw(seed << 20 | attempt)
        s = Drawn(seed, draw, Chooser(draw), draw.pick(list(Profile)))
        try:
            for _ in range(draw.between(1, 3)):
                drawn_model(s)
            return build(s.write, s.profile), s.profile
        except (OmcError, ValueError):
            continue
    raise ValueError(f"seed {seed} gives no legal stream in 100 attempts")
