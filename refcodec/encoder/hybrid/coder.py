"""The hybrid pipeline S5 on whole models: a point for each layer, then its factors or its matrix in fixed point
(informative)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...bitstream.structures import Component, EntropyMode, FixedPoint, Quantiser, Representation, TensorDescriptor
from ...quantization.fixed_point import reconstruct_fixed_point
from ...reconstruction.factors import Factor
from ...reconstruction.representations import rebuilt
from ..candidate import Candidate, Part, candidate
from ..config import Config
from ..config_parts import HybridQuantiser
from ..tensor_job import TensorJob
from .operating_points import FixedPointLevels, HybridPoint, cheapest, hybrid_levels, hybrid_points, price_of_a_bit


def plan_hybrid(jobs: Sequence[TensorJob], quantiser: HybridQuantiser) -> dict[int, HybridPoint]:
    """The point of each tensor, by its index, such that all together keep the signal-to-noise ratio asked for.

    Tensors named in quantiser.points have theirs already.
    """
    given = {job.index: quantiser.points[job.tensor.name] for job in jobs if job.tensor.name in quantiser.points}
    jobs = [job for job in jobs if job.index not in given]
    points, price = priced_points(jobs, quantiser.snr)
    return given | {job.index: cheapest(p, price) for job, p in zip(jobs, points)}


def priced_points(jobs: Sequence[TensorJob], snr: float) -> tuple[list[list[HybridPoint]], float]:
    """All points of each tensor, and the price of a bit at which all together have this signal-to-noise ratio."""
    points = [hybrid_points(_matrix(job), low_rank=job.fold.kernel_size == 1 and not job.joined) for job in jobs]
    return points, price_of_a_bit(points, snr)


def _matrix(job: TensorJob) -> np.ndarray:
    return job.matrix(job.tensor.array.reshape(-1)).astype(np.float64)


def code_hybrid(job: TensorJob, values: np.ndarray, config: Config) -> Candidate:
    """A tensor at its point; in the entropy modes of the configuration."""
    choice = hybrid_levels(_matrix(job), job.point)
    parts = [_part(c, job, 1 if choice.rank else job.fold.kernel_size) for c in choice.components]
    if not choice.rank:
        levels = choice.components[0]
        decoded = reconstruct_fixed_point(levels.levels, levels.width, levels.fraction_bits, job.dtype)
        found = candidate(job.flat(decoded.view(job.dtype.word)), job.dtype, parts[0])
    else:
        rows, columns = choice.components[0].levels.shape[0], choice.components[1].levels.shape[1]
        d = TensorDescriptor(representation=Representation.LOW_RANK, row_count=rows, column_count=columns)
        d.factor.factor_rank = choice.rank
        factors = [Factor(c.levels.astype(np.int64), 1, -c.fraction_bits) for c in choice.components]
        decoded = rebuilt(d, factors, job.dtype, None)
        found = Candidate(d, job.flat(decoded.view(job.dtype.word)), job.dtype, parts)
    return job.coded(found, config)


def _part(levels: FixedPointLevels, job: TensorJob, kernel_size: int) -> Part:
    mode = EntropyMode.CC if job.joined else EntropyMode.HUFFMAN
    c = Component(Quantiser.FIXED_POINT, mode, fixed_point=FixedPoint(levels.width, levels.fraction_bits))
    return Part(c, levels.levels, job.dtype, kernel_size=kernel_size)
