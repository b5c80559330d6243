"""Steps of the models of a set for a total size: eq. 10 of the paper on sets, by Lagrangian search (informative).

The utility of a set is the sum over its models of weight * (1 - mse / variance), over the quantised elements: the share
of a model's variance that its decoder gets, 1 - 10^(-SNR / 10).  For a price of a bit the best steps are found from the
leaves of the plan to its root: what a model is predicted from has an error that it inherits, so a root with many
relatives is worth a finer step.  Rates and errors are first those of the Laplacian model, fitted to each tensor and to
its difference from the reference; the steps that follow are then scaled together until the stream, coded for real,
fills the budget.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import ConfigError
from ...model import Model
from ...prediction import fitted
from ..config import Config
from ..rate_control import finest_step, representable, search_step
from ..treatment import Treatment, is_finite
from .coding_order import Relative, SetPlan
from .laplacian import distortion, rate

ROUNDING = 0.33          # offset f that is nearest to what the search for levels does
FILL = 0.015             # a stream may stay below the budget by this share
OFF = 1.2                # the model is asked a second time if its steps miss the budget by more
RUNS = 9                 # streams that are coded to find the scale
STEPS = 4 * 2.0 ** (-np.arange(88) / 4)        # tried, in standard deviations of the model
SLOPES = 60              # bisections of the price of a bit, over its logarithm
RICH = 12.0              # bits per weight from which the lossless stream may fit
COARSEST = 1024.0        # deviations: nothing is left of the weights

Steps = list[float | None]


@dataclass
class Source:
    """A model with quantised tensors, as the Laplacian model sees it.

    elements: their number.  deviation: standard deviation of all.  finest: the finest step that there is.  parent:
    position of the model that it is predicted from, or None.  bits, noise: in all, and mse / variance; float64 [steps
    of the parent, or 1, own steps].
    """

    elements: float
    deviation: float
    finest: float
    parent: int | None
    bits: np.ndarray
    noise: np.ndarray


@functools.lru_cache
def _tables() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    a = np.logspace(-9, 6, 1501)
    return (np.log(a), np.array([rate(1.0, x, ROUNDING) for x in a]),
            np.log([distortion(1.0, x, ROUNDING) for x in a]))


def _curve(steps: np.ndarray, magnitude: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bits, mean squared error) per element at steps [n] of Laplacians of mean magnitudes [t]; [n, t] each."""
    log_a, rates, errors = _tables()
    wanted = np.log(steps[:, None] / magnitude)
    return np.interp(wanted, log_a, rates), magnitude**2 * np.exp(np.interp(wanted, log_a, errors))


def utility(noise: Sequence[float], weights: Sequence[float] | None = None) -> float:
    """Sum of weight * (1 - noise).  noise: mse / variance of each model.  weights: 1 each if None."""
    return sum(w * (1 - n) for w, n in zip(weights or [1.0] * len(noise), noise))


def sources_of(models: Sequence[Model], plan: SetPlan, config: Config) -> list[Source | None]:
    """What the Laplacian model tells of each model, given the first of its references; None: nothing is quantised."""
    relatives = [Relative(m, config, 1.0) for m in models]
    sources: dict[int, Source | None] = {}
    for j in plan.order:
        parents = [(i, relatives[i], source) for i in plan.references[j][:1] if (source := sources[i]) is not None]
        sources[j] = _source(relatives[j], *parents)
    return [sources[j] for j in range(len(models))]


def _source(own: Relative, parent: tuple[int, Relative, Source] | None = None) -> Source | None:
    """parent: position, and what is known, of the model that it is predicted from."""
    numbers = [
        k for k, t in enumerate(own.treatments) if t == Treatment.QUANTISE and is_finite(own.model.tensors[k].array)
    ]
    counts = np.array([own.model.tensors[k].size for k in numbers], np.float64)
    sums = np.array([_moments(own, k, parent[1] if parent else None) for k in numbers]).reshape(-1, 5)
    elements = counts.sum()
    variance = sums[:, 1].sum() / elements - (sums[:, 0].sum() / elements) ** 2 if numbers else 0.0
    if not variance > 0:
        return None
    magnitude, residual = np.maximum(sums[:, 2:4].T, 1e-30)
    steps = STEPS * math.sqrt(variance)
    alone = _curve(steps, magnitude)
    bits, noise = [alone[0] @ counts], [alone[1] @ counts]
    if parent is not None:
        bits, noise = [], []
        for step in STEPS * parent[2].deviation:
            # The decoded reference is off by its own error. Variances add; that of a Laplacian is 2 / Lambda^2.
            given = _curve(steps, np.sqrt(residual**2 + np.minimum(step**2 / 12, 2 * magnitude**2) / 2))
            better = given[0] < alone[0]
            bits.append(np.where(better, given[0], alone[0]) @ counts)
            noise.append(np.where(better, given[1], alone[1]) @ counts)
    finest, noise_share = finest_step(float(sums[:, 4].max())), np.array(noise) / (elements * variance)
    return Source(elements, math.sqrt(variance), finest, parent[0] if parent else None, np.array(bits), noise_share)


