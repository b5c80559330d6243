"""The encoder's decisions for one tensor: every candidate that may pay is tried, the smallest wins (informative)."""

from __future__ import annotations

import numpy as np

from ..bitstream.derive import segment_borders
from ..bitstream.structures import EntropyMode, PredictionMode, SpatialPredictor
from ..dtypes import BY_NAME
from ..entropy.context_coding import cost_levels_cc, new_cc_contexts
from ..entropy.words import choose_parameters, estimate_bits
from ..errors import ConfigError
from ..prediction.spatial import subtract_spatial
from ..quantization.uniform import reconstruct
from .candidate import (
    Candidate,
    Prediction,
    codebook_candidate,
    copy_candidate,
    entry_count,
    grid_candidate,
    levels_candidate,
    words_candidate,
)
from .config import Config
from .hidden_structure import find_structure
from .level_search import LAMBDA_SCALAR, LEVEL_MAX, default_lambda, quantise
from .quantisers.coder import code_own_quantiser
from .rate_control import finest_step, largest_magnitude, step_parts
from .tensor_job import Choice, TensorJob
from .treatment import Treatment, is_finite
from .updates.coder import code_update, low_rank_candidates, row_mask_candidate

SAMPLE = 1 << 16            # elements whose cost decides between scans and predictions
FINE_BITS = 14              # finely coded tensors: largest magnitude / 2^14 is the step


def code_tensor(job: TensorJob, config: Config, step: float | None) -> Candidate:
    """The smallest candidate of a tensor. step: of the quantised tensors, None when lossless or of another
    quantiser."""
    words = job.tensor.words
    for prediction in job.predictions:
        if prediction.equals(words):
            return copy_candidate(prediction, job.dtype)
    if job.tensor.name in config.updating.factors or (job.treatment == Treatment.QUANTISE and config.updating.kind):
        updated = code_update(job, config)
        if updated is not None:
            return updated
    if job.treatment == Treatment.QUANTISE and config.own_quantiser:
        return code_own_quantiser(job, words, config) or code_lossless(job, words, config)
    if job.treatment == Treatment.QUANTISE and step is not None:
        return code_levels(job, words, config, step)
    if job.treatment == Treatment.FINE and step is not None:
        return min(code_fine(job, words, config, step), code_lossless(job, words, config), key=lambda c: c.size)
    return code_lossless(job, words, config)


def code_lossless(job: TensorJob, words: np.ndarray, config: Config) -> Candidate:
    """Words as they are, with structure where there is some, or as a difference."""
    matrix = job.matrix(words)
    entries = entry_count(*matrix.shape, config.units.entry_elements)
    candidates = [job.coded(c, config) for c in _best_words(job, words, matrix, entries, config.tools.all_modes)]
    # Raw words are tried only where range coding gains nothing: that they are smaller cannot happen otherwise.
    if not job.joined and not config.tools.modes and candidates[0].size >= matrix.nbytes:
        candidates[0].code(config.threads, [EntropyMode.RAW])
    structured = _structured(job, words, matrix, entries)
    if structured is not None:
        candidates.append(job.coded(structured, config))
    if config.tools.all_modes:
        candidates += filter(None, [row_mask_candidate(job, words, config)])
    return min(candidates, key=lambda c: c.size)


def _best_words(job: TensorJob, words: np.ndarray, matrix: np.ndarray, entries: int, thorough: bool) -> list[Candidate]:
    # Difference or not, by the cost of a sample coded for real: an unrelated reference is not used.
    # Thorough: both are coded, for the sample knows only one entropy mode.
    best, best_bits = None, estimate_bits(matrix, None, job.dtype)
    for prediction in job.predictions:
        predictor = job.matrix(prediction.words)
        bits = estimate_bits(matrix, predictor, job.dtype)
        if bits < best_bits:
            best, best_bits = (prediction, predictor), bits
    chosen = [best or (None, None)] + ([(None, None)] if best and thorough else [])
    return [
        words_candidate(words, matrix, job.dtype, 0, choose_parameters(matrix, job.dtype, predictor), entries,
                        prediction, predictor, job.plane_rows) for prediction, predictor in chosen
    ]


