"""Quantisers that are not led by one step for all tensors: decimal, fixed point, codebooks (informative)."""

from __future__ import annotations

import math

import numpy as np

from ...bitstream.structures import Component, EntropyMode
from ...dtypes import DType
from ...errors import ConfigError
from ...quantization.fixed_point import WIDTH_MAX, best_fraction_bits, fixed_point_levels
from ..candidate import Candidate, Prediction, copy_candidate, possible_modes
from ..components import codebook_component, decimal_component, fixed_point_component, integer_codebook_component
from ..config_parts import (
    FixedPointQuantiser,
    HybridQuantiser,
    KMeansQuantiser,
    OwnQuantiser,
    QBitsQuantiser,
    RpQuantiser,
)
from ..hybrid.coder import code_hybrid
from ..rate_control import step_parts
from ..tensor_job import TensorJob
from ..treatment import is_finite
from .decimal import qbits_levels, rp_levels
from .kmeans import integer_codebook, kmeans_codebook

INTEGER_LIMIT = 1 << 9       # largest magnitude in an integer codebook


def code_own_quantiser(job: TensorJob, quantiser: OwnQuantiser) -> Candidate | None:
    """The smallest candidate of a quantiser, with or without a prediction; None if it does not apply.

    Every prediction is coded for real, so that an unrelated reference costs nothing.
    """
    if not is_finite(job.values):
        return None
    if isinstance(quantiser, HybridQuantiser):
        return code_hybrid(job)
    by_difference = not isinstance(quantiser, KMeansQuantiser) or quantiser.integers
    predictions = [None, *job.predictions] if by_difference else [None]
    candidates = [c for c in (_quantised(job, quantiser, prediction) for prediction in predictions) if c is not None]
    for prediction in job.predictions:
        if any(prediction.equals(c.words) for c in candidates):
            return copy_candidate(prediction, job.dtype)             # all levels are 0
    coded = [_coded(c, job) for c in candidates]
    return min((c for c in coded if c is not None), key=lambda c: c.size, default=None)


def _coded(candidate: Candidate, job: TensorJob) -> Candidate | None:
    """In the entropy mode that is asked for; range coded in a joined unit, and where no other mode fits."""
    part, tools = candidate.parts[0], job.config.tools
    if part.array is None:
        return candidate
    modes = [] if job.joined else possible_modes(part, tools.modes)
    usual = possible_modes(part, [tools.level_mode])
    if not (modes or usual):
        modes = [] if job.joined else [EntropyMode.LZMA]           # levels beyond the range coders
    if not (modes or usual):
        return None
    part.component.entropy_mode = (usual or modes)[0]
    return candidate.code(job.config.threads, modes, tools.one_mode)


def _quantised(job: TensorJob, quantiser: OwnQuantiser, prediction: Prediction | None) -> Candidate | None:
    """The tensor, or its difference from a prediction, quantised; None if the quantiser cannot."""
    values = job.matrix(job.values if prediction is None else prediction.residual(job.values))
    match quantiser:
        case RpQuantiser() | QBitsQuantiser():
            found = _decimal(quantiser, values.astype(np.float64, copy=False))
        case FixedPointQuantiser():
            found = _fixed_point(quantiser, values.astype(np.float64, copy=False), job.values)
        case KMeansQuantiser(integers=True):
            found = _integer_codebook(quantiser, values.astype(np.float64, copy=False))
        case KMeansQuantiser():
            found = _codebook(quantiser, values, job.dtype)
        case HybridQuantiser():
            raise AssertionError("it quantises the tensors of a model together")
    if found is None:
        return None
    component, levels = found
    return job.direct(component, levels, prediction, entries=job.entries(levels))


Quantised = tuple[Component, np.ndarray] | None         # with its levels


def _decimal(quantiser: RpQuantiser | QBitsQuantiser, values: np.ndarray) -> Quantised:
    levels = (rp_levels(values, quantiser.rp) if isinstance(quantiser, RpQuantiser)
              else qbits_levels(values, quantiser.q_bits))
    return None if levels is None else (decimal_component(quantiser.decimal_exponent), levels)


def _fixed_point(quantiser: FixedPointQuantiser, values: np.ndarray, tensor: np.ndarray) -> Quantised:
    width = quantiser.width or _least_width(values, tensor, quantiser.snr)
    fraction_bits = best_fraction_bits(values, width)
    return fixed_point_component(width, fraction_bits), fixed_point_levels(values, width, fraction_bits)


def _least_width(values: np.ndarray, tensor: np.ndarray, snr: float) -> int:
    """The fewest bits with which the squared error is at most 10^(-snr/10) of the tensor's power.

    Raises ConfigError RATE if no width will do.
    """
    power = float(np.square(tensor.astype(np.float64)).sum())
    allowed = power * 10.0 ** (-snr / 10)
    for width in range(1, WIDTH_MAX + 1):
        fraction_bits = best_fraction_bits(values, width)
        decoded = np.ldexp(fixed_point_levels(values, width, fraction_bits).astype(np.float64), -fraction_bits)
        error = float(np.square(values - decoded).sum())
        if error <= allowed:
            return width
    raise ConfigError("RATE", f"{snr:g} dB cannot be reached: fixed point of {WIDTH_MAX} bits gives "
                      f"{10 * math.log10(power / error):.1f} dB; ask for less, or for no loss")


def _codebook(quantiser: KMeansQuantiser, values: np.ndarray, dtype: DType) -> Quantised:
    found = kmeans_codebook(values, quantiser.clusters, dtype, quantiser.fixed_zero)
    return None if found is None else (codebook_component(found.entries.view(dtype.word), found.zero_index),
                                       found.levels)


def _integer_codebook(quantiser: KMeansQuantiser, values: np.ndarray) -> Quantised:
    largest = float(np.abs(values).max(initial=0.0))
    step = step_parts(largest / INTEGER_LIMIT) if largest else (1, 0)
    found = integer_codebook(values, quantiser.clusters, math.ldexp(*step))
    return None if found is None else (integer_codebook_component(found.entries, found.zero_index, step), found.levels)
