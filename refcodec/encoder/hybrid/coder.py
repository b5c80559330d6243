"""The hybrid pipeline S5 on whole models: a point for each layer, then its factors or its matrix in fixed point
(informative)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...bitstream.structures import EntropyMode, Representation, TensorDescriptor
from ..candidate import Candidate
from ..components import fixed_point_component
from ..config_parts import HybridQuantiser
from ..tensor_job import TensorJob
from .operating_points import HybridPoint, cheapest, hybrid_levels, hybrid_points, price_of_a_bit


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


def code_hybrid(job: TensorJob) -> Candidate:
    """A tensor at its point; in the entropy modes of the configuration."""
    assert job.point is not None
    choice, mode = hybrid_levels(_matrix(job), job.point), EntropyMode.CC if job.joined else EntropyMode.HUFFMAN
    components = [(fixed_point_component(c.width, c.fraction_bits, mode), c.levels) for c in choice.components]
    if not choice.rank:
        return job.coded(job.direct(*components[0]))
    rows, columns = job.shape
    d = TensorDescriptor(representation=Representation.LOW_RANK, row_count=rows, column_count=columns)
    d.factor.factor_rank = choice.rank
    return job.coded(job.factored(d, components, None))
