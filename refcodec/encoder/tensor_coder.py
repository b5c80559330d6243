"""The encoder's decisions for one tensor: every candidate that may pay is tried, the smallest wins (informative)."""

from __future__ import annotations

import math

import numpy as np

from ..bitstream.derive import segment_borders
from ..bitstream.structures import EntropyMode
from ..entropy.context_coding import cost_levels_cc, new_cc_contexts
from ..entropy.levels import LEVEL_MAX
from ..entropy.words import estimate_bits
from ..errors import ConfigError
from ..prediction.neighbours import Neighbours
from .candidate import Candidate, Prediction, copy_candidate
from .components import codebook_component, grid_component, is_constant, uniform_component, words_component
from .config_parts import UniformQuantiser
from .given_levels import given_candidate
from .hidden_structure import Constant, Listed, Multiples, ScaledHalves, find_structure
from .lane_search import quantise_in_lanes
from .level_search import LAMBDA_SCALAR, default_lambda, quantise
from .quantisers.coder import code_own_quantiser
from .rate_control import finest_step, largest_magnitude, step_parts
from .tensor_job import Choice, TensorJob, level_mode
from .treatment import Treatment, is_finite, step_of
from .updates.coder import code_update, low_rank_candidates, row_mask_candidate
from .words_in_bins import WORTH, WORTH_BEST, WORTH_LARGE, may_repeat, mostly_unchanged, words_in_bins

SAMPLE = 1 << 16            # elements whose cost decides between scans and predictions


def code_tensor(job: TensorJob, step: float | None) -> Candidate:
    """The smallest candidate of a tensor. step: of the quantised tensors, None when lossless or of another
    quantiser."""
    config, quantised = job.config, job.treatment == Treatment.QUANTISE
    for prediction in job.predictions:
        if prediction.equals(job.words):
            return copy_candidate(prediction, job.dtype)
    if job.tensor.name in config.updating.factors or (quantised and config.updating.kind):
        updated = code_update(job)
        if updated is not None:
            return updated
    if quantised and config.own_quantiser:
        return code_own_quantiser(job, config.own_quantiser) or code_lossless(job)
    if quantised and step is not None and job.tensor.name in config.levels:
        return job.coded(given_candidate(job, config.levels[job.tensor.name]))
    if quantised and step is not None:
        return code_levels(job, step_of(job.tensor, config, step))
    if job.treatment == Treatment.FINE and step is not None:
        return min(code_fine(job, step), code_lossless(job), key=lambda c: c.size)
    return code_lossless(job)


def code_lossless(job: TensorJob) -> Candidate:
    """Words as they are, with structure where there is some, or as a difference."""
    if job.in_bins:
        return _in_bins(job)
    return job.at_once and _at_once(job) or _in_any_mode(job)


def _in_bins(job: TensorJob) -> Candidate:
    """Words in bins, or structure; in context coding, too, where words repeat themselves or only size counts."""
    config, tools = job.config, job.config.tools
    found, unchanged = words_in_bins(job)
    found.code(config.threads)
    if unchanged and tools.effort != "best":
        return found
    structured = _structured(job, job.matrix(job.words))
    if structured is not None:
        structured.code(config.threads, [EntropyMode.BINS], only=tools.effort != "best")
        found = min(found, structured, key=lambda c: c.size)
    worth = WORTH_BEST if tools.effort == "best" else WORTH_LARGE if job.large_model else WORTH
    if tools.effort == "best" or tools.effort == "default" and may_repeat(job, found.size * worth):
        other = _in_any_mode(job)
        return other if other.size < found.size * worth else found
    return found


def _at_once(job: TensorJob) -> Candidate | None:
    """A joined tensor as a look at it says, to be coded with its unit; None where it takes a trial."""
    matrix, prediction = job.matrix(job.words), mostly_unchanged(job)
    if job.predictions and prediction is None:
        return None
    predictor = None if prediction is None else job.matrix(prediction.words)
    structured = None if prediction else _structured(job, matrix)
    if structured is not None:
        return structured if is_constant(structured.parts[0].component) else None
    return job.direct(words_component(matrix, job.dtype, predictor, trials=False), matrix, prediction)


