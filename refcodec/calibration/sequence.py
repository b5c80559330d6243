"""All weights of a network quantised in the order of its graph, each on what the quantised layers before it give.

Each layer's weights are first moved to where its outputs are nearest to those of the original (moments.corrected), and
then quantised with error feedback. A tensor's sensitivity says what an error costs, the moments of its inputs say in
which directions; its step follows from the price of a bit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
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
from .layers import GATES
from .moments import Moments, cholesky, column_weights, corrected, damping, with_floor
from .network import Network, Use
from .sensitivity import Sensitivities
from .steps import COARSEST, pattern_of

MOST = 8192                     # samples of a layer's inputs, over all runs
TOGETHER = 2048                 # of them are multiplied at once
LEAST = 16                      # from which feedback is tried at all
_BIASES = {"Conv": 2, "ConvTranspose": 2, "Gemm": 2, "LSTM": 3, "RNN": 3}      # which input is one


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
    for name in network.order():
        if name in value and name not in made.levels:
            sequence.quantise(name, value, made)
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

    def quantise(self, name: str, value: Mapping[str, float], made: Quantised) -> None:
        """One tensor, or two of a recurrent layer: levels, or a step where what it is multiplied with is not known.

        value: sensitivities.
        """
        try:
            layer = self._inputs(name, value)
        except ConfigError as error:
            made.plain[name] = error.message
            made.steps[name] = representable(self._step(self.network.weights[name], value[name]))
            return
        weights, inputs = layer.weights.copy(), layer.weights.shape[1]
        if self.method.sequential and layer.drift is not None:
            ridge = min(max(5 * self.method.shrink * inputs / layer.count, 0.01), 10.0)
            weights = corrected(weights, layer.drift, layer.second, ridge)
        damp = damping(inputs, layer.count, self.method.shrink)
        upper = cholesky(layer.second if self.method.feedback else _alike(layer.second), damp)
        values = np.empty_like(weights)
        for part in layer.parts:
            here, later = part.columns, slice(part.columns.stop, inputs)
            own, states = upper[:, here, here], self.method.states
            d = float(column_weights(own).mean())
            cost = value[part.tensor] / part.moment              # of a squared error, times its column weight
            step = representable(self._step(weights[:, here], cost * d))
            best = quantise_with_feedback(weights[:, here], own, step, states, lam=self.price / (step**2 * cost * d),
                                          mean_weight=d)
            weights[:, later] -= best.carried(upper[:, here, later])
            values[:, here] = best.values
            made.levels[part.tensor] = GivenLevels(best.levels, step, states, 1 - layer.scan)
        self._go_on(values, layer)

    def _step(self, weights: np.ndarray, value: float) -> float:
        """The step at which a bit is worth its price, where a squared error costs `value`."""
        largest = COARSEST * (math.sqrt(float(np.square(weights.astype(np.float64)).mean())) or 1.0)
        return min(math.sqrt(self.price / (default_lambda(self.method.states) * value)), largest)

    def _inputs(self, name: str, value: Mapping[str, float]) -> _LayerInputs:
        """Moments of what a tensor is multiplied with, over all its uses; of a recurrent layer with those of the other.

        Raises ConfigError UNSUPPORTED_LAYER where they are not known, or cannot be those of one matrix.
        """
        uses = self.network.uses(name)
        if not uses:
            raise ConfigError("UNSUPPORTED_LAYER", "it is the matrix of no layer that can be captured")
        if any(use.place.scan != uses[0].place.scan for use in uses):
            raise ConfigError("UNSUPPORTED_LAYER", "layers that share it multiply it from either side")
        together = {name: uses, **self._partner(uses, value)}
        matrices = {tensor: self._matrix(tensor, uses[0].place.scan) for tensor in together}
        sums = _Sums()
        for several in zip(*together.values()):
            groups = _groups_of(several[0], matrices[name].shape[0])
            rows = [self._rows(use, groups, MOST // (len(use.course.runs) * len(uses))) for use in several]
            for pairs in zip(*rows):
                sums.add(*(np.concatenate(arrays, axis=2) for arrays in zip(*pairs)))
        bias = self._bias_of(uses[0]) if len(uses) == 1 else None
        return sums.settled(matrices, uses[0].place.scan, bias, correctable=len(uses) == 1)

    def _matrix(self, tensor: str, scan: int) -> np.ndarray:
        """The tensor as it is coded, with outputs as rows."""
        array = self.network.weights[tensor]
        return folded(array.reshape(-1).astype(np.float64), array.shape, 1, self.network.folds[tensor], scan)

    def _partner(self, uses: list[Use], value: Mapping[str, float]) -> dict[str, list[Use]]:
        """The recurrent weights beside the input weights of a layer, whose products are added up; or nothing."""
        layer, place = uses[0].layer, uses[0].place
        if len(uses) > 1 or layer.op not in GATES or layer.side != 1:
            return {}
        other = next((x for x in uses[0].course.wiring.layers if x.at == layer.at and x.side == 2), None)
        if other is None or len(other.tensors) > 1 or other.tensors[0] not in value or other.tensors == layer.tensors:
            return {}
        theirs = self.network.uses(other.tensors[0])
        if len(theirs) != 1 or theirs[0].place.scan != place.scan:
            return {}
        same = (np.array_equal(theirs[0].place.groups, place.groups)
                and np.array_equal(theirs[0].place.outputs, place.outputs))
        return {other.tensors[0]: theirs} if same else {}

    def _rows(self, use: Use, groups: int, most: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What the tensor is multiplied with in each run, in the original and now: [groups, samples, columns]."""
        number = self.network.courses.index(use.course)
        before, now = self.before[number], self.now[number]
        shape = now.shape_of(use.layer.weight)
        for old, new in zip(before.data(use.layer), now.data(use.layer)):
            yield tuple(_arranged(input_rows(use.layer, data, shape, max(most, 1)), use, groups)  # type: ignore[misc]
                        for data in (old, new))

    def _bias_of(self, use: Use) -> _Bias | None:
        """The tensor that is a layer's bias and nothing else's; None where there is none."""
        layer, course, place = use.layer, use.course, use.place
        at = _BIASES.get(layer.op, 0)
        if not at or len(layer.node.input) <= at or place.column_groups is not None:
            return None
        if layer.attributes.get("alpha", 1.0) != 1.0 or layer.attributes.get("beta", 1.0) != 1.0:
            return None
        value = layer.node.input[at]
        for tensor in sorted(course.wiring.sources.get(value, set()) & set(self.network.fine)):
            users = [n for c in self.network.courses for n in c.wiring.users.get(tensor, [])]
            numbered = self.network.numbers(course, replace(layer, weight=value, side=at), tensor)
            if layer.op in GATES:                                    # of the inputs, and then of the hidden states
                numbered = numbered[:, :numbered.shape[1] // 2]
            outputs = numbered.size // len(set(place.groups.tolist()))
            which = place.groups * outputs + place.outputs
            if users == [layer.at] and which.max() < numbered.size and (numbered.reshape(-1)[which] >= 0).all():
                return _Bias(tensor, numbered.reshape(-1)[which])
        return None

    def _go_on(self, values: np.ndarray, layer: _LayerInputs) -> None:
        """The quantised tensors take the place of the original for all layers to come."""
        changes = {}
        for part in layer.parts:
            array = self.network.weights[part.tensor]
            flat = unfolded(values[:, part.columns], array.shape, 1, self.network.folds[part.tensor], layer.scan)
            changes[part.tensor] = flat.reshape(array.shape).astype(array.dtype)
        if layer.bias is not None:
            old = self.network.fine[layer.bias.tensor]
            new = old.astype(np.float64).reshape(-1)
            new[layer.bias.elements] += (layer.product(layer.weights, layer.mean_before)
                                         - layer.product(values, layer.mean))
            changes[layer.bias.tensor] = self.biases[layer.bias.tensor] = new.reshape(old.shape).astype(old.dtype)
        for walk in self.now:
            walk.replace(changes)


@dataclass
class _Bias:
    """elements: of the tensor, by the row of the coded matrix that each is added to."""

    tensor: str
    elements: np.ndarray


@dataclass
class _Part:
    """A tensor's columns of the matrix that is quantised.  moment: the mean of those of its inputs."""

    tensor: str
    columns: slice
    moment: float


@dataclass
class _LayerInputs:
    """weights: coded matrix, outputs as rows, float64; or two, side by side.  second, drift: as moments.py has them, in
    the order of its columns, without the means where there is a bias to make up for them.  mean, mean_before: of the
    inputs, now and of the original, by groups."""

    weights: np.ndarray
    parts: list[_Part]
    scan: int
    count: int
    second: np.ndarray
    drift: np.ndarray | None
    mean: np.ndarray
    mean_before: np.ndarray
    bias: _Bias | None

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
        self._waiting: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, before: np.ndarray, now: np.ndarray) -> None:
        """Vectors of the original and of now, of the same positions: [groups, samples, inputs]."""
        self._waiting.append((before, now))
        if sum(x.shape[1] for _, x in self._waiting) >= TOGETHER:
            self._add_up()

    def _add_up(self) -> None:
        """Products of few samples each would take longer."""
        if not self._waiting:
            return
        before, now = (np.concatenate(several, axis=1) for several in zip(*self._waiting))
        self._waiting.clear()
        self.now.append(Moments.of([now], least=1))
        cross, total = np.matmul(before.transpose(0, 2, 1), now), before.sum(axis=1)
        self.cross = cross if self.cross is None else self.cross + cross
        self.total = total if self.total is None else self.total + total
        self.count += now.shape[1]

    def settled(self, matrices: Mapping[str, np.ndarray], scan: int, bias: _Bias | None, *, correctable: bool
                ) -> _LayerInputs:
        self._add_up()
        if self.count < LEAST or self.cross is None or self.total is None:
            raise ConfigError("UNSUPPORTED_LAYER", f"it has {self.count} samples of inputs, {LEAST} are the least")
        mean = np.asarray(sum(m.mean * m.count for m in self.now) / self.count)
        plain = np.asarray(sum(m.second * m.count for m in self.now) / self.count)
        before, moments = self.total / self.count, np.einsum("gii->i", plain) / len(plain)
        parts, first = [], 0
        for tensor, matrix in matrices.items():
            columns = slice(first, first + matrix.shape[1])
            parts.append(_Part(tensor, columns, float(moments[columns].mean())))
            first = columns.stop
        if not all(part.moment > 0 for part in parts):
            raise ConfigError("UNSUPPORTED_LAYER", "its inputs are all zero")
        second, drift = plain, self.cross / self.count - plain
        if bias is not None:
            second = second - mean[:, :, None] * mean[:, None, :]
            drift = drift - (before - mean)[:, :, None] * mean[:, None, :]
        weights = np.concatenate(list(matrices.values()), axis=1)
        return _LayerInputs(weights, parts, scan, self.count, with_floor(second), drift if correctable else None, mean,
                            before, bias)


def _alike(second: np.ndarray) -> np.ndarray:
    """Moments of inputs that have nothing to do with each other, and are of one size."""
    inputs = second.shape[-1]
    return np.asarray(float(np.trace(second, axis1=1, axis2=2).mean()) / inputs * np.eye(inputs)[None])


def _groups_of(use: Use, rows: int) -> int:
    """The number of groups of adjacent rows of the coded matrix that have inputs of their own.

    Raises ConfigError UNSUPPORTED_LAYER where the rows of a group are not together.
    """
    place = use.place
    if place.column_groups is not None:
        return 1
    count = len(set(place.groups.tolist()))
    if rows % count or (place.groups.reshape(count, -1) != place.groups.reshape(count, -1)[:, :1]).any():
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
