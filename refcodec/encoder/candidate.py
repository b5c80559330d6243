"""One way to code one tensor: its descriptor, and the arrays that are entropy-coded (informative)."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..bitstream.derive import segment_borders
from ..bitstream.structures import (
    RANGE_CODED,
    WORDS,
    ByteParameters,
    Component,
    EntropyMode,
    Payload,
    PredictionMode,
    Quantiser,
    Representation,
    TensorDescriptor,
    mode_facts,
)
from ..dtypes import DType
from ..entropy.modes import MODES, Block, Whole, WholeArray, range_coded, whole_array
from ..entropy.payload import encode_payload
from ..entropy.words import difference
from ..parallel import run_all

MOST_VALUES = max(row.most_values or 0 for row in MODES.values() if isinstance(row, WholeArray))
PAYLOAD_BYTES = 4          # of coded_size and bypass_size, about
ENTRY_BYTES = 2            # of an entry of an integer codebook, about


@dataclass
class Prediction:
    """Where a predictor comes from. words: of the predicting tensor, fitted to the shape, row-major.

    reference_index: 0 for this model.  tensor_delta: number of the predicting tensor less that of the predicted one.
    same_shape: nothing was cropped or padded, a copy is possible.
    """

    reference_index: int
    tensor_delta: int
    words: np.ndarray
    same_shape: bool = True

    def equals(self, words: np.ndarray) -> bool:
        """True if a copy of the predicting tensor will do."""
        return self.same_shape and np.array_equal(self.words, words)

    def residual(self, values: np.ndarray) -> np.ndarray:
        """float64 differences of values (row-major, one dimension) from it; what is not finite predicts 0 (SPEC
        8.5.3)."""
        base = self.words.view(values.dtype).astype(np.float64)
        base[~np.isfinite(base)] = 0
        return values.astype(np.float64) - base


@dataclass
class Part:
    """One component to be coded. array: words or levels [rows, columns], None if nothing is coded; predictor: like it.

    dtype: of words.  plane_rows: rows of a plane of a map (SPEC 8.3).
    """

    component: Component
    array: np.ndarray | None
    dtype: DType
    predictor: np.ndarray | None = None
    kernel_size: int = 1
    plane_rows: int = 1
    payloads: list[Payload] = field(default_factory=list)

    @property
    def trellis(self) -> bool:
        """True for trellis-coded levels."""
        return self.component.quantiser == Quantiser.UNIFORM and self.component.uniform.states > 0

    def block(self, rows: slice = slice(None)) -> Block:
        """What codes `rows` of the array in a range-coded payload."""
        assert self.array is not None
        predictor = None if self.predictor is None else self.predictor[rows]
        return Block(self.component, self.array[rows], self.dtype, predictor, self.kernel_size, self.plane_rows,
                     rows.start % self.plane_rows if rows.start else 0)

    def code(self, threads: int = 1) -> Part:
        """Make the payloads of the entropy mode that the component names."""
        c = self.component
        if self.array is None or self.payloads:
            return self
        if c.entropy_mode not in RANGE_CODED:
            c.entry_count_minus1 = 0
            whole = Whole(c, self.dtype if c.quantiser in WORDS else None, self.predictor, threads=threads)
            data = whole_array(c.entropy_mode).encode(whole, self.integers)
            self.payloads = [Payload(len(data), 0, data, b"")]
            return self
        borders = segment_borders(self.array.shape[0], c.entry_count_minus1 + 1)

        def entry(e: int) -> Payload:
            coded, bypass = encode_payload([self.block(slice(borders[e], borders[e + 1]))])
            return Payload(len(coded), len(bypass), coded, bypass)

        self.payloads = run_all(entry, range(len(borders) - 1), threads)
        return self

    @functools.cached_property
    def integers(self) -> np.ndarray:
        """What is coded outside range coding: levels, words, or differences of words."""
        assert self.array is not None
        return self.array if self.predictor is None else difference(self.array, self.predictor, self.dtype)

    @functools.cached_property
    def value_count(self) -> float:
        """How many different integers there are: infinitely many where a sample shows more than any mode takes."""
        flat = self.integers.reshape(-1)
        if np.unique(flat[: 4 * MOST_VALUES]).size > MOST_VALUES:
            return math.inf
        return np.unique(flat).size

    def with_mode(self, mode: EntropyMode) -> Part:
        """The same integers in another entropy mode, not yet coded."""
        component = replace(self.component, entropy_mode=mode, byte=ByteParameters())
        other = replace(self, component=component, payloads=[])
        other.integers = self.integers              # the same array: no difference is taken twice
        return other

    @property
    def size(self) -> int:
        """Bytes of the payloads and of the arrays in the descriptor."""
        c = self.component
        return (sum(p.coded_size + p.bypass_size for p in self.payloads) + len(c.codebook.codebook_words)
                + len(c.grid_scales) + ENTRY_BYTES * len(c.integer_codebook.codebook_integer)
                + PAYLOAD_BYTES * len(self.payloads))


@dataclass
class Candidate:
    """descriptor: without index and digest, its components are those of the parts.  words: what the decoder will get,
    row-major."""

    descriptor: TensorDescriptor
    words: np.ndarray
    dtype: DType
    parts: list[Part] = field(default_factory=list)
    joined: bool = False                   # it is to share a unit, if it can

    def code(self, threads: int = 1, modes: Sequence[EntropyMode] = (), only: bool = False) -> Candidate:
        """Make the payloads: of each part the smallest among its own entropy mode and `modes`; only: among `modes`,
        if it can."""
        for i, part in enumerate(self.parts):
            if part.array is not None:
                own = [] if part.component.entropy_mode in modes else [part]
                others = [part.with_mode(m) for m in possible_modes(part, modes)]
                tried = others if only and others else own + others
                self.parts[i] = min((p.code(threads) for p in tried), key=lambda p: p.size)
        return self

    @property
    def size(self) -> int:
        """Bytes of the payloads and of the arrays in the descriptor."""
        return sum(part.size for part in self.parts) + len(self.descriptor.factor.row_mask)

    @property
    def joinable(self) -> bool:
        """True if the tensor can share a unit with others."""
        return (self.descriptor.representation == Representation.DIRECT
                and all(part.component.entropy_mode in RANGE_CODED for part in self.parts))

    def reusable(self) -> TensorDescriptor:
        """A copy of the descriptor, with its components, that may be changed."""
        d = copy.copy(self.descriptor)
        d.component = [part.component for part in self.parts]
        d.component_count = len(d.component)
        return d


def possible_modes(part: Part, modes: Sequence[EntropyMode]) -> list[EntropyMode]:
    """Those of the entropy modes that can code a part."""
    return [m for m in modes if _can_code(m, part)]


def _can_code(mode: EntropyMode, part: Part) -> bool:
    words, row = part.component.quantiser in WORDS, MODES[mode]
    if not mode.facts.codes(words) or (part.dtype.parts != 1 and not mode.facts.complex_words):
        return False
    if part.trellis and mode.facts.lanes != mode_facts(part.component.entropy_mode).lanes:
        return False                                   # the same levels would have other values
    if isinstance(row, WholeArray):
        return row.most_values is None or part.value_count <= row.most_values
    if words or part.array is None:
        return True
    return max(int(part.array.max(initial=0)), -int(part.array.min(initial=0))) <= range_coded(mode, words).largest


def copy_candidate(prediction: Prediction, dtype: DType) -> Candidate:
    """The predicting tensor itself."""
    d = TensorDescriptor()
    set_prediction(d, prediction, PredictionMode.COPY)
    return Candidate(d, prediction.words, dtype)


def set_prediction(d: TensorDescriptor, prediction: Prediction | None, mode: PredictionMode | None = None) -> None:
    """Enter a prediction. mode: that of differences where it is None."""
    if prediction is not None:
        by_difference = PredictionMode.INTER if prediction.reference_index else PredictionMode.INTRA
        d.prediction_mode = by_difference if mode is None else mode
        d.reference_index, d.reference_tensor_delta = prediction.reference_index, prediction.tensor_delta
