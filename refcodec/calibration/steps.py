"""From sensitivities to steps: what each tensor asks for where a bit costs the same everywhere.

A step d gives a tensor of sensitivity s the distance s d^2 / 12 an element, and its bits fall by log2 d: where one bit
is worth the distance `price`, d = sqrt(price / (s (log 2) / 6)), whatever the tensor.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import escape

import numpy as np

from ..encoder.level_search import LAMBDA_SCALAR
from ..encoder.rate_control import finest_step, largest_magnitude, representable
from ..errors import ConfigError
from .sensitivity import Sensitivities, Sensitivity

SAMPLE = 1 << 16                # elements of a tensor whose bits are counted
COARSEST = 4.0                  # the largest step, in root mean squares of the tensor: next to nothing is left there
_PRICES = 60                    # of the search, which halves


def within(step: float, weights: np.ndarray) -> float:
    """The step, or the nearest that is of use for these weights, and representable: neither so coarse that next to
    nothing is left of them, nor so fine that levels are too large."""
    coarsest = COARSEST * (math.sqrt(float(np.square(weights.astype(np.float64)).mean())) or 1.0)
    return representable(max(min(step, coarsest), finest_step(largest_magnitude(weights) or 1.0)))


@dataclass
class Asked:
    """What one tensor asks for.  step: of its quantiser.  bits: for a weight, by the entropy of plain levels."""

    sensitivity: Sensitivity
    step: float
    bits: float


@dataclass
class Plan:
    """Steps at a common price.  price: distance that a bit saves.  distance: of the outputs, as predicted."""

    tensors: list[Asked]
    price: float

    @property
    def bits_per_weight(self) -> float:
        elements = sum(a.sensitivity.elements for a in self.tensors)
        return sum(a.bits * a.sensitivity.elements for a in self.tensors) / max(elements, 1)

    @property
    def distance(self) -> float:
        return sum(a.sensitivity.value * a.sensitivity.elements * a.step**2 / 12 for a in self.tensors)

    @property
    def common_step(self) -> float:
        """The geometric mean of the steps, by elements: what a configuration's scales are relative to."""
        elements = sum(a.sensitivity.elements for a in self.tensors)
        return math.exp(sum(a.sensitivity.elements * math.log(a.step) for a in self.tensors) / max(elements, 1))


def plan_steps(found: Sensitivities, weights: Mapping[str, np.ndarray], bits_per_weight: float) -> Plan:
    """The steps with which the tensors take so many bits a weight on average.

    weights: of all tensors measured.  A tensor that moves nothing gets the step of the one that is moved least.
    Raises ConfigError BAD_CONFIG for no positive number of bits, or more than 24.
    """
    if not 0 < bits_per_weight <= 24:
        raise ConfigError("BAD_CONFIG", f"bits per weight must lie above 0 and be 24 at most, not {bits_per_weight}")
    samples = {s.name: _sample(weights[s.name]) for s in found.tensors}
    least = min(s.value for s in found.tensors if s.value > 0)

    def at(price: float) -> Plan:
        asked = []
        for s in found.tensors:
            sample = samples[s.name]
            largest = COARSEST * (math.sqrt(float(np.square(sample).mean())) or 1.0)
            step = min(math.sqrt(price / (LAMBDA_SCALAR * max(s.value, least))), largest)
            asked.append(Asked(s, step, _entropy(sample, step)))
        return Plan(asked, price)

    low, high = -100.0, 40.0                                        # log2 of prices
    for _ in range(_PRICES):
        middle = (low + high) / 2
        low, high = (middle, high) if at(2.0**middle).bits_per_weight > bits_per_weight else (low, middle)
    return at(2.0**high)


def _sample(weights: np.ndarray) -> np.ndarray:
    flat = weights.reshape(-1)
    return flat[:: -(-flat.size // SAMPLE)].astype(np.float64)


def _entropy(sample: np.ndarray, step: float) -> float:
    """Bits a weight of plain levels, each coded by its frequency; no less than 24 where steps are too fine to count."""
    levels = np.rint(sample / step)
    if np.abs(levels).max(initial=0.0) > 2.0**40:
        return 40.0
    counts = np.unique(levels, return_counts=True)[1]
    share = counts / counts.sum()
    # Of a sample that is too small to tell frequencies, as many bits as its range needs.
    by_frequency = float(-(share * np.log2(share)).sum())
    by_scale = math.log2(max(float(np.sqrt(np.square(sample).mean())) * math.sqrt(2 * math.pi * math.e) / step, 1.0))
    return by_frequency if 4 * counts.size < sample.size else max(by_frequency, by_scale)


def configuration(plan: Plan, never_run: Sequence[str]) -> str:
    """The text of a configuration (TOML) whose rules give each tensor its step, relative to the common one.

    Whatever rate is asked for with it (--step, --snr, --bits-per-weight), a bit costs the same in all tensors. Tensors
    that were never run are coded finely.
    """
    lines = [f"# refcodec sensitivity: steps at {plan.bits_per_weight:.3g} bits per weight; ask for any other rate",
             f"step = {plan.common_step:.6g}"]
    for name in never_run:
        lines += ["", "[[rules]]            # never run: kept finely", f"match = {_match(name)}", 'treatment = "fine"']
    for a in plan.tensors:
        lines += ["", "[[rules]]", f"match = {_match(a.sensitivity.name)}", 'treatment = "quantise"',
                  f"scale = {a.step / plan.common_step:.6g}"]
    return "\n".join(lines) + "\n"


def pattern_of(name: str) -> str:
    """The pattern that fits this name alone."""
    return escape(name)


def _match(name: str) -> str:
    # The pattern as a basic string of TOML.
    return json.dumps(pattern_of(name), ensure_ascii=False).replace("\x7f", "\\u007f")
