"""A network to a stream whose answers, or whose size, are those that were asked for: from inputs to bytes.

    made = calibrate(model, read_sequences(["x.npz"], network_of(model)), Target("decisions", 0.97))
    made.stream, made.bound
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..api import encode
from ..encoder.config import Config
from ..errors import ConfigError
from ..model import Model
from .callable import CallableNetwork
from .candidates import METADATA, NOTE_BYTES, Candidates, Trial, ways
from .decisions import HOW, Decision, decision_of, decisions_of
from .feeding import Feed
from .network import Network
from .runtime import Arrays
from .scores import Judge
from .search import EFFORT, Found, Told, search
from .sensitivity import Progress, Sensitivities
from .subjects import subjects_of
from .targets import Target


@dataclass
class Calibrated:
    """What calibrate() made.

    stream: the bytes.  target: what was asked for.  best: the trial that won.  trials: all that were made.
    measured, bound: of what was asked for, on the held-out inputs: as it was there, and as it is with a certainty of
    90 % at least (decisions, dB) or at most (distances).  of: decisions (or inputs) that were judged.
    one_step: bytes that one step for all tensors would take, about (of a size: the distance that it would make).
    plain: tensors that got a step alone, and why.  never_run: tensors that no input reaches, which are kept finely.
    """

    stream: bytes
    target: Target
    best: Trial
    trials: list[Trial]
    of: int
    one_step: float | None
    plain: dict[str, str]
    never_run: list[str]

    @property
    def measured(self) -> float:
        return self.target.shown(self.best.measured)

    @property
    def bound(self) -> float:
        return self.target.shown(self.best.bound)

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        tried = [{"way": t.way.name, "bytes": t.size, "measured": self.target.shown(t.measured),
                  "bound": self.target.shown(t.bound), "distance": t.distance} for t in self.trials]
        return {"target": self.target.as_json(), "way": self.best.way.name, "measured": self.measured,
                "bound": self.bound, "of": self.of, "distance": self.best.distance, "predicted": self.best.predicted,
                "bits_per_weight": self.best.bits, "one_step": self.one_step, "plain": self.plain,
                "never_run": self.never_run, "tried": tried}


def calibrate(model: Model, sequences: Sequence[Sequence[Arrays]], target: Target, *,
              held_out: Sequence[Sequence[Arrays]] = (), feed: Feed | None = None,
              decisions: Sequence[str | Decision] = (), outputs: Sequence[str] = (), config: Config | None = None,
              references: Sequence[Model] = (), noise: bool = False, effort: int = EFFORT, seed: int = 0,
              beside: str | None = None,
              measuring: Progress | None = None, trying: Told | None = None) -> Calibrated:
    """The smallest stream of an ONNX model that keeps its answers, or the best of a size.

    sequences: of inputs of the network (inputs.read_sequences); noise: they are made up, so that only steps are chosen
    by them.  held_out: inputs to judge on; none: a fifth of `sequences`, which is left out of the calibration.
    feed: outputs that are inputs of the next run of the sequence; what is given for these is for the first alone.
    decisions: 'argmax:NAME', 'threshold:NAME:0.5'; none: those that follow from the outputs.  outputs: names of those
    that count; none: probabilities, else all.  config: how the stream is coded: states, coder, effort, profile, ...
    references: models that the decoder will have: the stream is an update.
    effort: streams that are tried at most.  seed: of everything random.  beside: path of a file in which sensitivities
    are kept (cache.py).  measuring, trying: told how far it is.

    Raises ConfigError: RATE where no stream meets the target; BAD_CONFIG for inputs that are too few, the same to
    calibrate and to judge on, or that cannot show it; and as Network does. FormatError BAD_SIZE for inputs that do not
    fit the network.
    """
    config = _checked(config or Config(step=1.0), effort, seed)
    if noise and not held_out and not target.by_size:
        raise ConfigError("BAD_CONFIG", f"noise does not show that {target} stay: give inputs with --validation, or "
                          "ask for a size (--bits-per-weight, --max-bytes)")
    subjects = subjects_of(model, sequences, held_out, feed or {}, noise=noise, seed=seed, threads=config.threads)
    found = subjects.sensitivities(outputs, seed, beside, measuring)
    judge = Judge(subjects.judged, subjects.blocks, found.outputs, _decisions(decisions, found, target), seed)
    return calibrate_network(subjects.network, found, judge, target, config=config, noise=noise, effort=effort,
                             references=references, trying=trying)


def calibrate_network(network: Network | CallableNetwork, found: Sensitivities, judge: Judge, target: Target, *,
                      config: Config | None = None, noise: bool = False, effort: int = EFFORT,
                      references: Sequence[Model] = (), trying: Told | None = None) -> Calibrated:
    """The same of a network that is there, be it no graph: with its sensitivities, and a judge on other inputs."""
    config = _checked(config or Config(step=1.0), effort, 0)
    target.check(judge)
    graph = isinstance(network, Network)
    layers = graph or bool(isinstance(network, CallableNetwork) and network.inputs)
    candidates = Candidates(network, found, judge, target, config, references)
    tried = ways(candidates.states, layers=layers and not noise, graph=graph)
    result = search(candidates, tried, candidates.price_of(_guess(target, candidates)), effort, trying)
    of = judge.decision_count if target.kind == "decisions" else judge.inputs
    return _calibrated(result, candidates, of)


def _guess(target: Target, candidates: Candidates) -> float:
    """The distance at which a target is met, about."""
    if target.kind == "decisions":
        return (2 * (1 - target.value))**2
    if target.by_size:
        return math.exp2(2 * (2 - min(candidates.limit, 12.0))) / 10
    return target.value if target.kind == "kl" else math.exp(-target.value / 10 * math.log(10))


def _calibrated(result: Found, candidates: Candidates, of: int) -> Calibrated:
    best = result.best
    assert best.made is not None
    model, config, plain = best.made
    made = Calibrated(b"", candidates.target, best, result.trials, of, result.one_step, plain, candidates.never_run)
    noted = replace(model, metadata={**model.metadata, METADATA: _note(made)})
    made.stream = encode(noted, config, candidates.references)
    return made


def _note(made: Calibrated) -> bytes:
    """What the stream says of itself: JSON, no longer than was reckoned with."""
    def short(x: float) -> float:
        return float(f"{x:.4g}")

    note: dict[str, Any] = {"target": made.target.kind, "asked": made.target.value, "measured": short(made.measured),
                            "bound": short(made.bound), "of": made.of, "distance": short(made.best.distance),
                            "predicted": short(made.best.predicted)}
    while len(text := json.dumps(note, separators=(",", ":"))) > NOTE_BYTES:
        note.popitem()
    return text.encode()


def _decisions(asked: Sequence[str | Decision], found: Sensitivities, target: Target) -> list[Decision]:
    made = [decision_of(d) if isinstance(d, str) else d for d in asked] or decisions_of(found.outputs)
    if target.kind == "decisions" and not made:
        names = ", ".join(o.name for o in found.outputs)
        raise ConfigError("BAD_CONFIG", f"what is decided cannot be told from {names}, which are values: say it "
                          f"with {HOW}")
    return made


_OWN: Mapping[str, Any] = {"rules": "steps", "levels": "levels", "points": "points", "factors": "factors",
                           "update": "an update", "root": "a set", "preset": "a preset"}


def _checked(config: Config, effort: int, seed: int) -> Config:
    """Raises ConfigError BAD_CONFIG for a configuration that says itself what a calibration finds."""
    for name, what in _OWN.items():
        if getattr(config, name):
            raise ConfigError("BAD_CONFIG", f"a calibration chooses how weights are quantised: a configuration beside "
                              f"it cannot ask for {what} ({name})")
    if config.own_quantiser or config.quality_layers > 1:
        raise ConfigError("BAD_CONFIG", "a calibration makes one layer with the uniform quantiser: ask for no other")
    if effort < 2:
        raise ConfigError("BAD_CONFIG", f"2 streams are tried at least, one of them with one step; not {effort}")
    if seed < 0:
        raise ConfigError("BAD_CONFIG", f"a seed is 0 or more, not {seed}")
    return config
