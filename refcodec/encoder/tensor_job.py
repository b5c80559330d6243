"""What is known of one tensor when it is coded, and the candidates that follow from coded integers (informative)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from ..bitstream.derive import ENTRY_MIN_ELEMENTS, segment_borders
from ..bitstream.structures import Component, EntropyMode, Quantiser, TensorDescriptor
from ..dtypes import BY_NAME, DType
from ..fold import Fold
from ..model import Tensor
from ..prediction.neighbours import Neighbours
from ..quantization.values import Place, values
from ..reconstruction import folded, unfolded
from ..reconstruction.components import factor_of
from ..reconstruction.representations import rebuilt
from .candidate import Candidate, Part, Prediction, set_prediction
from .components import is_constant
from .config import Config
from .hybrid.operating_points import HybridPoint
from .treatment import Treatment

LEVELS_FROM = 1 << 16          # elements from which levels are coded in bins
BINS_FROM = 1 << 13            # elements: of fewer, context coding takes some per cent less than bins


@dataclass
class Choice:
    """How a quantised tensor is predicted and scanned."""

    prediction: Prediction | None
    column_scan: int


@dataclass
class TensorJob:
    """One tensor to be coded. predictions: from reference models."""

    index: int
    tensor: Tensor
    fold: Fold
    treatment: Treatment
    config: Config
    joined: bool = False                   # it will share a unit with others
    large_model: bool = False              # whose small tensors are no part of its size, but of the time
    predictions: list[Prediction] = field(default_factory=list)
    choice: Choice | None = None           # made before, or when the tensor is coded
    point: HybridPoint | None = None       # of the hybrid pipeline

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    @cached_property
    def words(self) -> np.ndarray:
        """The words of the tensor, row-major, one dimension; they stay in memory while the job does."""
        return self.tensor.words

    @property
    def in_bins(self) -> bool:
        """True if words are coded in bins, where nothing else is asked for."""
        return (not self.joined and self.config.tools.words_in_bins
                and (self.large_model or self.words.size >= BINS_FROM))

    @property
    def at_once(self) -> bool:
        """True for a small tensor that is coded without trials."""
        tools = self.config.tools
        return (self.joined and self.large_model and self.treatment == Treatment.LOSSLESS
                and tools.entropy is None and tools.effort != "best")

    @property
    def values(self) -> np.ndarray:
        """The same as elements."""
        return self.words.view(self.dtype.numpy)

    def matrix(self, words: np.ndarray, column_scan: int = 0) -> np.ndarray:
        return folded(words, self.tensor.shape, self.dtype.parts, self.fold, column_scan)

    def flat(self, matrix: np.ndarray, column_scan: int = 0) -> np.ndarray:
        return unfolded(matrix, self.tensor.shape, self.dtype.parts, self.fold, column_scan)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""
        return self.fold.matrix_shape(self.tensor.shape)

    @property
    def plane_rows(self) -> int:
        """Rows of the matrix that make up one plane (SPEC 8.3)."""
        return self.fold.plane_rows(self.tensor.shape)

    # Candidates

    def direct(self, c: Component, integers: np.ndarray, prediction: Prediction | None = None, *, entries: int = 1,
               column_scan: int = 0, neighbours: Neighbours | None = None) -> Candidate:
        """The candidate of the representation DIRECT that codes integers as a component says, and what it decodes to.

        integers: words or levels of the matrix [rows, columns], as values() takes them.  entries: entry points.
        """
        c.entry_count_minus1 = entries - 1
        d = TensorDescriptor(column_scan_flag=column_scan)
        set_prediction(d, prediction)
        if neighbours is not None:
            neighbours.enter(d)
        predictor = None if prediction is None else self.matrix(prediction.words, column_scan)
        kernel_size, planes = 1 if column_scan else self.fold.kernel_size, self.fold.plane_rows(self.tensor.shape,
                                                                                                column_scan)
        part = Part(c, None if is_constant(c) else integers, self.dtype, kernel_size=kernel_size, plane_rows=planes)
        if c.quantiser == Quantiser.NONE:
            part.predictor = predictor
            return Candidate(d, self.words, self.dtype, [part])
        if c.quantiser == Quantiser.GRID:
            part.dtype = BY_NAME["float16"]

        def decoded_rows(first: int, end: int) -> np.ndarray:
            base, place = None if predictor is None else predictor[first:end], Place(first, planes, neighbours)
            return values(c, integers[first:end], self.dtype, base, place)

        if entries == 1:                       # in memory once
            decoded = decoded_rows(0, len(integers))
        else:
            decoded = np.empty(integers.shape, self.dtype.word)
            borders = segment_borders(len(integers), entries)
            for first, end in zip(borders, borders[1:]):
                decoded[first:end] = decoded_rows(first, end)
        return Candidate(d, self.flat(decoded, column_scan), self.dtype, [part])

    def factored(self, d: TensorDescriptor, components: Sequence[tuple[Component, np.ndarray]],
                 base: np.ndarray | None) -> Candidate:
        """The candidate of a representation by factors. components: with their levels.  base: values of the
        prediction."""
        factors = [factor_of(c, levels) for c, levels in components]
        decoded = rebuilt(d, factors, self.dtype, base).view(self.dtype.word)
        return Candidate(d, self.flat(decoded), self.dtype, [Part(c, levels, self.dtype) for c, levels in components])

    def coded(self, candidate: Candidate) -> Candidate:
        """The candidate with its payloads, in the best entropy modes that the configuration allows; range coded if
        joined."""
        tools = self.config.tools
        return candidate.code(self.config.threads, [] if self.joined else tools.modes, tools.one_mode)

    def entries(self, matrix: np.ndarray) -> int:
        """Entry points of a matrix: about one per entry_elements, never one of fewer than 65536 elements."""
        return entries_of(matrix.shape, self.config.units.entry_elements)


def level_mode(size: int, config: Config, *, joined: bool | None = None) -> EntropyMode:
    """What codes the levels of a quantised tensor of so many elements: bins if it is large and nothing else is asked
    for. joined: it shares a unit; None: if it is small."""
    tools = config.tools
    if size < config.units.join_below if joined is None else joined:
        return tools.level_mode
    if tools.levels_in_bins and size >= LEVELS_FROM:
        return EntropyMode.BINS
    return tools.trellis_mode if config.uniform.states else tools.level_mode


def entries_of(shape: Sequence[int], entry_elements: int) -> int:
    """Entry points of a matrix: see TensorJob.entries."""
    rows, columns = shape
    entries = max(1, min(rows, rows * columns // max(entry_elements, ENTRY_MIN_ELEMENTS)))
    while entries > 1 and rows // entries * columns < ENTRY_MIN_ELEMENTS:
        entries -= 1
    return entries
