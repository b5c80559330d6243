"""Steps that protect what one step for all tensors destroys, where nothing is known of the network (informative).

An error of the same size is worse in a small tensor than in a large one: in a network of layers, each of which passes
on the *relative* error of its weights, a squared error e (the sum over its elements) of a tensor of n elements and root
mean square r moves the outputs by about e / (n r^2). Where a bit is worth the same everywhere, its step goes with
sqrt(n) r then. Measured sensitivities of published networks lie between this and one step for all, as to the size of
values: of what is as simple, sqrt(n r) serves eleven of them best (docs/measurements.md). It makes the steps of a first
convolution, of depthwise filters or of a head some times finer, at next to no cost, as they have few elements.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..model import Model, Tensor
from .config import Config

_PIECE = 1 << 20


def protected(model: Model, numbers: Sequence[int], config: Config) -> Config:
    """The configuration with a scale for each of the quantised tensors, whose indices are given."""
    return replace(config, scales=scales_of([model.tensors[i] for i in numbers]))


def scales_of(tensors: Sequence[Tensor]) -> Mapping[str, float]:
    """The step of each tensor over the common one, sqrt(elements * root mean square); their geometric mean, weighted by
    elements, is 1. Tensors that are 0 everywhere, or not finite, count as one of root mean square 1."""
    logs = {t.name: 0.5 * math.log(t.size * (_root_mean_square(t.array) or 1.0)) for t in tensors if t.size}
    elements = sum(t.size for t in tensors)
    mean = sum(logs[t.name] * t.size for t in tensors if t.size) / max(elements, 1)
    return {name: math.exp(value - mean) for name, value in logs.items()}


def _root_mean_square(array: np.ndarray) -> float:
    flat, total = array.reshape(-1), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, flat.size, _PIECE):
            total += float(np.square(flat[start:start + _PIECE].astype(np.float64)).sum())
    found = math.sqrt(total / flat.size) if math.isfinite(total) else 0.0
    return found if 1e-100 < found < 1e100 else 0.0
