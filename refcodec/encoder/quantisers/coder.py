"""Quantisers that are not led by one step for all tensors: decimal, fixed point, codebooks (informative)."""

from __future__ import annotations

import math

import numpy as np

from ...bitstream.structures import EntropyMode
from ...errors import ConfigError
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
from ..config_parts import FixedPointQuantiser, HybridQuantiser, KMeansQuantiser, RpQuantiser
from ..hybrid.coder import code_hybrid
from ..rate_control import step_parts
from ..tensor_job import TensorJob
from ..treatment import is_finite
from .decimal import qbits_levels, rp_levels
from .kmeans import integer_codebook, kmeans_codebook

INTEGER_LIMIT = 1 << 9       # largest magnitude in an integer codebook


def code_own_quantiser(job: TensorJob, words: np.ndarray, config: Config) -> Candidate | None:
    """The smallest candidate of the configuration's quantiser, with or without a prediction; None if it does not apply.

    Every prediction is coded for real, so that an unrelated reference costs nothing.
    """
    values = words.view(job.dtype.numpy)
    if not is_finite(values):
        return None
    own = config.own_quantiser
    if isinstance(own, HybridQuantiser):
        return code_hybrid(job, values, config)
    if isinstance(own, KMeansQuantiser):
        make = _integer_codebook if own.integers else _codebook
    else:
        make = _fixed_point if isinstance(own, FixedPointQuantiser) else _decimal
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
    modes = [] if job.joined else possible_modes(part, config.tools.modes)
    usual = possible_modes(part, [config.tools.level_mode])
    if not (modes or usual):
        modes = [] if job.joined else [EntropyMode.LZMA]           # levels beyond the range coders
    if not (modes or usual):
        return None
    part.component.entropy_mode = (usual or modes)[0]
    return candidate.code(config.threads, modes, config.tools.one_mode)


def _residual(job: TensorJob, values: np.ndarray,
              prediction: Prediction | None) -> tuple[np.ndarray, np.ndarray | None]:
    """float64 [rows, columns] to be quantised, and the predictor's values there or None."""
    if prediction is None:
        return job.matrix(values).astype(np.float64), None
    return job.matrix(prediction.residual(values)), job.matrix(prediction.words).view(job.dtype.numpy)


def _entries(matrix: np.ndarray, config: Config) -> int:
    return entry_count(*matrix.shape, config.units.entry_elements)


def _decimal(job: TensorJob, values: np.ndarray, config: Config, prediction: Prediction | None) -> Candidate | None:
    residual, base = _residual(job, values, prediction)
    own = config.own_quantiser
    exponent = own.decimal_exponent
    levels = rp_levels(residual, own.rp) if isinstance(own, RpQuantiser) else qbits_levels(residual, own.q_bits)
    if levels is None:
        return None
    decoded = reconstruct_decimal(levels, exponent, job.dtype, base)
    return decimal_candidate(_flat(job, decoded), levels, job.dtype, exponent, EntropyMode.LZMA, job.fold.kernel_size,
                             _entries(levels, config), prediction)


def _fixed_point(job: TensorJob, values: np.ndarray, config: Config, prediction: Prediction | None) -> Candidate:
    residual, base = _residual(job, values, prediction)
    width = config.own_quantiser.width or _least_width(residual, values, config.own_quantiser.snr)
    fraction_bits = best_fraction_bits(residual, width)
    levels = fixed_point_levels(residual, width, fraction_bits)
    decoded = reconstruct_fixed_point(levels, width, fraction_bits, job.dtype, base)
    return fixed_point_candidate(_flat(job, decoded), levels, job.dtype, width, fraction_bits, EntropyMode.FIXED,
                                 job.fold.kernel_size, _entries(levels, config), prediction)


def _least_width(residual: np.ndarray, values: np.ndarray, snr: float) -> int:
    """The fewest bits with which the squared error is at most 10^(-snr/10) of the tensor's power.

    Raises ConfigError RATE if no width will do.
    """
    power = float(np.square(values.astype(np.float64)).sum())
    allowed = power * 10.0 ** (-snr / 10)
    for width in range(1, WIDTH_MAX + 1):
        fraction_bits = best_fraction_bits(residual, width)
        decoded = np.ldexp(fixed_point_levels(residual, width, fraction_bits).astype(np.float64), -fraction_bits)
        error = float(np.square(residual - decoded).sum())
        if error <= allowed:
            return width
    raise ConfigError("RATE", f"{snr:g} dB cannot be reached: fixed point of {WIDTH_MAX} bits gives "
                      f"{10 * math.log10(power / error):.1f} dB; ask for less, or for no loss")


def _codebook(job: TensorJob, values: np.ndarray, config: Config, prediction: Prediction | None) -> Candidate | None:
    matrix = job.matrix(values)
    found = kmeans_codebook(matrix, config.own_quantiser.clusters, job.dtype, config.own_quantiser.fixed_zero)
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
    found = integer_codebook(residual, config.own_quantiser.clusters, mantissa * 2.0**exponent)
    if found is None:
        return None
    decoded = reconstruct_integer_codebook(found.levels, found.entries, found.zero_index, mantissa, exponent, job.dtype,
                                           base)
    return integer_codebook_candidate(_flat(job, decoded), found.levels, job.dtype, found.entries, found.zero_index,
                                      mantissa, exponent, EntropyMode.CC, job.fold.kernel_size,
                                      _entries(residual, config), prediction)


def _flat(job: TensorJob, matrix: np.ndarray) -> np.ndarray:
    return job.flat(matrix.view(job.dtype.word))
