"""All weights of a network quantised in the order of its graph, each on what the quantised layers before it give.

Each layer's weights are first moved to where its outputs are nearest to those of the original (moments.corrected), and
then quantised with error feedback. A tensor's sensitivity says what an error costs, the moments of its inputs say in
which directions; its step follows from the price of a bit.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..encoder.config import Config
from ..encoder.config_parts import Rule
from ..encoder.given_levels import GivenLevels, layout
from ..encoder.level_search import default_lambda
from ..errors import ConfigError
from ..model import Model, Tensor
from ..reconstruction import folded, unfolded
from .callable import CallableNetwork
from .feedback import quantise_with_feedback
from .layer_moments import GivenInputs, Inputs, Kept, LayerInputs
from .moments import cholesky, column_weights, corrected, damping, error_of
from .network import Network
from .sensitivity import Sensitivities
from .steps import pattern_of, within


@dataclass(frozen=True)
class Method:
    """How tensors are quantised.

    states: of the trellis.  shrink: of the damping, more for few or narrow inputs (moments.damping).
    feedback: carry errors on to later columns.  sequential: correct each layer for the errors before it.
    biases: let them take up the means of errors.
    """

    states: int = 8
    shrink: float = 0.05
    feedback: bool = True
    sequential: bool = True
    biases: bool = True


@dataclass
class Quantised:
    """A network whose weights are quantised.

    model: the original, but with other biases.  levels: of the tensors whose inputs could be captured.
    steps: of all others that are quantised.  plain: these, with what keeps each from being captured.
    never_run: tensors that no run reaches, which are kept finely.
    predicted: the distance of the outputs (measure.py) that the levels are expected to make.
    """

    model: Model
    levels: dict[str, GivenLevels] = field(default_factory=dict)
    steps: dict[str, float] = field(default_factory=dict)
    plain: dict[str, str] = field(default_factory=dict)
    never_run: list[str] = field(default_factory=list)
    predicted: float = 0.0

    def config(self, **settings: Any) -> Config:
        """What encodes `model` so. settings: of Config, besides step, rules and levels."""
        rules = [Rule(pattern_of(name), "fine") for name in self.never_run]
        rules += [Rule(pattern_of(name), "quantise", scale=step) for name, step in self.steps.items()]
        rules += [Rule(pattern_of(name), "quantise") for name in self.levels]
        return Config(**{"step": 1.0, "rules": rules, "levels": self.levels, **settings})


def quantise_network(network: Network | CallableNetwork, found: Sensitivities, price: float,
                     method: Method = Method(), *, kept: Kept | None = None, config: Config | None = None,
                     references: Sequence[Model] = ()) -> Quantised:
    """Quantises all tensors of a network that were measured.

    price: the distance of the outputs (measure.py) that is worth one bit.  kept: moments of the original network, for
    methods that are not sequential; found ones are added.  config: with which the levels will be coded: they are
    sought for its entropy modes and entry points; None: for range coding in one piece.  references: of an update, whose
    tensors are quantised as differences where these are smaller; a tensor that is the reference's stays as it is.
    """
    if not price > 0:
        raise ConfigError("BAD_CONFIG", f"the price of a bit is positive, not {price}")
    made = Quantised(network.model, never_run=list(found.never_run))
    least = min(s.value for s in found.tensors if s.value > 0)
    value = {s.name: max(s.value, least) for s in found.tensors}
    sequence = _Sequence(network, method, price, Kept() if kept is None else kept, config)
    sequence.bases = bases_of(network, references)
    done: set[str] = set()
    for name in network.order():
        if name in value and name not in done:
            done |= sequence.quantise(name, value, made)
    made.model = _with_arrays(network.model, sequence.biases)
    return made


def _with_arrays(model: Model, arrays: Mapping[str, np.ndarray]) -> Model:
    tensors = [Tensor(t.name, arrays[t.name]) if t.name in arrays else t for t in model.tensors]
    return Model(tensors, model.name, model.layers, model.source, model.metadata, model.origin)


def bases_of(network: Network | CallableNetwork, references: Sequence[Model]) -> dict[str, tuple[int, np.ndarray]]:
    """The tensors of references from which those of a network differ by less than they are large: by name, the number
    of the reference, from 1 on, and its array."""
    found: dict[str, tuple[int, np.ndarray]] = {}
    for number, reference in enumerate(references, 1):
        there = {t.name: t for t in reference.tensors}
        for name, array in network.weights.items():
            other = there.get(name)
            if other is None or name in found or other.shape != array.shape or other.dtype.numpy != array.dtype:
                continue
            base, own = other.array.astype(np.float64), array.astype(np.float64)
            if np.isfinite(base).all() and np.square(own - base).sum() < np.square(own).sum():
                found[name] = number, other.array
    return found


class _Sequence:
    """A walk from layer to layer. bases: as bases_of() has them."""

    bases: Mapping[str, tuple[int, np.ndarray]] = {}

    def __init__(self, network: Network | CallableNetwork, method: Method, price: float, kept: Kept,
                 config: Config | None):
        self.network, self.method, self.price, self.config = network, method, price, config
        self.inputs = (GivenInputs(network) if isinstance(network, CallableNetwork)
                       else Inputs(network, method.sequential, kept, biases=method.biases))
        self.biases: dict[str, np.ndarray] = {}

    def quantise(self, name: str, value: Mapping[str, float], made: Quantised) -> set[str]:
        """One tensor, or two of a recurrent layer: levels, or a step where what it is multiplied with is not known.

        value: sensitivities.  Returns the names of what is quantised by this.
        """
        try:
            layer = self.inputs.of(name, value)
        except ConfigError as error:
            made.plain[name] = error.message
            made.steps[name] = self._step(self._difference(name), value[name])
            return {name}
        weights, inputs = layer.weights.copy(), layer.weights.shape[1]
        if layer.drift is not None:
            ridge = min(max(5 * self.method.shrink * inputs / layer.count, 0.01), 10.0)
            weights = corrected(weights, layer.drift, layer.second, ridge)
            layer.drift = None                                       # as large as the moments
        wanted, values = weights.copy(), np.empty_like(weights)
        damp = damping(inputs, layer.count, self.method.shrink)
        upper = cholesky(layer.second if self.method.feedback else _alike(layer.second), damp)
        for part in layer.parts:
            here, later = part.columns, slice(part.columns.stop, inputs)
            own, states = upper[:, here, here], self.method.states
            d = float(column_weights(own).mean())
            cost = value[part.tensor] / part.moment              # of a squared error, times its column weight
            step = self._step(weights[:, here], cost * d)
            number, base = self._base(part.tensor, layer.scan)
            lanes, segments = self._layout(weights[:, here] - base, step)
            if number and np.array_equal(base, layer.weights[:, here]):           # a copy of the reference's
                values[:, here] = base
                continue
            best = quantise_with_feedback(weights[:, here] - base, own, step, states,
                                          lam=self.price / (step**2 * cost * d), mean_weight=d, segments=segments,
                                          lanes=lanes)
            weights[:, later] -= best.carried(upper[:, here, later])
            values[:, here] = best.values + base
            made.levels[part.tensor] = GivenLevels(best.levels, step, states, 1 - layer.scan, segments, lanes, number)
            made.predicted += cost * error_of((values - wanted)[:, here], layer.second[:, here, here])
        self._go_on(values, layer)
        return {part.tensor for part in layer.parts}

    def _base(self, name: str, scan: int) -> tuple[int, np.ndarray]:
        """(number of the reference that a tensor is predicted from, or 0; its matrix, as the tensor's is)."""
        number, array = self.bases.get(name, (0, np.zeros(self.network.weights[name].shape)))
        return number, folded(array.reshape(-1).astype(np.float64), array.shape, 1, self.network.folds[name], scan)

    def _difference(self, name: str) -> np.ndarray:
        return self.network.weights[name] - self.bases.get(name, (0, 0.0))[1]

    def _step(self, weights: np.ndarray, value: float) -> float:
        """The step at which a bit is worth its price, where a squared error costs `value`."""
        return within(math.sqrt(self.price / (default_lambda(self.method.states) * value)), weights)

    def _layout(self, weights: np.ndarray, step: float) -> tuple[bool, int]:
        """(lanes, segments) of a matrix [outputs, inputs], which is coded input by input."""
        return (False, 1) if self.config is None else layout(weights.T, step, self.config)

    def _go_on(self, values: np.ndarray, layer: LayerInputs) -> None:
        """The quantised tensors take the place of the original for all layers to come."""
        changes = {}
        for part in layer.parts:
            array = self.network.weights[part.tensor]
            flat = unfolded(values[:, part.columns], array.shape, 1, self.network.folds[part.tensor], layer.scan)
            changes[part.tensor] = flat.reshape(array.shape).astype(array.dtype)
        if layer.bias is not None and isinstance(self.network, Network):
            old = self.network.fine[layer.bias.tensor]
            new = old.astype(np.float64).reshape(-1)
            new[layer.bias.elements] += layer.bias.factor * (
                layer.product(layer.weights, layer.mean_before) - layer.product(values, layer.mean))
            changes[layer.bias.tensor] = self.biases[layer.bias.tensor] = new.reshape(old.shape).astype(old.dtype)
        self.inputs.go_on(changes)


def _alike(second: np.ndarray) -> np.ndarray:
    """Moments of inputs that have nothing to do with each other, and are of one size."""
    inputs = second.shape[-1]
    return np.asarray(float(np.trace(second, axis1=1, axis2=2).mean()) / inputs * np.eye(inputs)[None])
