"""How a quantised network answers inputs that were held out, and what that says of inputs to come.

Answers are compared with those of the original on the same inputs, block by block (splits.py). What the next inputs may
give is estimated by drawing blocks with replacement (a bootstrap), the same draws for whatever is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np

from ..errors import ConfigError
from .decisions import Decision
from .measure import Measure, Output, divergence
from .runtime import Arrays
from .sensitivity import Subject

DRAWS = 1000
CERTAIN = 0.9                   # how often a bound holds
_BEYOND = 1e30                  # of one block: an answer that is no number, which makes everything infinite
_TINY = 1e-300


@dataclass
class Score:
    """Of one candidate, by blocks.

    lost, decisions: float64 [blocks].  moved: float64 [blocks, outputs], nats or squared errors.  squares: squared
    errors, like it.  counts, elements: what these are means over, like them.  variances: [outputs], of the original.
    nats: bool [outputs].
    """

    lost: np.ndarray
    decisions: np.ndarray
    moved: np.ndarray
    squares: np.ndarray
    counts: np.ndarray
    elements: np.ndarray
    variances: np.ndarray
    nats: np.ndarray

    def lost_share(self, w: np.ndarray) -> np.ndarray:
        """The part of the decisions that changed, where block b counts w[:, b] times: [draws]; so the others."""
        return np.asarray((w @ self.lost) / np.maximum(w @ self.decisions, 1))

    def distance(self, w: np.ndarray) -> np.ndarray:
        """As measure.py has it, added up over the outputs."""
        scale = np.where(self.nats, 1.0, self.variances)
        return _finite(((w @ self.moved) / np.maximum(w @ self.counts, 1) / scale).sum(axis=1))

    def noise(self, w: np.ndarray) -> np.ndarray:
        """Squared error over variance, of the output that has most."""
        return _finite(((w @ self.squares) / np.maximum(w @ self.elements, 1) / self.variances).max(axis=1))


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(values > 1e-9 * _BEYOND, np.inf, values)


Loss = Callable[[Score, np.ndarray], np.ndarray]       # (score, how often each block counts [draws, blocks]): [draws]


class Judge:
    """A network on held-out inputs.

    subject: the network.  blocks: of each of its runs, as HeldOut has them; what is in none (-1) is not judged.
    outputs: those that count.  decisions: what is decided; may be empty.
    Raises ConfigError BAD_CONFIG where outputs cannot be judged by: see Measure and Decision.check.
    """

    def __init__(self, subject: Subject, blocks: Sequence[np.ndarray], outputs: Sequence[Output],
                 decisions: Sequence[Decision] = (), seed: int = 0):
        self.subject, self.decisions = subject, list(decisions)
        self.blocks = [b for b in blocks if b[0] >= 0]
        self.judged = [k for k, b in enumerate(blocks) if b[0] >= 0]
        self.reference = self._judged(subject.answers())
        self.outputs = Measure([replace(o) for o in outputs], self.reference).outputs
        known = self.reference[0]
        for d in decisions:
            if d.output not in known:
                raise ConfigError("BAD_CONFIG", f"the network has no output {d.output!r}; it has {', '.join(known)}")
            d.check(known[d.output])
        self.variances = np.array([float(np.concatenate([run[o.name].reshape(-1).astype(np.float64)
                                                         for run in self.reference]).var()) for o in self.outputs])
        self.count = 1 + max(int(b.max()) for b in self.blocks)
        for o in self.outputs:
            if any(np.isnan(run[o.name]).any() or np.isposinf(run[o.name]).any() for run in self.reference):
                raise ConfigError("BAD_CONFIG", f"output {o.name!r} of the unchanged network is not finite on the "
                                  "inputs to judge on")
        draws = np.random.default_rng(seed).multinomial(self.count, [1 / self.count] * self.count, size=DRAWS)
        self.draws, self.once = draws.astype(np.float64), np.ones((1, self.count))

    def _judged(self, answers: Sequence[Arrays]) -> list[Arrays]:
        return [answers[k] for k in self.judged]

    @property
    def inputs(self) -> int:
        return sum(len(b) for b in self.blocks)

    @property
    def decision_count(self) -> int:
        return sum(d.count(run[d.output]) for run in self.reference for d in self.decisions)

    def score(self, changes: Arrays) -> Score:
        """Of the network with other arrays for some tensors."""
        answers = self._judged(self.subject.answers(changes))
        by_output = (self.count, len(self.outputs))
        moved, squares, counts, elements = (np.zeros(by_output) for _ in range(4))
        s = Score(np.zeros(self.count), np.zeros(self.count), moved, squares, counts, elements, self.variances,
                  np.array([o.kind != "values" for o in self.outputs]))
        for old, new, blocks in zip(self.reference, answers, self.blocks):
            for d in self.decisions:
                kept = d.kept(old[d.output], new[d.output])
                _add(s.lost, blocks, ~kept)
                _add(s.decisions, blocks, np.ones_like(kept))
            for k, o in enumerate(self.outputs):
                a, b = old[o.name].astype(np.float64), new[o.name].astype(np.float64)
                with np.errstate(invalid="ignore"):
                    square = np.square(a - b)
                _add(s.squares[:, k], blocks, np.where(np.isfinite(square) | (a == b), np.where(a == b, 0, square),
                                                       _BEYOND))
                _add(s.elements[:, k], blocks, np.ones_like(square))
                one = np.isnan(b).any() or (o.kind != "log-classes" and not np.isfinite(b).all())
                moved = square if o.kind == "values" else divergence(o, a, b)
                _add(s.moved[:, k], blocks, np.full(moved.shape, _BEYOND) if one else moved)
                _add(s.counts[:, k], blocks, np.ones_like(moved))
        return s

    def measured(self, score: Score, loss: Loss) -> float:
        """A loss on the held-out inputs."""
        return float(loss(score, self.once)[0])

    def bound(self, score: Score, loss: Loss) -> float:
        """What it is at most, with a certainty of CERTAIN.

        The quantile of the draws is moved outwards for the skewness of what the blocks have (bias-corrected and
        accelerated, Efron 1987), and as far as Student's distribution is wider than the normal one, for few blocks.
        """
        values, found = np.sort(loss(score, self.draws)), self.measured(score, loss)
        if not math.isfinite(values[-1]):
            return math.inf
        normal, apart = NormalDist(), loss(score, 1 - np.eye(self.count))
        below = (np.searchsorted(values, found) + np.searchsorted(values, found, side="right")) / 2 / len(values)
        bias = normal.inv_cdf(min(max(float(below), 0.1), 0.9))
        without = apart.mean() - apart
        skewed = float((without**3).sum() / max(6 * (without**2).sum() ** 1.5, _TINY))
        z = bias + _wide(self.count)
        level = normal.cdf(bias + z / max(1 - skewed * z, 0.2))
        return float(values[min(math.ceil(level * len(values)), len(values)) - 1])


def _add(sums: np.ndarray, blocks: np.ndarray, values: np.ndarray) -> None:
    """Adds values up by the blocks of their rows (axis 0), or to the first block where there are no such rows."""
    if values.ndim and len(blocks) > 1 and len(values) == len(blocks):
        np.add.at(sums, blocks, values.reshape(len(blocks), -1).sum(axis=1))
    else:
        sums[blocks[0]] += values.sum()


def _wide(count: int) -> float:
    """How many standard deviations of the draws are CERTAIN to hold, of so many blocks."""
    z, freedom = NormalDist().inv_cdf(CERTAIN), count - 1
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)     # of Student
    return t * math.sqrt(count / freedom)


def most_lost(lost: int, decisions: int) -> float:
    """The share of decisions above which so few being lost would be rarer than 1 - CERTAIN (Clopper and Pearson)."""
    if lost >= decisions:
        return 1.0
    logs = [math.lgamma(decisions + 1) - math.lgamma(k + 1) - math.lgamma(decisions - k + 1) for k in range(lost + 1)]

    def chance(p: float) -> float:                     # of `lost` or fewer
        return sum(math.exp(c + k * math.log(p) + (decisions - k) * math.log1p(-p)) for k, c in enumerate(logs))

    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if chance(middle) > 1 - CERTAIN else (low, middle)
    return high