def _in_any_mode(job: TensorJob) -> Candidate:
    """Words in context coding and in the entropy modes that are asked for: the smallest."""
    config, matrix = job.config, job.matrix(job.words)
    candidates = [job.coded(c) for c in _best_words(job, matrix)]
    # Raw words are tried only where range coding gains nothing: that they are smaller cannot happen otherwise.
    if not job.joined and not config.tools.modes and candidates[0].size >= matrix.nbytes:
        candidates[0].code(config.threads, [EntropyMode.RAW])
    structured = _structured(job, matrix)
    if structured is not None:
        candidates.append(job.coded(structured))
    if config.tools.all_modes:
        candidates += filter(None, [row_mask_candidate(job)])
    return min(candidates, key=lambda c: c.size)


def _best_words(job: TensorJob, matrix: np.ndarray) -> list[Candidate]:
    # Difference or not, by the cost of a sample coded for real: an unrelated reference is not used.
    # Where all entropy modes are tried both are coded, for the sample knows only one of them.
    best, best_bits = None, estimate_bits(matrix, None, job.dtype) if job.predictions else 0.0
    for prediction in job.predictions:
        predictor = job.matrix(prediction.words)
        bits = estimate_bits(matrix, predictor, job.dtype)
        if bits < best_bits:
            best, best_bits = (prediction, predictor), bits
    chosen = [best or (None, None)] + ([(None, None)] if best and job.config.tools.all_modes else [])
    return [
        job.direct(words_component(matrix, job.dtype, predictor), matrix, prediction, entries=job.entries(matrix))
        for prediction, predictor in chosen
    ]


def _structured(job: TensorJob, matrix: np.ndarray) -> Candidate | None:
    """The hidden structure of a matrix of words, where it has one that gives back every word."""
    if matrix.size == 0 or job.dtype.parts != 1:
        return None
    found, entries = find_structure(matrix, job.dtype), job.entries(matrix)
    match found:
        case None:
            return None
        case Constant():
            c, integers, entries = codebook_component(matrix.reshape(-1)[:1], 0), np.zeros(matrix.shape, np.int32), 1
        case Listed():
            c, integers = codebook_component(found.codebook, found.zero_index), found.levels
        case Multiples():
            c, integers = uniform_component((found.step_mantissa, found.step_exponent)), found.levels
        case ScaledHalves():
            c, integers = grid_component(found.halves, found.scales), found.halves
    made = job.direct(c, integers, entries=entries)
    return made if np.array_equal(made.words, job.words) else None


def code_fine(job: TensorJob, step: float) -> Candidate:
    """Plain levels with a step of 2^-fine_bits of the largest magnitude (or the global step, if that is finer)."""
    largest = float(np.abs(job.values.astype(np.float64)).max())
    if not np.isfinite(largest) or largest == 0:
        return code_lossless(job)
    parts = step_parts(max(min(step, largest * 2.0**-job.config.fine_bits), finest_step(largest)))
    levels = np.rint(job.matrix(job.words).view(job.dtype.numpy).astype(np.float64) / math.ldexp(*parts))
    return job.coded(job.direct(uniform_component(parts), levels.astype(np.int32)))


def code_levels(job: TensorJob, step: float) -> Candidate:
    """Quantised levels: with or without prediction, by rows or by columns."""
    values, tools = job.values, job.config.tools
    if not is_finite(values):
        return code_lossless(job)
    choice = job.choice or choose(job, values, step)
    tried = [job.coded(_quantised(job, values, choice, step))]
    if tools.spatial and choice.prediction is None:
        tried += [job.coded(c) for c in _spatial_candidates(job, step)]
    if tools.products and not job.joined:
        tried += low_rank_candidates(job, step)
    return min(tried, key=lambda c: _lagrangian(c, values, step, job.config.uniform)) if len(tried) > 1 else tried[0]


