"""Adaptive memory allocation: widths of activations and weights, chosen on calibration inputs (informative).

After eq. 4 to 6 of "Compressing Deep Neural Networks for Efficient Visual Inference" (ICASSP 2018).  The widths m of
the layers' inputs have a fixed sum; they and the weights' widths n minimise

    memory * max(m s) + weights * sum of the weights' bits + error * E

where s is the number of a layer's inputs and E the mean difference of the network's output.  Each term is relative:
to the memory of equal widths, to the bits of the first options, and to the mean magnitude of the output.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from ..encoder.config import Config
from ..encoder.config_parts import HybridQuantiser
from ..encoder.hybrid.coder import code_hybrid, priced_points
from ..encoder.hybrid.operating_points import HybridPoint, cheapest
from ..encoder.model_encoder import quantised_tensors
from ..encoder.tensor_job import TensorJob
from ..encoder.treatment import Treatment, folds_of
from ..errors import ConfigError
from ..model import ActivationFormat, Model
from .evaluate import FixedPointNetwork, Product, integer_range, name_of, network_of, products_of, width_of

CLIPPING = 3                # octaves by which large activations may be clipped where that lowers the error
WIDTH_MAX = 24
STEPS = (1.0, 1 / 4, 4.0)   # options for a layer's weights: the common price of a bit times these


@dataclass(frozen=True)
class Prices:
    """Weights of the three terms: lambda_m, lambda_w and lambda_c of the paper."""

    memory: float = 1.0
    weights: float = 1.0
    error: float = 20.0


@dataclass(frozen=True)
class WeightOption:
    """One fixed-point version of a layer's weights. array: as the network holds them.  bits: coded size."""

    array: np.ndarray
    bits: float


@dataclass
class Allocation:
    """formats: by layer.  options: number of the option of each layer.  cost: what is minimised; error: E in it."""

    formats: dict[str, ActivationFormat]
    options: dict[str, int]
    cost: float
    error: float


def adapt(model: Model, inputs: dict[str, np.ndarray], config: Config, mean_width: float = 8.0,
          prices: Prices = Prices()) -> tuple[Model, Config]:
    """A model with activation formats and a configuration with points for its weights: what to hand to encode().

    model: of an ONNX file.  inputs: of its network, by name: calibration inputs.  config: of the preset 's5-hybrid'.
    Raises ConfigError as allocate_widths() does.
    """
    if not isinstance(config.own_quantiser, HybridQuantiser):
        raise ConfigError("BAD_CONFIG", "activation formats are chosen for the quantiser hybrid (preset s5-hybrid)")
    folds, proto = folds_of(model), network_of(model)
    tensors, smallest = model.tensors, config.units.join_below
    jobs = [TensorJob(i, tensors[i], folds[i], Treatment.QUANTISE, config, tensors[i].size < smallest)
            for i in quantised_tensors(model, config)]
    points, price = priced_points(jobs, config.own_quantiser.snr)
    users: dict[str, list[str]] = {}
    for node in proto.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(name_of(node))
    options, chosen = {}, {}
    for job, found in zip(jobs, points):
        ways = list(dict.fromkeys(cheapest(found, price * step) for step in STEPS))
        chosen[job.tensor.name] = ways
        if len(users.get(job.tensor.name, ())) == 1:
            options[users[job.tensor.name][0]] = job.tensor.name, [_option(job, point) for point in ways]
    widths = allocate_widths(proto, inputs, mean_width, {layer: ways for layer, (_, ways) in options.items()}, prices)
    taken = {options[layer][0]: number for layer, number in widths.options.items() if layer in options}
    layers = [replace(layer, activation=widths.formats.get(layer.name)) for layer in model.layers]
    return replace(model, layers=layers), replace(
        config, points={name: ways[taken.get(name, 0)] for name, ways in chosen.items()})


def _option(job: TensorJob, point: HybridPoint) -> WeightOption:
    coded = code_hybrid(replace(job, point=point))
    return WeightOption(coded.words.view(job.dtype.numpy).reshape(job.tensor.shape), 8.0 * coded.size)


