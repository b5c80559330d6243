"""What a network decides: the likeliest class, or whether a chance is above a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import ConfigError
from .measure import Output

HOW = "--decision argmax:NAME (of scores, along the last axis; argmax:NAME:AXIS along another) or threshold:NAME:0.5"


@dataclass(frozen=True)
class Decision:
    """output: its name.  kind: 'argmax' along `axis`, or 'threshold': whether an element is above it."""

    output: str
    kind: str
    axis: int = -1
    threshold: float = 0.5

    def count(self, array: np.ndarray) -> int:
        """The decisions in an output."""
        return array.size // array.shape[self.axis] if self.kind == "argmax" else array.size

    def kept(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        """True for each decision that is the same; False where an answer is no number."""
        if self.kind == "argmax":
            same = old.argmax(self.axis) == new.argmax(self.axis)
            return np.asarray(same & ~np.isnan(new).any(self.axis))
        return np.asarray(((old > self.threshold) == (new > self.threshold)) & ~np.isnan(new))

    def check(self, array: np.ndarray) -> None:
        """Raises ConfigError BAD_CONFIG for an output that has no such decisions."""
        if array.dtype.kind != "f":
            raise ConfigError("BAD_CONFIG", f"output {self.output!r} is of {array.dtype}: decisions are told from "
                              "scores of floating point")
        if self.kind == "argmax" and not -array.ndim <= self.axis < array.ndim:
            raise ConfigError("BAD_CONFIG", f"output {self.output!r} {list(array.shape)} has no axis {self.axis}")
        if self.kind == "argmax" and array.shape[self.axis] < 2:
            raise ConfigError("BAD_CONFIG", f"output {self.output!r} {list(array.shape)} has nothing to choose from "
                              f"along axis {self.axis}: name another, or a threshold: {HOW}")


def decision_of(text: str) -> Decision:
    """'argmax:NAME', 'argmax:NAME:AXIS' or 'threshold:NAME:VALUE'. Raises ConfigError BAD_CONFIG for anything else."""
    kind, _, rest = text.partition(":")
    name, _, last = rest.rpartition(":")
    try:
        if kind == "argmax" and rest:
            return Decision(name, kind, int(last)) if name and last.lstrip("-").isdigit() else Decision(rest, kind)
        if kind == "threshold" and name and math.isfinite(float(last)):
            return Decision(name, kind, threshold=float(last))
    except ValueError:
        pass
    raise ConfigError("BAD_CONFIG", f"{text!r} is no decision: {HOW}")


def decisions_of(outputs: Sequence[Output]) -> list[Decision]:
    """The decisions that follow from the kinds of the outputs: none of those that are values."""
    kinds = {"classes": "argmax", "log-classes": "argmax", "chances": "threshold"}
    return [Decision(o.name, kinds[o.kind], o.axis) for o in outputs if o.kind in kinds]
