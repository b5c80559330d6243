"""All weights of a network quantised in the order of its graph, each on what the quantised layers before it give.

Each layer's weights are first moved to where its outputs are nearest to those of the original (moments.corrected), and
then quantised with error feedback. A tensor's sensitivity says what an error costs, the moments of its inputs say in
which directions; its step follows from the price of a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..encoder.config import Config
from ..encoder.config_parts import Rule
from ..encoder.given_levels import GivenLevels
from ..encoder.level_search import default_lambda
from ..encoder.rate_control import representable
from ..errors import ConfigError
from ..model import Model, Tensor
from ..reconstruction import folded, unfolded
from .feedback import quantise_with_feedback
from .layer_inputs import input_rows
from .moments import Moments, cholesky, column_weights, corrected, damping, with_floor
from .network import Network, Use
from .sensitivity import Sensitivities, Sensitivity
from .steps import COARSEST, pattern_of

MOST = 8192                     # samples of a layer's inputs, over all runs
LEAST = 16                      # from which feedback is tried at all


@dataclass(frozen=True)
class Method:
    """How tensors are quantised.

    states: of the trellis.  shrink: of the damping, more for few or narrow inputs (moments.damping).
    feedback: carry errors on to later columns.  sequential: correct each layer for the errors before it.
    """

    states: int = 8
    shrink: float = 0.05
    feedback: bool = True
    sequential: bool = True


@dataclass
class Quantised:
    """A network whose weights are quantised.

    model: the original, but with other biases.  levels: of the tensors whose inputs could be captured.
    steps: of all others that are quantised.  plain: these, with what keeps each from being captured.
    never_run: tensors that no run reaches, which are kept finely.
    """

    model: Model
    levels: dict[str, GivenLevels] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    never_run: list[str] = field(default_factory=list)

    def config(self, **settings: Any) -> Config:
        """What encodes `model` so. settings: of Config, besides step, rules and levels."""
        rules = [Rule(pattern_of(name), "fine") for name in self.never_run]
        rules += [Rule(pattern_of(name), "quantise", scale=step) for name, step in self.steps.items()]
        rules += [Rule(pattern_of(name), "quantise") for name in self.levels]
        return Config(**{"step": 1.0, "rules": rules, "levels": self.levels, **settings})


def quantise_network(network: Network, found: Sensitivities, price: float, method: Method = Method()) -> Quantised:
    """Quantises all tensors of a network that were measured.

    price: the distance of the outputs (measure.py) that is worth one bit.
    """
    if not price > 0:
        raise ConfigError("BAD_CONFIG", f"the price of a bit is positive, not {price}")
    made = Quantised(network.model, never_run=list(found.never_run))
    least = min(s.value for s in found.tensors if s.value > 0)
    value = {s.name: max(s.value, least) for s in found.tensors}
    sequence = _Sequence(network, method, price)
    by_name = {s.name: s for s in found.tensors}
    for name in network.order():
        if name in by_name:
            sequence.quantise(by_name[name], value[name], made)
    made.model = _with_arrays(network.model, sequence.biases)
    return made


def _with_arrays(model: Model, arrays: Mapping[str, np.ndarray]) -> Model:
    tensors = [Tensor(t.name, arrays[t.name]) if t.name in arrays else t for t in model.tensors]
    return Model(tensors, model.name, model.layers, model.source, model.metadata, model.origin)


class _Sequence:
    """Two walks through the network side by side: as it was, and as it is quantised so far."""

    def __init__(self, network: Network, method: Method, price: float):
        self.network, self.method, self.price = network, method, price
        self.before, self.now = network.walk(), network.walk()
        self.biases: dict[str, np.ndarray] = {}

    def quantise(self, s: Sensitivity, value: float, made: Quantised) -> None:
        """One tensor: its levels, or a step where what it is multiplied with is not known."""
        uses = self.network.uses(s.name)
        try:
            layer = self._inputs(s.name, uses)
        except ConfigError as error:
            array = self.network.weights[s.name]
            made.plain[s.name] = error.message
            made.steps[s.name] = representable(self._step(array, value))
            return
        weights = layer.weights
        if self.method.sequential and layer.drift is not None:
            ridge = min(max(5 * self.method.shrink * weights.shape[1] / layer.count, 0.01), 10.0)
            weights = corrected(weights, layer.drift, layer.second, ridge)
        damp = damping(weights.shape[1], layer.count, self.method.shrink)
        upper = cholesky(layer.second if self.method.feedback else _alike(layer.second), damp)
        d = float(column_weights(upper).mean())
        step = representable(self._step(weights, value * d / layer.mean_moment))
        states = self.method.states
        lam = self.price * layer.mean_moment / (step**2 * value * d)
        best = quantise_with_feedback(weights, upper, step, states, lam=lam, mean_weight=d)
        made.levels[s.name] = GivenLevels(best.levels, step, states, 1 - layer.scan)
        self._go_on(s.name, best.values, layer)

    def _step(self, weights: np.ndarray, value: float) -> float:
        """The step at which a bit is worth its price, where a squared error costs `value`."""
        largest = COARSEST * (math.sqrt(float(np.square(weights.astype(np.float64)).mean())) or 1.0)
        return min(math.sqrt(self.price / (default_lambda(self.method.states) * value)), largest)

    def _inputs(self, name: str, uses: list[Use]) -> _LayerInputs:
        """Moments of what a tensor is multiplied with, over all its uses.

        Raises ConfigError UNSUPPORTED_LAYER where they are not known, or cannot be those of one matrix.
        """
        if not uses:
            raise ConfigError("UNSUPPORTED_LAYER", "it is the matrix of no layer that can be captured")
        array, fold = self.network.weights[name], self.network.folds[name]
        scan = uses[0].place.scan
        weights = folded(array.reshape(-1).astype(np.float64), array.shape, 1, fold, scan)
        sums = _Sums()
        for use in uses:
            groups = _groups_of(use, weights.shape)
            most = max(1, MOST // (len(use.course.runs) * len(uses)))
            if use.place.scan != scan:
                raise ConfigError("UNSUPPORTED_LAYER", "layers that share it multiply it from either side")
            for before, now in self._rows(use, most):
                sums.add(_arranged(before, use, groups), _arranged(now, use, groups))
        bias = self._bias_of(uses) if len(uses) == 1 else None
        return sums.settled(weights, scan, bias, correctable=len(uses) == 1)

    def _rows(self, use: Use, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        number = self.network.courses.index(use.course)
        before, now = self.before[number], self.now[number]
        shape = now.shape_of(use.layer.weight)
        for old, new in zip(before.data(use.layer), now.data(use.layer)):
            yield input_rows(use.layer, old, shape, most), input_rows(use.layer, new, shape, most)

    def _bias_of(self, uses: list[Use]) -> str | None:
        """The tensor that is a layer's bias and nothing else's; None where there is none."""
        layer, course = uses[0].layer, uses[0].course
        if layer.op not in ("Conv", "ConvTranspose", "Gemm") or len(layer.node.input) < 3:
            return None
        tensors = course.wiring.sources.get(layer.node.input[2], set())
        name = next(iter(tensors)) if len(tensors) == 1 else ""
        users = [at for c in self.network.courses for at in c.wiring.users.get(name, [])]
        if name not in self.network.fine or users != [layer.at] or uses[0].place.column_groups is not None:
            return None
        plain = layer.attributes.get("beta", 1.0) == 1.0 and layer.attributes.get("alpha", 1.0) == 1.0
        fits = self.network.fine[name].shape == uses[0].place.outputs.shape
        return name if fits and plain else None

    def _go_on(self, name: str, values: np.ndarray, layer: _LayerInputs) -> None:
        """The quantised tensor takes the place of the original for all layers to come."""
        array = self.network.weights[name]
        flat = unfolded(values, array.shape, 1, self.network.folds[name], layer.scan)
        changes = {name: flat.reshape(array.shape).astype(array.dtype)}
        if layer.bias is not None:
            old = self.network.fine[layer.bias]
            moved = layer.product(layer.weights, layer.mean_before) - layer.product(values, layer.mean)
            self.biases[layer.bias] = changes[layer.bias] = (old.astype(np.float64) + moved).astype(old.dtype)
        for walk in self.now:
            walk.replace(changes)


@dataclass
class _LayerInputs:
    """weights: coded matrix, outputs as rows, float64.  second, drift: as moments.py has them, in the order of its
    columns, without the means where there is a bias to make up for them.  mean, mean_before: of the inputs, now and of
    the original, by groups.  mean_moment: of the inputs, which the sensitivity of the tensor is of."""

    weights: np.ndarray
    scan: int
    count: int
    second: np.ndarray
    drift: np.ndarray | None
    mean: np.ndarray
    mean_before: np.ndarray
    mean_moment: float
    bias: str | None

    def product(self, weights: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """Weights times a mean input: [outputs]."""
        grouped = weights.reshape(len(mean), -1, weights.shape[1])
        return np.asarray(np.einsum("gri,gi->gr", grouped, mean)).reshape(-1)


class _Sums:
    """Sums over the samples of all uses and runs."""

    def __init__(self) -> None:
        self.count = 0
        self.now: list[Moments] = []
        self.cross: np.ndarray | None = None
        self.total: np.ndarray | None = None

    def add(self, before: np.ndarray, now: np.ndarray) -> None:
        """Vectors of the original and of now, of the same positions: [groups, samples, inputs]."""
        self.now.append(Moments.of([now], least=1))
        cross, total = np.matmul(before.transpose(0, 2, 1), now), before.sum(axis=1)
        self.cross = cross if self.cross is None else self.cross + cross
        self.total = total if self.total is None else self.total + total
        self.count += now.shape[1]

    def settled(self, weights: np.ndarray, scan: int, bias: str | None, *, correctable: bool) -> _LayerInputs:
        if self.count < LEAST or self.cross is None or self.total is None:
            raise ConfigError("UNSUPPORTED_LAYER", f"it has {self.count} samples of inputs, {LEAST} are the least")
        mean = np.asarray(sum(m.mean * m.count for m in self.now) / self.count)
        plain = np.asarray(sum(m.second * m.count for m in self.now) / self.count)
        before = self.total / self.count
        moment = float(np.trace(plain, axis1=1, axis2=2).mean()) / weights.shape[1]
        if not moment > 0:
            raise ConfigError("UNSUPPORTED_LAYER", "its inputs are all zero")
        second, drift = plain, self.cross / self.count - plain
        if bias is not None:
            second = second - mean[:, :, None] * mean[:, None, :]
            drift = drift - (before - mean)[:, :, None] * mean[:, None, :]
        return _LayerInputs(weights, scan, self.count, with_floor(second), drift if correctable else None, mean, before,
                            moment, bias)


def _alike(second: np.ndarray) -> np.ndarray:
    """Moments of inputs that have nothing to do with each other, and are of one size."""
    inputs = second.shape[-1]
    return np.asarray(float(np.trace(second, axis1=1, axis2=2).mean()) / inputs * np.eye(inputs)[None])


def _groups_of(use: Use, shape: tuple[int, int]) -> int:
    """The number of groups of adjacent rows of the coded matrix that have inputs of their own.

    Raises ConfigError UNSUPPORTED_LAYER where the rows of a group are not together.
    """
    place = use.place
    if place.column_groups is not None:
        return 1
    count = len(set(place.groups.tolist()))
    if shape[0] % count or (place.groups.reshape(count, -1) != place.groups.reshape(count, -1)[:, :1]).any():
        raise ConfigError("UNSUPPORTED_LAYER", "rows of a group are not together")
    return count


def _arranged(rows: np.ndarray, use: Use, groups: int) -> np.ndarray:
    """Vectors of a layer's inputs in the order of the coded matrix: [groups, samples, columns]."""
    place = use.place
    if place.column_groups is None:
        chosen = place.groups.reshape(groups, -1)[:, 0]
        return np.ascontiguousarray(rows[chosen][:, :, place.inputs])
    # Columns of several groups, of which each output has all: those of another group say nothing of it.
    count, samples = len(rows), rows.shape[1]
    made = np.zeros((1, count * samples, len(place.inputs)))
    for group in range(count):
        here = place.column_groups == group
        made[0, group * samples:(group + 1) * samples, here] = rows[group][:, place.inputs[here]].T
    return made
