"""A network and what it was decoded to, both run on the same inputs: do the answers agree?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..inspection.text import shown
from ..integers.evaluate import network_of
from ..model import Model
from .decisions import Decision, decision_of, decisions_of
from .inputs import NOISE, read_runs
from .measure import measure_of
from .network import Network
from .runtime import Arrays, Session
from .scores import Judge
from .splits import all_of


@dataclass
class Both:
    """Two networks as one, of which the second has the changes."""

    original: list[Arrays]
    decoded: list[Arrays]
    origins: dict[str, str]

    def answers(self, changes: Mapping[str, np.ndarray] | None = None) -> list[Arrays]:
        return self.decoded if changes else self.original


@dataclass
class Checked:
    """inputs: how many.  decisions, lost: of all outputs that decide, and how many are other ones now (0 of 0 where
    nothing decides).  distance: of the outputs (measure.py).  snr_db: of the output that has least; None: all equal.
    outputs: names of those that count."""

    inputs: int
    decisions: int
    lost: int
    distance: float
    snr_db: float | None
    outputs: list[str]

    @property
    def same(self) -> float:
        """The part of the decisions that stayed."""
        return 1 - self.lost / max(self.decisions, 1)

    def as_json(self) -> dict[str, Any]:
        return {"inputs": self.inputs, "decisions": self.decisions, "changed": self.lost,
                "same": self.same if self.decisions else None, "distance": self.distance,
                "output_snr_db": self.snr_db, "outputs": self.outputs}

    def lines(self) -> list[str]:
        names = ", ".join(shown(n, 40) for n in self.outputs)
        decided = (f"{100 * self.same:.2f} % of {self.decisions:,} decisions are the same, {self.lost:,} changed; "
                   if self.decisions else "nothing is decided (say what with --decision); ")
        snr = "the outputs are equal" if self.snr_db is None else f"outputs {self.snr_db:.1f} dB"
        return [f"check on {self.inputs:,} inputs, {names}: {decided}{snr}, moved by {self.distance:.3g}"]


def check(model: Model, decoded: Model, paths: Sequence[str], decisions: Sequence[str] = (),
          outputs: Sequence[str] = ()) -> Checked:
    """Runs both.

    paths: of npz files with inputs (inputs.read_runs).  decisions: 'argmax:NAME', 'threshold:NAME:0.5'; none: those
    that follow from the outputs.  outputs: names of those that count; none: those of the decisions, else the
    probabilities, else all.
    Raises ConfigError and FormatError as read_runs(), Session and Judge do.
    """
    if NOISE in paths:
        raise ConfigError("BAD_CONFIG", "noise shows nothing of the answers to real inputs: give --check some")
    proto = network_of(model)
    runs = read_runs(paths, proto)
    names = [o.name for o in proto.graph.output]
    first, second = Session(proto), Session(network_of(decoded))
    both = Both([first.run(names, run) for run in runs], [second.run(names, run) for run in runs],
                Network(model, runs[:1], cut=False).outputs())
    chosen: list[Decision] = [decision_of(d) for d in decisions]
    wanted = list(outputs) or list(dict.fromkeys(d.output for d in chosen))
    measure = measure_of(both.original, both.origins, wanted)
    blocks = all_of(runs, proto).blocks
    judge = Judge(both, blocks, measure.outputs, chosen or decisions_of(measure.outputs))   # type: ignore[arg-type]
    score = judge.score({"": np.zeros(0)})
    noise = float(score.noise(judge.once)[0])
    return Checked(judge.inputs, round(float(score.decisions.sum())), round(float(score.lost.sum())),
                   float(score.distance(judge.once)[0]), None if noise == 0 else float(-10 * np.log10(noise)),
                   [o.name for o in judge.outputs])