def _structured(job: TensorJob, words: np.ndarray, matrix: np.ndarray, entries: int) -> Candidate | None:
    if words.size == 0 or job.dtype.parts != 1:
        return None
    found = find_structure(matrix, job.dtype)
    if found is None:
        return None
    if found.kind == "constant":
        return codebook_candidate(words, matrix.reshape(-1)[:1], 0, None, job.dtype, 1, 1)
    if found.kind == "codebook":
        return codebook_candidate(words, found.codebook, found.zero_index, found.levels, job.dtype,
                                  job.fold.kernel_size, entries)
    if found.kind == "uniform":
        return levels_candidate(words, found.levels, job.dtype, 0, found.step_mantissa, found.step_exponent, 0,
                                EntropyMode.CC, job.fold.kernel_size, entries)
    parameters = choose_parameters(found.halves, BY_NAME["float16"])
    return grid_candidate(words, found.halves, found.scales, 0, parameters, entries, job.plane_rows)


def code_fine(job: TensorJob, words: np.ndarray, config: Config, step: float) -> Candidate:
    """Plain levels with a step of 2^-14 of the largest magnitude (or the global step, if that is finer)."""
    values = words.view(job.dtype.numpy).astype(np.float64)
    largest = float(np.abs(values).max())
    if not np.isfinite(largest) or largest == 0:
        return code_lossless(job, words, config)
    mantissa, exponent = step_parts(max(min(step, largest * 2.0**-FINE_BITS), finest_step(largest)))
    levels = np.rint(job.matrix(words).view(job.dtype.numpy).astype(np.float64) /
                     (mantissa * 2.0**exponent)).astype(np.int32)
    return job.coded(_levels(job, levels, None, 0, mantissa, exponent, 0, EntropyMode.CC, 1), config)


def code_levels(job: TensorJob, words: np.ndarray, config: Config, step: float) -> Candidate:
    """Quantised levels: with or without prediction, by rows or by columns."""
    values = words.view(job.dtype.numpy)
    if not is_finite(values):
        return code_lossless(job, words, config)
    choice = job.choice or choose(job, values, step)
    tried = [job.coded(_quantised(job, values, choice, config, step), config)]
    if config.tools.spatial and choice.prediction is None:
        tried += [job.coded(c, config) for c in _spatial_candidates(job, values, step)]
    if config.tools.products and not job.joined:
        tried += low_rank_candidates(job, config, step)
    return min(tried, key=lambda c: _lagrangian(c, values, step, config)) if len(tried) > 1 else tried[0]


def _spatial_candidates(job: TensorJob, values: np.ndarray, step: float) -> list[Candidate]:
    """Plain levels predicted from their neighbours: the two predictors that leave the smallest magnitudes."""
    mantissa, exponent = step_parts(step)
    matrix = job.matrix(values)
    indices = np.rint(matrix.astype(np.float64) / (mantissa * 2.0**exponent))
    if indices.size == 0 or np.abs(indices).max() >= 1 << 28:
        return []
    indices = indices.astype(np.int32)
    residuals = {p: subtract_spatial(indices, p, job.plane_rows, 0) for p in SpatialPredictor}
    best = sorted(residuals, key=lambda p: np.log2(1.0 + np.abs(residuals[p])).sum())[:2]
    words = job.flat(reconstruct(indices, 0, mantissa, exponent, job.dtype).view(job.dtype.word))
    candidates = []
    for predictor in best:
        c = levels_candidate(words, residuals[predictor], job.dtype, 0, mantissa, exponent, 0, EntropyMode.CC, 1, 1)
        c.descriptor.prediction_mode, c.descriptor.spatial_predictor = PredictionMode.SPATIAL, predictor
        candidates.append(c)
    return candidates