def layer_inputs(proto: onnx.ModelProto, inputs: dict[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
    """What each of the named layers is given when the network runs on `inputs`."""
    wanted = {name_of(node): node.input[0] for node in proto.graph.node if name_of(node) in names}
    network = onnx.ModelProto()
    network.CopyFrom(proto)
    made = {name for node in network.graph.node for name in node.output}
    del network.graph.output[:]
    network.graph.output.extend(onnx.ValueInfoProto(name=v) for v in dict.fromkeys(wanted.values()) if v in made)
    found = dict(inputs)
    if network.graph.output:
        values = list(ReferenceEvaluator(network).run(None, inputs))
        found.update(zip((v.name for v in network.graph.output), values))
    return {name: found[value] for name, value in wanted.items()}


def best_format(x: np.ndarray, width: int) -> ActivationFormat:
    """The format of a width with the least squared error of the values x; unsigned where none is negative.

    accumulator_width is 64, for want of weights.
    """
    x = x.reshape(-1).astype(np.float64)
    signed = bool(x.min(initial=0.0) < 0)
    largest = float(np.abs(x).max(initial=0.0))
    if largest == 0.0:
        return ActivationFormat(signed, width, 0, 64)
    safe = width - int(signed) - math.frexp(largest)[1]
    formats = [ActivationFormat(signed, width, g, 64) for g in range(safe, safe + CLIPPING + 1)]
    return min(formats, key=lambda form: _rounding_error(x, form))


def _rounding_error(x: np.ndarray, form: ActivationFormat) -> float:
    low, high = integer_range(form)
    rounded = np.clip(np.rint(np.ldexp(x, form.fraction_bits)), low, high)
    return float(np.square(np.ldexp(rounded, -form.fraction_bits) - x).sum())


def with_accumulator(form: ActivationFormat, product: Product) -> ActivationFormat:
    """The format with the least accumulator_width that no input of that format can make overflow (SPEC 7.6.4).

    Raises ConfigError UNSUPPORTED_LAYER where 64 bits do not suffice.
    """
    width = width_of(product.worst_case(form))
    if width > 64:
        raise ConfigError("UNSUPPORTED_LAYER", f"layer {product.name!r} would need accumulators of {width} bits")
    return replace(form, accumulator_width=width)


def allocate_widths(proto: onnx.ModelProto, inputs: dict[str, np.ndarray], mean_width: float = 8.0,
                    options: dict[str, Sequence[WeightOption]] | None = None, prices: Prices = Prices()) -> Allocation:
    """Formats of the inputs of all layers with fixed-point weights, and an option for the weights of each.

    proto: the network whose output is wanted.  inputs: by name, calibration inputs.  mean_width: of the activations;
    the sum of the widths is this times the number of layers.  options: by layer; the weights of other layers are what
    they are.  Starting from equal widths and first options, the best of all moves (a bit from one layer to another,
    one layer's weights to the next option) is made as long as one lowers the cost.
    Raises ConfigError UNSUPPORTED_LAYER for networks that FixedPointNetwork does not take.
    """
    return _Search(proto, inputs, mean_width, options or {}, prices).best()


class _Search:
    def __init__(self, proto: onnx.ModelProto, inputs: dict[str, np.ndarray], mean_width: float,
                 options: Mapping[str, Sequence[WeightOption]], prices: Prices):
        self.inputs, self.options, self.prices = inputs, options, prices
        self.proto = proto
        self.networks: dict[tuple[int, ...], onnx.ModelProto] = {}
        first = with_weights(proto, {name: found[0].array for name, found in self.options.items()})
        self.names = [p.name for p in products_of(first)]
        if not self.names:
            raise ConfigError("UNSUPPORTED_LAYER", "no layer is a Conv, Gemm or MatMul with weights in fixed point")
        self.given = layer_inputs(proto, inputs, self.names)
        self.sizes = [self.given[name][0].size for name in self.names]     # of one input: the first axis is the batch
        total = max(len(self.names), round(mean_width * len(self.names)))
        self.equal = [total // len(self.names) + (i < total % len(self.names)) for i in range(len(self.names))]
        self.forms: dict[tuple[int, int], ActivationFormat] = {}
        self.known: dict[tuple[Any, ...], Allocation] = {}
        self.wanted = list(ReferenceEvaluator(proto).run(None, inputs))[0].astype(np.float64)

    def best(self) -> Allocation:
        widths, taken = self.equal, [0] * len(self.names)
        best = self._evaluated(widths, taken)
        while True:
            moves = [(self._evaluated(w, t), w, t) for w, t in self._moves(widths, taken)]
            found = min(moves, key=lambda move: move[0].cost, default=None)
            if found is None or found[0].cost >= best.cost:
                return best
            best, widths, taken = found

    def _moves(self, widths: list[int], taken: list[int]) -> Iterator[tuple[list[int], list[int]]]:
        layers = range(len(self.names))
        for i in layers:
            for j in layers:
                if i != j and widths[i] > 1 and widths[j] < WIDTH_MAX:
                    yield [w - (k == i) + (k == j) for k, w in enumerate(widths)], taken
            for option in range(len(self.options.get(self.names[i], ()))):
                yield widths, [option if k == i else t for k, t in enumerate(taken)]

    def _evaluated(self, widths: list[int], taken: list[int]) -> Allocation:
        key = (*widths, *taken)
        if key not in self.known:
            self.known[key] = self._evaluate(widths, taken)
        return self.known[key]

    def _evaluate(self, widths: list[int], taken: list[int]) -> Allocation:
        network = self._network(tuple(taken))
        products = {p.name: p for p in products_of(network, set(self.names))}
        formats = {name: with_accumulator(self._form(i, widths[i]), products[name])
                   for i, name in enumerate(self.names)}
        output = FixedPointNetwork(network, formats).run(self.inputs)[0]
        error = float(np.abs(output - self.wanted).mean() / max(np.abs(self.wanted).mean(), 1e-300))
        memory = max(w * s for w, s in zip(widths, self.sizes)) / max(w * s for w, s in zip(self.equal, self.sizes))
        cost = self.prices.memory * memory + self.prices.weights * self._bits(taken) + self.prices.error * error
        return Allocation(formats, dict(zip(self.names, taken)), cost, error)

    def _form(self, i: int, width: int) -> ActivationFormat:
        if (i, width) not in self.forms:
            self.forms[i, width] = best_format(self.given[self.names[i]], width)
        return self.forms[i, width]

    def _bits(self, taken: list[int]) -> float:
        pairs = [(self.options[name][t].bits, self.options[name][0].bits)
                 for name, t in zip(self.names, taken) if name in self.options]
        return sum(b for b, _ in pairs) / max(1.0, sum(b for _, b in pairs))

    def _network(self, taken: tuple[int, ...]) -> onnx.ModelProto:
        if taken not in self.networks:
            arrays = {name: self.options[name][t].array for name, t in zip(self.names, taken) if name in self.options}
            self.networks[taken] = with_weights(self.proto, arrays)
        return self.networks[taken]


def with_weights(proto: onnx.ModelProto, arrays: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The network with other weights (input 1) in some layers, by name."""
    network = onnx.ModelProto()
    network.CopyFrom(proto)
    weights = {node.input[1]: arrays[name_of(node)] for node in network.graph.node if name_of(node) in arrays}
    for tensor in network.graph.initializer:
        if tensor.name in weights:
            tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    return network
