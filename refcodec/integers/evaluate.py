"""Inference with the fixed-point weights and activation formats of a model (SPEC 7.6.4), in integers.

A network runs in onnx's reference evaluator; its products of activations and weights are replaced by products of
integers, whose accumulators are watched.  The integers travel as float64: all partial sums are below 2^53, so that
every sum is exact in any order.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from ..budget import Budget
from ..errors import ConfigError
from ..formats import save
from ..model import ActivationFormat, Model

PRODUCTS = ("Conv", "Gemm", "MatMul")
DOMAIN = "omc.fixed_point"
WEIGHT_WIDTH_MAX = 40            # sums of 2^22 such weights stay below 2^63
ACTIVATION_WIDTH_MAX = 48
COPIES = 4                       # of its files that a network may take in memory while it is read
EXACT = 1 << 53                  # all integers up to here are float64 numbers


@dataclass
class LayerCheck:
    """One layer's accumulators.  worst: least and largest value that any input can lead any partial sum to, in any
    order of summation.  seen: the same at the ends of sums, over all inputs run.  clipped: share of activations that
    lay outside their format."""

    format: ActivationFormat
    worst: tuple[int, int]
    seen: tuple[int, int] = (0, 0)
    activations: int = 0
    clipped_activations: int = 0

    @property
    def fits(self) -> bool:
        """True if no input can make an accumulator of the signalled width overflow [R7.6.4-1]."""
        return width_of(self.worst) <= self.format.accumulator_width

    @property
    def clipped(self) -> float:
        return self.clipped_activations / max(1, self.activations)


@dataclass
class Product:
    """A layer in integers: weights * 2^fraction_bits = rows, each row the weights of one output.

    name: of the layer.  node: in the graph.  rows: int64 [outputs, inputs].  shape, dtype: of the weight tensor.
    bias: float64 [outputs].
    """

    name: str
    node: onnx.NodeProto
    rows: np.ndarray
    fraction_bits: int
    shape: tuple[int, ...]
    dtype: np.dtype
    bias: np.ndarray

    @property
    def width(self) -> int:
        """Bits of the weights in two's complement."""
        return width_of((int(self.rows.min(initial=0)), int(self.rows.max(initial=0))))

    def integer_bias(self, form: ActivationFormat) -> list[int]:
        """The bias in units of the accumulators, rounded to nearest even."""
        return [int(np.rint(math.ldexp(b, form.fraction_bits + self.fraction_bits))) for b in self.bias.tolist()]

    def worst_case(self, form: ActivationFormat) -> tuple[int, int]:
        """Least and largest value of any partial sum: all products of one sign, with the activations at their ends."""
        low, high = integer_range(form)
        positive = np.maximum(self.rows, 0).sum(axis=1).tolist()
        negative = np.minimum(self.rows, 0).sum(axis=1).tolist()
        bias = self.integer_bias(form)
        return (min(p * low + n * high + min(b, 0) for p, n, b in zip(positive, negative, bias)),
                max(p * high + n * low + max(b, 0) for p, n, b in zip(positive, negative, bias)))


