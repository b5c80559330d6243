"""The encoder's decisions for one tensor: every candidate that may pay is tried, the smallest wins (informative)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..dtypes import BY_NAME, DType
from ..entropy.context_coding import cost_levels_cc, new_cc_contexts
from ..entropy.words import choose_parameters, estimate_bits
from ..model import Fold, Tensor
from ..quantization.uniform import reconstruct
from ..reconstruction import folded, unfolded
from .candidate import (
    Candidate, Prediction, codebook_candidate, copy_candidate, entry_borders, entry_count, grid_candidate, levels_candidate,
    words_candidate,
)
from .config import Config
from .plan import Treatment, is_finite
from .rate_control import step_parts
from .structure import find_structure
from .trellis import quantise

SAMPLE = 1 << 16            # elements whose cost decides between scans and predictions
FINE_BITS = 14              # finely coded tensors: largest magnitude / 2^14 is the step


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
    joined: bool = False                   # it will share a unit with others
    predictions: list[Prediction] = field(default_factory=list)
    choice: Choice | None = None           # made before, or when the tensor is coded

    @property
    def dtype(self) -> DType:
        return self.tensor.dtype

    def matrix(self, words: np.ndarray, column_scan: int = 0) -> np.ndarray:
        return folded(words, self.tensor.shape, self.dtype.parts, self.fold, column_scan)

    def flat(self, matrix: np.ndarray, column_scan: int = 0) -> np.ndarray:
        return unfolded(matrix, self.tensor.shape, self.dtype.parts, self.fold, column_scan)


def code_tensor(job: TensorJob, config: Config, step: float | None) -> Candidate:
    """The smallest candidate of a tensor. step: of the quantised tensors, None when lossless."""
    words = job.tensor.words
    for prediction in job.predictions:
        if prediction.equals(words):
            return copy_candidate(prediction, job.dtype)
    if job.treatment == Treatment.QUANTISE:
        return code_levels(job, words, config, step)
    if job.treatment == Treatment.FINE:
        return min(code_fine(job, words, config, step), code_lossless(job, words, config), key=lambda c: c.size)
    return code_lossless(job, words, config)


def code_lossless(job: TensorJob, words: np.ndarray, config: Config) -> Candidate:
    """Words as they are, with structure where there is some, or as a difference."""
    matrix = job.matrix(words)
    entries = entry_count(*matrix.shape, config.entry_size)
    candidates = [_best_words(job, words, matrix, entries).code(config.threads, not job.joined)]
    structured = _structured(job, words, matrix, entries)
    if structured is not None:
        candidates.append(structured.code(config.threads))
    return min(candidates, key=lambda c: c.size)


def _best_words(job: TensorJob, words: np.ndarray, matrix: np.ndarray, entries: int) -> Candidate:
    # Difference or not, by the cost of a sample coded for real: an unrelated reference is not used.
    best, best_bits = None, estimate_bits(matrix, None, job.dtype)
    for prediction in job.predictions:
        predictor = job.matrix(prediction.words)
        bits = estimate_bits(matrix, predictor, job.dtype)
        if bits < best_bits:
            best, best_bits = (prediction, predictor), bits
    prediction, predictor = best or (None, None)
    parameters = choose_parameters(matrix, job.dtype, predictor)
    return words_candidate(words, matrix, job.dtype, 0, parameters, entries, prediction, predictor)


def _structured(job: TensorJob, words: np.ndarray, matrix: np.ndarray, entries: int) -> Candidate | None:
    if words.size == 0 or job.dtype.parts != 1:
        return None
    found = find_structure(matrix, job.dtype)
    if found is None:
        return None
    if found.kind == "constant":
        return codebook_candidate(words, matrix.reshape(-1)[:1], 0, None, job.dtype, 1, 1)
    if found.kind == "codebook":
        return codebook_candidate(words, found.codebook, found.zero_index, found.levels, job.dtype, job.fold.kernel_size,
                                  entries)
    if found.kind == "uniform":
        return levels_candidate(words, found.levels, job.dtype, 0, found.step_mantissa, found.step_exponent, 0, False,
                                job.fold.kernel_size, entries)
    parameters = choose_parameters(found.halves, BY_NAME["float16"])
    return grid_candidate(words, found.halves, found.scales, 0, parameters, entries)


def code_fine(job: TensorJob, words: np.ndarray, config: Config, step: float) -> Candidate:
    """Plain levels with a step of 2^-14 of the largest magnitude (or the global step, if that is finer)."""
    values = words.view(job.dtype.numpy).astype(np.float64)
    largest = float(np.abs(values).max())
    if not np.isfinite(largest) or largest == 0:
        return code_lossless(job, words, config)
    mantissa, exponent = step_parts(min(step, largest * 2.0**-FINE_BITS))
    levels = np.rint(job.matrix(words).view(job.dtype.numpy).astype(np.float64) / (mantissa * 2.0**exponent)).astype(np.int32)
    return _levels(job, levels, None, 0, mantissa, exponent, 0, False, 1).code(config.threads)


def code_levels(job: TensorJob, words: np.ndarray, config: Config, step: float) -> Candidate:
    """Quantised levels: with or without prediction, by rows or by columns."""
    values = words.view(job.dtype.numpy)
    if not is_finite(values):
        return code_lossless(job, words, config)
    choice = job.choice or choose(job, values, step)
    return _quantised(job, values, choice, config, step).code(config.threads)


def choose(job: TensorJob, values: np.ndarray, step: float) -> Choice:
    """Prediction and scan of a tensor that is quantised with about this step, by the cost of a sample."""
    prediction = _lossy_prediction(job, values, step)
    return Choice(prediction, _cheaper_scan(job, _residual(values, prediction), step))


def squared_error(job: TensorJob, config: Config, step: float) -> float:
    """Sum of squared differences between a quantised tensor (job.choice is made) and what its decoder gets."""
    values = job.tensor.array.reshape(-1)
    decoded = _quantised(job, values, job.choice, config, step).words.view(job.dtype.numpy)
    total = 0.0
    for i in range(0, values.size, 1 << 20):
        part = slice(i, i + (1 << 20))
        total += float(np.square(values[part].astype(np.float64) - decoded[part].astype(np.float64)).sum())
    return total


def _residual(values: np.ndarray, prediction: Prediction | None) -> np.ndarray:
    if prediction is None:
        return values
    base = prediction.words.view(values.dtype).astype(np.float64)
    base[~np.isfinite(base)] = 0
    return values.astype(np.float64) - base


def _lossy_prediction(job: TensorJob, values: np.ndarray, step: float) -> Prediction | None:
    """The prediction whose residual costs least in plain levels; None if the values themselves do."""
    best, best_bits = None, _cost(job, values, 0, step) if job.predictions else 0.0
    for prediction in job.predictions:
        bits = _cost(job, _residual(values, prediction), 0, step)
        if bits < best_bits:
            best, best_bits = prediction, bits
    return best


def _cheaper_scan(job: TensorJob, values: np.ndarray, step: float) -> int:
    matrix = job.matrix(values)
    if min(matrix.shape) < 2:
        return 0
    return int(_cost(job, values, 1, step) < 0.998 * _cost(job, values, 0, step))


def _cost(job: TensorJob, values: np.ndarray, column_scan: int, step: float) -> float:
    # Bits of plain levels of a block from the middle, by the coder itself.
    matrix = job.matrix(values, column_scan)
    rows = max(1, min(matrix.shape[0], SAMPLE // max(1, matrix.shape[1])))
    first = (matrix.shape[0] - rows) // 2
    part = np.rint(matrix[first : first + rows].astype(np.float64) / step).clip(-(1 << 30) + 1, (1 << 30) - 1)
    return float(cost_levels_cc(np.ascontiguousarray(part.astype(np.int32)), 0, 1, new_cc_contexts()))


def _quantised(job: TensorJob, values: np.ndarray, choice: Choice, config: Config, step: float) -> Candidate:
    matrix = job.matrix(_residual(values, choice.prediction), choice.column_scan)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32)
    entries = entry_count(*matrix.shape, config.entry_size)
    borders = entry_borders(matrix.shape[0], entries)
    mantissa, exponent = step_parts(step)
    levels = np.empty(matrix.shape, np.int32)
    for a, b in zip(borders, borders[1:]):
        levels[a:b] = quantise(matrix[a:b], mantissa * 2.0**exponent, config.trellis_states, config.lam)
    del matrix
    return _levels(job, levels, choice.prediction, choice.column_scan, mantissa, exponent, config.trellis_states,
                   config.mixed, entries)


def _levels(job: TensorJob, levels: np.ndarray, prediction: Prediction | None, scan: int, mantissa: int, exponent: int,
            states: int, mixed: bool, entries: int) -> Candidate:
    base = None if prediction is None else job.matrix(prediction.words, scan).view(job.dtype.numpy)
    borders = entry_borders(levels.shape[0], entries)
    values = np.empty(levels.shape, job.dtype.numpy)
    for a, b in zip(borders, borders[1:]):
        values[a:b] = reconstruct(levels[a:b], states, mantissa, exponent, job.dtype, None if base is None else base[a:b])
    words = job.flat(values.view(job.dtype.word), scan)
    return levels_candidate(words, levels, job.dtype, scan, mantissa, exponent, states, mixed, job.fold.kernel_size, entries,
                            prediction)
