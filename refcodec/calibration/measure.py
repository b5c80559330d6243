"""How far the outputs of a network are from what they were.

Probabilities count by the Kullback-Leibler divergence, in nats a decision: how much is lost by whoever believes the new
ones. Other outputs count by their squared error over their variance. Both are about the square of a small change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError
from .runtime import Arrays

KINDS = ("classes", "log-classes", "chances", "values")
DECISIONS_MIN = 8               # rows of probabilities, or elements of values, from which an output can be judged
_TINY = 1e-12                   # no probability is less
_SUMS = 1e-3                    # how far the sum of probabilities may be from 1


@dataclass
class Output:
    """One output. kind: of KINDS: probabilities of classes along `axis` that add up to 1, or their logarithms; chances,
    each of its own; or values.  decisions: rows of classes, chances, or values, over all runs."""

    name: str
    kind: str
    axis: int = -1
    decisions: int = 0


@dataclass
class Measure:
    """The distance of answers from those of the original.

    outputs: those that count.  reference: what they were, a mapping for each run.
    """

    outputs: list[Output]
    reference: Sequence[Mapping[str, np.ndarray]]
    _variances: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for o in self.outputs:
            arrays = [np.asarray(run[o.name], np.float64) for run in self.reference]
            o.decisions = sum(a.size // (a.shape[o.axis] if o.kind in KINDS[:2] else 1) for a in arrays)
            if o.decisions < DECISIONS_MIN:
                raise ConfigError("BAD_CONFIG", f"too few inputs: output {o.name!r} has {o.decisions} decisions or "
                                  f"values, {DECISIONS_MIN} are the least; give more inputs")
            everything = np.concatenate([a.reshape(-1) for a in arrays])
            self._variances[o.name] = float(everything.var())
            if o.kind == "values" and not self._variances[o.name] > 0:
                raise ConfigError("BAD_CONFIG", f"output {o.name!r} is {everything[0]:g} for all inputs: give inputs "
                                  "that differ, or measure by other outputs")

    def __call__(self, answers: Sequence[Mapping[str, np.ndarray]]) -> float:
        """The distance, added up over the outputs that count. infinity where an answer is not finite."""
        return sum(self._distance(o, answers) for o in self.outputs)

    def _distance(self, o: Output, answers: Sequence[Mapping[str, np.ndarray]]) -> float:
        total = 0.0
        for run, answer in zip(self.reference, answers):
            old, new = np.asarray(run[o.name], np.float64), np.asarray(answer[o.name], np.float64)
            if not np.isfinite(new).all() and o.kind != "log-classes" or np.isnan(new).any():
                return float("inf")
            total += float(divergence(o, old, new).sum()) if o.kind != "values" else float(np.square(old - new).sum())
        return total / o.decisions / (self._variances[o.name] if o.kind == "values" else 1.0)


def divergence(o: Output, old: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Kullback-Leibler divergence of each decision, in nats: of an output in float64, without the axis of its classes.
    """
    if o.kind == "log-classes":
        old, new = np.exp(old), np.exp(new)
    if o.kind == "chances":
        old, new = np.stack([old, 1 - old], axis=-1), np.stack([new, 1 - new], axis=-1)
        axis = -1
    else:
        axis = o.axis
    old, new = np.maximum(old, _TINY), np.maximum(new, _TINY)
    old, new = old / old.sum(axis=axis, keepdims=True), new / new.sum(axis=axis, keepdims=True)
    return np.asarray((old * np.log(old / new)).sum(axis=axis))


def measure_of(reference: Sequence[Arrays], origins: Mapping[str, str], names: Sequence[str] = ()) -> Measure:
    """What answers are measured by.

    reference: outputs of the original, a mapping for each run.  origins: output to the operator that makes it, '' where
    that is not known.  names: the outputs that count; none: those that are probabilities, else all of floats.

    Raises ConfigError BAD_CONFIG: there is no such output; one is not finite, of integers, or always the same; too few
    decisions.
    """
    for name in names:
        if name not in origins:
            raise ConfigError("BAD_CONFIG", f"the network has no output {name!r}; it has {', '.join(origins)}")
        if reference[0][name].dtype.kind != "f":
            raise ConfigError("BAD_CONFIG", f"output {name!r} is of {reference[0][name].dtype}: a small change does "
                              "not show there; name an output of floating point")
    floats = [name for name in origins if reference[0][name].dtype.kind == "f"]
    if not floats:
        raise ConfigError("BAD_CONFIG", "the network has no output of floating point, only "
                          f"{', '.join(origins)}: nothing tells how far a small change moves it")
    for name in names or floats:
        if any(np.isnan(run[name]).any() or np.isposinf(run[name]).any() for run in reference):
            raise ConfigError("BAD_CONFIG", f"output {name!r} of the unchanged network is not finite on these inputs")
    outputs = [_output(name, [run[name] for run in reference], origins[name]) for name in names or floats]
    if not names:
        probable = [o for o in outputs if o.kind != "values"]
        outputs = probable or outputs
    return Measure(outputs, reference)


def _output(name: str, arrays: Sequence[np.ndarray], origin: str) -> Output:
    """The kind of an output, by its values and by what makes it."""
    rank = arrays[0].ndim
    for axis in sorted(range(rank), key=lambda a: (a != rank - 1, a != 1)):
        if all(a.ndim == rank and a.shape[axis] > 1 for a in arrays):
            if all((a >= -_TINY).all() and (np.abs(a.sum(axis=axis, dtype=np.float64) - 1) < _SUMS).all()
                   for a in arrays):
                return Output(name, "classes", axis)
            if origin == "LogSoftmax" and all(
                    (np.abs(np.exp(a.astype(np.float64)).sum(axis=axis) - 1) < _SUMS).all() for a in arrays):
                return Output(name, "log-classes", axis)
    if origin in ("Sigmoid", "HardSigmoid") and all(((a >= 0) & (a <= 1)).all() for a in arrays):
        return Output(name, "chances")
    return Output(name, "values")