def _spatial_candidates(job: TensorJob, step: float) -> list[Candidate]:
    """Plain levels predicted from their neighbours: the two predictors that leave the smallest magnitudes."""
    parts = step_parts(step)
    indices = np.rint(job.matrix(job.values).astype(np.float64) / math.ldexp(*parts))
    if indices.size == 0 or np.abs(indices).max() >= 1 << 28:
        return []
    indices = indices.astype(np.int32)
    residuals = {n: n.subtract(indices, job.plane_rows, 0) for n in Neighbours.all()}
    best = sorted(residuals, key=lambda n: np.log2(1.0 + np.abs(residuals[n])).sum())[:2]
    return [job.direct(uniform_component(parts), residuals[n], neighbours=n) for n in best]


def _lagrangian(candidate: Candidate, values: np.ndarray, step: float, uniform: UniformQuantiser) -> float:
    """Squared error in units of step^2, and bits at their price there."""
    decoded = candidate.words.view(values.dtype)
    error = float(np.square(values.astype(np.float64) - decoded.astype(np.float64)).sum())
    lam = default_lambda(uniform.states) if uniform.lam is None else uniform.lam
    return error / step**2 + lam * 8 * candidate.size


def choose(job: TensorJob, values: np.ndarray, step: float) -> Choice:
    """Prediction and scan of a tensor that is quantised with about this step, by the cost of a sample."""
    prediction = _lossy_prediction(job, values, step)
    return Choice(prediction, _cheaper_scan(job, _residual(values, prediction), step))


def squared_error(job: TensorJob, step: float) -> float:
    """Sum of squared differences between a quantised tensor (job.choice is made) and what its decoder gets."""
    assert job.choice is not None
    values = job.tensor.array.reshape(-1)
    decoded = _quantised(job, values, job.choice, step).words.view(job.dtype.numpy)
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
    matrix = job.matrix(values)
    matrix = matrix.T if column_scan else matrix           # a view: only the block is put in order
    rows = max(1, min(matrix.shape[0], SAMPLE // max(1, matrix.shape[1])))
    first = (matrix.shape[0] - rows) // 2
    scaled = matrix[first : first + rows].astype(np.float64) / step
    levels = np.rint(scaled).clip(-(1 << 30) + 1, (1 << 30) - 1)
    bits = float(cost_levels_cc(np.ascontiguousarray(levels.astype(np.int32)), 0, 1, new_cc_contexts()))
    with np.errstate(over="ignore"):                # of a step that is far too fine, which is refused later
        return bits, float(np.square(scaled - levels).sum())


def _quantised(job: TensorJob, values: np.ndarray, choice: Choice, step: float) -> Candidate:
    matrix = job.matrix(_residual(values, choice.prediction), choice.column_scan)
    mode = level_mode(job.tensor.size, job.config, joined=job.joined)
    if matrix.dtype not in (np.float32, np.float64) and not mode.facts.lanes:
        matrix = matrix.astype(np.float32)
    largest = largest_magnitude(matrix)
    if largest > LEVEL_MAX * step:
        raise ConfigError("BAD_STEP", f"a step of {step:g} is too fine for {job.tensor.name[:100]!r}, whose values "
                          f"reach {largest:.3g}: take {finest_step(largest):.3g} or more, or ask for no loss")
    uniform, parts = job.config.uniform, step_parts(step)
    if mode.facts.lanes:
        levels = quantise_in_lanes(matrix, math.ldexp(*parts), uniform.states, uniform.lam, job.config.threads)
        del matrix
        return job.direct(uniform_component(parts, uniform.states, mode), levels, choice.prediction,
                          column_scan=choice.column_scan)
    entries = job.entries(matrix)
    borders = segment_borders(matrix.shape[0], entries)
    levels = np.empty(matrix.shape, np.int32)
    for a, b in zip(borders, borders[1:]):
        levels[a:b] = quantise(matrix[a:b], math.ldexp(*parts), uniform.states, uniform.lam)
    del matrix
    c = uniform_component(parts, uniform.states, mode)
    return job.direct(c, levels, choice.prediction, entries=entries, column_scan=choice.column_scan)
