"""Quantisers that are not led by one step for all tensors: decimal, fixed point, codebooks (informative)."""

from __future__ import annotations

import numpy as np

from ...bitstream.structures import EntropyMode
from ...quantization.codebook import reconstruct_codebook
from ...quantization.decimal import reconstruct_decimal
from ...quantization.fixed_point import WIDTH_MAX, best_fraction_bits, fixed_point_levels, reconstruct_fixed_point
from ...quantization.integer_codebook import reconstruct_integer_codebook
from ..candidate import (
    Candidate,
    Prediction,
    codebook_candidate,
    copy_candidate,
    decimal_candidate,
    entry_count,
    fixed_point_candidate,
    integer_codebook_candidate,
    possible_modes,
)
from ..config import Config
from ..hybrid.coder import code_hybrid
from ..rate_control import step_parts
from ..tensor_job import TensorJob
from ..treatment import is_finite
from .decimal import qbits_levels, rp_levels
from .kmeans import integer_codebook, kmeans_codebook

FIXED_POINT_SNR = 30.0       # dB of each tensor, where neither width nor snr is given
INTEGER_LIMIT = 1 << 9       # largest magnitude in an integer codebook


def code_own_quantiser(job: TensorJob, words: np.ndarray, config: Config) -> Candidate | None:
    """The smallest candidate of the configuration's quantiser, with or without a prediction; None if it does not apply.

    Every prediction is coded for real, so that an unrelated reference costs nothing.
    """
    values = words.view(job.dtype.numpy)
    if not is_finite(values):
        return None
    if config.quantiser == "hybrid":
        return code_hybrid(job, values, config)
    make = {
        "rp": _decimal, "q-bits": _decimal, "fixed-point": _fixed_point, "k-means": _codebook,
        "k-means-zero": _codebook, "integer-k-means": _integer_codebook
    }[config.quantiser]
    predictions = [None] if make is _codebook else [None, *job.predictions]
    candidates = [make(job, values, config, prediction) for prediction in predictions]
    for prediction in job.predictions:
        if any(c is not None and prediction.equals(c.words) for c in candidates):
            return copy_candidate(prediction, job.dtype)             # all levels are 0
    coded = [_coded(c, job, config) for c in candidates if c is not None]
    return min((c for c in coded if c is not None), key=lambda c: c.size, default=None)


def _coded(candidate: Candidate, job: TensorJob, config: Config) -> Candidate | None:
    """In the entropy mode that is asked for; range coded in a joined unit, and where no other mode fits."""
    part = candidate.parts[0]
    if part.array is None:
        return candidate
    modes = [] if job.joined else possible_modes(part, config.modes)
    usual = possible_modes(part, [EntropyMode.CM if config.mixed else EntropyMode.CC])
    if not (modes or usual):
        modes = [] if job.joined else [EntropyMode.LZMA]           # levels beyond the range coders
    if not (modes or usual):
        return None
    part.component.entropy_mode = (usual or modes)[0]
    return candidate.code(config.threads, modes, config.one_mode)


def _residual(job: TensorJob, values: np.ndarray,
              prediction: Prediction | None) -> tuple[np.ndarray, np.ndarray | None]:
    """float64 [rows, columns] to be quantised, and the predictor's values there or None."""
    if prediction is None:
        return job.matrix(values).astype(np.float64), None
    return job.matrix(prediction.residual(values)), job.matrix(prediction.words).view(job.dtype.numpy)


def _entries(matrix: np.ndarray, config: Config) -> int:
    return entry_count(*matrix.shape, config.entry_size)


def _decimal(job: TensorJob, values: np.ndarray, config: Config, prediction: Prediction | None) -> Candidate | None:
    residual, base = _residual(job, values, prediction)
    if config.quantiser == "rp":
        exponent, levels = config.rp, rp_levels(residual, config.rp)
    else:
        exponent, levels = 12 - config.q_bits, qbits_levels(residual, config.q_bits)
    if levels is None:
        return None
    decoded = reconstruct_decimal(levels, exponent, job.dtype, base)
    return decimal_candidate(_flat(job, decoded), levels, job.dtype, exponent, EntropyMode.LZMA, job.fold.kernel_size,
                             _entries(levels, config), prediction)


def _fixed_point(job: TensorJob, values: np.ndarray, config: Config, prediction: Prediction | None) -> Candidate:
    residual, base = _residual(job, values, prediction)
    width = config.width or _least_width(residual, values, FIXED_POINT_SNR if config.snr is None else config.snr)
    fraction_bits = best_fraction_bits(residual, width)
    levels = fixed_point_levels(residual, width, fraction_bits)
    decoded = reconstruct_fixed_point(levels, width, fraction_bits, job.dtype, base)
    return fixed_point_candidate(_flat(job, decoded), levels, job.dtype, width, fraction_bits, EntropyMode.FIXED,
                                 job.fold.kernel_size, _entries(levels, config), prediction)


def _least_width(residual: np.ndarray, values: np.ndarray, snr: float) -> int:
    """The fewest bits with which the squared error is at most 10^(-snr/10) of the tensor's power."""
    allowed = float(np.square(values.astype(np.float64)).sum()) * 10.0 ** (-snr / 10)
    for width in range(1, WIDTH_MAX):
        fraction_bits = best_fraction_bits(residual, width)
        decoded = np.ldexp(fixed_point_levels(residual, width, fraction_bits).astype(np.float64), -fraction_bits)
        if float(np.square(residual - decoded).sum()) <= allowed:
            return width
    return WIDTH_MAX


def _codebook(job: TensorJob, values: np.ndarray, config: Config, prediction: Prediction | None) -> Candidate | None:
    matrix = job.matrix(values)
    found = kmeans_codebook(matrix, config.clusters, job.dtype, config.quantiser == "k-means-zero")
    if found is None:
        return None
    words = found.entries.view(job.dtype.word)
    decoded = reconstruct_codebook(found.levels, words, found.zero_index)
    return codebook_candidate(job.flat(decoded), words, found.zero_index, found.levels if len(words) > 1 else None,
                              job.dtype, job.fold.kernel_size, _entries(matrix, config))


def _integer_codebook(job: TensorJob, values: np.ndarray, config: Config,
                      prediction: Prediction | None) -> Candidate | None:
    residual, base = _residual(job, values, prediction)
    largest = float(np.abs(residual).max(initial=0.0))
    mantissa, exponent = step_parts(largest / INTEGER_LIMIT) if largest else (1, 0)
    found = integer_codebook(residual, config.clusters, mantissa * 2.0**exponent)
    if found is None:
        return None
    decoded = reconstruct_integer_codebook(found.levels, found.entries, found.zero_index, mantissa, exponent, job.dtype,
                                           base)
    return integer_codebook_candidate(_flat(job, decoded), found.levels, job.dtype, found.entries, found.zero_index,
                                      mantissa, exponent, EntropyMode.CC, job.fold.kernel_size,
                                      _entries(residual, config), prediction)


def _flat(job: TensorJob, matrix: np.ndarray) -> np.ndarray:
    return job.flat(matrix.view(job.dtype.word))
