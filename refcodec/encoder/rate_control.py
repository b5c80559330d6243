"""Choice of the quantiser's step: for a signal-to-noise ratio, or for a rate (informative)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction

import numpy as np

from ..entropy.levels import LEVEL_MAX
from ..errors import ConfigError
from ..quantization.uniform import STEP_EXPONENT_MAX, STEP_EXPONENT_MIN, indices
from .level_search import quantise

TOLERANCE_DB = 0.005
SAMPLE = 1 << 19          # elements of the first, coarse iterations
_OCTAVE_DB = 20 * math.log10(2)


def step_parts(step: float) -> tuple[int, int]:
    """(mantissa, exponent) of the representable step nearest to `step`: mantissa * 2^exponent.

    The mantissa is normalised to 32768..65535, except below 2^(STEP_EXPONENT_MIN + 15).
    Raises ConfigError BAD_STEP for a step that is not positive, not finite or too large.
    """
    if not (step > 0 and math.isfinite(step)):
        raise ConfigError("BAD_STEP", f"a step must be positive and finite, not {step}")
    exponent = max(math.frexp(step)[1] - 16, STEP_EXPONENT_MIN)
    mantissa = max(1, round(Fraction(step) / Fraction(2) ** exponent))
    if mantissa == 1 << 16:
        mantissa, exponent = 1 << 15, exponent + 1
    if exponent > STEP_EXPONENT_MAX:
        raise ConfigError("BAD_STEP", f"a step of {step} is too large")
    return mantissa, exponent


def representable(step: float) -> float:
    """The step that step_parts stands for."""
    mantissa, exponent = step_parts(step)
    return math.ldexp(mantissa, exponent)


def finest_step(largest: float) -> float:
    """The finest step with which levels of values of a magnitude up to `largest` > 0 are not beyond LEVEL_MAX."""
    return representable(max(largest / (LEVEL_MAX * (1 - 2.0**-15)), 2.0**STEP_EXPONENT_MIN))


def largest_magnitude(array: np.ndarray) -> float:
    """The largest magnitude of the finite elements of a float array; 0.0 if there are none."""
    flat, largest = array.reshape(-1), 0.0
    for start in range(0, flat.size, SAMPLE):
        part = flat[start:start + SAMPLE]
        largest = max(largest, float(np.abs(part[np.isfinite(part)]).max(initial=0.0)))
    return largest


def search_step(evaluate: Callable[[float], float], target: float, start: float, *, per_octave: float = -1.0,
                below: float = 0.0, above: float = 0.005, finest: float = 0.0, runs: int = 12) -> float:
    """A step at which a falling function of it lies in [target - below, target + above].

    evaluate: bits per weight, decibels, ... of a representable step; called at most `runs` times.
    start: first step.  per_octave: its expected change when the step doubles (bits: -1, dB: -6.02).
    finest: no step below it is tried; a representable one, or 0.
    Returns the step tried that lies in the interval, else one near to it (the function may have jumps),
    rather on the side on which the interval reaches farther from the target.
    """
    aim = target + (above - below) / 2
    tried: dict[float, float] = {}
    step = max(representable(start), finest)
    for run in range(runs):
        tried[step] = value = evaluate(step)
        if target - below <= value <= target + above:
            return step
        step = max(_next_step(tried, step, aim, per_octave, run), finest)
        if step in tried:
            break

    def miss(step: float) -> float:
        short, excess = target - below - tried[step], tried[step] - target - above
        return max(short * (4 if above > below else 1), excess * (4 if below > above else 1))

    return min(tried, key=miss)


def _next_step(tried: dict[float, float], step: float, aim: float, per_octave: float, run: int) -> float:
    # Linear interpolation over log2(step) in the bracket, now and then bisection; before there is one, a secant.
    fine = [s for s in tried if tried[s] >= aim]
    coarse = [s for s in tried if tried[s] < aim]
    if fine and coarse:
        low, high = max(fine), min(coarse)
        if low > high:                                   # not monotone here: trust the nearest values
            low, high = min(fine, key=lambda s: tried[s]), max(coarse, key=lambda s: tried[s])
        share = (tried[low] - aim) / max(tried[low] - tried[high], 1e-30)
        if run % 4 == 3:
            share = 0.5
        octaves = math.log2(high / low) * min(max(share, 0.02), 0.98)
        return representable(low * 2.0**octaves)
    slope = per_octave
    if len(tried) > 1:
        other = [s for s in tried if s != step][-1]
        slope = (tried[step] - tried[other]) / math.log2(step / other)
        slope = min(max(slope, 3 * per_octave), per_octave / 8)
    octaves = (aim - tried[step]) / slope
    return representable(step * 2.0 ** min(max(octaves, -6.0), 6.0))


def step_for_snr(tensors: Sequence[np.ndarray], target_db: float, states: int, lam: float | None = None,
                 exact: Callable[[float], float] | None = None) -> float:
    """A representable step at which the tensors, all quantised with it, together reach a signal-to-noise ratio.

    tensors: float arrays [rows, columns], walked twice, so they may be made anew at each access.  target_db: 10
    log10(variance / mean squared error) over all elements pooled; met within TOLERANCE_DB from above wherever the
    search can.
    states, lam: as of quantise().  exact: the true sum of squared errors at a step, where the
    tensors are coded by other means than quantise() row by row (predicted, scanned by columns).
    Returns the step; 1.0 (representable) where all elements are equal.  Raises ConfigError RATE if the finest step that
    there is misses it.
    """
    total, variance, largest = _moments(tensors)
    if not variance > 0:
        return 1.0
    error = variance / 10 ** min(target_db / 10, 300.0)
    finest = finest_step(largest)
    step = math.sqrt(error * (3.5 if states else 12.0))

    def plain(parts: Sequence[np.ndarray]) -> Callable[[float], float]:
        return lambda step: sum(squared_error(t, quantise(t, step, states, lam), states, step) for t in parts)

    def snr(noise: Callable[[float], float], elements: int) -> Callable[[float], float]:
        return lambda step: 10 * math.log10(variance * elements / max(noise(step), 1e-300))

    if total > 2 * SAMPLE:
        sample = _sample(tensors, SAMPLE / total)
        step = search_step(snr(plain(sample), sum(t.size for t in sample)), target_db, step, per_octave=-_OCTAVE_DB,
                           below=0.02, above=0.02, finest=finest)
    measured = snr(exact or plain(tensors), total)
    step = search_step(measured, target_db, step, per_octave=-_OCTAVE_DB, above=TOLERANCE_DB, finest=finest)
    if step <= finest and measured(step) < target_db:
        raise ConfigError("RATE", f"{target_db:g} dB cannot be reached: the finest step gives {measured(step):.1f} dB; "
                          "ask for less, or for no loss")
    return step


def squared_error(x: np.ndarray, levels: np.ndarray, states: int, step: float) -> float:
    """Sum of squared differences between x and its reconstruction, over the finite elements, in float64."""
    total = 0.0
    n, flat = indices(levels, states).reshape(-1), x.reshape(-1)
    for start in range(0, flat.size, SAMPLE):
        part = slice(start, start + SAMPLE)
        difference = flat[part].astype(np.float64) - n[part] * step
        total += float(np.square(difference[np.isfinite(difference)]).sum())
    return total


def _moments(tensors: Iterable[np.ndarray]) -> tuple[int, float, float]:
    """Number of elements, variance of all of them pooled, largest magnitude; those that are not finite count as the
    mean."""
    total, known, mean, squares, largest = 0, 0, 0.0, 0.0, 0.0
    for t in tensors:
        total += t.size
        for start in range(0, t.size, SAMPLE):
            part = t.reshape(-1)[start:start + SAMPLE].astype(np.float64)
            part = part[np.isfinite(part)]
            if part.size:
                largest = max(largest, float(np.abs(part).max()))
                # Of parts put together: the squares within each, and those of the distance between their means.
                distance, weight = float(part.mean()) - mean, part.size / (known + part.size)
                squares += float(np.square(part - part.mean()).sum()) + distance * distance * known * weight
                mean, known = mean + distance * weight, known + part.size
    return total, squares / max(total, 1), largest


def _sample(tensors: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    # From each tensor some runs of adjacent rows, spread evenly, about `share` of its elements.
    out = []
    for t in tensors:
        rows = t.shape[0]
        wanted = max(1, round(rows * share))
        runs = max(1, min(8, wanted // 4))
        starts = [r * rows // runs for r in range(runs)]
        out.append(np.concatenate([t[s:s + -(-wanted // runs)] for s in starts]))
    return out