def _moments(own: Relative, k: int, reference: Relative | None) -> tuple[float, float, float, float, float]:
    """Of a tensor: sum, sum of squares, mean magnitude, mean magnitude of the difference from the reference, largest
    magnitude."""
    tensor = own.model.tensors[k]
    values = tensor.array.astype(np.float64)
    magnitudes, residual = np.abs(values), math.inf
    partner = reference.partner(tensor, k) if reference is not None else None
    if reference is not None and partner is not None:
        base = fitted(reference.model.tensors[partner].array, tensor.shape).astype(np.float64)
        mean = float(np.abs(values - base).mean())
        residual = mean if math.isfinite(mean) else math.inf
    return (float(values.sum()), float(np.square(values).sum()), float(magnitudes.mean()), residual,
            float(magnitudes.max()))


def model_steps(sources: Sequence[Source | None], plan: SetPlan, price: float,
                weights: Sequence[float]) -> tuple[list[float], float]:
    """(steps, bits): the steps of least weight * noise + price * bits over the whole set; 1.0 where nothing is
    quantised."""
    inherited = {j: np.zeros(len(STEPS)) for j in plan.order}      # least cost of the branches below, by the step of j
    best: dict[int, np.ndarray] = {}
    for j in reversed(plan.order):
        source = sources[j]
        if source is not None:
            cost = weights[j] * source.noise + price * source.bits + inherited[j]
            best[j] = cost.argmin(axis=1)
            if source.parent is not None:
                inherited[source.parent] += cost.min(axis=1)
    chosen: dict[int, int] = {}
    bits = 0.0
    for j in plan.order:
        source = sources[j]
        if source is not None:
            row = chosen[source.parent] if source.parent is not None else 0
            chosen[j] = int(best[j][row])
            bits += float(source.bits[row, chosen[j]])
    return [float(STEPS[chosen[j]]) * s.deviation if s is not None else 1.0 for j, s in enumerate(sources)], bits


def steps_for_bits(sources: Sequence[Source | None], plan: SetPlan, bits: float,
                   weights: Sequence[float] | None = None) -> list[float]:
    """Steps that give the largest utility of all that the Laplacian model takes to have about `bits` in total."""
    weights = weights or [1.0] * len(sources)
    low, high = math.log(1e-30), math.log(1e3)
    for _ in range(SLOPES):
        middle = (low + high) / 2
        too_many = model_steps(sources, plan, math.exp(middle), weights)[1] > bits
        low, high = (middle, high) if too_many else (low, middle)
    sides = [model_steps(sources, plan, math.exp(price), weights) for price in (high, low)]    # of a jump
    return min(sides, key=lambda side: abs(math.log(max(side[1], 1.0) / bits)))[0]


def budget_steps(models: Sequence[Model], plan: SetPlan, config: Config, max_bytes: int, size: Callable[[Steps], int],
                 weights: Sequence[float] | None = None) -> Steps:
    """The step of each model with which the stream has at most max_bytes, and a few percent less at most.

    size: codes the set with given steps (None: lossless) and returns the bytes of the stream.  weights: of the models
    in
    the utility.  Returns representable steps; all None if the lossless stream fits.
    Raises ConfigError RATE if the stream does not fit even if nothing is left of the weights.
    """
    sources = sources_of(models, plan, config)
    elements = sum(s.elements for s in sources if s is not None)
    lossless: Steps = [None] * len(models)
    if (elements == 0 or 8 * max_bytes > RICH * elements) and size(lossless) <= max_bytes:
        return lossless
    if elements == 0:
        raise ConfigError("RATE", f"the set does not fit into {max_bytes} bytes, and nothing in it can be quantised")

    def scaled(steps: Sequence[float], factor: float) -> Steps:
        return [1.0 if source is None else
                representable(min(max(s * factor, source.finest), COARSEST * source.deviation))
                for s, source in zip(steps, sources)]

    start = steps_for_bits(sources, plan, 8.0 * max_bytes, weights)
    first = size(scaled(start, 1.0))
    if not 1 / OFF < first / max_bytes < OFF:
        start = steps_for_bits(sources, plan, 8.0 * max_bytes * max_bytes / first, weights)
    tried: dict[float, int] = {}

    def coded(factor: float) -> float:
        tried[factor] = size(scaled(start, factor))
        return tried[factor]

    search_step(coded, max_bytes, 1.0, per_octave=-elements / 8, below=FILL * max_bytes, above=0.0, runs=RUNS)
    if min(tried.values()) > max_bytes:
        coded(2.0**60)
    fitting = [factor for factor in tried if tried[factor] <= max_bytes]
    if not fitting:
        raise ConfigError("RATE", f"the set does not fit into {max_bytes} bytes: at the coarsest steps it takes "
                          f"{min(tried.values())}")
    return scaled(start, max(fitting, key=tried.__getitem__))
