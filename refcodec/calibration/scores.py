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
        return np.asarray(((w @ self.moved) / np.maximum(w @ self.counts, 1) / scale).sum(axis=1))

    def noise(self, w: np.ndarray) -> np.ndarray:
        """Squared error over variance, of the output that has most."""
        return np.asarray(((w @ self.squares) / np.maximum(w @ self.elements, 1) / self.variances).max(axis=1))


Loss = Callable[[Score, np.ndarray], np.ndarray]       # (score, how often each block counts [draws, blocks]): [draws]


class Judge:
    """A network on held-out inputs.

    subject: the network.  blocks: of each of its runs, as HeldOut has them.  outputs: those that count.
    decisions: what is decided; may be empty.
    Raises ConfigError BAD_CONFIG where outputs cannot be judged by: see Measure and Decision.check.
    """

    def __init__(self, subject: Subject, blocks: Sequence[np.ndarray], outputs: Sequence[Output],
                 decisions: Sequence[Decision] = (), seed: int = 0):
        self.subject, self.blocks, self.decisions = subject, list(blocks), list(decisions)
        self.reference = subject.answers()
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

    @property
    def inputs(self) -> int:
        return sum(len(b) for b in self.blocks)

    @property
    def decision_count(self) -> int:
        return sum(d.count(run[d.output]) for run in self.reference for d in self.decisions)

    def score(self, changes: Arrays) -> Score:
        """Of the network with other arrays for some tensors."""
        answers = self.subject.answers(changes)
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
                                                       np.inf))
                _add(s.elements[:, k], blocks, np.ones_like(square))
                one = np.isnan(b).any() or (o.kind != "log-classes" and not np.isfinite(b).all())
                moved = square if o.kind == "values" else divergence(o, a, b)
                _add(s.moved[:, k], blocks, np.full(moved.shape, np.inf) if one else moved)
                _add(s.counts[:, k], blocks, np.ones_like(moved))
        return s

    def measured(self, score: Score, loss: Loss) -> float:
        """A loss on the held-out inputs."""
        return float(loss(score, self.once)[0])

    def bound(self, score: Score, loss: Loss) -> float:
        """What it is at most, with a certainty of CERTAIN.

        The quantile is moved outwards as far as Student's distribution is wider than the normal one, for few blocks.
        """
        values = np.sort(loss(score, self.draws))
        return float(values[min(math.ceil(_level(self.count) * len(values)), len(values)) - 1])


def _add(sums: np.ndarray, blocks: np.ndarray, values: np.ndarray) -> None:
    """Adds values up by the blocks of their rows (axis 0), or to the first block where there are no such rows."""
    if values.ndim and len(blocks) > 1 and len(values) == len(blocks):
        np.add.at(sums, blocks, values.reshape(len(blocks), -1).sum(axis=1))
    else:
        sums[blocks[0]] += values.sum()


def _level(count: int) -> float:
    """The quantile of the draws that is taken as the bound, of so many blocks."""
    n, freedom = NormalDist(), count - 1
    z = n.inv_cdf(CERTAIN)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return n.cdf(t * math.sqrt(count / freedom))


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
