"""The ways of coding that are compared: each gives streams, whose bytes are brought to one distance of the outputs."""

from __future__ import annotations

import json
import math
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from peers.environments import WORKERS, ensure_env, run_worker

import refcodec
from refcodec import Config, Tensor
from refcodec.calibration import Target, calibrate, network_of, read_sequences
from refcodec.calibration.cache import ENDING
from refcodec.encoder.model_encoder import quantised_tensors
from refcodec.inspection.describe import describe_stream

from .judge import Judge, Verdict

CODER = dict(states=32, coder="cm", threads=2)          # of all streams of OMC
NEAR = 0.3                      # octaves of step between two streams, between which a line will do
TRIES = 8


@dataclass
class Point:
    """One stream.  bits: a weight, of the whole stream."""

    bytes: int
    verdict: Verdict
    bits: float


Make = Callable[[float], Point]          # from a setting in octaves, of which distance falls by two each


class Bench:
    """One network, its judge, and what its weights are."""

    def __init__(self, judge: Judge):
        self.judge, self.model = judge, judge.model
        self.chosen = [self.model.tensors[i] for i in quantised_tensors(self.model, Config(step=1.0))]
        self.weights = sum(t.size for t in self.chosen)
        largest = math.sqrt(sum(float(np.square(t.array.astype(np.float64)).sum()) for t in self.chosen) / self.weights)
        self.first = -math.log2(largest) + 3              # octaves: a step of an eighth of the root mean square

    def point(self, stream: bytes) -> Point:
        return Point(len(stream), self.judge.of_stream(stream), 8 * len(stream) / self.weights)

    def stepped(self, **settings: object) -> Make:
        """A common step of 2^-octaves."""
        return lambda octaves: self.point(refcodec.encode(self.model, Config(step=2.0**-octaves, **CODER, **settings)))

    def one_step(self) -> Make:
        return self.stepped()

    def protected(self) -> Make:
        return self.stepped(protect=True)

    def steps(self) -> Make:
        """By sensitivities, which the search of `calibrated` has left beside the network."""
        found = json.loads(pathlib.Path(f"{self.judge.path}{ENDING}").read_text())["tensors"]
        values = {t["name"]: t["value"] for t in found}
        least = min(v for v in values.values() if v > 0)
        logs = {name: -0.5 * math.log(max(v, least)) for name, v in values.items()}
        mean = sum(logs[t.name] * t.size for t in self.chosen if t.name in logs) / self.weights
        return self.stepped(scales={name: math.exp(x - mean) for name, x in logs.items()})

    def calibrated(self, target: float, effort: int) -> tuple[Point, str]:
        """(the stream that the search makes for a share of the decisions, the way that won)."""
        entry = self.judge.entry
        decision = entry.decision
        if decision.startswith("peak"):
            decision = "argmax:" + self.judge.output
        made = calibrate(self.model, read_sequences(self.judge.calibration, network_of(self.model)),
                         Target("decisions", target), feed={o: i for i, o in entry.carry.items()},
                         decisions=[decision], outputs=[self.judge.output], config=Config(step=1.0, **CODER),
                         effort=effort, beside=f"{self.judge.path}{ENDING}")
        return self.point(made.stream), made.best.way.name

    def nncodec(self, work: pathlib.Path, lambda_scale: int) -> Make:
        """NNCodec's stream of the same weights, as a peer would use it (peers/nncodec.py), and OMC's bytes of all the
        rest: graph, names, biases."""
        stream = refcodec.encode(self.model, Config(step=2.0**-self.first, **CODER))
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "rest.omc")
            path.write_bytes(stream)
            (found,) = describe_stream(path)["models"]
        names = {t.name for t in self.chosen}
        rest = len(stream) - sum(t["bytes"] for t in found["tensors"] if t["name"] in names)
        python = ensure_env(work, "nncodec")

        def make(octaves: float) -> Point:
            with tempfile.TemporaryDirectory() as folder:
                source, decoded = pathlib.Path(folder, "weights.npz"), pathlib.Path(folder, "decoded.npz")
                np.savez(source, **{f"t{i}": t.array.astype(np.float32) for i, t in enumerate(self.chosen)})
                asked = dict(qp=round(-4 * octaves), lambda_scale=lambda_scale, decoded=str(decoded))
                found = json.loads(run_worker(python, WORKERS / "nncodec_worker.py", str(source),
                                              json.dumps([asked]))[-1])
                with np.load(decoded) as archive:
                    arrays = {t.name: archive[f"t{i}"].reshape(t.shape).astype(t.array.dtype)
                              for i, t in enumerate(self.chosen)}
            size = found["bytes"] + rest
            return Point(size, self.judge.of_model(self._with(arrays)), 8 * size / self.weights)
        return make

    def _with(self, arrays: Mapping[str, np.ndarray]) -> refcodec.Model:
        tensors = [Tensor(t.name, arrays[t.name]) if t.name in arrays else t for t in self.model.tensors]
        return replace(self.model, tensors=tensors)


class Curve:
    """The streams of one way, made as they are needed.  start: octaves to begin with."""

    def __init__(self, make: Make, start: float):
        self._make, self._start, self.points = make, round(4 * start) / 4, dict[float, Point]()

    def bytes_at(self, wanted: float, measure: Callable[[Verdict], float]) -> float:
        """Bytes where a measure, which falls by two octaves when the step is halved, has a value: along a line between
        the streams next to it, over its logarithm.  NaN where it is not reached."""
        def value(octaves: float) -> float:
            return math.log2(max(measure(self.points[octaves].verdict), 1e-12) / max(wanted, 1e-12)) / 2

        def borders() -> tuple[float | None, float | None]:
            # the coarsest of those from which on all are fine enough, and the one before it
            fine = [x for x in self.points if all(value(y) <= 0 for y in self.points if y >= x)]
            high = min(fine, default=None)
            return max((x for x in self.points if high is None or x < high), default=None), high

        if not self.points:
            self.points[self._start] = self._make(self._start)
        for _ in range(TRIES):
            low, high = borders()
            if low is not None and high is not None:
                if high - low <= 0.51 or value(low) - value(high) < NEAR:
                    break
                octaves = round(2 * (low + high)) / 4
            else:
                last = low if high is None else high
                assert last is not None
                step = min(max(abs(value(last)) + 0.3, 0.5), 3.0)
                octaves = round(4 * (last + (step if high is None else -step))) / 4
            self.points[octaves] = self._make(octaves)
        low, high = borders()
        if low is None or high is None:
            return float("nan")
        a, b = self.points[low], self.points[high]
        rise = value(low) - value(high)
        return b.bytes + (a.bytes - b.bytes) * (min(max(-value(high) / rise, 0.0), 1.0) if rise > 0 else 0.0)


def moved(verdict: Verdict) -> float:
    return verdict.distance


def lost(verdict: Verdict) -> float:
    """The share of the decisions that changed, squared: as a distance falls with steps."""
    return (1 - verdict.same)**2
