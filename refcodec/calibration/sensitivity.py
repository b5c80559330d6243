"""How far the outputs of a network move when the weights of one tensor do: by finite noise, tensor by tensor.

What is found is the distance of outputs (measure.py) for a unit of squared error in the tensor. It is what tells an
encoder where an error is cheap: with steps in inverse proportion to its square root, no bit can be moved to a tensor
where it does more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..errors import ConfigError
from .measure import Measure, Output, measure_of
from .runtime import Arrays

DRAWS, DRAWS_MAX = 3, 6                 # of noise; as many as make the mean
PRECISION = 0.25                        # as certain as this: its standard error over itself
LOW, AIM, HIGH = 1e-4, 1e-3, 1e-2       # of the distance that noise is to make: small, but not lost in rounding
FIRST = 0.01                            # the noise to begin with, and
LARGEST = 4.0                           # the largest, in root mean squares of the tensor
TRIES = 12


class Subject(Protocol):
    """A network, however it is run.

    weights: the tensors that can be changed, by name; each tensor once, however often it is used.
    order(): their names, in the order of use.  never_run: names of weights that no run takes in.
    outputs(): the outputs, each with the operator that makes it ('' for one not known).
    answers(changes): the outputs of all runs, with other arrays for the tensors named in `changes`.
    """

    weights: Arrays
    never_run: list[str]

    def order(self) -> list[str]: ...
    def outputs(self) -> dict[str, str]: ...
    def answers(self, changes: Mapping[str, np.ndarray] | None = None) -> list[Arrays]: ...


@dataclass
class Sensitivity:
    """Of one tensor.

    value: distance of the outputs over the squared error of the tensor (the sum over its elements); 0 where noise of
    LARGEST moves nothing.  spread: standard deviation of the draws over their mean.
    noise: over the root mean square of the tensor.  distance: what this noise made, on average.
    """

    name: str
    elements: int
    value: float
    spread: float
    noise: float
    distance: float


@dataclass
class Sensitivities:
    """Of all tensors of a model, in the order of use.

    outputs: those that the distance is of.  never_run: tensors that the inputs do not reach.  seed: of the noise.
    """

    tensors: list[Sensitivity]
    outputs: list[Output]
    never_run: list[str] = field(default_factory=list)
    seed: int = 0


Progress = Callable[[int, int, str], None]      # elements done, elements in all, name


def sensitivities(subject: Subject, outputs: Sequence[str] = (), seed: int = 0,
                  progress: Progress | None = None) -> Sensitivities:
    """Measures all tensors of a network that its runs take in.

    outputs: names of those that count; none: see measure_of().  seed: of the noise, with which the outcome is fixed.
    Raises ConfigError as measure_of() does, and UNSUPPORTED_LAYER where no output depends on any weight.
    """
    measure = measure_of(subject.answers(), subject.outputs(), outputs)
    names = subject.order()
    total, done, found = sum(subject.weights[n].size for n in names), 0, []
    for number, name in enumerate(names):
        found.append(_measured(subject, name, measure, np.random.default_rng([seed, number])))
        done += found[-1].elements
        if progress:
            progress(done, total, name)
    if not any(s.value > 0 for s in found):
        raise ConfigError("UNSUPPORTED_LAYER", f"no weight moves {', '.join(o.name for o in measure.outputs)}: measure "
                          "by other outputs, or give other inputs")
    return Sensitivities(found, measure.outputs, list(subject.never_run), seed)


def _measured(subject: Subject, name: str, measure: Measure, chance: np.random.Generator) -> Sensitivity:
    """One tensor: noise is made larger or smaller until its distance is between LOW and HIGH; then it is drawn anew."""
    array = subject.weights[name]
    plain = array.astype(np.float64)
    scale = math.sqrt(float(np.square(plain).mean())) or 1.0

    def draw(noise: float) -> tuple[float, float]:
        """(distance, squared error) of noise of this deviation, as the element type has it."""
        with np.errstate(over="ignore"):
            changed = (plain + chance.normal(scale=noise * scale, size=array.shape)).astype(array.dtype)
        error = float(np.square(changed.astype(np.float64) - plain).sum())
        return measure(subject.answers({name: changed})), error

    noise = FIRST
    distance, error = draw(noise)
    for _ in range(TRIES):
        if LOW <= distance <= HIGH or distance < LOW and noise >= LARGEST:
            break
        factor = math.sqrt(AIM / distance) if 0 < distance < math.inf else math.inf if distance == 0 else 0.0
        noise = min(noise * min(max(factor, 0.1), 10.0), LARGEST)
        distance, error = draw(noise)
    if not math.isfinite(distance):
        raise ConfigError("UNSUPPORTED_LAYER", f"tensor {name[:100]!r} cannot be measured: outputs are not finite, "
                          "however little noise it has")
    draws = [(distance, error)]
    while len(draws) < DRAWS or len(draws) < DRAWS_MAX and _spread(draws) > PRECISION * math.sqrt(len(draws)):
        draws.append(draw(noise))
    mean = sum(map(_ratio, draws)) / len(draws)
    return Sensitivity(name, int(array.size), mean, _spread(draws), noise, sum(d for d, _ in draws) / len(draws))


def _ratio(draw: tuple[float, float]) -> float:
    distance, error = draw
    return distance / error if error > 0 else 0.0


def _spread(draws: Sequence[tuple[float, float]]) -> float:
    """Standard deviation over mean."""
    values = np.array([_ratio(d) for d in draws])
    return float(values.std(ddof=1) / values.mean()) if len(draws) > 1 and values.mean() > 0 else 0.0
