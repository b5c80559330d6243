"""What a user asks of a lossy stream: answers that are kept, or a size.

A target has a *limit* for something that falls with the price of a bit, in octaves: of a loss of answers, or bits of a
weight. What is sought is the least of the other: the bits with which answers are kept, the loss that a size has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from .scores import CERTAIN, Judge, Score, most_lost

KINDS = ("decisions", "kl", "output_snr", "bits_per_weight", "max_bytes")
SIZES = ("bits_per_weight", "max_bytes")
BITS_MAX = 24.0
_LEAST = 1e-12                  # no loss counts for less


@dataclass(frozen=True)
class Target:
    """kind: of KINDS.  value: the part of the decisions that stay; nats a decision; dB of the outputs; bits; bytes.

    Raises ConfigError BAD_CONFIG for a value that none can have.
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError("BAD_CONFIG", f"a target is one of {', '.join(KINDS)}, not {self.kind!r}")
        low, high, what = {
            "decisions": (0.0, 1.0, "is a part of the decisions, above 0 and below 1, such as 0.97"),
            "kl": (0.0, math.inf, "is a number of nats above 0, such as 0.005"),
            "output_snr": (-math.inf, math.inf, "is a number of dB, such as 25"),
            "bits_per_weight": (0.0, BITS_MAX, f"is a number of bits above 0 and below {BITS_MAX:g}"),
            "max_bytes": (0.0, math.inf, "is a number of bytes above 0")}[self.kind]
        if not low < self.value < high:
            raise ConfigError("BAD_CONFIG", f"the target {self.name} {what}, not {self.value}")

    @property
    def name(self) -> str:
        return self.kind.replace("_", " ")

    @property
    def by_size(self) -> bool:
        return self.kind in SIZES

    def __str__(self) -> str:
        unit = {"decisions": " % of decisions", "kl": " nats a decision", "output_snr": " dB of the outputs",
                "bits_per_weight": " bits per weight", "max_bytes": " bytes"}[self.kind]
        value = 100 * self.value if self.kind == "decisions" else self.value
        return (f"{value:,.0f}" if self.kind == "max_bytes" else f"{value:.6g}") + unit

    # What it limits

    @property
    def limit(self) -> float:
        """Of what constraint() gives: log2 of a loss, or bytes."""
        if self.by_size:
            return self.value
        return _log({"decisions": 1 - self.value, "kl": self.value}.get(self.kind, 10 ** (-self.value / 10)))

    @property
    def slope(self) -> float:
        """By how much the log2 of the loss grows as the price doubles, about: decisions are lost by its root."""
        return 0.5 if self.kind == "decisions" else 1.0

    def loss(self, score: Score, w: np.ndarray) -> np.ndarray:
        """What is lost of the answers, by how often each block counts."""
        if self.kind == "decisions":
            return score.lost_share(w)
        return score.noise(w) if self.kind == "output_snr" else score.distance(w)

    def bound(self, judge: Judge, score: Score) -> float:
        """The loss that is not exceeded, with a certainty of CERTAIN."""
        bound = judge.bound(score, self.loss)
        if self.kind == "decisions" and math.isfinite(bound):
            bound = max(bound, most_lost(int(score.lost.sum()), int(score.decisions.sum())))
        return bound

    def shown(self, loss: float) -> float:
        """A loss in the unit in which the target is asked for (a distance, where a size is)."""
        if self.kind == "decisions":
            return 1 - loss
        return -10 * math.log10(max(loss, _LEAST)) if self.kind == "output_snr" else loss

    def check(self, judge: Judge) -> None:
        """Raises ConfigError BAD_CONFIG where a judge's outputs and inputs cannot show that the target is met."""
        if self.kind == "kl" and not any(o.kind != "values" for o in judge.outputs):
            raise ConfigError("BAD_CONFIG", "the Kullback-Leibler divergence is of probabilities; "
                              f"{', '.join(o.name for o in judge.outputs)} are values: ask for --target-output-snr, or "
                              "for --target-decisions with --decision")
        if self.kind == "output_snr":
            for o, variance in zip(judge.outputs, judge.variances):
                if not variance > 0:
                    raise ConfigError("BAD_CONFIG", f"output {o.name!r} is the same for all inputs: it has no "
                                      "signal-to-noise ratio; name others by --output")
        if self.kind == "decisions":
            least = math.ceil(math.log(1 - CERTAIN) / math.log(self.value))
            if judge.decision_count < least:
                raise ConfigError("BAD_CONFIG", f"{judge.decision_count} decisions on the inputs held out cannot show "
                                  f"that {self} stay, even if all do: {least:,} are the least; give more inputs, or "
                                  "ask for less")

    def as_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "value": self.value}


def octaves(loss: float) -> float:
    """log2 of a loss."""
    return _log(loss)


def _log(loss: float) -> float:
    return math.log2(max(loss, _LEAST)) if loss < math.inf else 1e6
