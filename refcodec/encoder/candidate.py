"""One way to code one tensor: its descriptor, and the arrays that are entropy-coded (informative)."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np

from ..bitstream.derive import ENTRY_MIN_ELEMENTS
from ..bitstream.structures import (
    Codebook, EntropyMode, Payload, PredictionMode, Quantiser, TensorDescriptor, UniformParameters,
)
from ..dtypes import BY_NAME, DType
from ..entropy.payload import LevelBlock, WordBlock, encode_payload
from ..entropy.words import WordParameters
from ..parallel import run_all


@dataclass
class Prediction:
    """Where a predictor comes from. words: of the predicting tensor, fitted to the shape, row-major.

    reference_index: 0 for this model.  same_shape: nothing was cropped or padded, a copy is possible.
    """

    reference_index: int
    tensor: int
    words: np.ndarray
    same_shape: bool = True

    def equals(self, words: np.ndarray) -> bool:
        """True if a copy of the predicting tensor will do."""
        return self.same_shape and np.array_equal(self.words, words)


@dataclass
class Candidate:
    """descriptor: without index and digest.  words: what the decoder will get, row-major.

    matrix: words or levels [rows, columns] to be coded, None if nothing is; predictor: like it or None.
    """

    descriptor: TensorDescriptor
    words: np.ndarray
    dtype: DType
    matrix: np.ndarray | None = None
    predictor: np.ndarray | None = None
    kernel_size: int = 1
    payloads: list[Payload] = field(default_factory=list)

    def block(self, rows: slice = slice(None)) -> LevelBlock | WordBlock:
        """What codes `rows` of the matrix."""
        d = self.descriptor
        if d.quantiser in (Quantiser.UNIFORM, Quantiser.CODEBOOK):
            states = d.uniform.states if d.quantiser == Quantiser.UNIFORM else 0
            return LevelBlock(self.matrix[rows], states, self.kernel_size, d.entropy_mode == EntropyMode.CM)
        predictor = None if self.predictor is None else self.predictor[rows]
        return WordBlock(self.matrix[rows], predictor, self.dtype, d.word)

    def code(self, threads: int = 1, raw_allowed: bool = True) -> Candidate:
        """Make the payloads; raw where that is no larger (and allowed: not in a joined unit)."""
        d = self.descriptor
        if self.matrix is None or self.payloads:
            return self
        borders = entry_borders(self.matrix.shape[0], d.entry_count_minus1 + 1)

        def entry(e: int) -> Payload:
            coded, bypass = encode_payload([self.block(slice(borders[e], borders[e + 1]))])
            return Payload(len(coded), len(bypass), coded, bypass)

        self.payloads = run_all(entry, range(len(borders) - 1), threads)
        raw_bytes = self.matrix.nbytes
        if raw_allowed and self.predictor is None and self.size >= raw_bytes and d.quantiser == Quantiser.NONE:
            d.entropy_mode, d.entry_count_minus1 = EntropyMode.RAW, 0
            raw = self.matrix.astype(self.matrix.dtype.newbyteorder("<"), copy=False).tobytes()
            self.payloads = [Payload(len(raw), 0, raw, b"")]
        return self

    @property
    def size(self) -> int:
        """Bytes of the payloads and of the arrays in the descriptor."""
        d = self.descriptor
        return (sum(p.coded_size + p.bypass_size for p in self.payloads) + len(d.codebook.codebook_words)
                + len(d.grid_scales) + 4 * len(self.payloads))

    def reusable(self) -> Candidate:
        """A copy whose descriptor may be changed."""
        return Candidate(copy.copy(self.descriptor), self.words, self.dtype, self.matrix, self.predictor,
                         self.kernel_size, list(self.payloads))


def entry_borders(rows: int, entries: int) -> list[int]:
    """First row of each entry point, and the end (SPEC 8.3)."""
    return [e * rows // entries for e in range(entries + 1)]


def entry_count(rows: int, columns: int, entry_elements: int) -> int:
    """Entry points of a matrix: about one per entry_elements, never one of fewer than 65536 elements."""
    entries = max(1, min(rows, rows * columns // max(entry_elements, ENTRY_MIN_ELEMENTS)))
    while entries > 1 and rows // entries * columns < ENTRY_MIN_ELEMENTS:
        entries -= 1
    return entries


def words_candidate(words: np.ndarray, matrix: np.ndarray, dtype: DType, column_scan: int, parameters: WordParameters,
                    entries: int, prediction: Prediction | None = None, predictor: np.ndarray | None = None) -> Candidate:
    """Lossless words, with or without a predictor."""
    d = TensorDescriptor(quantiser=Quantiser.NONE, entropy_mode=EntropyMode.CC, column_scan_flag=column_scan,
                         word=parameters, word_offset_flag=int(parameters.offset != 0), entry_count_minus1=entries - 1)
    set_prediction(d, prediction)
    return Candidate(d, words, dtype, matrix, predictor)


def levels_candidate(words: np.ndarray, levels: np.ndarray, dtype: DType, column_scan: int, mantissa: int, exponent: int,
                     states: int, mixed: bool, kernel_size: int, entries: int,
                     prediction: Prediction | None = None) -> Candidate:
    """Uniform or trellis-coded levels."""
    size = states.bit_length() - 2 if states else 0
    d = TensorDescriptor(quantiser=Quantiser.UNIFORM, entropy_mode=EntropyMode.CM if mixed else EntropyMode.CC,
                         column_scan_flag=column_scan, uniform=UniformParameters(size, mantissa, exponent),
                         entry_count_minus1=entries - 1)
    set_prediction(d, prediction)
    return Candidate(d, words, dtype, levels, kernel_size=1 if column_scan else kernel_size)


def codebook_candidate(words: np.ndarray, codebook: np.ndarray, zero_index: int, levels: np.ndarray | None, dtype: DType,
                       kernel_size: int, entries: int) -> Candidate:
    """Indices of a codebook; levels None where it has one entry."""
    data = codebook.astype(dtype.word.newbyteorder("<")).tobytes()
    d = TensorDescriptor(quantiser=Quantiser.CODEBOOK, entropy_mode=EntropyMode.CC,
                         codebook=Codebook(len(codebook) - 1, zero_index, data), entry_count_minus1=entries - 1)
    return Candidate(d, words, dtype, levels, kernel_size=kernel_size)


def grid_candidate(words: np.ndarray, halves: np.ndarray, scales: np.ndarray, column_scan: int, parameters: WordParameters,
                   entries: int) -> Candidate:
    """A scaled half-precision grid."""
    d = TensorDescriptor(quantiser=Quantiser.GRID, entropy_mode=EntropyMode.CC, column_scan_flag=column_scan,
                         grid_scales=scales.astype("<f4").tobytes(), word=parameters, entry_count_minus1=entries - 1)
    return Candidate(d, words, BY_NAME["float16"], halves)


def copy_candidate(prediction: Prediction, dtype: DType) -> Candidate:
    """The predicting tensor itself."""
    d = TensorDescriptor()
    set_prediction(d, prediction, PredictionMode.COPY)
    return Candidate(d, prediction.words, dtype)


def set_prediction(d: TensorDescriptor, prediction: Prediction | None, mode: PredictionMode | None = None) -> None:
    """Enter a prediction; reference_tensor_delta holds the predicting tensor until the own index is known."""
    if prediction is not None:
        difference = PredictionMode.INTER if prediction.reference_index else PredictionMode.INTRA
        d.prediction_mode = difference if mode is None else mode
        d.reference_index, d.reference_tensor_delta = prediction.reference_index, prediction.tensor