def _lagrangian(candidate: Candidate, values: np.ndarray, step: float, config: Config) -> float:
    """Squared error in units of step^2, and bits at their price there."""
    decoded = candidate.words.view(values.dtype)
    error = float(np.square(values.astype(np.float64) - decoded.astype(np.float64)).sum())
    lam = default_lambda(config.uniform.states) if config.uniform.lam is None else config.uniform.lam
    return error / step**2 + lam * 8 * candidate.size


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
    return values if prediction is None else prediction.residual(values)


def _lossy_prediction(job: TensorJob, values: np.ndarray, step: float) -> Prediction | None:
    """The prediction whose residual costs least in bits and error of plain levels; None if the values themselves do."""
    # At coarse steps nothing costs bits, but a good prediction leaves less of an error: it has the price of bits.
    def cost(values: np.ndarray) -> float:
        bits, error = _sampled(job, values, 0, step)
        return bits + error / LAMBDA_SCALAR

    best, least = None, cost(values) if job.predictions else 0.0
    for prediction in job.predictions:
        found = cost(prediction.residual(values))
        if found < least:
            best, least = prediction, found
    return best


def _cheaper_scan(job: TensorJob, values: np.ndarray, step: float) -> int:
    matrix = job.matrix(values)
    if min(matrix.shape) < 2:
        return 0
    return int(_sampled(job, values, 1, step)[0] < 0.998 * _sampled(job, values, 0, step)[0])


def _sampled(job: TensorJob, values: np.ndarray, column_scan: int, step: float) -> tuple[float, float]:
    """Bits of plain levels of a block from the middle, by the coder itself, and their squared error in step^2."""
    matrix = job.matrix(values, column_scan)
    rows = max(1, min(matrix.shape[0], SAMPLE // max(1, matrix.shape[1])))
    first = (matrix.shape[0] - rows) // 2
    scaled = matrix[first : first + rows].astype(np.float64) / step
    levels = np.rint(scaled).clip(-(1 << 30) + 1, (1 << 30) - 1)
    bits = float(cost_levels_cc(np.ascontiguousarray(levels.astype(np.int32)), 0, 1, new_cc_contexts()))
    with np.errstate(over="ignore"):                # of a step that is far too fine, which is refused later
        return bits, float(np.square(scaled - levels).sum())


def _quantised(job: TensorJob, values: np.ndarray, choice: Choice, config: Config, step: float) -> Candidate:
    matrix = job.matrix(_residual(values, choice.prediction), choice.column_scan)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32)
    entries = entry_count(*matrix.shape, config.units.entry_elements)
    borders = segment_borders(matrix.shape[0], entries)
    mantissa, exponent = step_parts(step)
    largest = largest_magnitude(matrix)
    if largest > LEVEL_MAX * step:
        raise ConfigError("BAD_STEP", f"a step of {step:g} is too fine for {job.tensor.name[:100]!r}, whose values "
                          f"reach {largest:.3g}: take {finest_step(largest):.3g} or more, or ask for no loss")
    levels = np.empty(matrix.shape, np.int32)
    for a, b in zip(borders, borders[1:]):
        levels[a:b] = quantise(matrix[a:b], mantissa * 2.0**exponent, config.uniform.states, config.uniform.lam)
    del matrix
    return _levels(job, levels, choice.prediction, choice.column_scan, mantissa, exponent, config.uniform.states,
                   config.tools.level_mode, entries)


def _levels(job: TensorJob, levels: np.ndarray, prediction: Prediction | None, scan: int, mantissa: int, exponent: int,
            states: int, mode: EntropyMode, entries: int) -> Candidate:
    base = None if prediction is None else job.matrix(prediction.words, scan).view(job.dtype.numpy)
    borders = segment_borders(levels.shape[0], entries)
    values = np.empty(levels.shape, job.dtype.numpy)
    for a, b in zip(borders, borders[1:]):
        values[a:b] = reconstruct(levels[a:b], states, mantissa, exponent, job.dtype,
                                  None if base is None else base[a:b])
    words = job.flat(values.view(job.dtype.word), scan)
    return levels_candidate(words, levels, job.dtype, scan, mantissa, exponent, states, mode, job.fold.kernel_size,
                            entries, prediction)
