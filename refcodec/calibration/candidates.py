"""Ways to code a network with loss, each at any price of a bit: streams, and how their answers are judged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..api import decode, encode
from ..encoder.config import Config
from ..encoder.config_parts import Rule
from ..encoder.level_search import default_lambda
from ..encoder.model_encoder import quantised_tensors
from ..encoder.rate_control import largest_magnitude, representable
from ..model import Model
from .callable import CallableNetwork
from .layer_moments import Kept
from .network import Network
from .scores import Judge, Score
from .sensitivity import Sensitivities
from .sequence import Method, Quantised, quantise_network
from .steps import pattern_of, within
from .targets import Target, octaves

METADATA = "calibration"        # the key under which a stream tells what was asked for and found
NOTE_BYTES = 116                # of its value, at most
_BEFOREHAND = np.random.default_rng(0).bytes(NOTE_BYTES)       # in its place, as long as it is not known
SAFE_BITS = 14                  # of tensors that are never run: their largest magnitude over 2^SAFE_BITS is the step
FINE_BITS, FINE_BITS_MAX = 9, 14        # of biases and the like: at a distance of FINE_AT, and at most
FINE_AT = 5e-3
NOISE = {False: 12.0 / 0.115, True: 3.5 / 0.35}         # weights / distance * price, by whether there is a trellis


@dataclass(frozen=True)
class Way:
    """How the weights are quantised. method: None: with the encoder's own search and steps; by_tensor: a step for each
    tensor, else one for all."""

    name: str
    method: Method | None = None
    by_tensor: bool = True


ONE_STEP, STEPS = Way("one step", by_tensor=False), Way("steps")


def ways(states: int, *, layers: bool, graph: bool) -> list[Way]:
    """What is tried, the likeliest first; one step is always among them.

    layers: the inputs of layers are known.  graph: they follow from the layers before.
    """
    def method(name: str, shrink: float, *, feedback: bool = True, sequential: bool = False) -> Way:
        return Way(f"{name}, shrink {shrink:g}", Method(states, shrink, feedback, sequential))

    if not layers:
        return [STEPS, ONE_STEP]
    alone = [method("feedback", 0.05), method("feedback", 0.5)]
    if not graph:
        return [alone[0], ONE_STEP, STEPS, alone[1], method("feedback", 0.0)]
    return [method("feedback in order", 0.05, sequential=True), ONE_STEP, STEPS, alone[0],
            method("feedback in order", 0.5, sequential=True), method("feedback in order", 0.0, sequential=True),
            alone[1], method("in order", 0.05, feedback=False, sequential=True)]


@dataclass
class Trial:
    """A way at a price.

    price: log2 of it.  size: bytes of the stream.  bits: of them for a weight.  bound: the loss of the target, with
    certainty; measured: without (both of the distance where a size is asked for).  distance, predicted: of the outputs.
    made: what encodes it, and the tensors that got a step alone, with why.
    """

    way: Way
    price: float
    size: int
    bits: float
    bound: float
    measured: float
    distance: float
    predicted: float
    score: Score
    made: tuple[Model, Config, dict[str, str]] | None

    def limited(self, target: Target) -> float:
        """What the target sets a limit to, in octaves or, of a size, in bits of a weight."""
        return self.bits if target.by_size else octaves(self.bound)

    def sought(self, target: Target) -> float:
        """What is to be small: the bits, or, of a size, the octaves of the distance."""
        return octaves(self.distance) if target.by_size else self.bits


class Candidates:
    """Makes trials.

    network: to quantise.  found: its sensitivities.  judge: on held-out inputs.
    config: how streams are coded: what it says of steps and rules is replaced.  references: of an update.
    never_run: tensors that no input reaches. They get a step that is safe.
    """

    def __init__(self, network: Network | CallableNetwork, found: Sensitivities, judge: Judge, target: Target,
                 config: Config, references: Sequence[Model] = ()):
        self.network, self.found, self.judge, self.target = network, found, judge, target
        self.config, self.references, self.kept = config, list(references), Kept()
        self.states = config.uniform.states
        least = min(s.value for s in found.tensors if s.value > 0)
        self.value = {s.name: max(s.value, least) for s in found.tensors}
        self.weights = sum(s.elements for s in found.tensors)
        weights = quantised_tensors(network.model, Config(step=1.0))
        self.never_run = [t.name for t in map(network.model.tensors.__getitem__, weights) if t.name not in self.value]
        self.safe = {name: representable((largest_magnitude(network.model[name].array) or 1.0) * 2.0**-SAFE_BITS)
                     for name in self.never_run}
        self.moved = sum(self.value[s.name] * s.elements for s in found.tensors)       # for a squared error of 1 each

    @property
    def limit(self) -> float:
        """As Trial.limited() has it."""
        return 8 * self.target.value / self.weights if self.target.kind == "max_bytes" else self.target.limit

    def price_of(self, distance: float) -> float:
        """log2 of the price at which the outputs move by a distance, about."""
        return math.log2(distance * NOISE[self.states > 0] * default_lambda(self.states) / self.weights)

    def trial(self, way: Way, price: float) -> Trial:
        """A way at a price, log2 of it: coded, decoded, and judged."""
        made = self._made(way, 2.0**price)
        model = replace(made.model, metadata={**made.model.metadata, METADATA: _BEFOREHAND})
        config = self._config(made, price)
        stream = encode(model, config, self.references)
        decoded = decode(stream, self.references)
        names = {*self.network.weights, *(self.network.fine if isinstance(self.network, Network) else ())}
        changes = {t.name: t.array for t in decoded.tensors if t.name in names}
        score = self.judge.score(changes)
        predicted = made.predicted + sum(
            self.value[s.name] * _squares(changes[s.name], self.network.weights[s.name])
            for s in self.found.tensors if s.name not in made.levels)
        target, judge = self.target, self.judge
        return Trial(way, price, len(stream), 8 * len(stream) / self.weights, target.bound(judge, score),
                     judge.measured(score, target.loss), judge.measured(score, Score.distance), predicted, score,
                     (model, config, made.plain))

    def _made(self, way: Way, price: float) -> Quantised:
        if way.method is not None:
            return quantise_network(self.network, self.found, price, way.method, kept=self.kept,
                                    config=self.config, references=self.references)
        return Quantised(self.network.model, steps=self._steps(way, price))

    def _steps(self, way: Way, price: float) -> dict[str, float]:
        def step(value: float) -> float:
            return math.sqrt(price / (default_lambda(self.states) * value))

        weights = self.network.weights
        if way.by_tensor:
            return {name: within(step(v), weights[name]) for name, v in self.value.items()}
        common = step(self.moved / self.weights)
        return dict.fromkeys(self.value, within(common, np.concatenate([weights[n].reshape(-1) for n in self.value])))

    def _config(self, made: Quantised, price: float) -> Config:
        rules = [Rule(pattern_of(name), "quantise", scale=step) for name, step in {**self.safe, **made.steps}.items()]
        rules += [Rule(pattern_of(name), "quantise") for name in made.levels]
        finer = round(0.5 * (self.price_of(FINE_AT) - price))           # bits, than at FINE_AT
        return replace(self.config, step=1.0, snr=None, bits_per_weight=None, max_bytes=None, rules=rules,
                       levels=made.levels, fine_bits=min(FINE_BITS + max(finer, 0), FINE_BITS_MAX))


def _squares(array: np.ndarray, other: np.ndarray | float = 0.0) -> float:
    return float(np.square(array.astype(np.float64) - other).sum())