class FixedPointNetwork:
    """An ONNX network that takes integers where a layer has an activation format.

    proto: weights as initializers.  formats: layer name (of the node, else of its first output) to format.
    Raises ConfigError UNSUPPORTED_LAYER for a format of a layer that is not a Conv, Gemm or MatMul with weights of its
    own (in the plain forms: no transA, no alpha, no beta), or whose weights are no integers of 40 bits in fixed point,
    or whose accumulators may reach 2^53.
    """

    def __init__(self, proto: onnx.ModelProto, formats: dict[str, ActivationFormat]):
        self.products = {p.name: p for p in products_of(proto, set(formats))}
        self.layers = {name: LayerCheck(form, self.products[name].worst_case(form)) for name, form in formats.items()}
        for name, layer in self.layers.items():
            if layer.format.width > ACTIVATION_WIDTH_MAX or max(-layer.worst[0], layer.worst[1]) >= EXACT:
                raise ConfigError("UNSUPPORTED_LAYER", f"layer {name!r}: its accumulators may reach 2^53")
        network = onnx.ModelProto()
        network.CopyFrom(proto)
        for node in network.graph.node:
            if name_of(node) in formats:
                name = name_of(node)
                node.CopyFrom(onnx.helper.make_node("Product", node.input[:1], node.output[:1], name, domain=DOMAIN,
                                                    layer=name))
        network.opset_import.append(onnx.helper.make_opsetid(DOMAIN, 1))
        self._evaluator = ReferenceEvaluator(network, new_ops=[_product_operator(self)])

    def run(self, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        """The network's outputs."""
        return list(self._evaluator.run(None, inputs))

    def product(self, name: str, x: np.ndarray) -> np.ndarray:
        """One layer's values for its input values; self.layers learns of the accumulators."""
        layer, product, form = self.layers[name], self.products[name], self.layers[name].format
        activations, clipped = to_integers(x, form)
        sums = _sums(product, activations.astype(np.float64), np.array(product.integer_bias(form), np.float64))
        layer.activations += x.size
        layer.clipped_activations += clipped
        layer.seen = (min(layer.seen[0], int(sums.min(initial=0))), max(layer.seen[1], int(sums.max(initial=0))))
        values: np.ndarray = np.ldexp(sums, -(form.fraction_bits + product.fraction_bits)).astype(product.dtype)
        return values


def fixed_point_network(model: Model) -> FixedPointNetwork:
    """The network of a model (decoded, or to be encoded) that came from an ONNX file, with its activation formats.

    Raises ConfigError UNSUPPORTED_LAYER as FixedPointNetwork does, and for models without an ONNX file.
    """
    return FixedPointNetwork(network_of(model), {x.name: x.activation for x in model.layers if x.activation})


def network_of(model: Model, budget: Budget | None = None) -> onnx.ModelProto:
    """The ONNX network of a model, with the values that its tensors have now.  budget: for its files; None: any."""
    if model.source is None or model.source.format != "onnx":
        raise ConfigError("UNSUPPORTED_LAYER", "the model does not come from an ONNX file: there is no network to run")
    with tempfile.TemporaryDirectory() as folder:
        several = len(model.source.files) > 1
        path = os.path.join(folder, "model" if several else "model.onnx")
        if budget is not None:
            size = sum(f.size for f in model.source.files)
            budget.put_out(size, "the network's files")
            budget.check_memory(COPIES * size, "the network")
        save(model, path)
        return onnx.load(os.path.join(path, model.source.files[0].path) if several else path)


def _product_operator(network: FixedPointNetwork) -> type[OpRun]:
    class Product(OpRun):
        op_domain = DOMAIN

        layer: str                                          # an attribute of the node, set by OpRun

        def _run(self, x: np.ndarray, layer: str | None = None) -> tuple[np.ndarray]:
            return (network.product(layer or self.layer, x),)

    return Product


# Formats

def integer_range(form: ActivationFormat) -> tuple[int, int]:
    """Least and largest integer of a format."""
    return (-1 << (form.width - 1), (1 << (form.width - 1)) - 1) if form.signed else (0, (1 << form.width) - 1)


def to_integers(values: np.ndarray, form: ActivationFormat) -> tuple[np.ndarray, int]:
    """Integers (int64) of values in a format (nearest, ties to even, clipped; NaN: 0), and how many were clipped."""
    low, high = integer_range(form)
    with np.errstate(over="ignore"):
        scaled = np.rint(np.ldexp(values.astype(np.float64), form.fraction_bits))
    scaled = np.nan_to_num(scaled, posinf=np.inf, neginf=-np.inf)
    clipped = np.minimum(np.maximum(scaled, float(low)), float(high))
    return clipped.astype(np.int64), int((clipped != scaled).sum())


def width_of(bounds: tuple[int, int]) -> int:
    """Least number of bits in two's complement that holds both integers, the first at most 0, the second at least 0."""
    return 1 + max(~bounds[0], bounds[1]).bit_length()


def integer_weights(values: np.ndarray) -> tuple[np.ndarray, int]:
    """(int64 q, G) with values = q * 2^-G and G the least integer for which all q are integers; 0 for no weights but 0.

    Raises ConfigError UNSUPPORTED_LAYER where q would need more than 40 bits, or a value is not finite.
    """
    x = values.astype(np.float64)
    fractions, exponents = np.frexp(x[x != 0])
    if not fractions.size:
        return np.zeros(values.shape, np.int64), 0
    if not np.isfinite(fractions).all():
        raise ConfigError("UNSUPPORTED_LAYER", "a weight is not finite")
    mantissas = np.ldexp(fractions, 53).astype(np.int64)
    lowest = np.frexp((mantissas & -mantissas).astype(np.float64))[1] - 1          # place of the lowest bit set
    fraction_bits = int((53 - exponents - lowest).max())
    if int(exponents.max()) + fraction_bits >= WEIGHT_WIDTH_MAX:
        raise ConfigError("UNSUPPORTED_LAYER", f"weights need more than {WEIGHT_WIDTH_MAX} bits: not in fixed point")
    return np.ldexp(x, fraction_bits).astype(np.int64), fraction_bits


# Layers

def name_of(node: onnx.NodeProto) -> str:
    """The layer's name, as in Model.layers."""
    return node.name or (node.output[0] if node.output else "")


def products_of(proto: onnx.ModelProto, names: set[str] | None = None) -> list[Product]:
    """The layers called `names` in integers; None: all layers that a FixedPointNetwork can take.

    Raises ConfigError UNSUPPORTED_LAYER for a name that is not of such a layer.
    """
    tensors = {t.name: t for t in proto.graph.initializer}
    found, reasons = [], {}
    for node in proto.graph.node:
        if names is None or name_of(node) in names:
            try:
                found.append(_product(node, tensors))
            except ConfigError as error:
                reasons[name_of(node)] = error.message
    missing = (names or set()) - {p.name for p in found}
    if missing:
        name = min(missing)
        raise ConfigError("UNSUPPORTED_LAYER", f"layer {name!r}: {reasons.get(name, 'there is no such layer')}")
    return found


def _product(node: onnx.NodeProto, tensors: dict[str, onnx.TensorProto]) -> Product:
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type not in PRODUCTS or node.domain not in ("", "ai.onnx"):
        raise ConfigError("UNSUPPORTED_LAYER", f"operator {node.op_type} is not one of {', '.join(PRODUCTS)}")
    if len(node.input) < 2 or any(name and name not in tensors for name in node.input[1:]):
        raise ConfigError("UNSUPPORTED_LAYER", "its weights are not constants")
    if attributes.get("transA", 0) or attributes.get("alpha", 1.0) != 1 or attributes.get("beta", 1.0) != 1:
        raise ConfigError("UNSUPPORTED_LAYER", "transA, alpha and beta are not supported")
    weights = numpy_helper.to_array(tensors[node.input[1]])
    if weights.ndim < 2 or node.op_type != "Conv" and weights.ndim != 2:
        raise ConfigError("UNSUPPORTED_LAYER", "its weights are no matrix")
    outputs_first = node.op_type == "Conv" or attributes.get("transB", 0)
    integers, fraction_bits = integer_weights(weights)
    rows = integers.reshape(len(integers), -1) if outputs_first else np.ascontiguousarray(integers.T)
    bias = np.zeros(len(rows))
    if len(node.input) > 2 and node.input[2]:
        bias = np.broadcast_to(numpy_helper.to_array(tensors[node.input[2]]).astype(np.float64).reshape(-1), len(rows))
    return Product(name_of(node), node, rows, fraction_bits, weights.shape, weights.dtype, bias)


def _sums(product: Product, x: np.ndarray, bias: np.ndarray) -> np.ndarray:
    sums: np.ndarray
    if product.node.op_type != "Conv":
        sums = x @ product.rows.T.astype(x.dtype) + bias
        return sums
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in product.node.attribute}
    seen = windows(x, product.shape[2:], attributes)                # batch, channels, places..., kernel...
    axes = len(product.shape) - 2
    groups = attributes.get("group", 1)
    rows = product.rows.astype(x.dtype).reshape(groups, len(product.rows) // groups, -1)
    # batch, groups, places, inputs of a group
    order = (0, *range(2, 2 + axes), 1, *range(2 + axes, 2 + 2 * axes))
    places = seen.shape[2 : 2 + axes]
    taken = seen.transpose(order).reshape(x.shape[0], math.prod(places), groups, -1).transpose(0, 2, 1, 3)
    sums = np.matmul(taken, rows.transpose(0, 2, 1))                    # batch, groups, places, outputs of a group
    sums = sums.transpose(0, 1, 3, 2).reshape(x.shape[0], len(product.rows), *places)
    return np.asarray(sums + bias.reshape(-1, *[1] * axes))


def windows(x: np.ndarray, kernel: tuple[int, ...], attributes: dict[str, Any]) -> np.ndarray:
    """What each output of a convolution sees: [batch, channels, places..., kernel...]."""
    axes = len(kernel)
    strides = attributes.get("strides", [1] * axes)
    dilations = attributes.get("dilations", [1] * axes)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    pads = list(attributes.get("pads", [0] * 2 * axes))
    automatic = attributes.get("auto_pad", b"NOTSET")
    if automatic in (b"SAME_UPPER", b"SAME_LOWER"):
        missing = [max(0, (-(-n // s) - 1) * s + span - n) for n, s, span in zip(x.shape[2:], strides, spans)]
        small, large = [m // 2 for m in missing], [m - m // 2 for m in missing]
        pads = small + large if automatic == b"SAME_UPPER" else large + small
    x = np.pad(x, [(0, 0), (0, 0), *zip(pads[:axes], pads[axes:])])
    seen = np.lib.stride_tricks.sliding_window_view(x, spans, axis=tuple(range(2, 2 + axes)))
    return seen[(slice(None), slice(None), *(slice(None, None, n) for n in (*strides, *dilations)))]
